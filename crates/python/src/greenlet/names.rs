//! What of greenlets has a name in Python: the exceptions, and attributes that are looked up.

use std::ptr;

use crate::py::ffi::{self, PyObject};
use crate::py::names::{Name, intern};
use crate::py::{self, Gil, GlobalObject, Owned, Result};

static ERROR: GlobalObject = GlobalObject::null();
static EXIT: GlobalObject = GlobalObject::null();
static NOTHING: GlobalObject = GlobalObject::null();

/// The string "run".
pub static RUN: Name = Name::new(c"run");
/// The string "switch".
pub static SWITCH: Name = Name::new(c"switch");
/// The string "throw".
pub static THROW: Name = Name::new(c"throw");

/// `greenlet.error`.
pub fn error() -> *mut PyObject {
    ERROR.object()
}

/// The empty tuple, borrowed.
pub fn nothing() -> *mut PyObject {
    NOTHING.object()
}

/// Raises `greenlet.error` with a message.
#[cold]
pub fn switch_error<T>(_: Gil<'_>, message: &str) -> Result<T> {
    // SAFETY: the token says that the lock is held, and the class lives for ever.
    unsafe { py::error(error(), message) }
}

/// `greenlet.GreenletExit`.
pub fn greenlet_exit() -> *mut PyObject {
    EXIT.object()
}

/// Makes them.
///
/// # Safety
/// Called at import, once.
pub unsafe fn ready() -> Result<()> {
    // SAFETY: the names are literals; the lock is held at import.
    unsafe {
        intern(&[&RUN, &SWITCH, &THROW])?;
        let base = ffi::PyExc_BaseException;
        let error = ffi::PyErr_NewException(c"greenlet.error".as_ptr(), ptr::null_mut(), ptr::null_mut());
        ERROR.set(Owned::new(error)?);
        let exit = ffi::PyErr_NewException(c"greenlet.GreenletExit".as_ptr(), base, ptr::null_mut());
        EXIT.set(Owned::new(exit)?);
        NOTHING.set(Owned::new(ffi::PyTuple_New(0))?);
    }
    Ok(())
}
