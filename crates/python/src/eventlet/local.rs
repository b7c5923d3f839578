//! `local`: an object whose attributes are different ones in each greenlet.
//!
//! It has a dict for each greenlet that used it, and becomes an ordinary object with the running greenlet's dict at each
//! access. A greenlet that goes takes its dicts along: it knows, weakly, who has one for it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::rc::{Rc, Weak};

use super::green_thread::here;
use crate::class::{self, Args, Class, ClassCell, Payload, This};
use crate::ffi::{self, Owned, PyMethodDef, PyObject, Raised, Result, Slot};
use crate::greenlet::{PyGreenlet, body};

/// The dicts of a local.
struct Dicts {
    all: RefCell<HashMap<*mut PyGreenlet, Owned>>,
    /// Whose dict the object has now. It keeps the dict of one that is gone until somebody uses it, as eventlet's does.
    present: Cell<*mut PyGreenlet>,
}

/// What a greenlet knows of its locals.
pub struct Locals {
    users: RefCell<Vec<Weak<Dicts>>>,
    /// How many to have before looking for those that are gone.
    sweep_at: Cell<usize>,
}

impl Locals {
    /// None yet.
    pub fn new() -> Locals {
        Locals { users: RefCell::new(Vec::new()), sweep_at: Cell::new(32) }
    }

    fn add(&self, dicts: &Rc<Dicts>) {
        let mut users = self.users.borrow_mut();
        if users.len() >= self.sweep_at.get() {
            users.retain(|user| user.strong_count() > 0);
            self.sweep_at.set(users.len() * 2 + 32);
        }
        users.push(Rc::downgrade(dicts));
    }

    /// The greenlet goes, and its values with it.
    #[inline]
    pub fn forget(&self, greenlet: *mut PyGreenlet) {
        if self.users.borrow().is_empty() {
            return;
        }
        for dicts in self.users.take().iter().filter_map(Weak::upgrade) {
            dicts.forget(greenlet);
        }
    }
}

impl Dicts {
    fn forget(&self, greenlet: *mut PyGreenlet) {
        if self.present.get() == greenlet {
            self.present.set(ptr::null_mut());
        }
        // Values run code when they go: that is after the map is free again.
        let dict = self.all.borrow_mut().remove(&greenlet);
        drop(dict);
    }
}

/// The state of a local.
pub struct Local {
    dicts: Rc<Dicts>,
    /// What a subclass's `__init__` is called with in each greenlet.
    args: Slot,
    kwargs: Slot,
}

static LOCAL: ClassCell = ClassCell::unbuilt();

impl Payload for Local {
    const NAME: &'static CStr = c"eventlet.corolocal.local";
    const DOC: &'static CStr = c"local()\n--\n\n\
An object whose attributes are different ones in each green thread. A subclass's __init__ runs in each one that uses it.";

    fn cell() -> &'static ClassCell {
        &LOCAL
    }

    fn new() -> Local {
        let dicts = Dicts { all: RefCell::default(), present: Cell::new(ptr::null_mut()) };
        Local { dicts: Rc::new(dicts), args: Slot::empty(), kwargs: Slot::empty() }
    }

    fn made(this: This<'_, Local>, args: Args<'_>) -> Result<()> {
        // SAFETY: called by the interpreter.
        unsafe {
            let address = |init: Option<ffi::initproc>| init.map_or(0, |init| init as usize);
            let inherited = address(ffi::PyBaseObject_Type.tp_init);
            let plain = address((*ffi::Py_TYPE(this.as_ptr())).tp_init) == inherited;
            if plain && (!args.positional.is_empty() || args.has_keywords()) {
                return ffi::error(ffi::PyExc_TypeError, "Initialization arguments are not supported");
            }
            // In this greenlet `__init__` is about to be called as for any object.
            add_dict(this, here()?.current())?;
            if !plain {
                let (args, kwargs) = args.rest(0)?;
                this.args.set(Some(args));
                this.kwargs.set(kwargs);
            }
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

/// Gives the object a new dict for a greenlet.
///
/// # Safety
/// The running greenlet; the interpreter's lock is held.
unsafe fn add_dict(this: This<'_, Local>, greenlet: *mut PyGreenlet) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let dict = Owned::new(ffi::PyDict_New())?;
        this.dicts.all.borrow_mut().insert(greenlet, dict.clone());
        body(greenlet).locals.add(&this.dicts);
        this.dicts.present.set(greenlet);
        drop(this.replace_attributes(Some(dict)));
    }
    Ok(())
}

/// Makes it the running greenlet's.
#[inline]
fn enter(this: This<'_, Local>) -> Result<()> {
    // SAFETY: called by the interpreter.
    let greenlet = unsafe { here()?.current() };
    // Letting go of the former dict may run code, in which others use the local.
    while this.dicts.present.get() != greenlet {
        change(this, greenlet)?;
    }
    Ok(())
}

fn change(this: This<'_, Local>, greenlet: *mut PyGreenlet) -> Result<()> {
    let dict = this.dicts.all.borrow().get(&greenlet).cloned();
    if let Some(dict) = dict {
        this.dicts.present.set(greenlet);
        drop(this.replace_attributes(Some(dict)));
        return Ok(());
    }
    // SAFETY: called by the interpreter.
    unsafe {
        add_dict(this, greenlet)?;
        let Some(args) = this.args.object() else { return Ok(()) };
        let initialized = Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"__init__".as_ptr()))
            .and_then(|init| Owned::new(ffi::PyObject_Call(init.as_ptr(), args.as_ptr(), this.kwargs.get())));
        if initialized.is_err() {
            // It is tried again at the next access.
            let pending = ffi::Pending::take();
            this.dicts.forget(greenlet);
            pending.put_back();
        }
        initialized.map(drop)
    }
}

/// The type.
pub fn class() -> Class<Local> {
    let get: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject = get_attribute;
    let set: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> c_int = set_attribute;
    Class::new().slot(ffi::Py_tp_getattro, get as *mut c_void).slot(ffi::Py_tp_setattro, set as *mut c_void)
}

/// The functions of the module.
pub fn functions() -> Vec<PyMethodDef> {
    vec![class::function(
        c"get_ident",
        // SAFETY: called by the interpreter.
        |_| unsafe { Owned::new(ffi::PyLong_FromVoidPtr(here()?.current().cast())) },
        c"get_ident() -> int\n\nThe id() of the current greenlet.",
    )]
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn get_attribute(this: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter. Between here and the look-up in the dict no other greenlet can run.
    unsafe {
        match enter(This::of(this)) {
            Ok(()) => ffi::PyObject_GenericGetAttr(this, name),
            Err(Raised) => ptr::null_mut(),
        }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn set_attribute(this: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> c_int {
    // SAFETY: as in `get_attribute`.
    unsafe {
        match enter(This::of(this)) {
            Ok(()) => ffi::PyObject_GenericSetAttr(this, name, value),
            Err(Raised) => -1,
        }
    }
}
