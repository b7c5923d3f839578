//! `local`: an object whose attributes are different ones in each greenlet.
//!
//! It has a dict for each greenlet that used it, and becomes an ordinary object with the running greenlet's dict at
//! each access. A greenlet that goes takes its dicts along: it knows, weakly, who has one for it.

use std::ffi::CStr;
use std::ptr;
use std::rc::Rc;

use crate::greenlet::locals::Dicts;
use crate::greenlet::{Here, body, here};
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::names::{Name, intern};
use crate::py::object::Object;
use crate::py::{self, Args, Class, ClassCell, Gil, Owned, Payload, Pending, Raised, Result, Slot, This};
use crate::tstate::{self, KEPT};

/// The state of a local.
pub struct Local {
    dicts: Rc<Dicts>,
    /// What a subclass's `__init__` is called with in each greenlet.
    args: Slot,
    kwargs: Slot,
}

static LOCAL: ClassCell = ClassCell::unbuilt();

static DICT: Name = Name::new(c"__dict__");

impl Payload for Local {
    const NAME: &'static CStr = c"eventlet.corolocal.local";
    const DOC: &'static CStr = c"local(*args, **kw)\n--\n\n\
      An object whose attributes are different ones in each green thread. A subclass's __init__ runs in each one that \
      uses it.";

    fn cell() -> &'static ClassCell {
        &LOCAL
    }

    fn new() -> Local {
        Local { dicts: Rc::new(Dicts::new()), args: Slot::empty(), kwargs: Slot::empty() }
    }

    fn made(this: This<'_, Local>, args: Args<'_>) -> Result<()> {
        let address = |init: Option<ffi::initproc>| init.map_or(0, |init| init as usize);
        // SAFETY: a live object; types are read, which live as long as it does.
        let plain =
            unsafe { address((*ffi::Py_TYPE(this.as_ptr())).tp_init) == address(ffi::PyBaseObject_Type.tp_init) };
        if plain && (!args.positional.is_empty() || args.has_keywords()) {
            return py::type_error(this.gil(), "Initialization arguments are not supported");
        }
        this.dicts.object.set(this.as_ptr());
        // In this greenlet `__init__` is about to be called as for any object.
        add_dict(this, here(this.gil())?)?;
        if !plain {
            let (args, kwargs) = args.rest(0)?;
            this.args.set(Some(args));
            this.kwargs.set(kwargs);
        }
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.args.get());
        visit(self.kwargs.get());
        self.dicts.all.borrow().values().for_each(|dict| visit(dict.as_ptr()));
    }

    fn clear(&self) {
        self.args.set(None);
        self.kwargs.set(None);
        self.dicts.present.set(ptr::null_mut());
        let dicts = self.dicts.all.take();
        drop(dicts);
    }
}

/// Gives the object a new dict for the running greenlet.
fn add_dict(this: This<'_, Local>, thread: Here<'_>) -> Result<()> {
    let greenlet = thread.current();
    // SAFETY: `This` says that the lock is held.
    let dict = unsafe { Owned::new(ffi::PyDict_New())? };
    this.dicts.all.borrow_mut().insert(greenlet.cast(), dict.clone());
    // SAFETY: the running greenlet, which is alive.
    unsafe { body(greenlet) }.locals.add(&this.dicts);
    this.dicts.present.set(greenlet.cast());
    drop(this.replace_attributes(Some(dict)));
    Ok(())
}

/// Makes it the running greenlet's.
#[inline]
fn enter(this: This<'_, Local>) -> Result<()> {
    let thread = here(this.gil())?;
    // Letting go of the former dict may run code, in which others use the local.
    while this.dicts.present.get() != thread.current().cast() {
        change(this, thread)?;
    }
    Ok(())
}

fn change(this: This<'_, Local>, thread: Here<'_>) -> Result<()> {
    let greenlet = thread.current();
    let dict = this.dicts.all.borrow().get(&greenlet.cast()).cloned();
    if let Some(dict) = dict {
        this.dicts.present.set(greenlet.cast());
        drop(this.replace_attributes(Some(dict)));
        return Ok(());
    }
    add_dict(this, thread)?;
    let Some(args) = this.args.object() else { return Ok(()) };
    // SAFETY: live objects, and `This` says that the lock is held.
    let initialized = unsafe {
        Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"__init__".as_ptr()))
            .and_then(|init| Owned::new(ffi::PyObject_Call(init.as_ptr(), args.as_ptr(), this.kwargs.get())))
    };
    if initialized.is_err() {
        // It is tried again at the next access.
        let pending = Pending::take(this.gil());
        this.dicts.forget(greenlet.cast());
        pending.put_back();
    }
    initialized.map(drop)
}

/// Whether the running greenlet has used no `local` at all.
pub fn is_unused(gil: Gil<'_>) -> Result<bool> {
    let greenlet = here(gil)?.current();
    // SAFETY: the running greenlet, which is alive.
    Ok(unsafe { body(greenlet) }.locals.is_empty())
}

