//! What a switch hands over.

use std::ptr;

use crate::py::ffi::{self, PyObject};
use crate::py::{Gil, Pending};

/// What a switch hands over. Owns its objects.
pub enum Handover {
    /// Arguments: a tuple, and a dict or null.
    Call { args: *mut PyObject, kwargs: *mut PyObject },
    /// One object: the result of a greenlet that has ended, or the argument of a switch.
    Value(*mut PyObject),
    /// The pending exception.
    Throw,
}

impl Handover {
    /// As a greenlet in the middle of a switch sees it; null for an exception.
    ///
    /// # Safety
    /// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
    pub(super) unsafe fn into_value(self) -> *mut PyObject {
        match self {
            Handover::Throw => ptr::null_mut(),
            Handover::Value(value) => value,
            // SAFETY: owned tuple and dict.
            Handover::Call { args, kwargs } => unsafe {
                if kwargs.is_null() {
                    return unwrap_single(args);
                }
                if ffi::PyTuple_GET_SIZE(args) == 0 {
                    ffi::decref(args);
                    return kwargs;
                }
                let both = ffi::PyTuple_New(2);
                if both.is_null() {
                    ffi::decref(args);
                    ffi::decref(kwargs);
                    return ptr::null_mut();
                }
                ffi::PyTuple_SET_ITEM(both, 0, args);
                ffi::PyTuple_SET_ITEM(both, 1, kwargs);
                both
            },
        }
    }

    /// As the arguments of a greenlet that begins; null for an exception.
    ///
    /// # Safety
    /// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
    pub(super) unsafe fn into_call(self) -> (*mut PyObject, *mut PyObject) {
        match self {
            Handover::Throw => (ptr::null_mut(), ptr::null_mut()),
            Handover::Call { args, kwargs } => (args, kwargs),
            // SAFETY: an owned object.
            Handover::Value(value) => unsafe {
                let args = ffi::PyTuple_New(1);
                if args.is_null() {
                    ffi::decref(value);
                } else {
                    ffi::PyTuple_SET_ITEM(args, 0, value);
                }
                (args, ptr::null_mut())
            },
        }
    }

    /// # Safety
    /// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
    unsafe fn discard(self) {
        // SAFETY: owned objects.
        unsafe {
            match self {
                Handover::Throw => {}
                Handover::Value(value) => ffi::decref(value),
                Handover::Call { args, kwargs } => {
                    ffi::decref(args);
                    ffi::xdecref(kwargs);
                }
            }
        }
    }

    /// Lets go of what is handed over, because the pending exception takes its place.
    ///
    /// # Safety
    /// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
    pub(super) unsafe fn become_throw(&mut self, gil: Gil<'_>) {
        // SAFETY: owned objects; the exception is kept while destructors run.
        unsafe {
            let pending = Pending::take(gil);
            std::mem::replace(self, Handover::Throw).discard();
            pending.put_back();
        }
    }
}

/// `(x,)` means `x`.
///
/// # Safety
/// The caller holds references to the greenlets, and what it hands over is its own; the interpreter's lock is held.
unsafe fn unwrap_single(args: *mut PyObject) -> *mut PyObject {
    // SAFETY: an owned tuple.
    unsafe {
        if ffi::PyTuple_GET_SIZE(args) != 1 {
            return args;
        }
        let only = ffi::incref(ffi::PyTuple_GET_ITEM(args, 0));
        ffi::decref(args);
        only
    }
}
