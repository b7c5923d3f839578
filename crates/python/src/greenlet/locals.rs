//! Values of which each greenlet has its own, and which go with it.
//!
//! Who offers them, such as eventlet's `local`, keeps a dict for each greenlet in a [`Dicts`]; a greenlet knows,
//! weakly, who has one for it, so that what it leaves behind does not wait for a look at all greenlets. Greenlets are
//! told apart by their addresses and not followed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ptr;
use std::rc::{Rc, Weak};

use crate::py::Owned;
use crate::py::ffi::PyObject;

/// The dicts of all greenlets that use one thing.
pub struct Dicts {
    /// By greenlet.
    pub all: RefCell<HashMap<*mut PyObject, Owned>>,
    /// Whose dict the object has now. It keeps the dict of one that is gone until somebody uses it, as eventlet's does.
    pub present: Cell<*mut PyObject>,
    /// The object, borrowed.
    pub object: Cell<*mut PyObject>,
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

    /// Whether there was never one.
    pub fn is_empty(&self) -> bool {
        self.users.borrow().is_empty()
    }

    /// There is one for this greenlet in `dicts`.
    pub fn add(&self, dicts: &Rc<Dicts>) {
        let mut users = self.users.borrow_mut();
        if users.len() >= self.sweep_at.get() {
            users.retain(|user| user.strong_count() > 0);
            self.sweep_at.set(users.len() * 2 + 32);
        }
        users.push(Rc::downgrade(dicts));
    }

    /// Those that have one, which are forgotten here.
    pub fn take(&self) -> Vec<Rc<Dicts>> {
        self.users.take().iter().filter_map(Weak::upgrade).collect()
    }

    /// The greenlet goes, and its values with it.
    #[inline]
    pub fn forget(&self, greenlet: *mut PyObject) {
        if self.users.borrow().is_empty() {
            return;
        }
        for dicts in self.take() {
            dicts.forget(greenlet);
        }
    }
}

impl Dicts {
    /// None yet.
    pub fn new() -> Dicts {
        Dicts { all: RefCell::default(), present: Cell::new(ptr::null_mut()), object: Cell::new(ptr::null_mut()) }
    }

    /// Removes the one of a greenlet.
    pub fn forget(&self, greenlet: *mut PyObject) {
        if self.present.get() == greenlet {
            self.present.set(ptr::null_mut());
        }
        // Values run code when they go: that is after the map is free again.
        let dict = self.all.borrow_mut().remove(&greenlet);
        drop(dict);
    }
}
