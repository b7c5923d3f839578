//! `UnswitchableGreenlet`: a greenlet for tests, whose switches can be made to fail.

use std::ffi::{c_int, c_void};

use super::body::{Broken, body, greenlet_type};
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::table::{NO_ATTRIBUTE, attribute, zeroed_type};
use crate::py::{self, Global};

static TYPE: Global<PyTypeObject> = Global::new(zeroed_type());

static ATTRIBUTES: Global<[ffi::PyGetSetDef; 3]> = Global::new([
    attribute(c"force_switch_error", get_switch, Some(set_switch), c"Switching to it raises SystemError."),
    attribute(c"force_slp_switch_error", get_slp_switch, Some(set_slp_switch), c"Switching to it ends the process."),
    NO_ATTRIBUTE,
]);

/// The type.
pub fn kind() -> *mut PyTypeObject {
    TYPE.get()
}

/// Makes the type ready. Returns whether that worked.
///
/// # Safety
/// Called once, at import, when its base is ready.
pub unsafe fn ready() -> bool {
    // SAFETY: the statics live for ever.
    unsafe {
        let this = kind();
        (*this).tp_name = c"greenlet._greenlet.UnswitchableGreenlet".as_ptr();
        (*this).tp_basicsize = (*greenlet_type()).tp_basicsize;
        (*this).tp_base = greenlet_type();
        (*this).tp_flags = (*greenlet_type()).tp_flags & !ffi::Py_TPFLAGS_READY;
        (*this).tp_traverse = (*greenlet_type()).tp_traverse;
        (*this).tp_clear = (*greenlet_type()).tp_clear;
        (*this).tp_getset = ATTRIBUTES.get().cast();
        ffi::PyType_Ready(this) == 0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe fn change(this: *mut PyObject, flag: *mut PyObject, change: impl FnOnce(&mut Broken, bool)) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if flag.is_null() {
            py::raise::<()>(ffi::PyExc_AttributeError, "can't delete attribute");
            return -1;
        }
        let truth = ffi::PyObject_IsTrue(flag);
        if truth < 0 {
            return -1;
        }
        let mut broken = body(this.cast()).broken.get();
        change(&mut broken, truth != 0);
        body(this.cast()).broken.set(broken);
        0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_switch(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyBool_FromLong(body(this.cast()).broken.get().switch.into()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_switch(this: *mut PyObject, flag: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { change(this, flag, |broken, value| broken.switch = value) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_slp_switch(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyBool_FromLong(body(this.cast()).broken.get().slp_switch.into()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_slp_switch(this: *mut PyObject, flag: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe { change(this, flag, |broken, value| broken.slp_switch = value) }
}
