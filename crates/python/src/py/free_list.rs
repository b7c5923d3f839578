//! Memory that was given back is used again: a program that makes one green thread after another takes each from where
//! the one before was. CPython keeps tuples, frames and the like in the same way.

use std::ffi::c_void;
use std::ptr;

use super::Global;
use super::ffi::{self, Py_ssize_t, PyObject, PyTypeObject};

/// How many blocks are kept. More are alive at once in a program that makes many, and then they do not come back one
/// after another.
const MOST: usize = 128;

/// Blocks of one size, the last one given back first.
pub struct FreeList {
    blocks: [*mut c_void; MOST],
    count: usize,
}

impl FreeList {
    /// With nothing in it.
    pub const fn new() -> FreeList {
        FreeList { blocks: [ptr::null_mut(); MOST], count: 0 }
    }

    /// A block, whatever is in it.
    #[inline]
    pub fn take(&mut self) -> Option<*mut c_void> {
        self.count = self.count.checked_sub(1)?;
        Some(self.blocks[self.count])
    }

    /// Keeps a block, if there is room for it. Returns whether it does.
    #[inline]
    pub fn keep(&mut self, block: *mut c_void) -> bool {
        let place = self.blocks.get_mut(self.count);
        let has_room = place.is_some();
        if let Some(place) = place {
            *place = block;
            self.count += 1;
        }
        has_room
    }
}

/// Objects of a static type, for the collector to manage, whose memory is used again.
pub trait Kept {
    /// The type.
    fn kind() -> *mut PyTypeObject;

    /// Memory of objects of the type itself, and of no others.
    fn list() -> &'static Global<FreeList>;
}

/// The `tp_alloc` of a type, which a static subclass inherits.
///
/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn alloc<K: Kept>(kind: *mut PyTypeObject, items: Py_ssize_t) -> *mut PyObject {
    // SAFETY: called by the interpreter with the lock held, and no other code runs while the list is used. What is in
    // it has the size of the type's objects, with the collector's part before it, and nobody knows it.
    unsafe {
        let kept = if kind == K::kind() { (*K::list().get()).take() } else { None };
        let Some(block) = kept else { return ffi::PyType_GenericAlloc(kind, items) };
        let object = ffi::PyObject_Init(block.cast(), kind);
        object.add(1).cast::<u8>().write_bytes(0, (*kind).tp_basicsize as usize - size_of::<PyObject>());
        ffi::PyObject_GC_Track(object.cast());
        object
    }
}

/// The `tp_free` of a type, as [`alloc`].
///
/// # Safety
/// Called by the interpreter.
pub unsafe extern "C" fn free<K: Kept>(object: *mut c_void) {
    // SAFETY: called by the interpreter with the lock held, with an object that the collector does not see, whose last
    // reference is gone, and what it held. That a finalizer has run is kept in the collector's part: this memory is not
    // used again.
    unsafe {
        let is_exact = ffi::Py_TYPE(object.cast()) == K::kind();
        let was_finalized = || cfg!(Py_3_15) && ffi::PyObject_GC_IsFinalized(object.cast()) != 0;
        if !is_exact || was_finalized() || !(*K::list().get()).keep(object) {
            ffi::PyObject_GC_Del(object);
        }
    }
}
