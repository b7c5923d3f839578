//! The C API: a table of twelve pointers in a capsule, as `greenlet.h` declares it.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::body::{PyGreenlet, body, greenlet_type, is_greenlet};
use super::handover::Handover;
use super::switch;
use super::thread::current_or_refuse;
use super::{construct, names, throw};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Global};

static TABLE: Global<[*mut c_void; 12]> = Global::new([ptr::null_mut(); 12]);

/// A new capsule with the table.
///
/// # Safety
/// Called at import, when the type and the exceptions are ready.
pub unsafe fn capsule() -> *mut PyObject {
    // SAFETY: the table lives for ever.
    unsafe {
        *TABLE.get() = [
            greenlet_type().cast(),
            names::error().cast(),
            names::greenlet_exit().cast(),
            new as *mut c_void,
            get_current as *mut c_void,
            throw_into as *mut c_void,
            switch_to as *mut c_void,
            set_parent as *mut c_void,
            is_main as *mut c_void,
            is_started as *mut c_void,
            is_active as *mut c_void,
            get_parent as *mut c_void,
        ];
        ffi::PyCapsule_New(TABLE.get().cast(), c"greenlet._C_API".as_ptr(), None)
    }
}

/// Whether the argument is a greenlet; raises if not.
///
/// # Safety
/// An object or null, with the interpreter's lock held.
unsafe fn check(object: *mut PyGreenlet) -> bool {
    // SAFETY: an object or null, from C code.
    unsafe {
        if !object.is_null() && is_greenlet(object.cast()) {
            return true;
        }
        if object.is_null() {
            ffi::PyErr_BadArgument();
        } else {
            py::raise::<()>(ffi::PyExc_TypeError, "expected a greenlet");
        }
        false
    }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn new(run: *mut PyObject, parent: *mut PyGreenlet) -> *mut PyGreenlet {
    // SAFETY: called from C with the interpreter's lock.
    unsafe { construct::construct(Gil::assume(), run, parent.cast()) }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn get_current() -> *mut PyGreenlet {
    // SAFETY: called from C with the interpreter's lock.
    unsafe { current_or_refuse(Gil::assume()) }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn throw_into(
    greenlet: *mut PyGreenlet,
    kind: *mut PyObject,
    value: *mut PyObject,
    traceback: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe {
        if !check(greenlet) {
            return ptr::null_mut();
        }
        let [kind, value, traceback] = throw::arguments([kind, value, traceback]);
        throw::throw(Gil::assume(), greenlet, kind, value, traceback)
    }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn switch_to(
    greenlet: *mut PyGreenlet,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe {
        if !check(greenlet) {
            return ptr::null_mut();
        }
        let args = if args.is_null() { ffi::PyTuple_New(0) } else { ffi::incref(args) };
        if args.is_null() {
            return ptr::null_mut();
        }
        let keywords = !kwargs.is_null() && ffi::PyDict_Check(kwargs) != 0;
        let kwargs = if keywords { ffi::incref(kwargs) } else { ptr::null_mut() };
        switch::switch(Gil::assume(), greenlet, Handover::Call { args, kwargs })
    }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn set_parent(greenlet: *mut PyGreenlet, parent: *mut PyGreenlet) -> c_int {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe {
        if !check(greenlet) {
            return -1;
        }
        construct::set_parent(greenlet.cast(), parent.cast(), ptr::null_mut())
    }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn is_main(greenlet: *mut PyGreenlet) -> c_int {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe { if check(greenlet) { body(greenlet).main.into() } else { -1 } }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn is_started(greenlet: *mut PyGreenlet) -> c_int {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe { if check(greenlet) { body(greenlet).is_started().into() } else { -1 } }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn is_active(greenlet: *mut PyGreenlet) -> c_int {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe { if check(greenlet) { body(greenlet).is_active().into() } else { -1 } }
}

/// # Safety
/// Called from C, with the interpreter's lock held.
unsafe extern "C-unwind" fn get_parent(greenlet: *mut PyGreenlet) -> *mut PyGreenlet {
    // SAFETY: called from C with the interpreter's lock; an object or null, as `check` tells.
    unsafe {
        if !check(greenlet) {
            return ptr::null_mut();
        }
        let parent = body(greenlet).parent.get();
        if parent.is_null() { parent } else { ffi::incref(parent) }
    }
}
