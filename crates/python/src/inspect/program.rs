//! A Python program as [`greenloom_inspect`] asks for it.

use std::collections::HashMap;
use std::ffi::c_ulong;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use greenloom_fiber::{Snapshot, Unseen};
use greenloom_inspect::groups::MOST_FRAMES;
use greenloom_inspect::native::Symbols;
use greenloom_inspect::protocol::Trace;
use greenloom_inspect::traced::{self, Recorded};
use greenloom_inspect::{Frame, Hub, Info, Program, Pulse, Stacks, Thread, Whereabouts, to_stderr};

use super::locked::{Locked, PATIENCE, Task};
use super::logged;
use super::look::{Look, One, Running, without_log};
use crate::eventlet::seen::{self, Seen};
use crate::greenlet::find;
use crate::greenlet::recording::{self, Followed};
use crate::greenlet::wait::BIRTHS;
use crate::py::Gil;
use crate::py::ffi;
use crate::tstate::{Line, Unlocked};

/// The program.
pub struct Python {
    locked: Arc<Locked>,
    /// Nothing if this interpreter is not as expected.
    unlocked: Option<Unlocked>,
    symbols: Symbols,
}

impl Python {
    /// What it needs the interpreter's lock for is done by `locked`.
    pub fn new(gil: Gil<'_>, locked: Arc<Locked>) -> Python {
        Python { locked, unlocked: Unlocked::learn(gil), symbols: Symbols::default() }
    }
}

impl Program for Python {
    fn language(&self) -> &'static str {
        "python"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        hubs()
    }

    fn of_locks(&self, found: &Whereabouts) -> &'static str {
        if found.backtrace.iter().any(|frame| frame.function == "take_gil") {
            return "that is the interpreter's lock, which another OS thread has";
        }
        "if that is a lock of threading which another green thread holds, make it after eventlet.monkey_patch()"
    }

    fn stacks(&mut self) -> Stacks {
        let found = self.locked.ask(Look::begin);
        found.unwrap_or_else(|| Stacks { problems: vec![lock_is_held()], ..Stacks::default() })
    }

    fn thread(&mut self, thread: Thread) -> Result<Info, String> {
        let found = self.locked.ask(move || One::of(thread)).ok_or_else(lock_is_held)?;
        found.ok_or_else(|| format!("there is no green thread {thread}: it may have ended"))
    }

    fn record(&mut self, events: usize) -> Result<Box<dyn Recorded>, String> {
        let followed = self.locked.ask(move || Follow { events, followed: None }).ok_or_else(lock_is_held)?;
        let followed = followed.ok_or("a trace of this process is being recorded already; finish that one first")?;
        Ok(Box::new(Following { followed, locked: Arc::clone(&self.locked) }))
    }

    fn pulses(&mut self) -> Vec<Pulse> {
        BIRTHS.tick();
        let pulse = |hub: seen::Seen| {
            let counts = hub.statistics.counts();
            // Before the first turn of its loop there is nothing that it keeps waiting.
            let is_free = hub.statistics.waits() || hub.runs_main() && counts.turns == 0;
            // Green threads that take turns begin those of the loop themselves, which counts no look.
            let steps = counts.turns + counts.switches;
            Pulse { hub: hub.number, os_thread: Some(hub.os_thread()), steps, is_free }
        };
        seen::all().into_iter().map(pulse).collect()
    }

    fn log(&mut self, message: String) {
        logged::log(message);
    }

    /// The lines of Python that they run, and the C code that the innermost of them has called. That is read without
    /// the interpreter's lock, which is then asked for: to know whether C code has it, and for lines that could not be
    /// read. If it is not to be had soon, those are said when C code lets go of it.
    fn whereabouts(&mut self, pulses: &[Pulse], until: Instant) -> Vec<Whereabouts> {
        let still: Vec<_> = pulses.iter().map(|pulse| self.still(pulse, until)).collect();
        let unread = |still: &&Still| still.lines.is_none();
        let unread = still.iter().flatten().filter(unread).map(|still| (still.hub, still.ident)).collect();
        let tell = |found: HashMap<u64, Vec<Frame>>| {
            for (hub, lines) in found {
                if let Some(said) = said(&lines) {
                    let said = format!("greenloom: hub {hub}: C code let go of the interpreter's lock; {said}\n");
                    to_stderr(&said, Duration::ZERO);
                }
            }
        };
        let found = self.locked.ask_or_tell(SOON, move || Running::of(unread), tell);
        let told = |still: Option<Still>| still.map(|still| still.told(found.as_ref())).unwrap_or_default();
        still.into_iter().map(told).collect()
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        self.locked.ask(move || Kill { thread, outcome: None }).unwrap_or_else(|| Err(lock_is_held()))
    }
}

