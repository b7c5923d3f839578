//! The end of a greenlet object.
//!
//! One that is not active just goes. An active one has a stack full of live values, so it must end first:
//! `GreenletExit` is thrown into it, and the object lives on for the while. That can happen only in its own thread: any
//! other thread leaves it to that one. If the thread is gone, or the interpreter is about to be, the stack is taken
//! away as it is.

use std::ptr;

use super::body::{PyGreenlet, State, body, drop_body, has_body};
use super::thread::{self, current_thread, is_here, record_of, this_thread};
use super::{names, throw};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Pending};

/// The type's destructor.
///
/// # Safety
/// Called by the interpreter when the last reference is gone.
pub unsafe extern "C-unwind" fn dealloc(this: *mut PyObject) {
    // SAFETY: called by the interpreter when the last reference is gone.
    unsafe { dealloc_with(this, || {}) };
}

/// As [`dealloc`]; a type with more in its objects than a greenlet has lets go of it in `last`.
///
/// # Safety
/// As [`dealloc`].
pub unsafe fn dealloc_with(this: *mut PyObject, last: impl FnOnce()) {
    // SAFETY: called by the interpreter, with the lock held, when the last reference is gone: nobody else has the
    // object.
    unsafe {
        let greenlet: *mut PyGreenlet = this.cast();
        ffi::PyObject_GC_UnTrack(this.cast());
        if has_body(greenlet) && body(greenlet).state.get() == State::Active && !may_go(Gil::assume(), greenlet) {
            // A subclass's destructor called this one and will let go of the type, which the object still needs.
            if (*ffi::Py_TYPE(this)).tp_flags & ffi::Py_TPFLAGS_HEAPTYPE != 0 {
                ffi::incref(ffi::Py_TYPE(this));
            }
            ffi::PyObject_GC_Track(this.cast());
            return;
        }
        if !(*greenlet).weakreflist.is_null() {
            ffi::PyObject_ClearWeakRefs(this);
        }
        ffi::xdecref(std::mem::replace(&mut (*greenlet).dict, ptr::null_mut()));
        drop_body(greenlet);
        last();
        if let Some(free) = (*ffi::Py_TYPE(this)).tp_free {
            free(this.cast());
        }
    }
}

/// The garbage collector found that nobody but other garbage holds the greenlet: if it is active, it ends, as when its
/// last reference goes, and so lets go of what its frames hold.
///
/// # Safety
/// Called by the interpreter.
#[cfg(Py_3_15)]
pub unsafe extern "C-unwind" fn finalize(this: *mut PyObject) {
    // SAFETY: called by the interpreter, with the lock held and a reference; a subclass's destructor calls this too,
    // with the only one, and what it does next ends the greenlet.
    unsafe {
        let greenlet: *mut PyGreenlet = this.cast();
        if ffi::Py_REFCNT(this) == 1 || !has_body(greenlet) || py::is_finalizing() {
            return;
        }
        let body = body(greenlet);
        if !body.is_suspended(greenlet) {
            return;
        }
        let gil = Gil::assume();
        if is_here(body) {
            let pending = Pending::take(gil);
            kill(gil, greenlet);
            pending.put_back();
        } else if let Some(thread) = body.handle().and_then(|handle| record_of(gil, handle)) {
            thread.leave(ffi::incref(greenlet), end_garbage);
        }
    }
}

/// Ends a greenlet that another thread found to be garbage.
///
/// # Safety
/// It is of this thread, and the reference is the caller's to give away.
#[cfg(Py_3_15)]
unsafe fn end_garbage(gil: Gil<'_>, greenlet: *mut PyGreenlet) {
    // SAFETY: the reference keeps it until the end.
    unsafe {
        if body(greenlet).is_suspended(greenlet) {
            kill(gil, greenlet);
        }
        ffi::decref(greenlet);
    }
}

/// Sees to it that an active greenlet ends. Returns whether the object may go now; if not, it has references again.
///
/// # Safety
/// As [`dealloc`].
unsafe fn may_go(gil: Gil<'_>, greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: as `dealloc`.
    unsafe {
        let this = body(greenlet);
        if this.main {
            thread::main_greenlet_is_gone();
            return true;
        }
        if py::is_finalizing() || this.is_thread_dead() {
            if is_here(this) {
                this_thread().unlink(greenlet);
            }
            this.abandon();
            return true;
        }
        ffi::set_refcount(greenlet.cast(), 1);
        if is_here(this) {
            return end_unreferenced(gil, greenlet);
        }
        if let Some(thread) = this.handle().and_then(|handle| record_of(gil, handle)) {
            // With the last reference it ends.
            thread.leave(greenlet, |_, greenlet| ffi::decref(greenlet));
        }
        false
    }
}

/// Ends a greenlet of this thread that has one reference, the caller's. Returns whether it may go.
///
/// # Safety
/// As [`dealloc`].
unsafe fn end_unreferenced(gil: Gil<'_>, greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: the reference keeps it; the pending exception is not its own.
    unsafe {
        let pending = Pending::take(gil);
        kill(gil, greenlet);
        pending.put_back();
        let references = ffi::Py_REFCNT(greenlet.cast());
        if references == 1 && body(greenlet).state.get() == State::Active {
            // It swallowed the exception and was suspended again. Nobody will ever resume it.
            let repr = ffi::PyObject_Repr(greenlet.cast());
            ffi::PySys_FormatStderr(
                c"greenlet: GreenletExit did not end %U; it is leaked\n".as_ptr(),
                if repr.is_null() { names::RUN.object() } else { repr },
            );
            ffi::xdecref(repr);
            return false;
        }
        ffi::set_refcount(greenlet.cast(), references - 1);
        references == 1
    }
}

/// Throws `GreenletExit` into the greenlet, with the current one as its parent for the while.
///
/// # Safety
/// As [`dealloc`].
unsafe fn kill(gil: Gil<'_>, greenlet: *mut PyGreenlet) {
    // SAFETY: it is active, in this thread, and has a reference.
    unsafe {
        let thread = current_thread(gil);
        if thread.is_null() {
            ffi::PyErr_Clear();
            return;
        }
        let this = body(greenlet);
        let parent = this.parent.replace(ffi::incref((*thread).current()));
        let result = throw::throw(gil, greenlet, names::greenlet_exit(), ptr::null_mut(), ptr::null_mut());
        if result.is_null() {
            ffi::PyErr_WriteUnraisable(greenlet.cast());
        }
        ffi::xdecref(result);
        ffi::xdecref(this.parent.replace(parent));
    }
}
