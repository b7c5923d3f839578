//! The wait of green objects for a descriptor, and the errors that it ends with.

use std::ffi::c_int;
use std::os::fd::RawFd;

use greenloom_hub::{Direction, Time};

use crate::eventlet::clock::{duration, monotonic};
use crate::eventlet::hub_ref;
use crate::eventlet::polling::checked;
use crate::eventlet::source::{LastTry, Ready, Source};
use crate::greenlet::Here;
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Gil, Owned, Raised, Result};

/// Waits for a descriptor, always the same number, without Python's help. None: that cannot be, and `_trampoline` is to
/// be called. [`Ready::Busy`]: somebody else waits there, and the call was not tried yet; it may not have to wait.
///
/// # Errors
/// Those of [`Source::wait`]; RuntimeError if somebody else waits there after a try, too.
#[inline]
pub fn wait_natively(
    source: &Source,
    thread: Here<'_>,
    fd: RawFd,
    direction: Direction,
    last_try: LastTry,
    deadline: Option<Time>,
) -> Result<Option<Ready>> {
    hub_ref::ensure(thread)?;
    let Some(hub) = hub_ref::native(&thread) else { return Ok(None) };
    match source.wait(thread, hub, fd, direction, last_try, deadline)? {
        Ready::Busy if last_try == LastTry::NotMade => Ok(Some(Ready::Busy)),
        Ready::Busy if may_share(thread.gil())? => Ok(None),
        Ready::Busy => refuse_second(thread.gil(), fd, direction),
        ready => Ok(Some(ready)),
    }
}

/// Whether `debug.hub_prevent_multiple_readers` was turned off.
#[cold]
pub fn may_share(_: Gil<'_>) -> Result<bool> {
    // SAFETY: a live object, and the token says that the lock is held.
    let prevent = unsafe {
        let module = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs.hub".as_ptr()))?;
        Owned::new(ffi::PyObject_GetAttrString(module.as_ptr(), c"g_prevent_multiple_readers".as_ptr()))?
    };
    Ok(!Object::of(&prevent).truth()?)
}

#[cold]
pub fn refuse_second<T>(gil: Gil<'_>, fd: RawFd, direction: Direction) -> Result<T> {
    let verb = if direction == Direction::Read { "read" } else { "write" };
    let message = format!(
        "Second simultaneous {verb} on fileno {fd} detected: another green thread waits to {verb} there already. \
         Let one green thread {verb} a socket at a time, with a lock or a pools.Pool; \
         eventlet.debug.hub_prevent_multiple_readers(False) turns this check off."
    );
    py::runtime_error(gil, &message)
}

/// Why an operation of a socket has no result.
pub enum Failure {
    /// An exception is pending.
    Raised,
    /// The socket's timeout is over.
    TimedOut,
    /// The operating system's number for it.
    Os(c_int),
}

impl From<Raised> for Failure {
    fn from(_: Raised) -> Failure {
        Failure::Raised
    }
}

impl Failure {
    #[cold]
    pub fn raise<T>(self, gil: Gil<'_>) -> Result<T> {
        match self {
            Failure::Raised => Err(Raised),
            Failure::TimedOut => timed_out(gil),
            Failure::Os(code) => os_error(gil, code),
        }
    }
}

#[cold]
pub fn timed_out<T>(_: Gil<'_>) -> Result<T> {
    // SAFETY: the class lives for ever, and the token says that the lock is held.
    unsafe { py::error(ffi::PyExc_TimeoutError, "timed out") }
}

#[cold]
pub fn os_error<T>(gil: Gil<'_>, code: c_int) -> Result<T> {
    checked(gil, Err(std::io::Error::from_raw_os_error(code)))
}

pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// As if a system call had failed with this code.
pub fn set_errno(code: c_int) {
    // SAFETY: it is this OS thread's own.
    unsafe { *libc::__errno_location() = code };
}

/// A number of seconds; negative for no limit.
pub fn deadline_after(seconds: f64) -> Option<Time> {
    (seconds >= 0.0).then(|| monotonic() + duration(seconds))
}

/// An optional number of seconds, for Python.
pub fn seconds_object(gil: Gil<'_>, seconds: f64) -> Result<Owned> {
    if seconds < 0.0 {
        return Ok(Owned::none(gil));
    }
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds)) }
}

/// Seconds, or -1 for None, or without a value.
pub fn seconds_or_none(value: Option<Object<'_>>) -> Result<f64> {
    value.and_then(Object::unless_none).map_or(Ok(-1.0), Object::float)
}

/// Lets other OS threads run Python code meanwhile. Keeps the error number.
///
/// # Safety
/// The call touches no object, nor anything else that the lock guards; the memory that it uses stays until it returns.
pub unsafe fn without_the_lock(_: Gil<'_>, call: impl FnOnce() -> isize) -> isize {
    // SAFETY: the token says that the lock is held. The error number is the OS thread's own.
    unsafe {
        let state = ffi::PyEval_SaveThread();
        let result = call();
        let code = *libc::__errno_location();
        ffi::PyEval_RestoreThread(state);
        *libc::__errno_location() = code;
        result
    }
}
