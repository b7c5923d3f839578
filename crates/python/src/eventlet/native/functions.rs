//! What `greenloom.hooks` is made of.

use greenloom_hooks::got::{self, Patched};

use super::host::{GreenThreads, adopt_process};
use crate::eventlet::hub_ref;
use crate::greenlet::here;
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::object::{self, Object};
use crate::py::{self, Args, Global, Owned, Raised, Result};

/// Functions of the native module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_hooks_install",
            install,
            c"_hooks_install(paths)\n--\n\nHooks the blocking calls of these extension modules, and of the libraries \
              that they bring, as far as they are loaded.",
        ),
        py::function(
            c"_hooks_look",
            look,
            c"_hooks_look()\n--\n\nHooks what was loaded since the last look and belongs to a hooked module.",
        ),
        py::function(c"_hooks_uninstall", uninstall, c"_hooks_uninstall()\n--\n\nTakes all hooks out."),
        py::function(
            c"_hooks_report",
            report,
            c"_hooks_report()\n--\n\nA list of (path, calls, reason): reason is None for what is hooked.",
        ),
        py::function(
            c"_hooks_adopt",
            adopt,
            c"_hooks_adopt()\n--\n\nTo be called in the child of a fork that goes on with Python.",
        ),
        py::function(
            c"_hooks_hub_parks",
            hub_parks,
            c"_hooks_hub_parks()\n--\n\nWhether the running OS thread's hub, if it has one, parks hooked calls.",
        ),
        py::function(
            c"_hooks_excepthook",
            excepthook,
            c"_hooks_excepthook(former, kind, value, traceback)\n--\n\nA sys.excepthook, with the former one before: \
              a program that ends by a library's error ends by what was thrown in beneath it.",
        ),
        py::function(
            c"_take_interruption",
            take_interruption,
            c"_take_interruption()\n--\n\nThe exception that was thrown into the running greenlet beneath a C function \
              and was not raised yet; None if there is none. It is not raised any more.",
        ),
    ]
}

static TIMEOUT_EXIT: Global<PyMethodDef> = Global::new(PyMethodDef::zeroed());

/// Adds `_timeout_exit`, the `__exit__` of timeouts.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once, with the lock held; the definition lives for ever.
    unsafe {
        *TIMEOUT_EXIT.get() = py::bare_method(
            c"__exit__",
            timeout_exit,
            c"__exit__($self, kind, value, traceback, /)\n--\n\nCancels it, and keeps quiet about itself if it is to.",
        );
        let method = Owned::new(ffi::PyDescr_NewMethod(ffi::PyExc_BaseException.cast(), TIMEOUT_EXIT.get()))?;
        if ffi::PyModule_AddObjectRef(module, c"_timeout_exit".as_ptr(), method.as_ptr()) < 0 {
            return Err(Raised);
        }
    }
    Ok(())
}

/// As a Python function it would raise what is to be raised before its first line, and could not keep quiet about it.
fn timeout_exit(this: Object<'_>, args: Args<'_>) -> Result<Owned> {
    let gil = this.gil();
    let [_, value, _] = args.exactly()?;
    let thread = here(gil)?;
    // A block that ends well, as its C function may have, ends by its own timeout only.
    let mine = |exception: &Owned| !value.is_none() || exception.as_ptr() == this.as_ptr();
    let interruption = thread.interruptions.take_if(thread.ident(), thread.current(), mine);
    // SAFETY: live objects; an exception is raised as one.
    unsafe {
        let cancel = Owned::new(ffi::PyUnicode_InternFromString(c"cancel".as_ptr()))?;
        py::call_method(this.as_ptr(), cancel.as_ptr(), [])?;
        let raised = interruption.as_ref().map_or(value.as_ptr(), Owned::as_ptr);
        if raised == this.as_ptr() {
            let exception = Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"exception".as_ptr()))?;
            if exception.as_ptr() == ffi::Py_False() {
                return Ok(Owned::bool(gil, true));
            }
        }
        match interruption {
            Some(exception) => {
                ffi::PyErr_SetObject(ffi::Py_TYPE(exception.as_ptr()).cast(), exception.as_ptr());
                Err(Raised)
            }
            None => Ok(Owned::none(gil)),
        }
    }
}

