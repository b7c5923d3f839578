//! The Python binding: the `greenlet` type, its C API included, on stacks of its own, and the hot paths of `eventlet`.
//!
//! One shared library for each minor version of CPython, imported as `greenloom._native`; the Python packages
//! `greenlet` and `greenloom` are thin over it. It stands on floors, each of which knows those above it in this list
//! and no other:
//!
//! - `py`: CPython's objects, without greenlets;
//! - `tstate`: the layout of the interpreter's thread state, and so the one place where that matters;
//! - `greenlet`: the greenlet type and the switch;
//! - `http`, `amqp`: the parsers of HTTP and AMQP, for which `py` is enough;
//! - `bus`: the OS thread behind the driver for oslo.messaging;
//! - `eventlet`: the hub and what waits on it;
//! - `wsgi`: the requests of a server, read and answered on green sockets;
//! - `inspect`: what others may see of it all.
//!
//! All state is guarded by the interpreter's lock unless a comment says otherwise. Here the module is put together.

#![warn(clippy::unwrap_used, clippy::print_stderr)]

mod amqp;
mod bus;
mod eventlet;
mod greenlet;
mod http;
mod inspect;
mod py;
mod tstate;
mod wsgi;

use std::ptr;

use py::ffi::{self, PyMethodDef, PyObject};
use py::{Global, Raised, Result};

static MODULE: Global<ffi::PyModuleDef> = Global::new(ffi::PyModuleDef {
    m_base: ffi::PyModuleDef_HEAD_INIT,
    m_name: c"greenloom._native".as_ptr(),
    m_doc: c"Greenloom's native part: the greenlet type, and the hot paths of eventlet.".as_ptr(),
    m_size: -1,
    m_methods: ptr::null_mut(),
    m_slots: ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
});

/// The interpreter's entry point: makes the module; null with an exception if this interpreter cannot be served.
///
/// # Safety
/// Called by the interpreter at import.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit__native() -> *mut PyObject {
    // SAFETY: called at import, once, with the lock held.
    unsafe {
        if let Err(message) = tstate::check() {
            return py::raise(ffi::PyExc_ImportError, &message);
        }
        (*MODULE.get()).m_methods = greenlet::functions();
        let module = ffi::PyModule_Create(MODULE.get());
        if !module.is_null() && fill(module).is_ok() {
            return module;
        }
        ffi::xdecref(module);
        ptr::null_mut()
    }
}

/// Puts everything but greenlet's functions in.
///
/// # Safety
/// Called at import, once.
unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once, with the lock held; the table of functions outlives the module.
    unsafe {
        let mut functions = eventlet::functions();
        functions.extend(wsgi::functions());
        functions.extend(inspect::functions());
        functions.push(PyMethodDef::zeroed());
        if ffi::PyModule_AddFunctions(module, functions.leak().as_mut_ptr()) < 0 {
            return Err(Raised);
        }
        greenlet::fill(module)?;
        if !http::add_to(module) {
            return Err(Raised);
        }
        amqp::fill(module)?;
        bus::fill(module)?;
        eventlet::fill(module)?;
        wsgi::fill(module)
    }
}
