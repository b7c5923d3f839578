//! The greenlet type as Python sees it: its methods, and the garbage collector's view.
//!
//! It is a static type of a layout that C code was compiled against. A subclass written in Python shares all of it.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::{ptr, slice};

#[cfg(Py_3_15)]
use super::body::Body;
use super::body::{Greenlets, PyGreenlet, State, body, greenlet_type, has_body};
use super::handover::Handover;
use super::names::nothing;
use super::switch;
use super::thread::is_here;
use super::{attributes, construct, dealloc, throw};
use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::free_list;
use crate::py::table::{fast_method, no_argument_method};
use crate::py::{self, Gil, Global};

/// Fills in the type and makes it ready. Returns whether that worked.
///
/// # Safety
/// Called once, at import.
pub unsafe fn ready() -> bool {
    // SAFETY: the statics live for ever; slots are of the right form, but may be unwound through.
    let this = unsafe { &mut *greenlet_type() };
    // SAFETY: as above.
    unsafe { (*NUMBER.get()).nb_bool = Some(is_true) };
    this.tp_name = c"greenlet.greenlet".as_ptr();
    this.tp_basicsize = size_of::<PyGreenlet>() as Py_ssize_t;
    this.tp_dealloc = Some(unwinding(dealloc::dealloc));
    this.tp_repr = Some(repr);
    this.tp_as_number = NUMBER.get();
    this.tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
    this.tp_doc = DOC.as_ptr();
    this.tp_traverse = Some(traverse);
    this.tp_clear = Some(clear);
    this.tp_weaklistoffset = offset_of!(PyGreenlet, weakreflist) as Py_ssize_t;
    this.tp_methods = METHODS.get().cast();
    this.tp_getset = attributes::table();
    this.tp_dictoffset = offset_of!(PyGreenlet, dict) as Py_ssize_t;
    this.tp_init = Some(construct::init);
    this.tp_alloc = Some(free_list::alloc::<Greenlets>);
    this.tp_new = Some(construct::new);
    this.tp_free = Some(free_list::free::<Greenlets>);
    this.tp_is_gc = Some(is_gc);
    #[cfg(Py_3_15)]
    {
        this.tp_finalize = Some(unwinding(dealloc::finalize));
    }
    this.tp_vectorcall = Some(construct::vectorcall);
    // SAFETY: the type is filled in; nobody else uses the table of methods yet.
    unsafe {
        fill_in_methods();
        ffi::PyType_Ready(this) == 0
    }
}

/// A slot that a thread which is ended at interpreter shutdown may unwind through.
pub fn unwinding(slot: unsafe extern "C-unwind" fn(*mut PyObject)) -> ffi::destructor {
    // SAFETY: the two differ only in that; the interpreter calls both in the same way.
    unsafe { std::mem::transmute::<unsafe extern "C-unwind" fn(*mut PyObject), ffi::destructor>(slot) }
}

const DOC: &CStr = c"greenlet(run=None, parent=None)\n--\n\n\
A function with a stack of its own. It begins when somebody switches to it, and is suspended when it switches to \
another greenlet of its thread; when it ends, its parent goes on with the result.\n\n\
- *run* -- what to call; may also be a method of a subclass, or be set later\n\
- *parent* -- the greenlet that goes on when this one ends; by default the one that makes it";

// ---------------------------------------------------------------------------------------------------------------------
// Construction

/// Up to 3.14, a suspended greenlet's stack holds references that nobody can find. So the collector must not think that
/// it knows all references to what the greenlet holds: active greenlets pass for objects that it does not manage. From
/// 3.15 on it looks into the frames.
///
/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn is_gc(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if cfg!(Py_3_15) || !has_body(this.cast()) {
            return 1;
        }
        let body = body(this.cast());
        c_int::from(body.main || !body.is_active())
    }
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter; nothing changes meanwhile.
    unsafe {
        let this: *mut PyGreenlet = this.cast();
        if !has_body(this) {
            return 0;
        }
        let body = body(this);
        let own = [body.parent.get().cast(), body.run.get(), (*this).dict];
        let saved = &*body.saved.get();
        for object in own.into_iter().filter(|object| !object.is_null()).chain(saved.held()).chain(saved.kept()) {
            let answer = visit(object, arg);
            if answer != 0 {
                return answer;
            }
        }
        #[cfg(Py_3_15)]
        if body.is_suspended(this) {
            return traverse_stack(body, visit, arg);
        }
    }
    0
}

