//! Owned references, and the places that keep them.
//!
//! To make one of nothing takes a [`Gil`]; to copy one or let go of it does not, although that needs the lock too. An
//! [`Owned`] or a [`Slot`] is itself the proof: it was made under the lock and is not `Send`, what hangs off Python
//! objects and threads' records is reached under the lock only, and the few places where a thread lets go of the lock
//! for a system call touch no object meanwhile. So they carry no lifetime, which would make every structure that keeps
//! objects carry one, and [`Owned::gil`] gives the token back. The one exception is the end of the interpreter, which
//! `drop` knows.

use std::cell::{Cell, UnsafeCell};
use std::ptr;

use super::error::{Raised, Result};
use super::ffi::{self, PyObject};
use super::lock::{Gil, is_finalizing};

/// An owned reference, for code that is not hot. Letting go of it may run Python code.
///
/// While the interpreter is torn down a thread that wants its lock is unwound without it; a reference on such a stack
/// is left alone.
pub struct Owned(ptr::NonNull<PyObject>);

impl Owned {
    /// Takes over a reference; null means that an exception is pending.
    ///
    /// # Safety
    /// The caller owns the reference, with the interpreter's lock held.
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
        // SAFETY: a live object, which is not null; the lock is held.
        unsafe {
            ffi::incref(object);
            Owned(ptr::NonNull::new_unchecked(object.cast()))
        }
    }

    /// None.
    #[inline]
    pub fn none(_: Gil<'_>) -> Owned {
        // SAFETY: None lives for ever, and the token says that the lock is held.
        unsafe { Owned::borrow(ffi::Py_None()) }
    }

    /// True or False.
    #[inline]
    pub fn bool(_: Gil<'_>, value: bool) -> Owned {
        // SAFETY: both live for ever, and the token says that the lock is held.
        unsafe { Owned::borrow(if value { ffi::Py_True() } else { ffi::Py_False() }) }
    }

    /// The lock is held: see the top of this file.
    #[inline(always)]
    pub fn gil(&self) -> Gil<'_> {
        // SAFETY: made under the lock, and a thread that has let go of it since cannot use this.
        unsafe { Gil::assume() }
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
        // SAFETY: this reference keeps it alive, and is only used with the lock held.
        unsafe { Owned::borrow(self.as_ptr()) }
    }
}

impl Drop for Owned {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned, and only let go of with the lock held: see the top of this file. A thread that is unwound
        // while the interpreter is torn down has no lock, and then only a counter is changed that others keep above
        // zero.
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

// SAFETY: what is in it is reached through a raw pointer, by code that holds the interpreter's lock, or through
// `object`, which reads what is set once, at import.
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

    /// Sets the object, which lives for ever from then on.
    pub fn set(&self, object: Owned) {
        // SAFETY: a plain write under the interpreter's lock.
        unsafe { *self.0.get() = object.into_raw() };
    }
}
