//! A Python program as [`greenloom_inspect`] asks for it.

use std::fs;
use std::sync::Arc;

use greenloom_inspect::{Hub, Program, Stacks, Thread};

use super::locked::{Locked, PATIENCE, Task, leave_signals_to_others};
use super::look::Look;
use crate::eventlet::seen;
use crate::greenlet::find;
use crate::py::Gil;
use crate::py::ffi;

/// The program.
pub struct Python {
    locked: Arc<Locked>,
}

impl Python {
    /// What it needs the interpreter's lock for is done by `locked`.
    pub fn new(locked: Arc<Locked>) -> Python {
        Python { locked }
    }
}

impl Program for Python {
    fn language(&self) -> &'static str {
        "python"
    }

    fn begin(&mut self) {
        leave_signals_to_others();
    }

    fn hubs(&mut self) -> Vec<Hub> {
        hubs()
    }

    fn stacks(&mut self) -> Stacks {
        let found = self.locked.ask(Look::begin);
        found.unwrap_or_else(|| Stacks { problems: vec![lock_is_held()], ..Stacks::default() })
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        self.locked.ask(move || Kill { thread, outcome: None }).unwrap_or_else(|| Err(lock_is_held()))
    }
}

fn lock_is_held() -> String {
    format!(
        "the interpreter's lock was not to be had for {} s: C code holds it, or other OS threads are before us",
        PATIENCE.as_secs()
    )
}

/// What the hubs have done. Needs no lock.
pub fn hubs() -> Vec<Hub> {
    let describe = |hub: seen::Seen| {
        let counts = hub.statistics.counts();
        Hub {
            number: hub.number,
            os_thread: name_of(hub.os_thread),
            waits: hub.statistics.waits(),
            green_threads: None,
            switches: counts.switches,
            turns: counts.turns,
            timers: counts.timers,
            timer_lag: counts.timer_lag.as_secs_f64(),
            longest_timer_lag: counts.longest_timer_lag.as_secs_f64(),
            longest_block: counts.longest_block.as_secs_f64(),
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
    format!("{} {os_thread}", name.trim_end())
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
