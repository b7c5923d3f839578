//! What the binding calls of CPython beyond `pyo3-ffi`, and the counting of references.
//!
//! Functions that may run Python code are declared `C-unwind` here. A C++ exception or the forced unwinding of a thread
//! that ends at interpreter shutdown passes through our frames then, as it does through any C code.

// The calls that take an exception as three values are the ones that all versions have.
#![allow(deprecated)]

pub use pyo3_ffi::*;

use std::cell::Cell;
use std::ffi::{c_char, c_int};
use std::ptr;

/// A function in the form of a `METH_FASTCALL | METH_KEYWORDS` method.
pub type FastMethod =
    unsafe extern "C-unwind" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

/// How an object is called with an array of arguments, by code that may be unwound through.
pub type UnwindingVectorcall =
    unsafe extern "C-unwind" fn(*mut PyObject, *const *mut PyObject, usize, *mut PyObject) -> *mut PyObject;

/// What the interpreter calls an object through, if the object can be called with an array of arguments.
///
/// # Safety
/// A live object.
pub unsafe fn unwinding_vectorcall(callable: *mut PyObject) -> Option<UnwindingVectorcall> {
    // SAFETY: a live object; that the function may be unwound through does not change the call.
    unsafe { std::mem::transmute(PyVectorcall_Function(callable)) }
}

mod unwinding {
    use super::PyObject;
    unsafe extern "C-unwind" {
        pub fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
        pub fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject;
        pub fn PyObject_VectorcallMethod(
            name: *mut PyObject,
            args: *const *mut PyObject,
            count: usize,
            names: *mut PyObject,
        ) -> *mut PyObject;
        pub fn Py_DecRef(object: *mut PyObject);
    }
}
pub use unwinding::{PyObject_Call, PyObject_GetAttr, PyObject_VectorcallMethod};

unsafe extern "C" {
    static mut PyMethod_Type: PyTypeObject;
    /// Tells the hooks for audits of an event. Not 0, with an exception, if one refuses it.
    pub fn PySys_Audit(event: *const c_char, format: *const c_char, ...) -> c_int;
    /// The function of a method of a class that is written in Python, borrowed.
    pub fn PyMethod_Function(method: *mut PyObject) -> *mut PyObject;
    /// The object that it was looked up on, borrowed.
    pub fn PyMethod_Self(method: *mut PyObject) -> *mut PyObject;
}

/// Whether it is a method of a class that is written in Python, looked up on an object.
///
/// # Safety
/// A live object.
pub unsafe fn is_method(object: *mut PyObject) -> bool {
    // SAFETY: a live object; the type has no subtypes.
    unsafe { Py_TYPE(object) == &raw mut PyMethod_Type }
}

/// One more reference.
///
/// # Safety
/// A live object, with the interpreter's lock held.
#[inline]
pub unsafe fn incref<T>(object: *mut T) -> *mut T {
    // SAFETY: a live object, with the lock held.
    unsafe { Py_INCREF(object.cast()) };
    object
}

/// One reference less; may run Python code.
///
/// # Safety
/// The caller owns a reference, with the interpreter's lock held.
#[inline]
pub unsafe fn decref<T>(object: *mut T) {
    // SAFETY: an owned reference, so the object is alive, with the lock held.
    unsafe {
        if Py_REFCNT(object.cast()) > 1 {
            Py_DECREF(object.cast());
        } else {
            unwinding::Py_DecRef(object.cast());
        }
    }
}

/// [`decref`] for what may be null.
///
/// # Safety
/// As [`decref`].
#[inline]
pub unsafe fn xdecref<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: owned, with the lock held, and not null.
        unsafe { decref(object) };
    }
}

/// Sets the number of references, to bring an object back that had none.
///
/// # Safety
/// As [`decref`].
pub unsafe fn set_refcount(object: *mut PyObject, count: Py_ssize_t) {
    // SAFETY: the count comes first in every object of the builds that we serve, in a union or not.
    unsafe { (&raw mut (*object).ob_refcnt).cast::<Py_ssize_t>().write(count) };
}

/// Empties a slot and lets go of what was in it.
///
/// # Safety
/// As [`decref`]; the slot owns its object.
pub unsafe fn clear<T>(slot: &Cell<*mut T>) {
    // SAFETY: the slot is emptied before code can run that looks at it.
    unsafe { xdecref(slot.replace(ptr::null_mut())) };
}
