//! A bytes object in the making: received into directly, and never much larger than what has come.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::{Gil, Owned, Raised, Result};

/// A client may promise what it never sends: beyond this, memory is asked for as it arrives.
const FIRST: usize = 1 << 20;

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
}

/// The bytes, which nobody else sees before they are finished.
pub struct Growing {
    object: *mut PyObject,
    length: usize,
    /// It will not be longer.
    most: usize,
}

impl Growing {
    /// None yet, and room for `most` of them, within reason.
    pub fn new(_: Gil<'_>, most: usize) -> Result<Growing> {
        // SAFETY: the token says that the lock is held.
        let object = unsafe { Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), most.min(FIRST) as Py_ssize_t)) }?;
        Ok(Growing { object: object.into_raw(), length: 0, most })
    }

    pub fn length(&self) -> usize {
        self.length
    }

    fn capacity(&self) -> usize {
        // SAFETY: a live bytes object.
        unsafe { ffi::PyBytes_Size(self.object) as usize }
    }

    fn resize(&mut self, size: usize) -> Result<()> {
        if size == self.capacity() {
            return Ok(());
        }
        // SAFETY: bytes with one reference, which this has; null and an exception if there is no memory.
        match unsafe { _PyBytes_Resize(&raw mut self.object, size as Py_ssize_t) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// Has `fill` write into the room behind what is there, and say how much; that is the result.
    pub fn fill(&mut self, fill: impl FnOnce(&mut [MaybeUninit<u8>]) -> Result<usize>) -> Result<usize> {
        if self.length == self.capacity() {
            self.resize(self.most.min(self.length.saturating_mul(2).max(FIRST)))?;
        }
        // SAFETY: the room behind what is there, which nobody else sees.
        let got = fill(unsafe {
            let start = ffi::PyBytes_AsString(self.object).cast::<MaybeUninit<u8>>();
            slice::from_raw_parts_mut(start.add(self.length), self.capacity() - self.length)
        })?;
        self.length += got;
        Ok(got)
    }

    /// Puts bytes behind what is there.
    pub fn append(&mut self, mut part: &[u8]) -> Result<()> {
        while !part.is_empty() {
            let done = self.fill(|room| {
                let size = room.len().min(part.len());
                // SAFETY: both have so much, and do not overlap.
                unsafe { ptr::copy_nonoverlapping(part.as_ptr(), room.as_mut_ptr().cast(), size) };
                Ok(size)
            })?;
            part = &part[done..];
        }
        Ok(())
    }

    /// What is there.
    pub fn so_far(&self) -> &[u8] {
        if self.object.is_null() {
            return &[];
        }
        // SAFETY: a live bytes object, of which so much was written.
        unsafe { slice::from_raw_parts(ffi::PyBytes_AsString(self.object).cast(), self.length) }
    }

    /// The object.
    pub fn finish(mut self) -> Result<Owned> {
        self.resize(self.length)?;
        // SAFETY: the reference is this one's, and given away; or null, with an exception.
        unsafe { Owned::new(std::mem::replace(&mut self.object, ptr::null_mut())) }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        // SAFETY: the reference is this one's, or null; it is used only under the lock.
        drop(unsafe { Owned::new(self.object) });
    }
}
