//! Calling objects, and what is in them: numbers, truth, text.

use std::{ptr, slice};

use super::error::{Raised, Result};
use super::ffi::{self, Py_ssize_t, PyObject};
use super::lock::Gil;
use super::owned::Owned;

/// Calls something with positional arguments.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn call<const N: usize>(callable: *mut PyObject, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: live objects, with the lock held; the array outlives the call.
    unsafe { Owned::new(ffi::PyObject_Vectorcall(callable, args.as_ptr(), N, ptr::null_mut())) }
}

/// Calls something that may run for as long as it likes, such as a program's own function: a thread that is ended at
/// interpreter shutdown is unwound through this.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn call_program<const N: usize>(callable: *mut PyObject, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: live objects, with the lock held; the array outlives the call, and the tuple is filled before it is seen.
    unsafe {
        if let Some(vectorcall) = ffi::unwinding_vectorcall(callable) {
            return Owned::new(vectorcall(callable, args.as_ptr(), N, ptr::null_mut()));
        }
        let tuple = Owned::new(ffi::PyTuple_New(N as Py_ssize_t))?;
        for (place, argument) in args.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), place as Py_ssize_t, ffi::incref(argument));
        }
        Owned::new(ffi::PyObject_Call(callable, tuple.as_ptr(), ptr::null_mut()))
    }
}

/// No method is called with so many arguments.
const MOST: usize = 8;

/// Calls a method by its name with positional arguments.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn call_method<const N: usize>(
    object: *mut PyObject,
    name: *mut PyObject,
    args: [*mut PyObject; N],
) -> Result<Owned> {
    const { assert!(N < MOST) };
    // The interpreter makes no bound method where the object comes first among the arguments.
    let mut all = [ptr::null_mut(); MOST];
    all[0] = object;
    all[1..=N].copy_from_slice(&args);
    // SAFETY: live objects, with the lock held; the array outlives the call.
    unsafe { Owned::new(ffi::PyObject_VectorcallMethod(name, all.as_ptr(), N + 1, ptr::null_mut())) }
}

/// A string.
pub fn string(_: Gil<'_>, text: &str) -> Result<Owned> {
    // SAFETY: the text is copied, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t)) }
}

/// An int.
pub fn number(_: Gil<'_>, value: i64) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyLong_FromLongLong(value)) }
}

/// Whether two objects are equal, as `==` says.
pub fn equal(one: &Owned, other: &Owned) -> Result<bool> {
    // SAFETY: live objects, which exist only under the lock.
    match unsafe { ffi::PyObject_RichCompareBool(one.as_ptr(), other.as_ptr(), ffi::Py_EQ) } {
        -1 => Err(Raised),
        same => Ok(same != 0),
    }
}

/// The number in an object that is one.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn float(object: *mut PyObject) -> Result<f64> {
    // SAFETY: a live object, with the lock held.
    unsafe {
        // By itself that makes a float of an integer first.
        let is_integer = ffi::PyLong_CheckExact(object) != 0;
        let value = if is_integer { ffi::PyLong_AsDouble(object) } else { ffi::PyFloat_AsDouble(object) };
        if value == -1.0 && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

/// The integer in an object that is one.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn integer(object: *mut PyObject) -> Result<i64> {
    // SAFETY: a live object, with the lock held.
    unsafe {
        let value = ffi::PyLong_AsLongLong(object);
        if value == -1 && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

/// Whether an object counts as true.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn truth(object: *mut PyObject) -> Result<bool> {
    // SAFETY: a live object, with the lock held.
    match unsafe { ffi::PyObject_IsTrue(object) } {
        -1 => Err(Raised),
        truth => Ok(truth != 0),
    }
}

/// The text of a string.
///
/// # Safety
/// A live object, which outlives the result.
pub unsafe fn text<'a>(object: *mut PyObject) -> Result<&'a str> {
    // SAFETY: the interpreter keeps the UTF-8 form with the string.
    unsafe {
        let mut length = 0;
        let data = ffi::PyUnicode_AsUTF8AndSize(object, &mut length);
        if data.is_null() {
            return Err(Raised);
        }
        Ok(std::str::from_utf8_unchecked(slice::from_raw_parts(data.cast(), length as usize)))
    }
}
