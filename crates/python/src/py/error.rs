//! Exceptions: that one is pending, and raising one.

use std::ptr;

use super::ffi::{self, Py_ssize_t, PyObject};
use super::lock::Gil;

/// An exception is pending.
#[derive(Debug)]
pub struct Raised;

/// What calls that may raise return.
pub type Result<T> = std::result::Result<T, Raised>;

/// Raises `exception` with a message, and returns the null that reports it.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn raise<T>(exception: *mut PyObject, message: &str) -> *mut T {
    // SAFETY: the lock is held, an exception class lives for ever, and the string is copied.
    unsafe {
        let text = ffi::PyUnicode_FromStringAndSize(message.as_ptr().cast(), message.len() as Py_ssize_t);
        if !text.is_null() {
            ffi::PyErr_SetObject(exception, text);
            ffi::decref(text);
        }
    }
    ptr::null_mut()
}

/// Raises `exception` with a message.
///
/// # Safety
/// The interpreter's lock is held.
#[cold]
pub unsafe fn error<T>(exception: *mut PyObject, message: &str) -> Result<T> {
    // SAFETY: the lock is held.
    unsafe { raise::<PyObject>(exception, message) };
    Err(Raised)
}

macro_rules! builtin_errors {
    ($($function:ident $class:ident)*) => {$(
        #[doc = concat!("Raises ", stringify!($class), " with a message.")]
        #[cold]
        pub fn $function<T>(_: Gil<'_>, message: &str) -> Result<T> {
            // SAFETY: the class lives for ever, and the token says that the lock is held.
            unsafe { error(ffi::$class, message) }
        }
    )*};
}

builtin_errors! {
    assertion_error PyExc_AssertionError
    attribute_error PyExc_AttributeError
    import_error PyExc_ImportError
    memory_error PyExc_MemoryError
    overflow_error PyExc_OverflowError
    runtime_error PyExc_RuntimeError
    system_error PyExc_SystemError
    type_error PyExc_TypeError
    value_error PyExc_ValueError
}
