//! What the watchdog has found, as records of Python's `logging`.
//!
//! The OS thread that finds it must not wait for the interpreter's lock, nor for a handler. So it leaves the message,
//! and asks CPython to have the main thread call when it next can, as it calls the handlers of signals.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::py::ffi;
use crate::py::{self, Owned};

/// Messages that are kept at most: a main thread that is blocked for ever logs nothing.
const MOST: usize = 100;

static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The list. In the child of a fork it may be locked for ever, by an OS thread that is not there: then nothing is
/// logged.
fn messages() -> Option<MutexGuard<'static, Vec<String>>> {
    for _ in 0..1000 {
        match MESSAGES.try_lock() {
            Ok(messages) => return Some(messages),
            Err(TryLockError::Poisoned(messages)) => return Some(messages.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// Leaves a message.
pub fn log(message: String) {
    let Some(mut messages) = messages() else { return };
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
    let left = messages().map(|mut messages| std::mem::take(&mut *messages));
    for message in left.into_iter().flatten() {
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