/// Makes the type.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once.
    unsafe {
        intern(&[&DICT])?;
        class().build(module)
    }
}

fn class() -> Class<Local> {
    // Between `enter` and the look-up in the dict no other greenlet can run.
    Class::new()
        .get_attribute(|this, name| {
            enter(this)?;
            this.as_object().own_attribute(name)
        })
        .set_attribute(|this, name, value| {
            refuse_dict(this, name)?;
            enter(this)?;
            this.as_object().set_own_attribute(name, value)
        })
}

/// The functions of the module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"get_ident",
            |args| {
                let current = here(args.gil())?.current();
                // SAFETY: the token says that the lock is held.
                unsafe { Owned::new(ffi::PyLong_FromVoidPtr(current.cast())) }
            },
            c"get_ident()\n--\n\nThe id() of the current greenlet.",
        ),
        py::function(
            c"_begin_thread",
            |args| begin_thread(args.gil()),
            c"_begin_thread()\n--\n\nThe running greenlet begins to be what Python knows as a thread: what C keeps for \
              each thread, it keeps for it.",
        ),
        py::function(
            c"_as_os_thread",
            as_os_thread,
            c"_as_os_thread(function)\n--\n\nCalls a function with what is kept for the OS thread, not for the \
              running greenlet.",
        ),
        py::function(
            c"_end_thread",
            |args| end_thread(args.gil()),
            c"_end_thread()\n--\n\nLets go of all that is kept for the running greenlet as a thread. What that calls \
              may wait.",
        ),
    ]
}

fn begin_thread(gil: Gil<'_>) -> Result<Owned> {
    let greenlet = here(gil)?.current();
    // SAFETY: the running greenlet and its thread state, with the lock held.
    unsafe {
        let saved = body(greenlet).saved.get();
        if !(*saved).is_thread() {
            (*saved).begin_thread(tstate::current(), [ptr::null_mut(); KEPT]);
        }
    }
    Ok(Owned::none(gil))
}

/// Calls a function with what is kept for the OS thread.
fn as_os_thread(args: Args<'_>) -> Result<Owned> {
    let greenlet = here(args.gil())?.current();
    let &[function] = args.positional else {
        return py::type_error(args.gil(), "_as_os_thread() takes a function");
    };
    // SAFETY: the running greenlet and its thread state, with the lock held; what is taken out is put back.
    unsafe {
        let saved = body(greenlet).saved.get();
        if !(*saved).is_thread() {
            return Owned::new(ffi::PyObject_CallNoArgs(function.as_ptr()));
        }
        let kept = (*saved).end_thread(tstate::current());
        let result = Owned::new(ffi::PyObject_CallNoArgs(function.as_ptr()));
        (*saved).begin_thread(tstate::current(), kept);
        result
    }
}

/// In CPython's order, and here, because where a greenlet is deallocated may be the hub, which cannot wait.
fn end_thread(gil: Gil<'_>) -> Result<Owned> {
    let greenlet = here(gil)?.current();
    // SAFETY: the running greenlet, which is alive.
    let this = unsafe { body(greenlet) };
    for dicts in this.locals.take() {
        let_go(&dicts, greenlet.cast());
    }
    // SAFETY: the running greenlet and its thread state, with the lock held; what is taken out is owned. Code that runs
    // meanwhile may use new ones.
    unsafe {
        let kept = (*this.saved.get()).take_kept(tstate::current());
        kept.into_iter().for_each(|object| ffi::xdecref(object));
        let context = ptr::replace(&raw mut (*tstate::current()).context, ptr::null_mut());
        (*tstate::current()).context_ver += 1;
        ffi::xdecref(context);
        let late = (*this.saved.get()).end_thread(tstate::current());
        late.into_iter().for_each(|object| ffi::xdecref(object));
    }
    Ok(Owned::none(gil))
}

/// Lets go of a greenlet's values in one local.
fn let_go(dicts: &Dicts, greenlet: *mut PyObject) {
    let present = (dicts.present.get() == greenlet).then(|| {
        // SAFETY: the object has not let go of its dicts, or nobody's would be present.
        unsafe { This::<Local>::of(dicts.object.get()) }.replace_attributes(None)
    });
    dicts.forget(greenlet);
    drop(present);
}

/// The greenlet's dict is its own as long as it lives: `__dict__` cannot be set, nor deleted.
fn refuse_dict(this: This<'_, Local>, name: Object<'_>) -> Result<()> {
    // SAFETY: live objects, and `This` says that the lock is held.
    match unsafe { ffi::PyObject_RichCompareBool(name.as_ptr(), DICT.object(), ffi::Py_EQ) } {
        0 => Ok(()),
        -1 => Err(Raised),
        // SAFETY: the type of a live object, whose name is text.
        _ => unsafe {
            let kind = CStr::from_ptr((*ffi::Py_TYPE(this.as_ptr())).tp_name).to_string_lossy();
            py::attribute_error(this.gil(), &format!("'{kind}' object attribute '__dict__' is read-only"))
        },
    }
}
