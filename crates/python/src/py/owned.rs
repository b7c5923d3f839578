//! Owned references, and the places that keep them.

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use super::error::{Raised, Result};
use super::ffi::{self, PyObject};
use super::lock::is_finalizing;

/// An owned reference, for code that is not hot. Letting go of it may run Python code.
///
/// While the interpreter is torn down a thread that wants its lock is unwound without it; a reference on such a stack is left
/// alone.
pub struct Owned(ptr::NonNull<PyObject>);

impl Owned {
    /// Takes over a reference; null means that an exception is pending.
    ///
    /// # Safety
    /// The caller owns the reference, with the interpreter's lock held; so it is whenever the value is used.
    #[inline]
    pub unsafe fn new<T>(object: *mut T) -> Result<Owned> {
        ptr::NonNull::new(object.cast()).map(Owned).ok_or(Raised)
    }

    /// One more reference to a live object.
    ///
    /// # Safety
    /// As [`new`](Self::new), but for the ownership.
    #[inline]
    pub unsafe fn borrow<T>(object: *mut T) -> Owned {
        // SAFETY: the caller's word; objects are not null.
        unsafe {
            ffi::incref(object);
            Owned(ptr::NonNull::new_unchecked(object.cast()))
        }
    }

    /// None.
    #[inline]
    pub fn none() -> Owned {
        // SAFETY: None is always there.
        unsafe { Owned::borrow(ffi::Py_None()) }
    }

    /// True or False.
    #[inline]
    pub fn bool(value: bool) -> Owned {
        // SAFETY: both are always there.
        unsafe { Owned::borrow(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// The object, borrowed.
    #[inline]
    pub fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    /// The object, whose reference the caller takes over.
    #[inline]
    pub fn into_raw(self) -> *mut PyObject {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }

    /// Whether it is None.
    #[inline]
    pub fn is_none(&self) -> bool {
        // SAFETY: compares addresses.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }
}

impl Clone for Owned {
    fn clone(&self) -> Owned {
        // SAFETY: live, as long as this reference.
        unsafe { Owned::borrow(self.as_ptr()) }
    }
}

impl Drop for Owned {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned, with the interpreter's lock held, unless the interpreter goes.
        unsafe {
            if ffi::Py_REFCNT(self.as_ptr()) > 1 || !is_finalizing() {
                ffi::decref(self.as_ptr());
            }
        }
    }
}

/// A slot for an owned reference that may be empty.
#[derive(Default)]
pub struct Slot(Cell<*mut PyObject>);

impl Slot {
    /// An empty one.
    pub const fn empty() -> Slot {
        Slot(Cell::new(ptr::null_mut()))
    }

    /// What is in it, borrowed; null if it is empty.
    #[inline]
    pub fn get(&self) -> *mut PyObject {
        self.0.get()
    }

    /// One more reference to what is in it.
    pub fn object(&self) -> Option<Owned> {
        let object = self.0.get();
        // SAFETY: the slot keeps it alive.
        (!object.is_null()).then(|| unsafe { Owned::borrow(object) })
    }

    /// Puts something in; what was there is let go of.
    pub fn set(&self, object: Option<Owned>) {
        let former = self.0.replace(object.map_or(ptr::null_mut(), Owned::into_raw));
        // SAFETY: the slot owned it.
        unsafe { ffi::xdecref(former) };
    }

    /// Takes out what is in it.
    pub fn take(&self) -> Option<Owned> {
        // SAFETY: the slot owned it.
        unsafe { Owned::new(self.0.replace(ptr::null_mut())).ok() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// A value that lives as long as the process and is guarded by the interpreter's lock.
pub struct Global<T>(UnsafeCell<T>);

// SAFETY: used only by who holds the interpreter's lock.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    /// Wraps the value.
    pub const fn new(value: T) -> Global<T> {
        Global(UnsafeCell::new(value))
    }

    /// Where the value is.
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// Objects that are made at import and live for ever.
pub type GlobalObject = Global<*mut PyObject>;

impl GlobalObject {
    /// Null, until it is [set](Self::set).
    pub const fn null() -> GlobalObject {
        Global::new(ptr::null_mut())
    }

    /// The object, borrowed.
    pub fn object(&self) -> *mut PyObject {
        // SAFETY: a plain read under the interpreter's lock.
        unsafe { *self.0.get() }
    }

    /// Sets the object, whose reference is taken over.
    pub fn set(&self, object: *mut PyObject) {
        // SAFETY: a plain write under the interpreter's lock.
        unsafe { *self.0.get() = object };
    }
}
