//! The hot paths of the `eventlet` package: the hub and what parks on it.
//!
//! - [`hub`]: the hub's state and its loop, which runs in the hub's greenlet.
//! - [`park`]: how a greenlet is suspended and woken; all that blocks is built of it.
//! - [`timer`]: timers as Python sees them.
//! - [`green_thread`]: sleep, spawn, kill and the `GreenThread` type.
//! - [`event`], [`semaphore`], [`queue`], [`pool`]: what green threads wait for each other with; [`mod@line`] is how they stand in
//!   line there.
//! - [`local`]: values of which each green thread has its own.
//! - [`io`]: file descriptors, edge-triggered.
//! - [`patch`]: what monkey-patching needs of C.
//! - [`socket`]: green sockets, and the wait of what else has a descriptor.
//!
//! A hub written in Python, or one whose methods are overridden, is served too: what concerns it goes through its Python
//! methods then ([`hub_ref`]). Everything here is guarded by the interpreter's lock, also from another OS thread.

pub mod event;
pub mod green_thread;
pub mod hub;
pub mod hub_ref;
pub mod io;
pub mod line;
pub mod local;
pub mod park;
pub mod patch;
pub mod pool;
pub mod queue;
pub mod semaphore;
pub mod socket;
pub mod timer;
pub mod work;

use crate::py::Result;
use crate::py::ffi::{PyMethodDef, PyObject};

/// The functions of the native module that are eventlet's.
pub fn functions() -> Vec<PyMethodDef> {
    let mut functions = green_thread::functions();
    functions.extend(hub::functions());
    functions.extend(io::functions());
    functions.extend(local::functions());
    functions.extend(patch::functions());
    functions.extend(socket::functions());
    functions
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        park::fill(module)?;
        hub::class().build(module)?;
        timer::class().build(module)?;
        green_thread::ready(module)?;
        event::class().build(module)?;
        semaphore::fill(module)?;
        queue::fill(module)?;
        pool::class().build(module)?;
        local::class().build(module)?;
        socket::fill(module)
    }
}