/// What a suspended greenlet holds on its stacks, as far as it can be found. What is not found looks to the collector
/// as if somebody outside held it, and stays.
///
/// # Safety
/// Called by the interpreter for a suspended greenlet.
#[cfg(Py_3_15)]
unsafe fn traverse_stack(body: &Body, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a suspended greenlet's call and frames are intact, and visiting changes nothing.
    unsafe {
        for object in body.call.get().into_iter().filter(|object| !object.is_null()) {
            let answer = visit(object, arg);
            if answer != 0 {
                return answer;
            }
        }
        (*body.saved.get()).traverse_frames(visit, arg)
    }
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter for a greenlet that does not run.
    unsafe {
        let this: *mut PyGreenlet = this.cast();
        let body = body(this);
        if body.state.get() == State::Active {
            // Of a thread that has ended, or one that did not end when it was told to.
            #[cfg(Py_3_15)]
            if body.is_thread_dead() && body.is_suspended(this) {
                body.abandon();
            }
            return 0;
        }
        ffi::clear(&body.parent);
        ffi::clear(&body.run);
        ffi::xdecref(std::mem::replace(&mut (*body.saved.get()).context, ptr::null_mut()));
        ffi::xdecref(std::mem::replace(&mut (*this).dict, ptr::null_mut()));
    }
    0
}

static METHODS: Global<[ffi::PyMethodDef; 4]> = Global::new([ffi::PyMethodDef::zeroed(); 4]);

/// The fast form takes arguments from an array; two methods are called so often that it pays.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn fill_in_methods() {
    // SAFETY: at import, before the type is ready.
    unsafe {
        let methods = METHODS.get();
        (*methods)[0] = fast_method(c"switch", switch_method, SWITCH_DOC);
        (*methods)[1] = fast_method(c"throw", throw_method, THROW_DOC);
        (*methods)[2] = no_argument_method(c"__getstate__", refuse_to_pickle, c"");
    }
}

const SWITCH_DOC: &CStr =
    c"switch($self, *args, **kwargs)\n--\n\nSuspends the current greenlet and goes on with this one; \
returns what is handed over when somebody switches back. One that has not begun is called with the arguments. One that \
is suspended gets them as the result of its own switch. In place of one that has ended, its parent goes on.";

const THROW_DOC: &CStr =
    c"throw($self, type=None, value=None, traceback=None, /)\n--\n\nAs switch, but raises the exception, by default \
      GreenletExit, in the greenlet that goes on. One that has not begun ends with it. A greenlet ended by \
      GreenletExit returns it to its parent as a value.";

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn switch_method(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, which holds a reference to `this`.
    unsafe {
        if names.is_null() && count <= 1 && body(this.cast()).state.get() == State::Active {
            let value = ffi::incref(if count == 0 { nothing() } else { *args });
            return switch::switch_active(Gil::assume(), this.cast(), value);
        }
        switch_with_all(this, args, count, names)
    }
}

/// # Safety
/// As [`switch_method`].
#[inline(never)]
unsafe extern "C-unwind" fn switch_with_all(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as for `switch_method`.
    unsafe {
        let (args, kwargs) = construct::pack(args, count, names);
        if args.is_null() {
            return ptr::null_mut();
        }
        switch::switch(Gil::assume(), this.cast(), Handover::Call { args, kwargs })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn throw_method(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter, which holds references to all of it.
    unsafe {
        if !names.is_null() && ffi::PyTuple_GET_SIZE(names) > 0 {
            return py::raise(ffi::PyExc_TypeError, "throw() takes no keyword arguments");
        }
        if count > 3 {
            let message = format!("throw expected at most 3 arguments, got {count}");
            return py::raise(ffi::PyExc_TypeError, &message);
        }
        let given = if count == 0 { &[][..] } else { slice::from_raw_parts(args, count as usize) };
        let [kind, value, traceback] = throw::arguments(given.iter().copied());
        throw::throw(Gil::assume(), this.cast(), kind, value, traceback)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn refuse_to_pickle(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let name = (*ffi::Py_TYPE(this)).tp_name;
        ffi::PyErr_Format(ffi::PyExc_TypeError, c"cannot serialize '%s' object".as_ptr(), name)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let name = CStr::from_ptr((*ffi::Py_TYPE(this)).tp_name).to_string_lossy();
        let greenlet = this.cast();
        let body = body(greenlet);
        let state = if !body.is_started() {
            " pending"
        } else if body.is_thread_dead() {
            " (thread exited) dead"
        } else if body.state.get() == State::Dead {
            " dead"
        } else if body.is_current(greenlet) && is_here(body) {
            " current active started"
        } else {
            " suspended active started"
        };
        let main = if body.main && body.is_active() { " main" } else { "" };
        let thread = body.handle().map_or(ptr::null(), std::sync::Arc::as_ptr);
        let text = format!("<{name} object at {this:p} (otid={thread:p}){state}{main}>");
        ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t)
    }
}

// SAFETY: all fields are optional functions.
const NO_NUMBER: ffi::PyNumberMethods = unsafe { std::mem::zeroed() };

static NUMBER: Global<ffi::PyNumberMethods> = Global::new(NO_NUMBER);

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn is_true(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    c_int::from(unsafe { body(this.cast()) }.is_active())
}
