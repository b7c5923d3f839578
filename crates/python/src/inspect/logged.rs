//! What the watchdog has found, as records of Python's `logging`.
//!
//! The OS thread that finds it must not wait for the interpreter's lock, nor for a handler. So it leaves the message,
//! and asks CPython to have the main thread call when it next can, as it calls the handlers of signals.

use std::ffi::{c_int, c_void};
use std::ptr;

use greenloom_fiber::ForkMutex;

use crate::py::ffi;
use crate::py::{self, Owned};

/// Messages that are kept at most: a main thread that is blocked for ever logs nothing.
const MOST: usize = 100;

static MESSAGES: ForkMutex<Vec<String>> = ForkMutex::new(Vec::new());

/// Leaves a message.
pub fn log(message: String) {
    let mut messages = MESSAGES.lock();
    if messages.len() < MOST {
        messages.push(message);
    }
    drop(messages);
    // SAFETY: it may be called from any OS thread, with the lock or without. If there is no room for the call, the next
    // one finds the message.
    unsafe { ffi::Py_AddPendingCall(Some(log_them), ptr::null_mut()) };
}

/// In the main thread, with the interpreter's lock. An exception of a handler is written as one that nobody catches.
extern "C" fn log_them(_: *mut c_void) -> c_int {
    let left = std::mem::take(&mut *MESSAGES.lock());
    for message in left {
        // SAFETY: called with the lock held; live objects.
        unsafe {
            let logged = Owned::new(ffi::PyImport_ImportModule(c"greenloom.inspect".as_ptr())).and_then(|module| {
                let function = Owned::new(ffi::PyObject_GetAttrString(module.as_ptr(), c"_log".as_ptr()))?;
                let text = py::string(module.gil(), &message)?;
                py::call(function.as_ptr(), [text.as_ptr()])
            });
            if logged.is_err() {
                ffi::PyErr_WriteUnraisable(ptr::null_mut());
            }
        }
    }
    0
}
