//! `throw`: from the three values of a raise statement to a pending exception, and on to the greenlet.

// The calls that take an exception as three values are the ones that all versions have.
#![allow(deprecated)]

use std::ffi::CStr;
use std::ptr;

use super::body::{PyGreenlet, State, body};
use super::handover::Handover;
use super::names;
use super::switch;
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Pending, Result};

/// What the arguments of a `throw` say: a kind, `GreenletExit` by default, a value and a traceback, or null. C code may
/// give null for each.
pub fn arguments(given: impl IntoIterator<Item = *mut PyObject>) -> [*mut PyObject; 3] {
    let mut given = given.into_iter();
    let [kind, value, traceback] = [(); 3].map(|()| given.next().unwrap_or(ptr::null_mut()));
    [if kind.is_null() { names::greenlet_exit() } else { kind }, value, traceback]
}

/// Throws an exception into a greenlet. Value and traceback may be null or None.
///
/// # Safety
/// Live objects.
pub unsafe fn throw(
    gil: Gil<'_>,
    greenlet: *mut PyGreenlet,
    kind: *mut PyObject,
    value: *mut PyObject,
    traceback: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: live objects; the greenlet is held by the caller.
    unsafe {
        if !make_pending(gil, kind, value, traceback) {
            return ptr::null_mut();
        }
        let dead = body(greenlet).state.get() == State::Dead;
        if dead && ffi::PyErr_ExceptionMatches(names::greenlet_exit()) != 0 {
            // Nobody is left to end: it is a value, as if it had just ended the greenlet.
            let value = Pending::take(gil).into_value();
            return switch::switch(gil, greenlet, Handover::Value(value));
        }
        switch::switch(gil, greenlet, Handover::Throw)
    }
}

/// Makes the exception pending. Returns false with another one, about the arguments, if they do not fit.
///
/// # Safety
/// As [`throw`].
pub unsafe fn make_pending(gil: Gil<'_>, kind: *mut PyObject, value: *mut PyObject, traceback: *mut PyObject) -> bool {
    // SAFETY: as `throw`.
    unsafe { try_make_pending(gil, kind, value, traceback) }.is_ok()
}

fn is_present(object: *mut PyObject) -> bool {
    // SAFETY: None lives for ever.
    !object.is_null() && object != unsafe { ffi::Py_None() }
}

/// # Safety
/// As [`throw`].
unsafe fn try_make_pending(
    gil: Gil<'_>,
    kind: *mut PyObject,
    value: *mut PyObject,
    traceback: *mut PyObject,
) -> Result<()> {
    let traceback = if is_present(traceback) { traceback } else { ptr::null_mut() };
    // SAFETY: as `throw`.
    unsafe {
        if !traceback.is_null() && ffi::PyTraceBack_Check(traceback) == 0 {
            return py::type_error(gil, "throw() third argument must be a traceback object");
        }
        if ffi::PyExceptionClass_Check(kind) != 0 {
            let (mut kind, mut value, mut traceback) = (ffi::incref(kind), value, traceback);
            ffi::Py_XINCREF(value);
            ffi::Py_XINCREF(traceback);
            ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
            ffi::PyErr_Restore(kind, value, traceback);
            return Ok(());
        }
        if ffi::PyExceptionInstance_Check(kind) == 0 {
            let name = CStr::from_ptr((*ffi::Py_TYPE(kind)).tp_name).to_string_lossy();
            return py::type_error(gil, &format!("exceptions must be classes, or instances, not {name}"));
        }
        if is_present(value) {
            return py::type_error(gil, "instance exception may not have a separate value");
        }
        let class = ffi::incref(ffi::PyExceptionInstance_Class(kind));
        let traceback = if traceback.is_null() { ffi::PyException_GetTraceback(kind) } else { ffi::incref(traceback) };
        ffi::PyErr_Restore(class, ffi::incref(kind), traceback);
    }
    Ok(())
}
