//! What others may see of a hub: an OS thread that has the interpreter's lock more, one that has not less.
//!
//! A hub's [`Statistics`] are counted by its OS thread and read by any, so that a hub is told of that is blocked with
//! the lock in its hand.

use std::sync::Arc;

use greenloom_fiber::ForkMutex;
use greenloom_hub::Statistics;
use greenloom_inspect::protocol::Sizes;

use super::hub::Hub;
use super::ticket::{Outcome, Ticket};
use crate::greenlet::{Handle, PyGreenlet, Thread, body, greenlet_exit};
use crate::py::object::Object;
use crate::py::{self, Gil, Result};

/// A hub, for OS threads that have not the lock.
#[derive(Clone)]
pub struct Seen {
    /// The number of its thread among those that have greenlets.
    pub number: u64,
    /// The system's number of its OS thread, in the process where it was made.
    os_thread: libc::pid_t,
    process: u32,
    pub statistics: Arc<Statistics>,
    /// The number of its thread, as Python's `threading.get_ident` has it.
    pub ident: std::ffi::c_ulong,
    /// The address of its thread's state, which may be gone.
    pub state: usize,
    /// The address of its thread's main greenlet.
    main: usize,
    thread: Arc<Handle>,
}

impl Seen {
    /// The system's number of its OS thread. In the child of a fork the only one that lives is the one that forked, and
    /// has the number of the process.
    pub fn os_thread(&self) -> libc::pid_t {
        let process = std::process::id();
        if process == self.process { self.os_thread } else { process.cast_signed() }
    }

    /// Whether the OS thread's own code runs, and no green thread.
    pub fn runs_main(&self) -> bool {
        self.thread.runs(std::ptr::without_provenance_mut(self.main))
    }
}

static HUBS: ForkMutex<Vec<Seen>> = ForkMutex::new(Vec::new());

/// Notes the hub of the running thread, or that it has none.
pub fn note(thread: &Thread, statistics: Option<Arc<Statistics>>) {
    let mut hubs = HUBS.lock();
    hubs.retain(|hub| hub.number != thread.number && hub.thread.is_alive());
    if let Some(statistics) = statistics {
        // SAFETY: it asks the system only.
        let (os_thread, process) = (unsafe { libc::gettid() }, std::process::id());
        // SAFETY: a hub is made by its own thread, with the lock held.
        let state = unsafe { crate::tstate::current() } as usize;
        let (number, ident, main) = (thread.number, thread.ident, thread.main as usize);
        let thread = Arc::clone(&thread.handle);
        hubs.push(Seen { number, os_thread, process, statistics, ident, state, main, thread });
    }
}

/// The hubs of the threads that live.
pub fn all() -> Vec<Seen> {
    HUBS.lock().iter().filter(|hub| hub.thread.is_alive()).cloned().collect()
}

/// Whether the thread has a hub.
pub fn has_hub(thread: &Thread) -> bool {
    !thread.extension.object().is_null()
}

/// Whether the greenlet is that of the loop of its thread's hub. Runs no Python code.
pub fn is_loop(thread: &Thread, greenlet: *mut PyGreenlet) -> bool {
    let hub = thread.extension.owned();
    let hub = hub.as_ref().and_then(|hub| Object::of(hub).instance::<Hub>());
    hub.is_some_and(|hub| hub.greenlet() == greenlet)
}

/// What the thread's hub has at the moment: [`Hub::sizes`]. Runs no Python code.
pub fn sizes(thread: &Thread) -> Option<Sizes> {
    let hub = thread.extension.owned();
    Some(Object::of(hub.as_ref()?).instance::<Hub>()?.sizes(thread.number))
}

/// Wakes a suspended greenlet, of any thread, with a `GreenletExit`. Returns whether it was suspended.
///
/// # Safety
/// A live greenlet.
pub unsafe fn kill(gil: Gil<'_>, greenlet: *mut PyGreenlet) -> Result<bool> {
    // SAFETY: a live greenlet; the exception's class lives for ever.
    unsafe {
        if body(greenlet).is_current(greenlet) {
            return Ok(false);
        }
        let exit = py::call(greenlet_exit(), [])?;
        Ok(Ticket::of_present_park(greenlet).wake(gil, Outcome::Throw(exit, None)))
    }
}
