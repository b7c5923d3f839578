//! The class that the interpreter is asked to raise in the place of an [interruption](super::interruption).

use std::ptr;

use super::interruption::CLASS;
use super::thread::this_thread;
use crate::py::ffi::{self, PyMethodDef};
use crate::py::{self, Args, Global, Owned, Raised, Result};

static NEW: Global<PyMethodDef> = Global::new(PyMethodDef::zeroed());

/// Makes the class.
///
/// # Safety
/// Called at import, once.
pub unsafe fn ready() -> Result<()> {
    // SAFETY: called at import, once, with the lock held; the definition and the name live for ever.
    unsafe {
        *NEW.get() = py::function(c"__new__", new, c"The exception that the running greenlet shall raise.");
        let new = Owned::new(ffi::PyCFunction_NewEx(NEW.get(), ptr::null_mut(), ptr::null_mut()))?;
        let dict = Owned::new(ffi::PyDict_New())?;
        if ffi::PyDict_SetItemString(dict.as_ptr(), c"__new__".as_ptr(), new.as_ptr()) < 0 {
            return Err(Raised);
        }
        let name = c"greenloom._native.Interruption".as_ptr();
        CLASS.set(Owned::new(ffi::PyErr_NewException(name, ffi::PyExc_BaseException, dict.as_ptr()))?);
        Ok(())
    }
}

fn new(args: Args<'_>) -> Result<Owned> {
    if let [_, exception, ..] = args.positional {
        // Until CPython 3.11 an exception that is raised is made anew where it is not of the class.
        return Ok(exception.owned());
    }
    // SAFETY: it is asked for in a thread only that has an interruption, and so a record; the lock is held.
    let thread = unsafe { this_thread() };
    match thread.interruptions.take(thread.ident(), thread.current()) {
        Some(exception) => Ok(exception),
        None => py::runtime_error(args.gil(), "the running greenlet has nothing to raise"),
    }
}
