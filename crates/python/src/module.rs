//! The native module: its functions, exceptions and constants.

use std::ffi::{CStr, c_int};
use std::ptr;

use crate::ffi::{self, FastMethod, Global, GlobalObject, PyMethodDef, PyObject};
use crate::stacks;
use crate::thread::{self, current_thread};
use crate::{capi, http, object, trace, tstate, unswitchable};

static ERROR: GlobalObject = GlobalObject::null();
static EXIT: GlobalObject = GlobalObject::null();

/// The string "run".
pub static RUN: GlobalObject = GlobalObject::null();
/// The string "switch".
pub static SWITCH: GlobalObject = GlobalObject::null();
/// The string "throw".
pub static THROW: GlobalObject = GlobalObject::null();

/// `greenlet.error`.
pub fn error() -> *mut PyObject {
    ERROR.object()
}

/// `greenlet.GreenletExit`.
pub fn greenlet_exit() -> *mut PyObject {
    EXIT.object()
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
const fn method(name: &'static CStr, function: ffi::PyCFunction, flags: c_int, doc: &'static CStr) -> PyMethodDef {
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

static FUNCTIONS: Global<[PyMethodDef; 15]> = Global::new([
    no_argument_method(c"getcurrent", getcurrent, c"getcurrent() -> greenlet\n\nThe greenlet that runs in this thread."),
    method(
        c"settrace",
        settrace,
        ffi::METH_O,
        c"settrace(callback) -> object\n\nSets the function that is told of every switch in this thread, as \
          callback(event, (origin, target)) with the event \"switch\" or \"throw\"; None for no function. Returns the former one.",
    ),
    no_argument_method(c"gettrace", gettrace, c"gettrace() -> object\n\nThe trace function of this thread, or None."),
    method(c"enable_optional_cleanup", enable_cleanup, ffi::METH_O, c"enable_optional_cleanup(bool)\n\nWhether to \
        look for a lost reference to the main greenlet of a thread that has ended."),
    no_argument_method(c"get_clocks_used_doing_optional_cleanup", clocks_used, c"Processor time spent on \
        optional cleanup, or None if it is disabled."),
    no_argument_method(c"get_pending_cleanup_count", pending_cleanups, c"How many ended threads were not cleaned up yet."),
    no_argument_method(c"get_total_main_greenlets", total_mains, c"How many main greenlets there are."),
    method(c"set_thread_local", set_thread_local, ffi::METH_VARARGS, c"For tests: sets a key of the thread state's dict."),
    no_argument_method(c"greenlets", greenlets, c"greenlets() -> list\n\nAll active greenlets of the process, those of a \
        thread after its main one."),
    no_argument_method(c"stack_size", stack_size, c"stack_size() -> int\n\nThe stack size of greenlets that begin from now on."),
    method(
        c"set_stack_size",
        set_stack_size,
        ffi::METH_O,
        c"set_stack_size(bytes)\n\nSets the stack size of greenlets that begin from now on.",
    ),
    no_argument_method(c"stack_pool", stack_pool, c"stack_pool() -> dict\n\nHow many stacks there are, and their address space."),
    no_argument_method(c"_layout", layout, c"For tests: the offsets of the thread state's fields, as this was compiled with."),
    no_argument_method(c"get_tstate_trash_delete_nesting", trash_nesting, c"For tests: the trashcan's depth."),
    PyMethodDef::zeroed(),
]);

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

/// Makes the module; null with an exception if this interpreter cannot be served.
///
/// # Safety
/// Called by the interpreter at import.
pub unsafe fn create() -> *mut PyObject {
    // SAFETY: the caller's word.
    unsafe {
        if let Err(message) = tstate::check() {
            return ffi::raise(ffi::PyExc_ImportError, &message);
        }
        if let Err(message) = stacks::read_environment() {
            return ffi::raise(ffi::PyExc_ImportError, &message);
        }
        fiber::overflow::set_wording(
            "greenlet",
            "raise it with the environment variable GREENLOOM_STACK_SIZE or greenloom.set_stack_size()",
        );
        fiber::overflow::set_describe(describe_running);
        if cfg!(Py_3_13) {
            let functions = FUNCTIONS.get();
            // The trashcan has no depth there; tests look for the function.
            (*functions)[13] = PyMethodDef::zeroed();
        }
        (*MODULE.get()).m_methods = FUNCTIONS.get().cast();
        let module = ffi::PyModule_Create(MODULE.get());
        let mut functions = crate::eventlet::functions();
        functions.push(PyMethodDef::zeroed());
        // The table must outlive the module.
        let functions = functions.leak().as_mut_ptr();
        if !module.is_null() && ffi::PyModule_AddFunctions(module, functions) == 0 && fill(module) {
            return module;
        }
        ffi::xdecref(module);
        ptr::null_mut()
    }
}

/// Puts everything but the functions in. Returns false with an exception.
///
/// # Safety
/// Called at import, once.
unsafe fn fill(module: *mut PyObject) -> bool {
    // SAFETY: called once; names are literals.
    unsafe {
        for (slot, text) in [(&RUN, c"run"), (&SWITCH, c"switch"), (&THROW, c"throw")] {
            slot.set(ffi::PyUnicode_InternFromString(text.as_ptr()));
        }
        ERROR.set(ffi::PyErr_NewException(c"greenlet.error".as_ptr(), ptr::null_mut(), ptr::null_mut()));
        let base = ffi::PyExc_BaseException;
        EXIT.set(ffi::PyErr_NewException(c"greenlet.GreenletExit".as_ptr(), base, ptr::null_mut()));
        if error().is_null() || greenlet_exit().is_null() || RUN.object().is_null() {
            return false;
        }
        if !object::ready() || !unswitchable::ready() || !http::add_to(module) {
            return false;
        }
        let add = |name: &CStr, value: *mut PyObject| {
            !value.is_null() && ffi::PyModule_AddObjectRef(module, name.as_ptr(), value) == 0
        };
        if crate::eventlet::fill(module).is_err() {
            return false;
        }
        let number = |value| ffi::PyLong_FromLong(value);
        let kind: *mut PyObject = object::greenlet_type().cast();
        let added = add(c"greenlet", kind)
            && add(c"UnswitchableGreenlet", unswitchable::kind().cast())
            && add(c"error", error())
            && add(c"GreenletExit", greenlet_exit())
            && add(c"GREENLET_USE_GC", ffi::Py_True())
            && add(c"GREENLET_USE_TRACING", ffi::Py_True())
            && add(c"GREENLET_USE_CONTEXT_VARS", ffi::Py_True())
            && add(c"GREENLET_USE_STANDARD_THREADING", ffi::Py_True())
            && add(c"CLOCKS_PER_SEC", number(1_000_000))
            && add(c"_C_API", capi::capsule());
        if !added {
            return false;
        }
        // eventlet finds these on the type.
        for name in [c"getcurrent", c"error", c"GreenletExit", c"settrace", c"gettrace"] {
            let value = ffi::PyObject_GetAttrString(module, name.as_ptr());
            if value.is_null()
                || ffi::PyDict_SetItemString((*object::greenlet_type()).tp_dict, name.as_ptr(), value) < 0
            {
                return false;
            }
            ffi::decref(value);
        }
        ffi::PyType_Modified(object::greenlet_type());
        true
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn getcurrent(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { capi::current_or_refuse().cast() }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn settrace(_: *mut PyObject, tracer: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = current_thread();
        if thread.is_null() {
            return ptr::null_mut();
        }
        let tracer = if tracer == ffi::Py_None() { ptr::null_mut() } else { ffi::incref(tracer) };
        trace::set(&*thread, tracer)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn gettrace(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = current_thread();
        if thread.is_null() {
            return ptr::null_mut();
        }
        let tracer = (*thread).tracer.get();
        ffi::incref(if tracer.is_null() { ffi::Py_None() } else { tracer })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn enable_cleanup(_: *mut PyObject, flag: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let truth = ffi::PyObject_IsTrue(flag);
        if truth < 0 {
            return ptr::null_mut();
        }
        thread::enable_cleanup(truth != 0);
        ffi::incref(ffi::Py_None())
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn clocks_used(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        match thread::cleanup_clocks() {
            Some(clocks) => ffi::PyLong_FromLong(clocks),
            None => ffi::incref(ffi::Py_None()),
        }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn pending_cleanups(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyLong_FromSize_t(thread::exited_threads()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn total_mains(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyLong_FromSize_t(thread::main_greenlets()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_thread_local(_: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let [mut key, mut value]: [*mut PyObject; 2] = [ptr::null_mut(); 2];
        if ffi::PyArg_UnpackTuple(args, c"set_thread_local".as_ptr(), 2, 2, &raw mut key, &raw mut value) == 0 {
            return ptr::null_mut();
        }
        let dict = ffi::PyThreadState_GetDict();
        if dict.is_null() || ffi::PyDict_SetItem(dict, key, value) < 0 {
            return ptr::null_mut();
        }
        ffi::incref(ffi::Py_None())
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn greenlets(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        if current_thread().is_null() {
            return ptr::null_mut();
        }
        let found = thread::active_greenlets();
        let list = ffi::PyList_New(found.len() as ffi::Py_ssize_t);
        for (index, greenlet) in found.into_iter().enumerate() {
            if list.is_null() {
                ffi::decref(greenlet);
            } else {
                ffi::PyList_SET_ITEM(list, index as ffi::Py_ssize_t, greenlet.cast());
            }
        }
        list
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn stack_size(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe { ffi::PyLong_FromSize_t(stacks::size()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_stack_size(_: *mut PyObject, bytes: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let size = ffi::PyLong_AsSsize_t(bytes);
        if size == -1 && !ffi::PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        match stacks::set_size(usize::try_from(size).unwrap_or(0)) {
            Ok(()) => ffi::incref(ffi::Py_None()),
            Err(message) => ffi::raise(ffi::PyExc_ValueError, &message),
        }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn stack_pool(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let stats = fiber::pool_stats();
    // SAFETY: called by the interpreter.
    unsafe {
        ffi::Py_BuildValue(
            c"{s:n,s:n}".as_ptr(),
            c"stacks".as_ptr(),
            stats.stacks as ffi::Py_ssize_t,
            c"address_space".as_ptr(),
            stats.address_space as ffi::Py_ssize_t,
        )
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn layout(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let dict = ffi::PyDict_New();
        for (name, offset) in tstate::LAYOUT {
            let key = ffi::PyUnicode_FromStringAndSize(name.as_ptr().cast(), name.len() as ffi::Py_ssize_t);
            let value = ffi::PyLong_FromSize_t(*offset);
            let set =
                !dict.is_null() && !key.is_null() && !value.is_null() && ffi::PyDict_SetItem(dict, key, value) == 0;
            ffi::xdecref(key);
            ffi::xdecref(value);
            if !set {
                ffi::xdecref(dict);
                return ptr::null_mut();
            }
        }
        dict
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn trash_nesting(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        #[cfg(not(Py_3_13))]
        let depth = (*tstate::current()).trash_delete_nesting;
        #[cfg(Py_3_13)]
        let depth = 0;
        ffi::PyLong_FromLong(depth.into())
    }
}

/// One past the highest address of the OS thread's own stack.
pub fn own_stack_top() -> usize {
    // SAFETY: fills in an attribute object for the running thread, which is destroyed after it was read.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return 0;
        }
        let (mut low, mut size) = (ptr::null_mut(), 0);
        libc::pthread_attr_getstack(&attributes, &mut low, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        low as usize + size
    }
}

/// For the message about an overflow: the running greenlet as its `repr` begins.
fn describe_running(out: &mut dyn std::io::Write) {
    // SAFETY: the fault came from Python code, with the lock held; only plain memory is read.
    unsafe {
        let greenlet = thread::this_thread().current();
        let name = CStr::from_ptr((*ffi::Py_TYPE(greenlet.cast())).tp_name);
        let _ = out.write_all(b"<");
        let _ = out.write_all(name.to_bytes());
        let _ = write!(out, " object at {greenlet:p}>");
    }
}