/// The C code that Python code has called, of a whole stack.
fn called(mut frames: Vec<Frame>) -> Vec<Frame> {
    let end = frames.iter().position(|frame| is_interpreter(&frame.function)).unwrap_or(frames.len());
    frames.truncate(end);
    // How the interpreter has called it.
    let end = frames.iter().rposition(|frame| !is_call(&frame.function)).map_or(0, |last| last + 1);
    frames.truncate(end.min(MOST_FRAMES));
    frames
}

/// Whether a function runs Python code.
fn is_interpreter(function: &str) -> bool {
    ["_PyEval_", "PyEval_", "_TAIL_CALL_"].iter().any(|name| function.starts_with(name))
}

/// Whether a function calls what Python code calls.
fn is_call(function: &str) -> bool {
    function.to_ascii_lowercase().contains("vectorcall") || function.contains("PyObject_Call")
}

/// A hub that does not move, as it is without the interpreter's lock.
struct Still {
    hub: u64,
    ident: c_ulong,
    lines: Option<String>,
    backtrace: Vec<Frame>,
    unseen: Option<Unseen>,
}

impl Python {
    /// `None` if it has moved on before it was looked at.
    fn still(&mut self, pulse: &Pulse, until: Instant) -> Option<Still> {
        let Seen { number: hub, ident, state, .. } = seen::all().into_iter().find(|seen| seen.number == pulse.hub)?;
        let stack = pulse.os_thread.map(|id| Snapshot::of_os_thread_until(id, until)).transpose();
        if !self.pulses().contains(pulse) {
            return None;
        }
        let lines = self.unlocked.as_ref().map(|unlocked| unlocked.lines(state, MOST_FRAMES)).unwrap_or_default();
        let frame = |Line { file, line, function }| Frame { file, line, function };
        let lines = said(&without_log(lines.into_iter().map(frame).collect()));
        let (stack, unseen) = stack.map_or_else(|unseen| (None, Some(unseen)), |stack| (stack, None));
        let backtrace = stack.map(|stack| {
            self.symbols.renew();
            called(self.symbols.frames(&stack, 4 * MOST_FRAMES))
        });
        Some(Still { hub, ident, lines, backtrace: backtrace.unwrap_or_default(), unseen })
    }
}

impl Still {
    /// In words, with what was found with the lock; that is `None` if the lock was not to be had.
    fn told(self, found: Option<&HashMap<u64, Vec<Frame>>>) -> Whereabouts {
        let held = found.is_none().then(|| "C code holds the interpreter's lock".into());
        let lines = self.lines.or_else(|| said(found?.get(&self.hub)?));
        let unseen = self.unseen.map(|unseen| format!("its native code is not known: {unseen}"));
        Whereabouts { said: [held, lines, unseen].into_iter().flatten().collect(), backtrace: self.backtrace }
    }
}

fn lock_is_held() -> String {
    format!(
        "the interpreter's lock was not to be had for {} s: C code holds it, or other OS threads are before us",
        PATIENCE.as_secs()
    )
}

/// How long it may take to have the interpreter's lock if no C code holds it.
const SOON: Duration = Duration::from_millis(100);

/// The innermost lines of a stack, in one.
fn said(lines: &[Frame]) -> Option<String> {
    const LINES: usize = 3;
    let said: Vec<_> = lines.iter().take(LINES).map(Frame::to_string).collect();
    (!said.is_empty()).then(|| format!("it runs {}", said.join(" < ")))
}

