//! The hot paths of the `eventlet` package: the hub and what parks on it.
//!
//! Each file may use those above it:
//!
//! - [`clock`], [`ticket`], [`work`], [`polling`]: time, the name of a park, what a hub has to do, its file
//!   descriptors.
//! - [`frame`]: the Python frame at the base of each green thread.
//! - [`hub`]: the hub's state and its loop, which runs in the hub's greenlet.
//! - [`seen`]: what others may see of a hub, without the interpreter's lock too.
//! - [`hub_ref`]: a thread's hub, whatever its class.
//! - [`mod@line`], [`end`]: those that wait for something to take; the end of a green thread.
//! - [`park`]: how a greenlet is suspended; all that blocks is built of it. [`fairness`]: turns for others between what
//!   does not block.
//! - [`pair`]: what tells one end of a connection that the other was written to. [`source`]: the descriptor of a green
//!   object.
//! - [`event`], [`semaphore`], [`rlock`], [`queue`], [`pool`]: what green threads wait for each other with.
//! - [`finish`]: what runs in a green thread, and the news of its end.
//! - [`green_thread`]: sleep, spawn, kill and the `GreenThread` type; [`pool_class`]: the type of pools, which spawn;
//!   [`time_sleep`]: `time.sleep` of a patched program.
//! - [`hub_class`], [`hub_functions`], [`timer_class`]: the hub and its timers as Python sees them.
//! - [`timeline`]: recording what runs, waits and wakes.
//! - [`local`]: values of which each green thread has its own; [`patch`]: what monkey-patching needs of C.
//! - [`socket`]: green sockets, and the wait of what else has a descriptor.
//! - [`native`]: C libraries made green.
//!
//! A hub written in Python, or one whose methods are overridden, is served too: what concerns it goes through its
//! Python methods then ([`hub_ref`]). Everything here is guarded by the interpreter's lock, also from another OS
//! thread.

pub mod clock;
mod end;
mod event;
mod fairness;
mod finish;
mod frame;
mod green_thread;
mod hub;
mod hub_class;
mod hub_functions;
pub mod hub_ref;
mod line;
pub mod local;
mod native;
mod pair;
mod park;
mod patch;
mod polling;
mod pool;
mod pool_class;
mod queue;
mod rlock;
pub mod seen;
mod semaphore;
pub mod socket;
mod source;
mod ticket;
mod time_sleep;
mod timeline;
mod timer_class;
mod work;

use crate::py::Result;
use crate::py::ffi::{PyMethodDef, PyObject};

/// The functions of the native module that are eventlet's.
pub fn functions() -> Vec<PyMethodDef> {
    let mut functions = green_thread::functions();
    functions.extend(fairness::functions());
    functions.extend(hub_functions::functions());
    functions.push(rlock::function());
    functions.extend(clock::functions());
    functions.extend(local::functions());
    functions.extend(native::functions::functions());
    functions.extend(patch::functions());
    functions.extend(timeline::functions());
    functions.extend(socket::functions());
    functions
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once, with the lock held.
    unsafe {
        hub_ref::fill(module)?;
        park::fill()?;
        hub::signal::fill()?;
        hub_class::class().build(module)?;
        timer_class::class().build(module)?;
        green_thread::ready(module)?;
        event::class().build(module)?;
        semaphore::fill(module)?;
        rlock::fill(module)?;
        queue::fill(module)?;
        pool_class::class().build(module)?;
        local::fill(module)?;
        socket::fill(module)?;
        native::functions::fill(module)?;
        time_sleep::fill(module)
    }
}
