//! Making a greenlet, and what can be set of one that has not begun.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::body::{PyGreenlet, allocate, attach_body, body, greenlet_type, is_greenlet};
use super::thread::current_thread;
use crate::py::ffi::{self, Py_ssize_t, PyObject, PyTypeObject};
use crate::py::{self, Gil, Result};

/// A new greenlet, whose parent is the current one.
///
/// # Safety
/// The type or a subclass.
pub unsafe fn make(gil: Gil<'_>, kind: *mut PyTypeObject) -> *mut PyGreenlet {
    // SAFETY: a fresh object gets its body before anybody sees it; until then its traverse function passes it by.
    unsafe {
        let this: *mut PyGreenlet = if (*kind).tp_flags & ffi::Py_TPFLAGS_IS_ABSTRACT == 0 {
            allocate(gil, kind)
        } else {
            // Refuses abstract classes, with their methods' names.
            let object_new = ffi::PyBaseObject_Type.tp_new.expect("object has a constructor");
            let empty = ffi::PyTuple_New(0);
            let this = object_new(kind, empty, ptr::null_mut());
            ffi::decref(empty);
            this.cast()
        };
        if this.is_null() {
            return ptr::null_mut();
        }
        attach_body(gil, this, false);
        // After the allocation, which may collect garbage and so run code in other threads.
        let thread = current_thread(gil);
        if thread.is_null() {
            ffi::decref(this);
            return ptr::null_mut();
        }
        body(this).parent.set(ffi::incref((*thread).current()));
        this
    }
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn new(kind: *mut PyTypeObject, _args: *mut PyObject, _kwargs: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and the type or a subclass.
    unsafe { make(Gil::assume(), kind).cast() }
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn init(this: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter; the parsed references are borrowed.
    unsafe {
        let mut names = [c"run".as_ptr().cast_mut(), c"parent".as_ptr().cast_mut(), ptr::null_mut()];
        let [mut run, mut parent]: [*mut PyObject; 2] = [ptr::null_mut(); 2];
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            c"|OO:greenlet".as_ptr(),
            // Declared as one or the other depending on the version.
            (&raw mut names).cast(),
            &mut run,
            &mut parent,
        );
        if parsed == 0 { -1 } else { set_up(this.cast(), run, parent) }
    }
}

/// Sets what the constructor was given.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn set_up(this: *mut PyGreenlet, run: *mut PyObject, parent: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        // None counts as something to run, though it cannot be called; so it is with greenlet.
        if !run.is_null() && set_run(this.cast(), run, ptr::null_mut()) < 0 {
            return -1;
        }
        if parent.is_null() || parent == ffi::Py_None() {
            return 0;
        }
        set_parent(this.cast(), parent, ptr::null_mut())
    }
}

/// `greenlet(run, parent)` without an argument tuple. Keywords take the long way.
///
/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn vectorcall(
    kind: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held, and as many arguments as it says.
    unsafe {
        let gil = Gil::assume();
        let positional = ffi::PyVectorcall_NARGS(count as _);
        if !names.is_null() || positional > 2 {
            return construct_by_names(gil, kind.cast(), args, positional, names);
        }
        let this = make(gil, kind.cast());
        if this.is_null() {
            return ptr::null_mut();
        }
        let run = if positional > 0 { *args } else { ptr::null_mut() };
        let parent = if positional > 1 { *args.add(1) } else { ptr::null_mut() };
        if set_up(this, run, parent) < 0 {
            ffi::decref(this);
            return ptr::null_mut();
        }
        this.cast()
    }
}

/// The long way of [`vectorcall`].
///
/// # Safety
/// As there.
#[cold]
unsafe fn construct_by_names(
    gil: Gil<'_>,
    kind: *mut PyTypeObject,
    args: *const *mut PyObject,
    positional: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the caller's contract.
    unsafe {
        let (args, kwargs) = pack(args, positional, names);
        if args.is_null() {
            return ptr::null_mut();
        }
        let mut this = make(gil, kind).cast::<PyObject>();
        if !this.is_null() && init(this, args, kwargs) < 0 {
            ffi::decref(this);
            this = ptr::null_mut();
        }
        ffi::decref(args);
        ffi::xdecref(kwargs);
        this
    }
}

