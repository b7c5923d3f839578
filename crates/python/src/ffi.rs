//! What the binding calls of CPython beyond `pyo3-ffi`, and small helpers for owned references.
//!
//! Functions that may run Python code are declared `C-unwind` here. A C++ exception or the forced unwinding of a thread that
//! ends at interpreter shutdown passes through our frames then, as it does through any C code.

// The calls that take an exception as three values are the ones that all versions have.
#![allow(deprecated)]

pub use pyo3_ffi::*;

use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// A function in the form of a `METH_FASTCALL | METH_KEYWORDS` method.
pub type FastMethod =
    unsafe extern "C-unwind" fn(*mut PyObject, *const *mut PyObject, Py_ssize_t, *mut PyObject) -> *mut PyObject;

mod unwinding {
    use super::PyObject;
    unsafe extern "C-unwind" {
        pub fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
        pub fn PyObject_GetAttr(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject;
        pub fn Py_DecRef(object: *mut PyObject);
    }
}
pub use unwinding::{PyObject_Call, PyObject_GetAttr};

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

/// One more reference.
///
/// # Safety
/// A live object, with the interpreter's lock held.
#[inline]
pub unsafe fn incref<T>(object: *mut T) -> *mut T {
    // SAFETY: the caller's word.
    unsafe { Py_INCREF(object.cast()) };
    object
}

/// One reference less; may run Python code.
///
/// # Safety
/// The caller owns a reference, with the interpreter's lock held.
#[inline]
pub unsafe fn decref<T>(object: *mut T) {
    // SAFETY: the caller's word.
    unsafe {
        if Py_REFCNT(object.cast()) > 1 {
            Py_DECREF(object.cast());
        } else {
            unwinding::Py_DecRef(object.cast());
        }
    }
}

/// [`decref`] for what may be null.
///
/// # Safety
/// As [`decref`].
#[inline]
pub unsafe fn xdecref<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: the caller's word.
        unsafe { decref(object) };
    }
}

/// Sets the number of references, to bring an object back that had none.
///
/// # Safety
/// As [`decref`].
pub unsafe fn set_refcount(object: *mut PyObject, count: Py_ssize_t) {
    // SAFETY: the count comes first in every object of the builds that we serve, in a union or not.
    unsafe { (&raw mut (*object).ob_refcnt).cast::<Py_ssize_t>().write(count) };
}

/// Empties a slot and lets go of what was in it.
///
/// # Safety
/// As [`decref`]; the slot owns its object.
pub unsafe fn clear<T>(slot: &Cell<*mut T>) {
    // SAFETY: the slot is emptied before code can run that looks at it.
    unsafe { xdecref(slot.replace(ptr::null_mut())) };
}

/// Raises `exception` with a message, and returns the null that reports it.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn raise<T>(exception: *mut PyObject, message: &str) -> *mut T {
    // SAFETY: the string is copied.
    unsafe {
        let text = PyUnicode_FromStringAndSize(message.as_ptr().cast(), message.len() as Py_ssize_t);
        if !text.is_null() {
            PyErr_SetObject(exception, text);
            decref(text);
        }
    }
    ptr::null_mut()
}

/// The pending exception, taken out so that code can run meanwhile; dropped, it would be lost.
#[must_use]
pub struct Pending([*mut PyObject; 3]);

impl Pending {
    /// Takes it out. There may be none.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn take() -> Pending {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        // SAFETY: three out parameters.
        unsafe { PyErr_Fetch(&mut kind, &mut value, &mut traceback) };
        Pending([kind, value, traceback])
    }

    /// Makes it pending again.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn put_back(self) {
        let [kind, value, traceback] = self.0;
        // SAFETY: gives the references back.
        unsafe { PyErr_Restore(kind, value, traceback) };
    }

    /// Lets go of it.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn discard(self) {
        for object in self.0 {
            // SAFETY: owned since `take`.
            unsafe { xdecref(object) };
        }
    }

    /// The exception object, normalised.
    ///
    /// # Safety
    /// As [`take`](Self::take), and there was one.
    pub unsafe fn into_value(self) -> *mut PyObject {
        let [mut kind, mut value, mut traceback] = self.0;
        // SAFETY: owned since `take`.
        unsafe {
            PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
            xdecref(kind);
            xdecref(traceback);
        }
        value
    }
}

