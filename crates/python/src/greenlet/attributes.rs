//! The attributes of a greenlet.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::body::{PyGreenlet, State, body};
use super::construct::{set_parent, set_run};
use super::stacks;
use crate::py::ffi::{self, PyObject};
use crate::py::table::{NO_ATTRIBUTE, attribute};
use crate::py::{self, Global};
use crate::tstate;

/// The table of them, which lives for ever.
pub fn table() -> *mut ffi::PyGetSetDef {
    TABLE.get().cast()
}

static TABLE: Global<[ffi::PyGetSetDef; 9]> = Global::new([
    attribute(c"__dict__", ffi::PyObject_GenericGetDict, Some(ffi::PyObject_GenericSetDict), c"The attributes."),
    attribute(c"run", get_run, Some(set_run), c"What is called when the greenlet begins. Gone once it has begun."),
    attribute(c"parent", get_parent, Some(set_parent), c"Which greenlet goes on when this one ends."),
    attribute(c"gr_frame", get_frame, None, c"The innermost frame of a suspended greenlet, else None."),
    attribute(c"gr_context", get_context, Some(set_context), c"The contextvars context it runs in, or None."),
    attribute(c"dead", get_dead, None, c"Whether it has ended, or its thread has."),
    attribute(c"_stack_saved", get_stack_saved, None, c"How many bytes of its stack it uses while suspended, else 0."),
    attribute(c"_stack_size", get_stack_size, None, c"The size in bytes of the stack it has, or None."),
    NO_ATTRIBUTE,
]);

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_run(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(this.cast());
        let run = body.run.get();
        if body.is_started() || run.is_null() {
            return py::raise(ffi::PyExc_AttributeError, "run");
        }
        ffi::incref(run)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_parent(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let parent = body(this.cast()).parent.get();
        ffi::incref(if parent.is_null() { ffi::Py_None() } else { parent.cast() })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_frame(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter; a greenlet that is active and not current is suspended.
    unsafe {
        let greenlet = this.cast();
        let body = body(greenlet);
        let frame = if body.state.get() != State::Active || body.is_current(greenlet) {
            ptr::null_mut()
        } else {
            tstate::frame_of(&*body.saved.get())
        };
        if frame.is_null() { ffi::incref(ffi::Py_None()) } else { frame }
    }
}

/// Where the context of a greenlet is: with the thread while it runs, with the greenlet else. Null with an exception if
/// another thread has it.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn context_slot(greenlet: *mut PyGreenlet, verb: &str) -> *mut *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(greenlet);
        if !body.is_current(greenlet) {
            return &raw mut (*body.saved.get()).context;
        }
        if body.handle().is_some_and(|handle| handle.is_mine()) {
            return &raw mut (*tstate::current()).context;
        }
        let message = format!("cannot {verb} context of a greenlet that is running in a different thread");
        py::raise(ffi::PyExc_ValueError, &message)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_context(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let slot = context_slot(this.cast(), "get");
        if slot.is_null() {
            return ptr::null_mut();
        }
        ffi::incref(if (*slot).is_null() { ffi::Py_None() } else { *slot })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_context(this: *mut PyObject, context: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if context.is_null() {
            py::raise::<()>(ffi::PyExc_AttributeError, "can't delete context attribute");
            return -1;
        }
        let wanted = if context == ffi::Py_None() { ptr::null_mut() } else { context };
        if !wanted.is_null() && ffi::PyContext_CheckExact(wanted) == 0 {
            py::raise::<()>(ffi::PyExc_TypeError, "greenlet context must be a contextvars.Context or None");
            return -1;
        }
        let slot = context_slot(this.cast(), "set");
        if slot.is_null() {
            return -1;
        }
        if !wanted.is_null() {
            ffi::incref(wanted);
        }
        let former = std::mem::replace(&mut *slot, wanted);
        // Invalidates what context variables cached.
        (*tstate::current()).context_ver += 1;
        ffi::xdecref(former);
        0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_dead(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyBool_FromLong(body(this.cast()).is_dead().into()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_stack_saved(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let greenlet = this.cast();
        let body = body(greenlet);
        let bytes = if !body.is_active() || body.is_current(greenlet) {
            0
        } else if body.main {
            stacks::own_stack_top().saturating_sub(body.left_at.get()).max(1)
        } else {
            (*body.fiber.get()).stack_in_use()
        };
        ffi::PyLong_FromSize_t(bytes)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_stack_size(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        match (*body(this.cast()).fiber.get()).stack_bounds() {
            Some(bounds) => ffi::PyLong_FromSize_t(bounds.len()),
            None => ffi::incref(ffi::Py_None()),
        }
    }
}
