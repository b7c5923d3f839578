//! Exceptions: raising one, and keeping the pending one while other code runs.

// The calls that take an exception as three values are the ones that all versions have.
#![allow(deprecated)]

use std::ptr;

use super::ffi::{self, Py_ssize_t, PyObject};

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
    // SAFETY: the string is copied.
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
    // SAFETY: the caller's word.
    unsafe { raise::<PyObject>(exception, message) };
    Err(Raised)
}

/// Raises a TypeError.
#[cold]
pub fn type_error<T>(message: &str) -> Result<T> {
    // SAFETY: functions are called with the interpreter's lock.
    unsafe { error(ffi::PyExc_TypeError, message) }
}

/// The pending exception, taken out so that code can run meanwhile; dropped, it would be lost.
#[must_use]
pub struct Pending([*mut PyObject; 3]);

impl Pending {
    /// Takes it out. There may be none.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn take() -> Pending {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        // SAFETY: three out parameters.
        unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
        Pending([kind, value, traceback])
    }

    /// Makes it pending again.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn put_back(self) {
        let [kind, value, traceback] = self.0;
        // SAFETY: gives the references back.
        unsafe { ffi::PyErr_Restore(kind, value, traceback) };
    }

    /// Lets go of it.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn discard(self) {
        for object in self.0 {
            // SAFETY: owned since `take`.
            unsafe { ffi::xdecref(object) };
        }
    }

    /// The exception object, normalised.
    ///
    /// # Safety
    /// As [`take`](Self::take), and there was one.
    pub unsafe fn into_value(self) -> *mut PyObject {
        let [mut kind, mut value, mut traceback] = self.0;
        // SAFETY: owned since `take`.
        unsafe {
            ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
            ffi::xdecref(kind);
            ffi::xdecref(traceback);
        }
        value
    }
}
