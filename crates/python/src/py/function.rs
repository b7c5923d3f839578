//! Rust functions as functions and methods of Python.
//!
//! A function item has no size, so that its type alone says which function is meant: each gets a trampoline of its own,
//! compiled for it, and a call costs no look-up.

use std::ffi::CStr;
use std::ptr;

use super::args::Args;
use super::error::Result;
use super::ffi::{self, FastMethod, Py_ssize_t, PyObject};
use super::object::Object;
use super::owned::Owned;
use super::table::fast_method;

/// The one value of a function item's type.
pub(super) fn item<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a function item or a closure without captures") };
    // SAFETY: a value without a size has no bits that could be wrong, and one was passed to the function that names the
    // type.
    unsafe { std::mem::zeroed() }
}

pub(super) fn give(result: Result<Owned>) -> *mut PyObject {
    result.map_or(ptr::null_mut(), Owned::into_raw)
}

/// A method of a type that is not a `Class`, whose function gets the object as it is.
pub fn bare_method<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> ffi::PyMethodDef
where
    F: Fn(Object<'_>, Args<'_>) -> Result<Owned> + Copy,
{
    /// # Safety
    /// Called by the interpreter.
    unsafe extern "C-unwind" fn trampoline<F: Fn(Object<'_>, Args<'_>) -> Result<Owned> + Copy>(
        this: *mut PyObject,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by the interpreter.
        give(unsafe { item::<F>()(Object::new(this), Args::from_array(args, count, names)) })
    }
    fast_method(name, trampoline::<F> as FastMethod, doc)
}

/// A function for a module's table.
pub fn function<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> ffi::PyMethodDef
where
    F: Fn(Args<'_>) -> Result<Owned> + Copy,
{
    /// # Safety
    /// Called by the interpreter.
    unsafe extern "C-unwind" fn trampoline<F: Fn(Args<'_>) -> Result<Owned> + Copy>(
        _: *mut PyObject,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by the interpreter.
        give(unsafe { item::<F>()(Args::from_array(args, count, names)) })
    }
    fast_method(name, trampoline::<F> as FastMethod, doc)
}
