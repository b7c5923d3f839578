//! Objects with a Rust value inside.
//!
//! ```text
//! instance:  | object head | __dict__ | weak references | payload |
//! ```

use std::ffi::{CStr, c_int, c_void};
use std::ops::Deref;
use std::ptr;

use super::args::Args;
use super::error::Result;
use super::ffi::{self, PyObject, PyTypeObject};
use super::lock::Gil;
use super::object::Object;
use super::owned::{Global, Owned};

/// The Rust value in each instance of a type.
pub trait Payload: Sized + 'static {
    /// The full name, with the module that Python shows.
    const NAME: &'static CStr;
    /// The docstring, with a signature for `help()` in its first line.
    const DOC: &'static CStr;

    /// Where the type is kept.
    fn cell() -> &'static ClassCell;

    /// What an instance begins with, before `__init__`.
    fn new() -> Self;

    /// Runs when an instance is made, before `__init__`, with the same arguments.
    fn made(_this: This<'_, Self>, _args: Args<'_>) -> Result<()> {
        Ok(())
    }

    /// Tells the garbage collector of objects that it holds. Those that it does not name are never part of a garbage
    /// cycle.
    fn visit(&self, _visit: &mut dyn FnMut(*mut PyObject)) {}

    /// Lets go of what [`visit`](Self::visit) names.
    fn clear(&self) {}

    /// Runs when the instance is deallocated, before its value is dropped.
    fn end(&self, _gil: Gil<'_>) {}
}

/// Where a type is kept, null until it is made.
pub type ClassCell = Global<*mut PyTypeObject>;

impl ClassCell {
    /// Null, until the class is built.
    pub const fn unbuilt() -> ClassCell {
        Global::new(ptr::null_mut())
    }

    /// The type.
    #[inline]
    pub fn kind(&self) -> *mut PyTypeObject {
        // SAFETY: a plain read under the interpreter's lock.
        unsafe { *self.get() }
    }
}

#[repr(C)]
pub(super) struct Instance<T> {
    ob_base: PyObject,
    pub(super) dict: *mut PyObject,
    pub(super) weak_references: *mut PyObject,
    value: T,
}

/// An instance with its payload, borrowed for a call.
pub struct This<'a, T> {
    object: *mut PyObject,
    value: &'a T,
}

impl<T> Clone for This<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for This<'_, T> {}

impl<T> Deref for This<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<'a, T: Payload> This<'a, T> {
    /// The payload of an instance.
    ///
    /// # Safety
    /// A live instance of the payload's type, which outlives `'a`; the interpreter's lock is held as
    /// [`Gil::assume`] asks for.
    #[inline]
    pub unsafe fn of(object: *mut PyObject) -> This<'a, T> {
        // SAFETY: an instance of the payload's type begins like that.
        This { object, value: unsafe { &(*object.cast::<Instance<T>>()).value } }
    }

    /// The payload of any object, if it is an instance.
    ///
    /// # Safety
    /// As [`of`](Self::of), but for the type.
    pub unsafe fn try_of(object: *mut PyObject) -> Option<This<'a, T>> {
        // SAFETY: a live object, with the lock held; an instance of the type has its payload.
        unsafe { (ffi::PyObject_TypeCheck(object, T::cell().kind()) != 0).then(|| This::of(object)) }
    }

    /// The lock is held during the call.
    #[inline(always)]
    pub fn gil(self) -> Gil<'a> {
        // SAFETY: the maker of this promised that the lock is held for `'a`, and it is not `Send`.
        unsafe { Gil::assume() }
    }

    /// The object, borrowed.
    #[inline]
    pub fn as_ptr(self) -> *mut PyObject {
        self.object
    }

    /// The object, for the call.
    #[inline]
    pub fn as_object(self) -> Object<'a> {
        // SAFETY: a live instance, which outlives `'a`, with the lock held.
        unsafe { Object::new(self.object) }
    }

    /// One more reference to the object.
    pub fn owned(self) -> Owned {
        // SAFETY: a live instance, with the lock held.
        unsafe { Owned::borrow(self.object) }
    }

    /// Whether it is of the type itself, so that no method is overridden by a subclass.
    #[inline]
    pub fn is_exact(self) -> bool {
        // SAFETY: a live instance, with the lock held.
        unsafe { ffi::Py_TYPE(self.object) == T::cell().kind() }
    }

    /// Puts another dict, or none, in the place of the instance's attributes. Returns the former one.
    pub fn replace_attributes(self, dict: Option<Owned>) -> Option<Owned> {
        let dict = dict.map_or(ptr::null_mut(), Owned::into_raw);
        // SAFETY: a live instance, which owns its dict; the lock is held.
        unsafe { Owned::new(ptr::replace(&raw mut (*self.object.cast::<Instance<T>>()).dict, dict)).ok() }
    }

    /// The attributes that were set on the instance: a dict, borrowed; null if there are none.
    #[inline]
    pub fn dict(self) -> *mut PyObject {
        // SAFETY: a live instance, with the lock held.
        unsafe { (*self.object.cast::<Instance<T>>()).dict }
    }
}

