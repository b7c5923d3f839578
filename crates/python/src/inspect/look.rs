//! A look at all green threads: their Python stacks, grouped by where they are.
//!
//! Two green threads are at the same place if their frames are at the same instructions. That is compared without
//! making a frame object: those are made for one green thread of a group, for its lines to be told.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use greenloom_hub::Time;
use greenloom_inspect::groups::{Groups, MOST_FRAMES};
use greenloom_inspect::hints::Waiting;
use greenloom_inspect::protocol::Seconds;
use greenloom_inspect::{Frame, Group, Info, Stacks, State, Thread, Waits};

use super::locked::Task;
use crate::eventlet::clock::monotonic;
use crate::eventlet::seen;
use crate::greenlet::wait::{At, Awaited, Life, Wait, wait_of};
use crate::greenlet::{self, PyGreenlet, Walk, find, function_of, places, suspended_frame};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Owned, Result};
use crate::tstate;

/// How long a step may have the interpreter's lock.
const STEP: Duration = Duration::from_millis(2);

/// The look. Two walks: the first meets all, the second tells of those that turned out to be the oldest of their group,
/// and finds out who of those that others wait for has ended.
pub struct Look {
    walk: Walk,
    met: Met,
    second: Option<Second>,
    begun: Instant,
}

struct Met {
    groups: Groups<Vec<usize>>,
    /// The code of the groups' stacks. As long as it is there, no other code has its place.
    codes: Vec<Owned>,
    waiting: Waiting<Life>,
    /// Of the greenlet that is being met.
    place: Vec<usize>,
    count: u64,
}

/// The second walk.
struct Second {
    walk: Walk,
    /// The oldest of each group, by their addresses.
    oldest: HashMap<usize, usize>,
    holders: HashSet<Life>,
    /// Those of the holders that live.
    alive: HashSet<Life>,
}

/// In the place of a green thread's frames, so that it is in a group of its own.
const RUNS: usize = 1;

impl Look {
    /// Before the first step.
    pub fn begin() -> Look {
        let (groups, waiting) = (Groups::new(), Waiting::new());
        let met = Met { groups, codes: Vec::new(), waiting, place: Vec::new(), count: 0 };
        Look { walk: Walk::new(), met, second: None, begun: Instant::now() }
    }

    /// Meets green threads until it is `enough`. Returns whether there may be more.
    pub fn step(&mut self, gil: Gil<'_>, mut enough: impl FnMut() -> bool) -> bool {
        let met = &mut self.met;
        if self.second.is_none() {
            if self.walk.step(gil, &mut enough, |thread, greenlet| met.meet(gil, thread, greenlet)) {
                return true;
            }
            self.second = Some(Second::of(met));
        }
        let Some(second) = &mut self.second else { return false };
        let Second { walk, oldest, holders, alive } = second;
        walk.step(gil, enough, |thread, greenlet| {
            if let Some(place) = oldest.get(&(greenlet as usize)) {
                let (age, waits) = known_of(gil, thread, greenlet);
                met.groups.tell(*place, age, waits);
            }
            // SAFETY: a walk meets live greenlets.
            alive.extend(holders.get(&unsafe { Life::of(greenlet) }).copied());
        })
    }

    /// What was met.
    pub fn finish(mut self, gil: Option<Gil<'_>>) -> Stacks {
        if gil.is_none() {
            std::mem::forget(self.met.codes);
        }
        if let Some(second) = &self.second {
            self.met.groups.hint(self.met.waiting.hints(|life| second.alive.contains(life)));
        }
        self.met.groups.finish(self.begun.elapsed())
    }
}

impl Second {
    fn of(met: &Met) -> Second {
        let oldest = met.groups.oldest().zip(0..).map(|(thread, place)| (thread.number as usize, place)).collect();
        Second { walk: Walk::new(), oldest, holders: met.waiting.holders(), alive: HashSet::new() }
    }
}

/// How old a greenlet is, and at what it waits.
fn known_of(gil: Gil<'_>, thread: &greenlet::Thread, greenlet: *mut PyGreenlet) -> (Option<Duration>, Option<Waits>) {
    // SAFETY: a live greenlet.
    let (age, wait) = unsafe { (Life::of(greenlet).age(), wait_of(gil, greenlet)) };
    let waits = wait.filter(|wait| !wait.what.is_empty()).map(|wait| {
        let mut at = wait.at.map(Awaited::at).unwrap_or_default();
        // It waits for a signal then, which others give.
        at.holder.take_if(|holder| holder.address == greenlet as usize);
        let now = monotonic();
        let due_in = |until: Time| until.since(now).as_secs_f64() - now.since(until).as_secs_f64();
        Waits {
            object: if at.object == 0 { String::new() } else { format!("{:#x}", at.object) },
            detail: wait.at.map(Awaited::detail).unwrap_or_default(),
            waiters: at.waiters as u64,
            holder: at.holder.map(|holder| Thread { hub: thread.number, number: holder.address as u64 }),
            holder_has_ended: at.holder.is_some_and(|holder| !is_alive(gil, holder)),
            due_in: wait.until.map(due_in),
        }
    });
    (age, waits)
}

