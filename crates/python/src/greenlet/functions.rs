//! The module's functions about greenlets.

use std::ptr;

use super::thread::{self, current_thread};
use super::{stacks, trace, walk};
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::table::{method, no_argument_method};
use crate::py::{self, Gil, Global};
use crate::tstate;

/// The table of them, which lives for ever.
///
/// # Safety
/// Called at import, once.
pub unsafe fn table() -> *mut PyMethodDef {
    let functions = FUNCTIONS.get();
    if cfg!(Py_3_13) {
        // SAFETY: nobody has read the table yet. The trashcan has no depth there; tests look for the function.
        unsafe { (*functions)[13] = PyMethodDef::zeroed() };
    }
    functions.cast()
}

static FUNCTIONS: Global<[PyMethodDef; 15]> = Global::new([
    no_argument_method(c"getcurrent", getcurrent, c"getcurrent()\n--\n\nThe greenlet that runs in this thread."),
    method(
        c"settrace",
        settrace,
        ffi::METH_O,
        c"settrace(callback, /)\n--\n\nSets the function that is told of every switch in this thread, as \
          callback(event, (origin, target)) with the event \"switch\" or \"throw\"; None for no function. Returns the \
          former one.",
    ),
    no_argument_method(c"gettrace", gettrace, c"gettrace()\n--\n\nThe trace function of this thread, or None."),
    method(
        c"enable_optional_cleanup",
        enable_cleanup,
        ffi::METH_O,
        c"enable_optional_cleanup(enabled, /)\n--\n\nWhether to look for a lost reference to the main greenlet of a \
          thread that has ended.",
    ),
    no_argument_method(
        c"get_clocks_used_doing_optional_cleanup",
        clocks_used,
        c"get_clocks_used_doing_optional_cleanup()\n--\n\nProcessor time spent on optional cleanup, or None if it is \
          disabled.",
    ),
    no_argument_method(
        c"get_pending_cleanup_count",
        pending_cleanups,
        c"get_pending_cleanup_count()\n--\n\nHow many ended threads were not cleaned up yet.",
    ),
    no_argument_method(
        c"get_total_main_greenlets",
        total_mains,
        c"get_total_main_greenlets()\n--\n\nHow many main greenlets there are.",
    ),
    method(
        c"set_thread_local",
        set_thread_local,
        ffi::METH_VARARGS,
        c"set_thread_local(key, value, /)\n--\n\nFor tests: sets a key of the thread state's dict.",
    ),
    no_argument_method(
        c"greenlets",
        greenlets,
        c"greenlets()\n--\n\nAll active greenlets of the process, those of a thread after its main one.",
    ),
    no_argument_method(
        c"stack_size",
        stack_size,
        c"stack_size()\n--\n\nThe stack size of greenlets that begin from now on.",
    ),
    method(
        c"set_stack_size",
        set_stack_size,
        ffi::METH_O,
        c"set_stack_size(bytes, /)\n--\n\nSets the stack size of greenlets that begin from now on.",
    ),
    no_argument_method(
        c"stack_pool",
        stack_pool,
        c"stack_pool()\n--\n\nHow many stacks there are, and their address space.",
    ),
    no_argument_method(
        c"_layout",
        layout,
        c"_layout()\n--\n\nFor tests: the offsets of the thread state's fields, as this was compiled with.",
    ),
    no_argument_method(
        c"get_tstate_trash_delete_nesting",
        trash_nesting,
        c"get_tstate_trash_delete_nesting()\n--\n\nFor tests: the trashcan's depth.",
    ),
    PyMethodDef::zeroed(),
]);

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn getcurrent(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe { thread::current_or_refuse(Gil::assume()).cast() }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn settrace(_: *mut PyObject, tracer: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe {
        let thread = current_thread(Gil::assume());
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe {
        let thread = current_thread(Gil::assume());
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe { ffi::PyLong_FromSize_t(thread::exited_threads()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn total_mains(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe { ffi::PyLong_FromSize_t(thread::main_greenlets()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_thread_local(_: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and live objects.
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe {
        if current_thread(Gil::assume()).is_null() {
            return ptr::null_mut();
        }
        let found = walk::active_greenlets(Gil::assume());
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe { ffi::PyLong_FromSize_t(stacks::size()) }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_stack_size(_: *mut PyObject, bytes: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe {
        let size = ffi::PyLong_AsSsize_t(bytes);
        if size == -1 && !ffi::PyErr_Occurred().is_null() {
            return ptr::null_mut();
        }
        match stacks::set_size(usize::try_from(size).unwrap_or(0)) {
            Ok(()) => ffi::incref(ffi::Py_None()),
            Err(message) => py::raise(ffi::PyExc_ValueError, &message),
        }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn stack_pool(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let stats = greenloom_fiber::pool_stats();
    // SAFETY: called by the interpreter, with the lock held and live objects.
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
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
    // SAFETY: called by the interpreter, with the lock held and live objects.
    unsafe {
        #[cfg(not(Py_3_13))]
        let depth = (*tstate::current()).trash_delete_nesting;
        #[cfg(Py_3_13)]
        let depth = 0;
        ffi::PyLong_FromLong(depth.into())
    }
}
