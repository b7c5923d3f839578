//! The wait of green objects for a descriptor, and the errors that it ends with.

use std::ffi::c_int;
use std::os::fd::RawFd;

use greenloom_hub::{Direction, Time};

use crate::eventlet::clock::{duration, monotonic};
use crate::eventlet::hub_ref::{self, hub_object};
use crate::eventlet::polling::checked;
use crate::eventlet::source::{Ready, Source};
use crate::greenlet::{self, Thread};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Owned, Result, assumed};

/// Waits for a descriptor without Python's help. None: that cannot be, and `_trampoline` is to be called.
///
/// # Safety
/// As [`Source::wait`].
#[inline]
pub unsafe fn wait_natively(
    source: &Source,
    thread: &Thread,
    fd: RawFd,
    direction: Direction,
    refused: bool,
    deadline: Option<Time>,
) -> Result<Option<Ready>> {
    // SAFETY: the caller's word.
    unsafe {
        if hub_ref::object_of(thread).is_null() {
            hub_object(thread)?;
        }
        let Some(hub) = hub_ref::native(thread) else { return Ok(None) };
        match source.wait(thread, hub, fd, direction, refused, deadline)? {
            Ready::Busy if may_share()? => Ok(None),
            Ready::Busy => refuse_second(fd, direction),
            ready => Ok(Some(ready)),
        }
    }
}

/// Whether `debug.hub_prevent_multiple_readers` was turned off.
#[cold]
pub fn may_share() -> Result<bool> {
    // SAFETY: called with the interpreter's lock.
    unsafe {
        let module = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs.hub".as_ptr()))?;
        let prevent = Owned::new(ffi::PyObject_GetAttrString(module.as_ptr(), c"g_prevent_multiple_readers".as_ptr()))?;
        Ok(!py::truth(prevent.as_ptr())?)
    }
}

#[cold]
pub fn refuse_second<T>(fd: RawFd, direction: Direction) -> Result<T> {
    let verb = if direction == Direction::Read { "read" } else { "write" };
    let message = format!(
        "Second simultaneous {verb} on fileno {fd} detected: another green thread waits to {verb} there already. \
         Let one green thread {verb} a socket at a time, with a lock or a pools.Pool; \
         eventlet.debug.hub_prevent_multiple_readers(False) turns this check off."
    );
    // SAFETY: called with the interpreter's lock.
    unsafe { py::error(ffi::PyExc_RuntimeError, &message) }
}

#[cold]
pub fn timed_out<T>() -> Result<T> {
    // SAFETY: called with the interpreter's lock.
    unsafe { py::error(ffi::PyExc_TimeoutError, "timed out") }
}

#[cold]
pub fn os_error<T>(code: c_int) -> Result<T> {
    checked(Err(std::io::Error::from_raw_os_error(code)))
}

pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The running thread's record.
pub fn here<'a>() -> Result<&'a Thread> {
    greenlet::here(assumed())
}

/// A number of seconds; negative for no limit.
pub fn deadline_after(seconds: f64) -> Option<Time> {
    (seconds >= 0.0).then(|| monotonic() + duration(seconds))
}

/// An optional number of seconds, for Python.
pub fn seconds_object(seconds: f64) -> Result<Owned> {
    if seconds < 0.0 {
        return Ok(Owned::none(assumed()));
    }
    // SAFETY: called with the interpreter's lock.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds)) }
}

/// Seconds, or -1 for None.
pub fn seconds_or_none(value: *mut PyObject) -> Result<f64> {
    // SAFETY: a live object or null, with the interpreter's lock held.
    unsafe { if value.is_null() || value == ffi::Py_None() { Ok(-1.0) } else { py::float(value) } }
}

/// Lets other OS threads run Python code meanwhile. Keeps the error number.
pub fn without_the_lock(call: impl FnOnce() -> isize) -> isize {
    // SAFETY: called with the interpreter's lock.
    unsafe {
        let state = ffi::PyEval_SaveThread();
        let result = call();
        let code = *libc::__errno_location();
        ffi::PyEval_RestoreThread(state);
        *libc::__errno_location() = code;
        result
    }
}
