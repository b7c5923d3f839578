//! The greenlet type as Python sees it: construction, attributes, methods, the garbage collector's view.
//!
//! It is a static type of a layout that C code was compiled against. A subclass written in Python shares all of it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use crate::dealloc;
use crate::ffi::{self, Global, Py_ssize_t, PyObject, PyTypeObject};
use crate::greenlet::{PyGreenlet, State, attach_body, body, has_body};
use crate::module;
use crate::switch::{self, Payload};
use crate::thread::{current_thread, is_here};
use crate::throw;
use crate::tstate;

static TYPE: Global<PyTypeObject> = Global::new(zeroed_type());

/// A type object with nothing filled in.
pub const fn zeroed_type() -> PyTypeObject {
    // SAFETY: all fields are numbers, pointers or optional functions.
    unsafe { std::mem::zeroed() }
}

/// The type.
pub fn greenlet_type() -> *mut PyTypeObject {
    TYPE.get()
}

/// Whether the object is a greenlet, of the type itself or of a subclass.
///
/// # Safety
/// A live object.
pub unsafe fn is_greenlet(object: *mut PyObject) -> bool {
    // SAFETY: the caller's word.
    unsafe { ffi::PyObject_TypeCheck(object, greenlet_type()) != 0 }
}

/// Whether the greenlet is of the type itself, whose `run` nobody overrides.
///
/// # Safety
/// A live greenlet.
#[inline]
pub unsafe fn is_exact(greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: the caller's word.
    unsafe { ptr::eq(ffi::Py_TYPE(greenlet.cast()), greenlet_type()) }
}

/// Fills in the type and makes it ready. Returns whether that worked.
///
/// # Safety
/// Called once, at import.
pub unsafe fn ready() -> bool {
    // SAFETY: the statics live for ever; slots are of the right form, but may be unwound through.
    unsafe {
        let this = greenlet_type();
        (*NUMBER.get()).nb_bool = Some(is_true);
        (*this).tp_name = c"greenlet.greenlet".as_ptr();
        (*this).tp_basicsize = size_of::<PyGreenlet>() as Py_ssize_t;
        (*this).tp_dealloc =
            Some(std::mem::transmute::<unsafe extern "C-unwind" fn(*mut PyObject), ffi::destructor>(dealloc::dealloc));
        (*this).tp_repr = Some(repr);
        (*this).tp_as_number = NUMBER.get();
        (*this).tp_flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
        (*this).tp_doc = DOC.as_ptr();
        (*this).tp_traverse = Some(traverse);
        (*this).tp_clear = Some(clear);
        (*this).tp_weaklistoffset = offset_of!(PyGreenlet, weakreflist) as Py_ssize_t;
        (*this).tp_methods = METHODS.get().cast();
        (*this).tp_getset = ATTRIBUTES.get().cast();
        (*this).tp_dictoffset = offset_of!(PyGreenlet, dict) as Py_ssize_t;
        (*this).tp_init = Some(init);
        (*this).tp_alloc = Some(ffi::PyType_GenericAlloc);
        (*this).tp_new = Some(new);
        (*this).tp_free = Some(ffi::PyObject_GC_Del);
        (*this).tp_is_gc = Some(is_gc);
        (*this).tp_vectorcall = Some(vectorcall);
        fill_in_methods();
        ffi::PyType_Ready(this) == 0
    }
}

const DOC: &CStr = c"greenlet(run=None, parent=None)\n--\n\n\
A function with a stack of its own. It begins when somebody switches to it, and is suspended when it switches to another \
greenlet of its thread; when it ends, its parent goes on with the result.\n\n\
 - *run* -- what to call; may also be a method of a subclass, or be set later\n\
 - *parent* -- the greenlet that goes on when this one ends; by default the one that makes it";

// ---------------------------------------------------------------------------------------------------------------------
// Construction

