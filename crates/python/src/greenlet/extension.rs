//! What a floor above keeps with a thread, without this one knowing what it is.

use std::cell::Cell;
use std::ptr;

use crate::py::ffi::PyObject;
use crate::py::{Owned, Slot};

/// What a floor above keeps with a thread: an object, and what is known of it.
pub struct Extension {
    object: Slot,
    known: Cell<*const ()>,
    at_end: Cell<Option<AtEnd>>,
}

/// Called with the object when its thread has ended, before it is let go of.
///
/// # Safety
/// A live object; the interpreter's lock is held, in any thread.
pub type AtEnd = unsafe fn(*mut PyObject);

impl Extension {
    /// No object yet.
    pub const fn empty() -> Extension {
        Extension { object: Slot::empty(), known: Cell::new(ptr::null()), at_end: Cell::new(None) }
    }

    /// Sets or removes the object, and what is known of it.
    ///
    /// # Safety
    /// Whoever follows `known` may rely on it for as long as the object is there: what it points to lives so long.
    /// `at_end` may be called with the object.
    pub unsafe fn set(&self, object: Option<Owned>, known: *const (), at_end: AtEnd) {
        self.known.set(known);
        self.at_end.set(Some(at_end));
        self.object.set(object);
    }

    /// Changes what is known of the object.
    ///
    /// # Safety
    /// As of [`set`](Self::set).
    pub unsafe fn set_known(&self, known: *const ()) {
        self.known.set(known);
    }

    /// The object, borrowed; null if there is none.
    #[inline]
    pub fn object(&self) -> *mut PyObject {
        self.object.get()
    }

    /// One more reference to the object.
    #[inline]
    pub fn owned(&self) -> Option<Owned> {
        self.object.object()
    }

    /// What is known of the object.
    #[inline]
    pub fn known(&self) -> *const () {
        self.known.get()
    }

    /// Lets go of the object.
    ///
    /// # Safety
    /// The interpreter's lock is held; the thread has ended.
    pub(super) unsafe fn end(&self) {
        if let (Some(object), Some(at_end)) = (self.object.object(), self.at_end.get()) {
            // SAFETY: the reference keeps the object, and the lock is held.
            unsafe { at_end(object.as_ptr()) };
        }
        self.known.set(ptr::null());
        self.object.set(None);
    }
}