/// Whether there is no interpreter to call any more.
pub fn is_gone() -> bool {
    // SAFETY: reads a flag.
    is_finalizing() || unsafe { Py_IsInitialized() == 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(Py_3_13)]
pub fn is_finalizing() -> bool {
    // SAFETY: reads a flag.
    unsafe { Py_IsFinalizing() != 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(not(Py_3_13))]
pub fn is_finalizing() -> bool {
    unsafe extern "C" {
        fn _Py_IsFinalizing() -> std::ffi::c_int;
    }
    // SAFETY: reads a flag.
    unsafe { _Py_IsFinalizing() != 0 }
}

/// An exception is pending.
#[derive(Debug)]
pub struct Raised;

/// What calls that may raise return.
pub type Result<T> = std::result::Result<T, Raised>;

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
            incref(object);
            Owned(ptr::NonNull::new_unchecked(object.cast()))
        }
    }

    /// None.
    #[inline]
    pub fn none() -> Owned {
        // SAFETY: None is always there.
        unsafe { Owned::borrow(Py_None()) }
    }

    /// True or False.
    #[inline]
    pub fn bool(value: bool) -> Owned {
        // SAFETY: both are always there.
        unsafe { Owned::borrow(if value { Py_True() } else { Py_False() }) }
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
        self.as_ptr() == unsafe { Py_None() }
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
            if Py_REFCNT(self.as_ptr()) > 1 || !is_finalizing() {
                decref(self.as_ptr());
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
        unsafe { xdecref(former) };
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

/// Raises `exception` with a message.
///
/// # Safety
/// The interpreter's lock is held.
#[cold]
pub unsafe fn error<T>(exception: *mut PyObject, message: &str) -> Result<T> {
    // SAFETY: the caller's word.
    unsafe { raise::<PyObject>(exception, message) };
    Err(Raised)
}

/// A string.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn string(text: &str) -> Result<Owned> {
    // SAFETY: the string is copied.
    unsafe { Owned::new(PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t)) }
}

/// Calls something with positional arguments.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn call<const N: usize>(callable: *mut PyObject, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: the caller's word; the array outlives the call.
    unsafe { Owned::new(PyObject_Vectorcall(callable, args.as_ptr(), N, ptr::null_mut())) }
}

/// Calls a method by its name with positional arguments.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn call_method<const N: usize>(
    object: *mut PyObject,
    name: *mut PyObject,
    args: [*mut PyObject; N],
) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe {
        let method = Owned::new(PyObject_GetAttr(object, name))?;
        call(method.as_ptr(), args)
    }
}

/// The number in an object that is one.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn float(object: *mut PyObject) -> Result<f64> {
    // SAFETY: the caller's word.
    unsafe {
        let value = PyFloat_AsDouble(object);
        if value == -1.0 && !PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

/// The integer in an object that is one.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn integer(object: *mut PyObject) -> Result<i64> {
    // SAFETY: the caller's word.
    unsafe {
        let value = PyLong_AsLongLong(object);
        if value == -1 && !PyErr_Occurred().is_null() { Err(Raised) } else { Ok(value) }
    }
}

/// Whether an object counts as true.
///
/// # Safety
/// A live object, with the interpreter's lock held.
pub unsafe fn truth(object: *mut PyObject) -> Result<bool> {
    // SAFETY: the caller's word.
    match unsafe { PyObject_IsTrue(object) } {
        -1 => Err(Raised),
        truth => Ok(truth != 0),
    }
}
