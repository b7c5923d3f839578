//! Greenlets: the type, its C API, and the switch between stacks. It knows CPython ([`crate::py`]) and its thread state
//! ([`crate::tstate`]), and nothing of hubs.
//!
//! Each file may use those above it:
//!
//! - [`names`]: exceptions and names; `stacks`, `float`: what a greenlet's stack is, what else a switch carries;
//! - `awaited`, `locals`, `extension`, `handle`, `recorder`, `body`, [`interruption`], `thread`: a greenlet's data and
//!   a thread's;
//! - [`wait`]: what a suspended greenlet waits for;
//! - `walk`: a look at all greenlets, in steps;
//! - [`recording`]: what greenlets do, for a timeline;
//! - `trace`, [`handover`], [`switch`], [`throw`], [`dealloc`]: from one greenlet to another, and the end of one;
//! - `construct`, `attributes`, [`class`], `unswitchable`, `interruption_class`: the types; `interruption_hold`;
//! - `capi`, `functions`: the way in for C code and for Python.

mod attributes;
mod awaited;
mod body;
mod capi;
pub mod class;
mod construct;
pub mod dealloc;
mod extension;
mod float;
mod functions;
mod handle;
pub mod handover;
pub mod interruption;
mod interruption_class;
mod interruption_hold;
pub mod locals;
pub mod names;
mod recorder;
pub mod recording;
mod stacks;
pub mod switch;
mod thread;
pub mod throw;
mod trace;
mod unswitchable;
pub mod wait;
mod walk;

pub use body::{PyGreenlet, State, body, greenlet_type, is_exact, is_greenlet};
pub use construct::{construct, make, set_parent, set_up};
pub use functions::table as functions;
pub use handle::Handle;
pub use interruption_hold::unlocked_record;
pub use names::greenlet_exit;
pub use thread::{Here, Thread, here, is_here, of_all_threads, record_of, this_thread};
pub use walk::{Walk, find, function_of, leave_others_behind, places, suspended_frame};

use std::ffi::CStr;

use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Owned, Raised, Result};

/// Reads the settings, and makes the types and exceptions and puts them into the module, to which the functions were
/// added.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import with the lock held, once.
    let gil = unsafe { Gil::assume() };
    if let Err(message) = stacks::read_environment() {
        return py::import_error(gil, &message);
    }
    greenloom_fiber::overflow::set_wording(
        "greenlet",
        "raise it with the environment variable GREENLOOM_STACK_SIZE or greenloom.set_stack_size()",
    );
    greenloom_fiber::overflow::set_describe(describe_running);
    // SAFETY: as above; the functions were added to the module before.
    unsafe {
        names::ready()?;
        interruption_class::ready()?;
        interruption_hold::ready();
        if !class::ready() || !unswitchable::ready() {
            return Err(Raised);
        }
        add_names(module)?;
        name_functions_on_the_type(module)
    }
}

/// # Safety
/// As [`fill`], when the types and exceptions are made.
unsafe fn add_names(module: *mut PyObject) -> Result<()> {
    // SAFETY: names are literals, and live objects.
    unsafe {
        let number = Owned::new(ffi::PyLong_FromLong(1_000_000))?;
        let capsule = Owned::new(capi::capsule())?;
        for (name, value) in [
            (c"greenlet", greenlet_type().cast()),
            (c"UnswitchableGreenlet", unswitchable::kind().cast()),
            (c"error", names::error()),
            (c"GreenletExit", names::greenlet_exit()),
            (c"GREENLET_USE_GC", ffi::Py_True()),
            (c"GREENLET_USE_TRACING", ffi::Py_True()),
            (c"GREENLET_USE_CONTEXT_VARS", ffi::Py_True()),
            (c"GREENLET_USE_STANDARD_THREADING", ffi::Py_True()),
            (c"CLOCKS_PER_SEC", number.as_ptr()),
            (c"_C_API", capsule.as_ptr()),
        ] {
            if ffi::PyModule_AddObjectRef(module, name.as_ptr(), value) < 0 {
                return Err(Raised);
            }
        }
    }
    Ok(())
}

/// eventlet finds these on the type.
///
/// # Safety
/// As [`add_names`], and after it.
unsafe fn name_functions_on_the_type(module: *mut PyObject) -> Result<()> {
    // SAFETY: names are literals; the type has a dict since it was made ready.
    unsafe {
        for name in [c"getcurrent", c"error", c"GreenletExit", c"settrace", c"gettrace"] {
            let value = Owned::new(ffi::PyObject_GetAttrString(module, name.as_ptr()))?;
            if ffi::PyDict_SetItemString((*greenlet_type()).tp_dict, name.as_ptr(), value.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        ffi::PyType_Modified(greenlet_type());
    }
    Ok(())
}

/// For the message about an overflow: the running greenlet as its `repr` begins.
fn describe_running(out: &mut dyn std::io::Write) {
    // SAFETY: the fault came from Python code, with the lock held; only plain memory is read.
    unsafe {
        let greenlet = this_thread().current();
        let name = CStr::from_ptr((*ffi::Py_TYPE(greenlet.cast())).tp_name);
        let _ = out.write_all(b"<");
        let _ = out.write_all(name.to_bytes());
        let _ = write!(out, " object at {greenlet:p}>");
    }
}
