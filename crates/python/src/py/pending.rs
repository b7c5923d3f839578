//! The pending exception, taken out.

// The calls that take an exception as three values are the ones that all versions have.
#![allow(deprecated)]

use std::ptr;

use super::error::Result;
use super::ffi::{self, PyObject};
use super::lock::Gil;
use super::owned::Owned;

/// The pending exception, taken out so that code can run meanwhile; dropped, it would be lost.
#[must_use]
pub struct Pending([*mut PyObject; 3]);

impl Pending {
    /// Takes it out. There may be none.
    pub fn take(_: Gil<'_>) -> Pending {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        // SAFETY: three out parameters, and the token says that the lock is held.
        unsafe { ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
        Pending([kind, value, traceback])
    }

    /// Makes it pending again.
    pub fn put_back(self) {
        let [kind, value, traceback] = self.0;
        // SAFETY: owned since `take`; it is not `Send`, so that the lock is held.
        unsafe { ffi::PyErr_Restore(kind, value, traceback) };
    }

    /// Lets go of it.
    pub fn discard(self) {
        for object in self.0 {
            // SAFETY: owned since `take`; it is not `Send`, so that the lock is held.
            unsafe { ffi::xdecref(object) };
        }
    }

    /// The exception object, taken out for good.
    pub fn into_object(mut self, gil: Gil<'_>) -> Owned {
        let value = self.value(gil);
        self.discard();
        value
    }

    /// The exception object, with its traceback; None if there is no exception.
    pub fn value(&mut self, gil: Gil<'_>) -> Owned {
        let [kind, value, traceback] = &mut self.0;
        if kind.is_null() {
            return Owned::none(gil);
        }
        // SAFETY: owned since `take`; the token says that the lock is held.
        unsafe {
            ffi::PyErr_NormalizeException(kind, value, traceback);
            if !traceback.is_null() {
                ffi::PyException_SetTraceback(*value, *traceback);
            }
            Owned::borrow(*value)
        }
    }

    /// The exception object, normalised.
    ///
    /// # Safety
    /// There was one.
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

/// The pending exception as `sys.exc_info` has it, taken out.
///
/// # Safety
/// An exception is pending.
pub unsafe fn exception_info(gil: Gil<'_>) -> Result<Owned> {
    // SAFETY: an exception is pending, so there are a kind and a value; the three references are taken over.
    unsafe {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if traceback.is_null() {
            traceback = Owned::none(gil).into_raw();
        } else {
            ffi::PyException_SetTraceback(value, traceback);
        }
        let info = Owned::new(ffi::PyTuple_New(3))?;
        for (index, item) in [kind, value, traceback].into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(info.as_ptr(), index as _, item);
        }
        Ok(info)
    }
}
