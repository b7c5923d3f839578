//! The Python frame at the base of each green thread.
//!
//! Python code counts on a frame below it: `eval`, `locals` and `dir` work on it, warnings and loggers look up their
//! caller in it, a debugger walks down to it. So a green thread's function is called by a Python function named `main`,
//! of `eventlet.greenthread`. There is one for each small number of arguments, which spares the way through a tuple.
//!
//! Plain greenlets have no such frame, and the hub's greenlet has that of its `run`.

use std::ptr;

use crate::py::ffi::{self, Py_ssize_t, PyObject, UnwindingVectorcall};
use crate::py::{self, Args, Global, GlobalObject, Owned, Result};

/// Up to how many arguments have a function of their own.
const FEW: usize = 3;

/// The functions: for 0 to [`FEW`] arguments, for a tuple of arguments, for a tuple and a dict.
static MAINS: [GlobalObject; FEW + 3] = [const { GlobalObject::null() }; FEW + 3];

/// How the interpreter calls any of them.
static VECTORCALL: Global<Option<UnwindingVectorcall>> = Global::new(None);

/// `_set_mains(*functions)`: called when `eventlet.greenthread` is imported.
pub fn set_mains(args: Args<'_>) -> Result<Owned> {
    if args.positional.len() != MAINS.len() {
        return py::type_error(args.gil(), "_set_mains() needs a function for each number of arguments");
    }
    for (main, function) in MAINS.iter().zip(args.positional) {
        main.set(function.owned());
    }
    // SAFETY: a live object; the lock is held, so that nobody calls one of them meanwhile.
    unsafe { *VECTORCALL.get() = ffi::unwinding_vectorcall(args.positional[0].as_ptr()) };
    Ok(Owned::none(args.gil()))
}

/// Calls a function above a frame. Null for an exception: with null in the place of the arguments the pending one.
///
/// Nothing here has a destructor: a thread that is ended at interpreter shutdown unwinds through it.
///
/// # Safety
/// Live objects; a tuple, or null with an exception pending; a dict or null. The interpreter's lock is held.
#[inline]
pub unsafe fn call(function: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject {
    // SAFETY: all objects are live. The functions are set before anything can be spawned but by code that imports the
    // native module by itself, and all are Python functions, so that one way to call them fits all.
    unsafe {
        if args.is_null() {
            return args;
        }
        let Some(vectorcall) = *VECTORCALL.get() else { return ffi::PyObject_Call(function, args, kwargs) };
        let count = ffi::PyTuple_GET_SIZE(args) as usize;
        if !kwargs.is_null() {
            return vectorcall(MAINS[FEW + 2].object(), [function, args, kwargs].as_ptr(), 3, ptr::null_mut());
        }
        if count > FEW {
            return vectorcall(MAINS[FEW + 1].object(), [function, args].as_ptr(), 2, ptr::null_mut());
        }
        let mut all = [function; FEW + 1];
        for index in 0..count {
            all[index + 1] = ffi::PyTuple_GET_ITEM(args, index as Py_ssize_t);
        }
        vectorcall(MAINS[count].object(), all.as_ptr(), count + 1, ptr::null_mut())
    }
}