/// What the hubs have done. Needs no lock.
pub fn hubs() -> Vec<Hub> {
    let describe = |hub: seen::Seen| {
        let counts = hub.statistics.counts();
        Hub {
            number: hub.number,
            os_thread: name_of(hub.os_thread()),
            waits: hub.statistics.waits(),
            green_threads: None,
            switches: counts.switches,
            turns: counts.turns,
            timers: counts.timers,
            timer_lag: counts.timer_lag.as_secs_f64(),
            longest_timer_lag: counts.longest_timer_lag.as_secs_f64(),
            longest_block: counts.longest_block.as_secs_f64(),
            os_thread_id: Some(hub.os_thread()),
            ..Hub::default()
        }
    };
    seen::all().into_iter().map(describe).collect()
}

/// The name of an OS thread, as the system has it.
fn name_of(os_thread: libc::pid_t) -> String {
    if u32::try_from(os_thread) == Ok(std::process::id()) {
        return "main".into();
    }
    let name = fs::read_to_string(format!("/proc/self/task/{os_thread}/comm")).unwrap_or_default();
    format!("{} {os_thread}", name.trim_end()).trim_start().into()
}

/// Begins to record.
struct Follow {
    events: usize,
    followed: Option<Followed>,
}

impl Task for Follow {
    type Found = Option<Followed>;

    fn step(&mut self, gil: Gil<'_>) -> bool {
        self.followed = recording::follow(gil, self.events);
        false
    }

    fn finish(self, _: Option<Gil<'_>>) -> Option<Followed> {
        self.followed
    }
}

/// After the end of a recording.
struct Tidy;

impl Task for Tidy {
    type Found = ();

    fn step(&mut self, gil: Gil<'_>) -> bool {
        // Another one may have begun.
        if !recording::is_on() {
            recording::tidy(gil);
        }
        false
    }

    fn finish(self, _: Option<Gil<'_>>) {}
}

/// A recording that goes on until this is stopped or dropped.
struct Following {
    followed: Followed,
    locked: Arc<Locked>,
}

impl Recorded for Following {
    fn read(&mut self, events: usize) -> Trace {
        let tick = self.followed.tick();
        traced::read(self.followed.readers(), events, tick)
    }

    fn stop(&mut self) {
        if self.followed.stop() {
            // If the lock is not to be had, the next recording does it.
            self.locked.ask(|| Tidy);
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends a green thread.
struct Kill {
    thread: Thread,
    outcome: Option<Result<String, String>>,
}

impl Task for Kill {
    type Found = Result<String, String>;

    fn step(&mut self, gil: Gil<'_>) -> bool {
        self.outcome = Some(kill(gil, self.thread));
        false
    }

    fn finish(self, _: Option<Gil<'_>>) -> Result<String, String> {
        self.outcome.unwrap_or_else(|| Err("the program is ending".into()))
    }
}

fn kill(gil: Gil<'_>, name: Thread) -> Result<String, String> {
    let address = usize::try_from(name.number).unwrap_or(0);
    let Some((thread, greenlet, is_special)) =
        find(gil, address, |thread, greenlet| greenlet == thread.main || seen::is_loop(thread, greenlet))
    else {
        return Err(format!("there is no green thread {name}: it may have ended"));
    };
    if thread != name.hub {
        return Err(format!("there is no green thread {name}: it may have ended"));
    }
    if is_special {
        return Err(format!("{name} is not a green thread, but the OS thread's own: it is not killed"));
    }
    // SAFETY: a live greenlet. An exception is forgotten.
    unsafe {
        match seen::kill(gil, greenlet.as_ptr().cast()) {
            Ok(true) => Ok(format!("green thread {name} gets a GreenletExit")),
            Ok(false) => Err(format!("green thread {name} runs: it can be killed when it waits")),
            Err(_) => {
                ffi::PyErr_Clear();
                Err("there is no memory for the exception".into())
            }
        }
    }
}
