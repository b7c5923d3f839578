//! Changing the methods of a type of C, which Python refuses: locks that are in use can only be taught to wait in the
//! hub where they are.

use std::ptr;

use crate::py::ffi::{self, PyMethodDef, PyTypeObject};
use crate::py::object::Object;
use crate::py::{self, Args, Owned, Raised, Result};

/// Functions of the native module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![py::function(
        c"_replace_methods",
        replace_methods,
        c"_replace_methods(cls, methods)\n--\n\nPuts functions, a dict by name, in the place of a type's own methods. \
          A name that the type itself does not have is left out.",
    )]
}

fn replace_methods(args: Args<'_>) -> Result<Owned> {
    let (arguments, []) = args.parse("_replace_methods", ["cls", "methods"], [])?;
    let [cls, methods] = arguments.map(Object::as_ptr);
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
