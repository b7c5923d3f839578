//! Entries of the tables that a module or a type is made of.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use super::ffi::{self, FastMethod, PyMethodDef, PyObject, PyTypeObject};

/// A type object with nothing filled in.
pub const fn zeroed_type() -> PyTypeObject {
    // SAFETY: all fields are numbers, pointers or optional functions.
    unsafe { std::mem::zeroed() }
}

/// A method in the fast form.
pub fn fast_method(name: &'static CStr, function: FastMethod, doc: &'static CStr) -> PyMethodDef {
    // SAFETY: the flags say which form the function has; that it may be unwound through does not change the call.
    let function = unsafe { std::mem::transmute::<FastMethod, ffi::PyCFunctionFastWithKeywords>(function) };
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// A method that takes one object or nothing, as `flags` says.
pub const fn method(name: &'static CStr, function: ffi::PyCFunction, flags: c_int, doc: &'static CStr) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }
}

/// A method without arguments.
pub const fn no_argument_method(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> PyMethodDef {
    method(name, function, ffi::METH_NOARGS, doc)
}

type Getter = unsafe extern "C" fn(*mut PyObject, *mut c_void) -> *mut PyObject;
type Setter = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut c_void) -> c_int;

/// An attribute for a type's table.
pub const fn attribute(name: &'static CStr, get: Getter, set: Option<Setter>, doc: &'static CStr) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr().cast::<c_char>(),
        get: Some(get),
        set,
        doc: doc.as_ptr().cast::<c_char>(),
        closure: ptr::null_mut(),
    }
}

/// The end of a table.
pub const NO_ATTRIBUTE: ffi::PyGetSetDef =
    ffi::PyGetSetDef { name: ptr::null(), get: None, set: None, doc: ptr::null(), closure: ptr::null_mut() };
