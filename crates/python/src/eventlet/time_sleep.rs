//! `time.sleep` of a patched program: a function of C as the one that it replaces, so that in a class it is no method,
//! and pickle finds it by its name in `time`.

use super::clock::timeout;
use super::green_thread::sleep_for;
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::{self, Args, Global, Owned, Raised, Result};

static TIME_SLEEP: Global<PyMethodDef> = Global::new(PyMethodDef::zeroed());

/// Adds the function to the module as `_time_sleep`.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once, with the lock held; the definition lives for ever.
    unsafe {
        *TIME_SLEEP.get() = py::function(
            c"sleep",
            time_sleep,
            c"sleep(seconds, /)\n--\n\nSuspends the green thread that calls for at least that many seconds. Negative \
              ones are a ValueError.",
        );
        let owner = Owned::new(ffi::PyUnicode_FromString(c"time".as_ptr()))?;
        let function = Owned::new(ffi::PyCFunction_NewEx(TIME_SLEEP.get(), module, owner.as_ptr()))?;
        if ffi::PyModule_AddObjectRef(module, c"_time_sleep".as_ptr(), function.as_ptr()) < 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

fn time_sleep(args: Args<'_>) -> Result<Owned> {
    let gil = args.gil();
    if args.has_keywords() {
        return py::type_error(gil, "time.sleep() takes no keyword arguments");
    }
    let &[given] = args.positional else {
        let count = args.positional.len();
        return py::type_error(gil, &format!("time.sleep() takes exactly one argument ({count} given)"));
    };
    // SAFETY: a live argument, as the format says, with the lock held.
    #[cfg(Py_3_11)]
    if unsafe { ffi::PySys_Audit(c"time.sleep".as_ptr(), c"O".as_ptr(), given.as_ptr()) } != 0 {
        return Err(Raised);
    }
    let seconds = timeout(given)?;
    if seconds < 0.0 {
        return py::value_error(gil, "sleep length must be non-negative");
    }
    sleep_for(gil, seconds)
}
