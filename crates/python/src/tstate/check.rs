//! The check at import: does this interpreter's thread state look as the layout says?
//!
//! The layout was compiled in; the interpreter is the one that loads the module, maybe another patch release than the
//! one it was built against. Reading through a wrong layout would corrupt memory at the first switch, so a few fields
//! are compared with what public functions say about them.

use pyo3_ffi as ffi;

use super::ThreadState;
#[cfg(Py_3_14)]
use super::limits;

/// Looks at the running thread state; the error says what does not match.
///
/// # Safety
/// The caller holds the interpreter's lock.
pub unsafe fn check() -> Result<(), String> {
    // SAFETY: a string that lives for ever.
    let running = unsafe { std::ffi::CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let mismatch = |field: &str| {
        Err(format!(
            "greenloom was built for CPython 3.{} and cannot run on {running}: the field {field} of its thread state \
             is not where it was; install a greenloom that is built for this interpreter",
            built_for(),
        ))
    };
    if !running.starts_with(&format!("3.{}.", built_for())) {
        return mismatch("version");
    }
    // SAFETY: reads fields near the start of a struct that is at least as large in all releases of this minor version.
    unsafe {
        let public = ffi::PyThreadState_Get();
        // Makes the dict if there is none.
        let dict = ffi::PyThreadState_GetDict();
        let state = &*public.cast::<ThreadState>();
        let matches = [
            ("interp", state.interp.cast() == ffi::PyThreadState_GetInterpreter(public)),
            ("id", state.id == ffi::PyThreadState_GetID(public) as u64),
            ("dict", state.dict == dict),
            ("recursion_limit", state.depth_limit().is_none_or(|limit| limit == ffi::Py_GetRecursionLimit())),
            ("exc_state", state.handles_exceptions_here()),
        ];
        if let Some((field, _)) = matches.iter().find(|(_, matches)| !matches) {
            return mismatch(field);
        }
        #[cfg(Py_3_14)]
        if !limits::find(public, size_of::<ThreadState>()) {
            return mismatch("c_stack_top");
        }
    }
    Ok(())
}

/// The minor version that this was compiled for.
pub const fn built_for() -> u8 {
    if cfg!(Py_3_15) {
        15
    } else if cfg!(Py_3_14) {
        14
    } else if cfg!(Py_3_13) {
        13
    } else if cfg!(Py_3_12) {
        12
    } else if cfg!(Py_3_11) {
        11
    } else {
        10
    }
}
