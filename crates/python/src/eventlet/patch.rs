//! What monkey-patching needs of C: changing the methods of a type of C, which Python refuses, since locks that are in
//! use can only be taught to wait in the hub where they are; and what a fork does to green threads that stand for OS
//! threads.

use std::ptr;

use crate::greenlet::{PyGreenlet, body, here, is_greenlet};
use crate::py::ffi::{self, PyMethodDef, PyTypeObject};
use crate::py::{self, Args, Owned, Raised, Result};

/// Functions of the native module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_replace_methods",
            replace_methods,
            c"_replace_methods(cls, methods)\n\n\
Puts functions, a dict by name, in the place of a type's own methods. A name that the type itself does not have is \
left out.",
        ),
        py::function(
            c"_abandon",
            abandon,
            c"_abandon(greenlet)\n\n\
To be called in the child of a fork, for a suspended greenlet of this OS thread that stands for a thread which the \
fork did not copy: it never goes on, and is not unwound either.",
        ),
    ]
}

fn abandon(args: Args<'_>) -> Result<Owned> {
    let [greenlet] = args.parse("_abandon", ["greenlet"], 1)?;
    let thread = here(args.gil())?;
    // SAFETY: a live argument, which is looked at as a greenlet only if it is one.
    unsafe {
        if !is_greenlet(greenlet) {
            return py::error(ffi::PyExc_TypeError, "_abandon() needs a greenlet");
        }
        let greenlet = &*greenlet.cast::<PyGreenlet>();
        if ptr::eq(greenlet, thread.current()) || !thread.is_of(body(ptr::from_ref(greenlet).cast_mut())) {
            return py::error(ffi::PyExc_ValueError, "_abandon() needs a suspended greenlet of this OS thread");
        }
        thread.abandon(greenlet);
    }
    Ok(Owned::none(args.gil()))
}

fn replace_methods(args: Args<'_>) -> Result<Owned> {
    let [cls, methods] = args.parse("_replace_methods", ["cls", "methods"], 2)?;
    // SAFETY: called by the interpreter; the arguments are checked, and live as long as the call. Types that modules of
    // C make at import, as all of these are, have their dict in the type.
    unsafe {
        if ffi::PyType_Check(cls) == 0 || ffi::PyDict_Check(methods) == 0 {
            return py::error(ffi::PyExc_TypeError, "_replace_methods() needs a type and a dict");
        }
        let cls = cls.cast::<PyTypeObject>();
        if ffi::PyType_HasFeature(cls, ffi::Py_TPFLAGS_HEAPTYPE) == 0 {
            return py::error(ffi::PyExc_TypeError, "_replace_methods() needs a type that was made at run time");
        }
        let (mut position, mut name, mut method) = (0, ptr::null_mut(), ptr::null_mut());
        while ffi::PyDict_Next(methods, &raw mut position, &raw mut name, &raw mut method) != 0 {
            let has = ffi::PyDict_Contains((*cls).tp_dict, name);
            if has < 0 || (has == 1 && ffi::PyDict_SetItem((*cls).tp_dict, name, method) < 0) {
                return Err(Raised);
            }
        }
        ffi::PyType_Modified(cls);
    }
    Ok(Owned::none(args.gil()))
}