/// The C API's constructor.
///
/// # Safety
/// `run` and `parent` are objects or null.
pub unsafe fn construct(gil: Gil<'_>, run: *mut PyObject, parent: *mut PyObject) -> *mut PyGreenlet {
    // SAFETY: objects or null; a fresh greenlet.
    unsafe {
        let this = make(gil, greenlet_type());
        if !this.is_null() && set_up(this, run, parent) < 0 {
            ffi::decref(this);
            return ptr::null_mut();
        }
        this
    }
}

/// Arguments in an array as a tuple and a dict or null, both owned; a null tuple for an exception.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn pack(
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> (*mut PyObject, *mut PyObject) {
    // SAFETY: `count` positional arguments, then one for each name.
    unsafe {
        let tuple = ffi::PyTuple_New(count);
        if tuple.is_null() {
            return (tuple, tuple);
        }
        for index in 0..count {
            ffi::PyTuple_SET_ITEM(tuple, index, ffi::incref(*args.offset(index)));
        }
        if names.is_null() || ffi::PyTuple_GET_SIZE(names) == 0 {
            return (tuple, ptr::null_mut());
        }
        let dict = ffi::PyDict_New();
        for index in 0..ffi::PyTuple_GET_SIZE(names) {
            let value = *args.offset(count + index);
            if dict.is_null() || ffi::PyDict_SetItem(dict, ffi::PyTuple_GET_ITEM(names, index), value) < 0 {
                ffi::xdecref(dict);
                ffi::decref(tuple);
                return (ptr::null_mut(), ptr::null_mut());
            }
        }
        (tuple, dict)
    }
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn set_run(this: *mut PyObject, run: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(this.cast());
        if body.is_started() {
            py::raise::<()>(ffi::PyExc_AttributeError, "run cannot be set after the start of the greenlet");
            return -1;
        }
        if !run.is_null() {
            ffi::incref(run);
        }
        ffi::xdecref(body.run.replace(run));
        0
    }
}

/// Sets the parent; the C API's `SetParent` too.
///
/// # Safety
/// `this` is a greenlet, `parent` an object or null; the interpreter's lock is held.
pub unsafe extern "C" fn set_parent(this: *mut PyObject, parent: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter with the lock held, and live objects.
    let set = unsafe { try_set_parent(Gil::assume(), this.cast(), parent) };
    if set.is_ok() { 0 } else { -1 }
}

/// # Safety
/// As [`set_parent`].
unsafe fn try_set_parent(gil: Gil<'_>, this: *mut PyGreenlet, parent: *mut PyObject) -> Result<()> {
    if parent.is_null() {
        return py::attribute_error(gil, "can't delete attribute");
    }
    // SAFETY: live objects.
    unsafe {
        if !is_greenlet(parent) {
            let name = CStr::from_ptr((*ffi::Py_TYPE(parent)).tp_name).to_string_lossy();
            return py::type_error(gil, &format!("GreenletChecker: Expected any type of greenlet, not {name}"));
        }
        if body(this).main {
            return py::attribute_error(gil, "cannot set the parent of a main greenlet");
        }
    }
    let (parent, mut thread): (*mut PyGreenlet, _) = (parent.cast(), None);
    let mut ancestor = parent;
    while !ancestor.is_null() {
        if ancestor == this {
            return py::value_error(gil, "cyclic parent chain");
        }
        // SAFETY: greenlets are held by their descendants.
        let body = unsafe { body(ancestor) };
        thread = thread.or(body.handle());
        ancestor = body.parent.get();
    }
    let Some(thread) = thread else {
        return py::value_error(gil, "parent must not be garbage collected");
    };
    // SAFETY: live greenlets; the former parent is let go of when the new one is in its place.
    unsafe {
        if body(this).handle().is_some_and(|own| !std::sync::Arc::ptr_eq(own, thread)) {
            return py::value_error(gil, "parent cannot be on a different thread");
        }
        ffi::xdecref(body(this).parent.replace(ffi::incref(parent)));
    }
    Ok(())
}