/// Whether it is an active greenlet of any thread.
fn is_alive(gil: Gil<'_>, life: Life) -> bool {
    // SAFETY: a walk meets live greenlets.
    find(gil, life.address, |_, greenlet| unsafe { Life::of(greenlet) } == life).is_some_and(|(_, _, is_it)| is_it)
}

impl Task for Look {
    type Found = Stacks;

    fn step(&mut self, gil: Gil<'_>) -> bool {
        let begun = Instant::now();
        Look::step(self, gil, || begun.elapsed() >= STEP)
    }

    fn finish(self, gil: Option<Gil<'_>>) -> Stacks {
        Look::finish(self, gil)
    }
}

impl Met {
    fn meet(&mut self, gil: Gil<'_>, thread: &greenlet::Thread, greenlet: *mut PyGreenlet) {
        let runs = thread.current() == greenlet;
        let is_main = thread.main == greenlet;
        if is_main && let Some(sizes) = seen::sizes(thread) {
            self.groups.size(sizes);
        }
        // What an OS thread without a hub does is no green thread's.
        if seen::is_loop(thread, greenlet) || is_main && runs && !seen::has_hub(thread) {
            return;
        }
        self.place.clear();
        if runs {
            self.place.extend([RUNS, greenlet as usize]);
        } else {
            // SAFETY: a walk meets live greenlets.
            unsafe { places(gil, greenlet, &mut self.place, MOST_FRAMES) };
        }
        // The newest of a thread come first.
        let age = if is_main { 0 } else { u64::MAX - self.count };
        self.count += 1;
        let name = Thread { hub: thread.number, number: greenlet as u64 };
        // SAFETY: a walk meets live greenlets.
        let wait = unsafe { wait_of(gil, greenlet) };
        if let Some((wait, object)) = wait.and_then(|wait| Some((wait, wait.at?))) {
            let At { object, waiters, holder, all_taken } = object.at();
            // SAFETY: as above.
            let life = unsafe { Life::of(greenlet) };
            self.waiting.meet((life, name), wait.what, object, waiters, holder, all_taken);
        }
        let codes = &mut self.codes;
        self.groups.meet(&self.place[..], name, age, || {
            let state = state(runs, wait);
            let waits_for = wait.map(|wait| wait.what).filter(|what| !what.is_empty()).map(String::from);
            let name = is_main.then(|| "the OS thread's own".into());
            let stack = without_collection(gil, || lines(gil, thread, greenlet, codes));
            Group { state, waits_for, name, stack, ..Group::default() }
        });
    }
}

/// What a greenlet is about.
fn state(runs: bool, wait: Option<&Wait<'_>>) -> State {
    match wait {
        _ if runs => State::Runs,
        Some(Wait { what: "", .. }) => State::Ready,
        _ => State::Waits,
    }
}

/// A look at one green thread.
pub struct One {
    thread: Thread,
    found: Option<Info>,
    second: Walk,
}

impl One {
    /// Of this name.
    pub fn of(thread: Thread) -> One {
        One { thread, found: None, second: Walk::new() }
    }
}

/// How many are told of that wait for one.
const MOST_WAITERS: usize = 10;

impl Task for One {
    type Found = Option<Info>;

    /// First it is found, then those that wait for it.
    fn step(&mut self, gil: Gil<'_>) -> bool {
        let address = usize::try_from(self.thread.number).unwrap_or(0);
        let Some(found) = &mut self.found else {
            // SAFETY: a walk meets live greenlets.
            let look = |thread: &greenlet::Thread, greenlet| unsafe {
                let runs = thread.current() == greenlet;
                let wait = wait_of(gil, greenlet);
                let (age, waits) = known_of(gil, thread, greenlet);
                let waits_for = wait.map(|wait| wait.what).filter(|what| !what.is_empty()).map(String::from);
                let stack = without_collection(gil, || lines(gil, thread, greenlet, &mut Vec::new()));
                let name =
                    if thread.main == greenlet { Some("the OS thread's own".into()) } else { called(gil, greenlet) };
                let (thread, state) = (self.thread, state(runs, wait));
                Info { thread, name, state, age: age.map(Seconds), waits_for, waits, stack, waiters: Vec::new() }
            };
            let found = find(gil, address, look).filter(|(hub, ..)| *hub == self.thread.hub);
            self.found = found.map(|(_, _, info)| info);
            return self.found.is_some();
        };
        let begun = Instant::now();
        self.second.step(
            gil,
            || begun.elapsed() >= STEP,
            |thread, greenlet| {
                // SAFETY: a walk meets live greenlets.
                let object = unsafe { wait_of(gil, greenlet) }.and_then(|wait| wait.at);
                let waits_for_it =
                    object.and_then(|object| object.at().holder).is_some_and(|life| life.address == address);
                if waits_for_it && found.waiters.len() < MOST_WAITERS {
                    found.waiters.push(Thread { hub: thread.number, number: greenlet as u64 });
                }
            },
        )
    }

    fn finish(self, _: Option<Gil<'_>>) -> Option<Info> {
        self.found
    }
}

