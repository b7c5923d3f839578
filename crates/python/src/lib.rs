//! The Python binding: the `greenlet` type, its C API included, on stacks of its own.
//!
//! One shared library for each minor version of CPython, imported as `greenloom._native`; the Python packages `greenlet` and
//! `greenloom` are thin over it. It knows the layout of the interpreter's thread state (`tstate`) and so is the one
//! place where that matters. All state is guarded by the interpreter's lock unless a comment says otherwise.

mod capi;
mod class;
mod dealloc;
mod eventlet;
mod ffi;
mod greenlet;
mod http;
mod module;
mod object;
mod stacks;
mod switch;
mod thread;
mod throw;
mod trace;
mod tstate;
mod unswitchable;

/// The interpreter's entry point.
///
/// # Safety
/// Called by the interpreter at import.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__native() -> *mut ffi::PyObject {
    // SAFETY: the caller's word.
    unsafe { module::create() }
}
