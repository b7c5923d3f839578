//! A look at all green threads: their Python stacks, grouped by where they are.
//!
//! Two green threads are at the same place if their frames are at the same instructions. That is compared without
//! making a frame object: those are made for one green thread of a group, for its lines to be told.

use std::time::{Duration, Instant};

use greenloom_inspect::groups::{Groups, MOST_FRAMES};
use greenloom_inspect::{Frame, Group, Stacks, State, Thread};

use super::locked::Task;
use crate::eventlet::seen;
use crate::greenlet::{self, PyGreenlet, Walk, places, suspended_frame};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Owned, Raised, Result};

/// How long a step may have the interpreter's lock.
const STEP: Duration = Duration::from_millis(2);

/// The look.
pub struct Look {
    walk: Walk,
    met: Met,
    begun: Instant,
}

struct Met {
    groups: Groups<Vec<usize>>,
    /// The code of the groups' stacks. As long as it is there, no other code has its place.
    codes: Vec<Owned>,
    /// Of the greenlet that is being met.
    place: Vec<usize>,
    count: u64,
}

/// In the place of a green thread's frames, so that it is in a group of its own.
const RUNS: usize = 1;

impl Look {
    /// Before the first step.
    pub fn begin() -> Look {
        let met = Met { groups: Groups::new(), codes: Vec::new(), place: Vec::new(), count: 0 };
        Look { walk: Walk::new(), met, begun: Instant::now() }
    }

    /// Meets green threads until it is `enough`. Returns whether there may be more.
    pub fn step(&mut self, gil: Gil<'_>, enough: impl FnMut() -> bool) -> bool {
        let met = &mut self.met;
        self.walk.step(gil, enough, |thread, greenlet| met.meet(gil, thread, greenlet))
    }

    /// What was met.
    pub fn finish(self, gil: Option<Gil<'_>>) -> Stacks {
        if gil.is_none() {
            std::mem::forget(self.met.codes);
        }
        self.met.groups.finish(self.begun.elapsed())
    }
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
        let codes = &mut self.codes;
        self.groups.meet(&self.place[..], name, age, || {
            let state = if runs { State::Runs } else { State::Waits };
            let name = is_main.then(|| "the OS thread's own".into());
            let frame = if runs { running_frame(gil, thread.ident) } else { suspended(gil, greenlet) };
            let stack = frame.map(|frame| without_collection(gil, || stack(frame, codes))).unwrap_or_default();
            Group { state, name, stack, ..Group::default() }
        });
    }
}

/// A look at what one thread runs.
pub struct Running {
    ident: std::ffi::c_ulong,
    lines: Vec<Frame>,
}

impl Running {
    /// Of the thread with this number.
    pub fn of(ident: std::ffi::c_ulong) -> Running {
        Running { ident, lines: Vec::new() }
    }
}

impl Task for Running {
    type Found = Vec<Frame>;

    fn step(&mut self, gil: Gil<'_>) -> bool {
        let frame = running_frame(gil, self.ident);
        self.lines = frame.map(|frame| stack(frame, &mut Vec::new())).unwrap_or_default();
        false
    }

    fn finish(self, _: Option<Gil<'_>>) -> Vec<Frame> {
        self.lines
    }
}

fn suspended(gil: Gil<'_>, greenlet: *mut PyGreenlet) -> Option<Owned> {
    // SAFETY: a walk meets live greenlets.
    unsafe { suspended_frame(gil, greenlet) }.ok()
}

/// The innermost frame of a thread by its number.
fn running_frame(gil: Gil<'_>, ident: std::ffi::c_ulong) -> Option<Owned> {
    // SAFETY: the function is the interpreter's own; what a dict lends is kept. An exception is forgotten.
    let found: Result<Owned> = unsafe {
        (|| {
            let function = ffi::PySys_GetObject(c"_current_frames".as_ptr());
            if function.is_null() {
                return Err(Raised);
            }
            let frames = py::call(function, [])?;
            let key = Owned::new(ffi::PyLong_FromUnsignedLong(ident))?;
            let frame = ffi::PyDict_GetItemWithError(frames.as_ptr(), key.as_ptr());
            if frame.is_null() { Err(Raised) } else { Ok(Owned::borrow(frame)) }
        })()
    };
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