/// The name of the function that a greenlet runs, where no code of others is needed to know it.
///
/// # Safety
/// A live greenlet.
unsafe fn called(gil: Gil<'_>, greenlet: *mut PyGreenlet) -> Option<String> {
    // SAFETY: a live greenlet keeps its function; a function's name is read from it, and is a string.
    unsafe {
        let function = function_of(gil, greenlet).filter(|function| ffi::PyFunction_Check(function.as_ptr()) != 0)?;
        word(&function, c"__qualname__")
    }
}

/// A look at what threads run that have hubs, by the hubs' numbers. One step, so that the lock is waited for once.
pub struct Running {
    threads: Vec<(u64, std::ffi::c_ulong)>,
    lines: HashMap<u64, Vec<Frame>>,
}

impl Running {
    /// Of the hubs with these numbers, and their threads with these.
    pub fn of(threads: Vec<(u64, std::ffi::c_ulong)>) -> Running {
        Running { threads, lines: HashMap::new() }
    }
}

impl Task for Running {
    type Found = HashMap<u64, Vec<Frame>>;

    fn step(&mut self, gil: Gil<'_>) -> bool {
        let lines = |(hub, ident)| (hub, running_lines(gil, ident, &mut Vec::new()));
        self.lines = self.threads.drain(..).map(lines).collect();
        false
    }

    fn finish(self, _: Option<Gil<'_>>) -> HashMap<u64, Vec<Frame>> {
        self.lines
    }
}

/// The lines of a greenlet's stack, from the innermost; keeps their code.
fn lines(gil: Gil<'_>, thread: &greenlet::Thread, greenlet: *mut PyGreenlet, codes: &mut Vec<Owned>) -> Vec<Frame> {
    if thread.current() == greenlet {
        return running_lines(gil, thread.ident, codes);
    }
    // SAFETY: a walk meets live greenlets.
    unsafe { suspended_frame(gil, greenlet) }.map(|frame| stack(frame, codes)).unwrap_or_default()
}

/// The lines that a thread runs, by its number.
fn running_lines(gil: Gil<'_>, ident: std::ffi::c_ulong, codes: &mut Vec<Owned>) -> Vec<Frame> {
    without_log(running_frame(gil, ident).map(|frame| stack(frame, codes)).unwrap_or_default())
}

/// Without what is above the line that a thread is at.
pub fn without_log(mut lines: Vec<Frame>) -> Vec<Frame> {
    // What the watchdog has found is logged above the line that the thread is at.
    let logs = |frame: &Frame| frame.function == "_log" && frame.file.ends_with("greenloom/inspect.py");
    if let Some(log) = lines.iter().rposition(logs) {
        lines.drain(..=log);
    }
    lines
}

/// The innermost frame of a thread by its number.
fn running_frame(gil: Gil<'_>, ident: std::ffi::c_ulong) -> Option<Owned> {
    // SAFETY: the token says that the lock is held; a frame that is returned is a new reference.
    let found = unsafe { Owned::new(tstate::frame_of_thread(ident)) };
    unless_raised(gil, found)
}

fn unless_raised<T>(_: Gil<'_>, result: Result<T>) -> Option<T> {
    if result.is_err() {
        // SAFETY: the token says that the lock is held.
        unsafe { ffi::PyErr_Clear() };
    }
    result.ok()
}

/// Calls `call` with no garbage collection, which would run code that ends greenlets in the middle of a walk.
fn without_collection<T>(_: Gil<'_>, call: impl FnOnce() -> T) -> T {
    // SAFETY: the token says that the lock is held, so that nobody sees it disabled.
    unsafe {
        let was_enabled = ffi::PyGC_Disable() != 0;
        let result = call();
        if was_enabled {
            ffi::PyGC_Enable();
        }
        result
    }
}

/// The lines of a stack, from the innermost frame; keeps their code.
fn stack(innermost: Owned, codes: &mut Vec<Owned>) -> Vec<Frame> {
    let mut lines = Vec::new();
    let mut next = Some(innermost);
    while let Some(frame) = next.filter(|_| lines.len() < MOST_FRAMES) {
        let pointer: *mut ffi::PyFrameObject = frame.as_ptr().cast();
        // SAFETY: a live frame.
        unsafe {
            if let Ok(code) = Owned::new(ffi::PyFrame_GetCode(pointer)) {
                lines.push(Frame {
                    file: word(&code, c"co_filename").unwrap_or_default(),
                    line: u32::try_from(ffi::PyFrame_GetLineNumber(pointer)).unwrap_or(0),
                    function: word(&code, c"co_qualname").or_else(|| word(&code, c"co_name")).unwrap_or_default(),
                });
                codes.push(code);
            }
            next = Owned::new(ffi::PyFrame_GetBack(pointer)).ok();
        }
    }
    lines
}

/// An attribute that is a string. Code objects have no attributes that run code.
fn word(object: &Owned, name: &std::ffi::CStr) -> Option<String> {
    // SAFETY: live objects.
    let found = unsafe {
        Owned::new::<PyObject>(ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr()))
            .and_then(|value| py::text(value.as_ptr()).map(String::from))
    };
    unless_raised(object.gil(), found)
}