/// A zeroed object of the type or of a subclass, without a body.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn allocate(kind: *mut PyTypeObject) -> *mut PyGreenlet {
    // SAFETY: the caller's word.
    unsafe {
        match (*kind).tp_alloc {
            Some(alloc) => alloc(kind, 0).cast(),
            None => ffi::PyType_GenericAlloc(kind, 0).cast(),
        }
    }
}

/// A new greenlet, whose parent is the current one.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn make(kind: *mut PyTypeObject) -> *mut PyGreenlet {
    // SAFETY: a fresh object gets its body before anybody sees it; until then its traverse function passes it by.
    unsafe {
        let this: *mut PyGreenlet = if (*kind).tp_flags & ffi::Py_TPFLAGS_IS_ABSTRACT == 0 {
            allocate(kind)
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
        attach_body(this, false);
        // After the allocation, which may collect garbage and so run code in other threads.
        let thread = current_thread();
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
unsafe extern "C" fn new(kind: *mut PyTypeObject, _args: *mut PyObject, _kwargs: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { make(kind).cast() }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn init(this: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> c_int {
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
unsafe extern "C" fn vectorcall(
    kind: *mut PyObject,
    args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let positional = ffi::PyVectorcall_NARGS(count as _);
        if !names.is_null() || positional > 2 {
            let (args, kwargs) = pack(args, positional, names);
            if args.is_null() {
                return ptr::null_mut();
            }
            let mut this = make(kind.cast()).cast::<PyObject>();
            if !this.is_null() && init(this, args, kwargs) < 0 {
                ffi::decref(this);
                this = ptr::null_mut();
            }
            ffi::decref(args);
            ffi::xdecref(kwargs);
            return this;
        }
        let this = make(kind.cast());
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

/// The C API's constructor.
///
/// # Safety
/// `run` and `parent` are objects or null; the interpreter's lock is held.
pub unsafe fn construct(run: *mut PyObject, parent: *mut PyObject) -> *mut PyGreenlet {
    // SAFETY: the caller's word.
    unsafe {
        let this = make(greenlet_type());
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
unsafe fn pack(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> (*mut PyObject, *mut PyObject) {
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

// ---------------------------------------------------------------------------------------------------------------------
// The garbage collector

/// A suspended greenlet's stack holds references that nobody can find. So the collector must not think that it knows all
/// references to what the greenlet holds: active greenlets pass for objects that it does not manage.
///
/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn is_gc(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if !has_body(this.cast()) {
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
        for object in own.into_iter().filter(|object| !object.is_null()).chain((*body.saved.get()).held()) {
            let answer = visit(object, arg);
            if answer != 0 {
                return answer;
            }
        }
    }
    0
}

/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter for a greenlet that does not run.
    unsafe {
        let this: *mut PyGreenlet = this.cast();
        let body = body(this);
        if body.state.get() == State::Active {
            // Of a thread that has ended.
            return 0;
        }
        ffi::clear(&body.parent);
        ffi::clear(&body.run);
        ffi::xdecref(std::mem::replace(&mut (*body.saved.get()).context, ptr::null_mut()));
        ffi::xdecref(std::mem::replace(&mut (*this).dict, ptr::null_mut()));
    }
    0
}

// ---------------------------------------------------------------------------------------------------------------------
// Methods

static METHODS: Global<[ffi::PyMethodDef; 4]> = Global::new([ffi::PyMethodDef::zeroed(); 4]);

/// The fast form takes arguments from an array; two methods are called so often that it pays.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn fill_in_methods() {
    // SAFETY: at import, before the type is ready.
    unsafe {
        let methods = METHODS.get();
        (*methods)[0] = module::fast_method(c"switch", switch_method, SWITCH_DOC);
        (*methods)[1] = module::fast_method(c"throw", throw_method, THROW_DOC);
        (*methods)[2] = module::no_argument_method(c"__getstate__", refuse_to_pickle, c"");
    }
}

const SWITCH_DOC: &CStr = c"switch(*args, **kwargs)\n\n\
Suspends the current greenlet and goes on with this one; returns what is handed over when somebody switches back. \
One that has not begun is called with the arguments. One that is suspended gets them as the result of its own switch. \
In place of one that has ended, its parent goes on.";

const THROW_DOC: &CStr = c"throw(type=GreenletExit, value=None, traceback=None)\n\n\
As switch, but raises the exception in the greenlet that goes on. One that has not begun ends with it. \
A greenlet ended by GreenletExit returns it to its parent as a value.";

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
        let payload = if names.is_null() && count == 1 && body(this.cast()).state.get() == State::Active {
            Payload::Value(ffi::incref(*args))
        } else {
            let (args, kwargs) = pack(args, count, names);
            if args.is_null() {
                return ptr::null_mut();
            }
            Payload::Call { args, kwargs }
        };
        switch::switch(this.cast(), payload)
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
            return ffi::raise(ffi::PyExc_TypeError, "throw() takes no keyword arguments");
        }
        if count > 3 {
            let message = format!("throw expected at most 3 arguments, got {count}");
            return ffi::raise(ffi::PyExc_TypeError, &message);
        }
        let argument = |index: Py_ssize_t| if index < count { *args.offset(index) } else { ptr::null_mut() };
        let kind = if count > 0 { argument(0) } else { module::greenlet_exit() };
        throw::throw(this.cast(), kind, argument(1), argument(2))
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
        let state = if body.state.get() == State::Pending {
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

// ---------------------------------------------------------------------------------------------------------------------
// Attributes

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

static ATTRIBUTES: Global<[ffi::PyGetSetDef; 9]> = Global::new([
    attribute(c"__dict__", ffi::PyObject_GenericGetDict, Some(ffi::PyObject_GenericSetDict), c"The attributes."),
    attribute(c"run", get_run, Some(set_run), c"What is called when the greenlet begins. Gone once it has begun."),
    attribute(c"parent", get_parent, Some(set_parent), c"Which greenlet goes on when this one ends."),
    attribute(c"gr_frame", get_frame, None, c"The innermost frame of a suspended greenlet, else None."),
    attribute(c"gr_context", get_context, Some(set_context), c"The contextvars context it runs in, or None."),
    attribute(c"dead", get_dead, None, c"Whether it has ended, or its thread has."),
    attribute(c"_stack_saved", get_stack_saved, None, c"How many bytes of its stack it uses while suspended, else 0."),
    attribute(c"_stack_size", get_stack_size, None, c"The size in bytes of the stack it has, or None."),
    NO_ATTRIBUTE,
]);

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_run(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(this.cast());
        let run = body.run.get();
        if body.state.get() != State::Pending || run.is_null() {
            return ffi::raise(ffi::PyExc_AttributeError, "run");
        }
        ffi::incref(run)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_run(this: *mut PyObject, run: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(this.cast());
        if body.state.get() != State::Pending {
            ffi::raise::<()>(ffi::PyExc_AttributeError, "run cannot be set after the start of the greenlet");
            return -1;
        }
        if !run.is_null() {
            ffi::incref(run);
        }
        ffi::xdecref(body.run.replace(run));
        0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_parent(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let parent = body(this.cast()).parent.get();
        ffi::incref(if parent.is_null() { ffi::Py_None() } else { parent.cast() })
    }
}

/// Sets the parent; the C API's `SetParent` too.
///
/// # Safety
/// `this` is a greenlet, `parent` an object or null; the interpreter's lock is held.
pub unsafe extern "C" fn set_parent(this: *mut PyObject, parent: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: the caller's word.
    unsafe {
        let this: *mut PyGreenlet = this.cast();
        let refuse = |kind: *mut PyObject, message: &str| {
            ffi::raise::<()>(kind, message);
            -1
        };
        if parent.is_null() {
            return refuse(ffi::PyExc_AttributeError, "can't delete attribute");
        }
        if !is_greenlet(parent) {
            let name = CStr::from_ptr((*ffi::Py_TYPE(parent)).tp_name).to_string_lossy();
            let message = format!("GreenletChecker: Expected any type of greenlet, not {name}");
            return refuse(ffi::PyExc_TypeError, &message);
        }
        if body(this).main {
            return refuse(ffi::PyExc_AttributeError, "cannot set the parent of a main greenlet");
        }
        let parent: *mut PyGreenlet = parent.cast();
        let mut ancestor = parent;
        let mut thread = None;
        while !ancestor.is_null() {
            if ancestor == this {
                return refuse(ffi::PyExc_ValueError, "cyclic parent chain");
            }
            thread = thread.or(body(ancestor).handle());
            ancestor = body(ancestor).parent.get();
        }
        let Some(thread) = thread else {
            return refuse(ffi::PyExc_ValueError, "parent must not be garbage collected");
        };
        if body(this).handle().is_some_and(|own| !std::sync::Arc::ptr_eq(own, thread)) {
            return refuse(ffi::PyExc_ValueError, "parent cannot be on a different thread");
        }
        ffi::xdecref(body(this).parent.replace(ffi::incref(parent)));
        0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_frame(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter; a greenlet that is active and not current is suspended.
    unsafe {
        let greenlet = this.cast();
        let body = body(greenlet);
        let frame = if body.state.get() != State::Active || body.is_current(greenlet) {
            ptr::null_mut()
        } else {
            tstate::frame_of(&*body.saved.get())
        };
        if frame.is_null() { ffi::incref(ffi::Py_None()) } else { frame }
    }
}

/// Where the context of a greenlet is: with the thread while it runs, with the greenlet else. Null with an exception if
/// another thread has it.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn context_slot(greenlet: *mut PyGreenlet, verb: &str) -> *mut *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let body = body(greenlet);
        if !body.is_current(greenlet) {
            return &raw mut (*body.saved.get()).context;
        }
        if body.handle().is_some_and(|handle| handle.is_mine()) {
            return &raw mut (*tstate::current()).context;
        }
        let message = format!("cannot {verb} context of a greenlet that is running in a different thread");
        ffi::raise(ffi::PyExc_ValueError, &message)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_context(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let slot = context_slot(this.cast(), "get");
        if slot.is_null() {
            return ptr::null_mut();
        }
        ffi::incref(if (*slot).is_null() { ffi::Py_None() } else { *slot })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_context(this: *mut PyObject, context: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        if context.is_null() {
            ffi::raise::<()>(ffi::PyExc_AttributeError, "can't delete context attribute");
            return -1;
        }
        let wanted = if context == ffi::Py_None() { ptr::null_mut() } else { context };
        if !wanted.is_null() && ffi::PyContext_CheckExact(wanted) == 0 {
            ffi::raise::<()>(ffi::PyExc_TypeError, "greenlet context must be a contextvars.Context or None");
            return -1;
        }
        let slot = context_slot(this.cast(), "set");
        if slot.is_null() {
            return -1;
        }
        if !wanted.is_null() {
            ffi::incref(wanted);
        }
        let former = std::mem::replace(&mut *slot, wanted);
        // Invalidates what context variables cached.
        (*tstate::current()).context_ver += 1;
        ffi::xdecref(former);
        0
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_dead(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyBool_FromLong(body(this.cast()).is_dead().into()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_stack_saved(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let greenlet = this.cast();
        let body = body(greenlet);
        let bytes = if !body.is_active() || body.is_current(greenlet) {
            0
        } else if body.main {
            module::own_stack_top().saturating_sub(body.left_at.get()).max(1)
        } else {
            (*body.fiber.get()).stack_in_use()
        };
        ffi::PyLong_FromSize_t(bytes)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_stack_size(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        match (*body(this.cast()).fiber.get()).stack_bounds() {
            Some(bounds) => ffi::PyLong_FromSize_t(bounds.len()),
            None => ffi::incref(ffi::Py_None()),
        }
    }
}