impl<'a> Object<'a> {
    /// Its payload, if it is an instance of the payload's type or of a subclass.
    pub fn instance<T: Payload>(self) -> Option<This<'a, T>> {
        // SAFETY: alive for `'a`, with the lock held.
        unsafe { This::try_of(self.as_ptr()) }
    }
}

/// A new instance of the type itself, `__init__` not called.
pub fn make<T: Payload>(_: Gil<'_>, value: T) -> Result<Owned> {
    // SAFETY: the payload's own type, and the token says that the lock is held.
    unsafe { allocate(T::cell().kind(), value) }
}

/// A new instance of the type or a subclass, `__init__` not called.
///
/// # Safety
/// The interpreter's lock is held; the type is the payload's or a subclass.
pub unsafe fn allocate<T: Payload>(kind: *mut PyTypeObject, value: T) -> Result<Owned> {
    // SAFETY: the fresh object is zeroed behind its head. It is tracked already, but nothing runs before its value is
    // there.
    unsafe {
        let alloc = (*kind).tp_alloc.unwrap_or(ffi::PyType_GenericAlloc);
        let object = Owned::new(alloc(kind, 0))?;
        (&raw mut (*object.as_ptr().cast::<Instance<T>>()).value).write(value);
        Ok(object)
    }
}

/// # Safety
/// Called by the interpreter.
pub(super) unsafe extern "C-unwind" fn new<T: Payload>(
    kind: *mut PyTypeObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    let object = unsafe {
        allocate(kind, T::new()).and_then(|object| {
            T::made(This::of(object.as_ptr()), Args::from_tuple(args, kwargs))?;
            Ok(object)
        })
    };
    object.map_or(ptr::null_mut(), Owned::into_raw)
}

/// # Safety
/// Called by the interpreter.
pub(super) unsafe extern "C-unwind" fn dealloc<T: Payload>(this: *mut PyObject) {
    // SAFETY: called by the interpreter when the last reference is gone; the type is a heap type, to which the object
    // holds a reference.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        let instance = this.cast::<Instance<T>>();
        if !(*instance).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(this);
        }
        ffi::xdecref(std::mem::replace(&mut (*instance).dict, ptr::null_mut()));
        (*instance).value.end(Gil::assume());
        ptr::drop_in_place(&raw mut (*instance).value);
        let kind = ffi::Py_TYPE(this);
        if let Some(free) = (*kind).tp_free {
            free(this.cast());
        }
        ffi::decref(kind);
    }
}

/// # Safety
/// Called by the interpreter.
pub(super) unsafe extern "C" fn traverse<T: Payload>(
    this: *mut PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the interpreter; nothing changes meanwhile.
    unsafe {
        let instance = this.cast::<Instance<T>>();
        let mut answer = visit(ffi::Py_TYPE(this).cast(), arg);
        let mut tell = |object: *mut PyObject| {
            if answer == 0 && !object.is_null() {
                answer = visit(object, arg);
            }
        };
        tell((*instance).dict);
        (*instance).value.visit(&mut tell);
        answer
    }
}

/// # Safety
/// Called by the interpreter.
pub(super) unsafe extern "C" fn clear<T: Payload>(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let instance = this.cast::<Instance<T>>();
        ffi::xdecref(std::mem::replace(&mut (*instance).dict, ptr::null_mut()));
        (*instance).value.clear();
    }
    0
}
