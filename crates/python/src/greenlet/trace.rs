//! Who is told of every switch of a thread: the recorder, and its trace function.

use std::ptr;

use super::body::PyGreenlet;
use super::thread::Thread;
use super::{names, recording};
use crate::py::Pending;
use crate::py::ffi::{self, PyObject};
use crate::tstate;

/// Tells the recorder, and calls the trace function, if there are any, in the greenlet that goes on. The function is
/// called with tracing and profiling off. An exception of its own removes it, and is thrown in place of what was handed
/// over. Returns the value that goes on.
///
/// # Safety
/// The caller holds the interpreter's lock and owns `value`, which is null for a pending exception.
#[cold]
pub unsafe fn tell(
    thread: &Thread,
    origin: *mut PyGreenlet,
    target: *mut PyGreenlet,
    value: *mut PyObject,
) -> *mut PyObject {
    if recording::is_on() {
        // SAFETY: live greenlets of this thread.
        unsafe { recording::switched(thread, origin, target) };
    }
    if thread.tracer.get().is_null() {
        return value;
    }
    // SAFETY: live objects, and an owned value; the tracer is kept by a reference.
    unsafe {
        let pending = Pending::take(thread.gil());
        let tracer = ffi::incref(thread.tracer.get());
        let event = if value.is_null() { names::THROW.object() } else { names::SWITCH.object() };
        let answer = call(tracer, event, origin, target);
        if answer.is_null() {
            let own = Pending::take(thread.gil());
            if thread.tracer.get() == tracer {
                ffi::clear(&thread.tracer);
                thread.update_watched();
            }
            ffi::decref(tracer);
            pending.discard();
            ffi::xdecref(value);
            own.put_back();
            return ptr::null_mut();
        }
        ffi::decref(tracer);
        ffi::decref(answer);
        pending.put_back();
        value
    }
}

/// Calls it, with tracing and profiling off. Returns what it returns, null for an exception.
///
/// # Safety
/// Live objects.
unsafe fn call(
    tracer: *mut PyObject,
    event: *mut PyObject,
    origin: *mut PyGreenlet,
    target: *mut PyGreenlet,
) -> *mut PyObject {
    // SAFETY: live objects; the tuples are our own.
    unsafe {
        let args = ffi::PyTuple_Pack(2, origin, target);
        let call = if args.is_null() { ptr::null_mut() } else { ffi::PyTuple_Pack(2, event, args) };
        ffi::xdecref(args);
        if call.is_null() {
            return ptr::null_mut();
        }
        enter_tracing();
        let answer = ffi::PyObject_Call(tracer, call, ptr::null_mut());
        leave_tracing();
        ffi::decref(call);
        answer
    }
}

/// Sets the trace function, null for none, whose reference is taken over. Returns the former one as a new reference or
/// None.
///
/// # Safety
/// The caller holds the interpreter's lock.
pub unsafe fn set(thread: &Thread, tracer: *mut PyObject) -> *mut PyObject {
    let former = thread.tracer.replace(tracer);
    thread.update_watched();
    if former.is_null() {
        // SAFETY: None lives for ever.
        return unsafe { ffi::incref(ffi::Py_None()) };
    }
    former
}

/// # Safety
/// The interpreter's lock is held.
unsafe fn enter_tracing() {
    // SAFETY: the running thread state.
    unsafe {
        #[cfg(Py_3_11)]
        ffi::PyThreadState_EnterTracing(tstate::current().cast());
        #[cfg(not(Py_3_11))]
        tstate::ThreadState::enter_tracing(tstate::current());
    }
}

/// # Safety
/// The interpreter's lock is held.
unsafe fn leave_tracing() {
    // SAFETY: as above. The call may have switched, but not to another thread.
    unsafe {
        #[cfg(Py_3_11)]
        ffi::PyThreadState_LeaveTracing(tstate::current().cast());
        #[cfg(not(Py_3_11))]
        tstate::ThreadState::leave_tracing(tstate::current());
    }
}