fn install(args: Args<'_>) -> Result<Owned> {
    let ([paths], []) = args.parse("_hooks_install", ["paths"], [])?;
    if !greenloom_hooks::set_host(&GreenThreads) {
        return py::runtime_error(args.gil(), "the hooks belong to another runtime of this process");
    }
    // SAFETY: a live object; the items are kept by the list.
    let paths = unsafe {
        let list = Owned::new(ffi::PySequence_List(paths.as_ptr()))?;
        let count = ffi::PyList_GET_SIZE(list.as_ptr());
        let items = (0..count).map(|index| Object::new(ffi::PyList_GET_ITEM(list.as_ptr(), index)));
        items.map(|item| item.text().map(str::to_owned)).collect::<Result<Vec<_>>>()?
    };
    adopt_process();
    got::patch(paths);
    Ok(Owned::none(args.gil()))
}

fn look(args: Args<'_>) -> Result<Owned> {
    got::look();
    Ok(Owned::none(args.gil()))
}

fn uninstall(args: Args<'_>) -> Result<Owned> {
    got::unpatch();
    Ok(Owned::none(args.gil()))
}

fn adopt(args: Args<'_>) -> Result<Owned> {
    adopt_process();
    Ok(Owned::none(args.gil()))
}

fn hub_parks(args: Args<'_>) -> Result<Owned> {
    let thread = here(args.gil())?;
    let parks = hub_ref::object_of(&thread).is_null() || hub_ref::watching(&thread).is_some();
    Ok(Owned::bool(args.gil(), parks))
}

/// No Python function: as that begins, it raises what was thrown in.
fn excepthook(args: Args<'_>) -> Result<Owned> {
    let names = ["former", "kind", "value", "traceback"];
    let ([former, kind, value, traceback], []) = args.parse("_hooks_excepthook", names, [])?;
    let thread = here(args.gil())?;
    // SAFETY: live objects; what was thrown in is an exception, and a context's reference is handed over.
    unsafe {
        let Some(thrown) = thread.interruptions.take(thread.ident(), thread.current()) else {
            return py::call(former.as_ptr(), [kind.as_ptr(), value.as_ptr(), traceback.as_ptr()]);
        };
        let is = |class| ffi::PyErr_GivenExceptionMatches(thrown.as_ptr(), class) != 0;
        let class = ffi::Py_TYPE(thrown.as_ptr()).cast();
        if is(ffi::PyExc_SystemExit) {
            ffi::PyErr_SetObject(class, thrown.as_ptr());
            return Err(Raised);
        }
        if value.as_ptr() != thrown.as_ptr() {
            ffi::PyException_SetContext(thrown.as_ptr(), ffi::incref(value.as_ptr()));
        }
        let trace = ffi::PyException_GetTraceback(thrown.as_ptr());
        let trace = if trace.is_null() { Owned::none(args.gil()) } else { Owned::new(trace)? };
        py::call(former.as_ptr(), [class, thrown.as_ptr(), trace.as_ptr()])?;
        if is(ffi::PyExc_KeyboardInterrupt) {
            // What a shell says of a program that SIGINT has ended.
            let status = Owned::new(ffi::PyLong_FromLong(128 + libc::SIGINT as std::ffi::c_long))?;
            ffi::PyErr_SetObject(ffi::PyExc_SystemExit, status.as_ptr());
            return Err(Raised);
        }
    }
    Ok(Owned::none(args.gil()))
}

fn take_interruption(args: Args<'_>) -> Result<Owned> {
    let thread = here(args.gil())?;
    let taken = thread.interruptions.take(thread.ident(), thread.current());
    Ok(taken.unwrap_or_else(|| Owned::none(args.gil())))
}

fn report(args: Args<'_>) -> Result<Owned> {
    let gil = args.gil();
    // SAFETY: called by the interpreter; the list is ours.
    unsafe {
        let list = Owned::new(ffi::PyList_New(0))?;
        for Patched { path, calls, refused } in got::report() {
            let names = Owned::new(ffi::PyList_New(0))?;
            for call in calls {
                let name = py::string(gil, &call)?;
                if ffi::PyList_Append(names.as_ptr(), name.as_ptr()) < 0 {
                    return Err(Raised);
                }
            }
            let reason = refused.map_or_else(|| Ok(Owned::none(gil)), |reason| py::string(gil, reason))?;
            let entry = object::tuple(gil, [py::string(gil, &path)?, names, reason])?;
            if ffi::PyList_Append(list.as_ptr(), entry.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}
