//! The data stack: where CPython 3.11 and later keep Python frames.
//!
//! It is a list of chunks. CPython allocates the first one on the first call, 16 KiB by `mmap`, and frees a chunk when
//! the frame at its very beginning is popped. A greenlet gets a root chunk made of memory right above its C stack, with
//! the top one slot in, so that no frame ever sits at the beginning and CPython never frees it:
//!
//! ```text
//!            |  ...  C stack  | chunk header | (unused slot) | frame | frame |        |
//!            low addresses   <- grows   ^ middle of a page      grows ->          limit
//! ```
//!
//! Both grow away from the middle of one page, which is all that a shallow greenlet touches.

use std::ptr;

use pyo3_ffi as ffi;

/// The memory that a root chunk takes. With this much, the C stack begins 3,328 bytes into the topmost page but four;
/// see [`Chunk::root`].
pub const ROOT_CHUNK_SIZE: usize = SIZE + 768;

/// The size of a chunk that CPython makes, `_PY_DATA_STACK_CHUNK_SIZE`. A profiler in another process reads that much
/// from a chunk's beginning, and some profilers believe in no other size.
const SIZE: usize = 16 * 1024;

/// CPython's `_PyStackChunk`.
#[repr(C)]
pub struct Chunk {
    previous: *mut Chunk,
    size: usize,
    /// Slots in use; written when a further chunk is put on top.
    top: usize,
    data: [*mut ffi::PyObject; 1],
}

/// The three fields of the thread state, as they lie there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DataStack {
    chunk: *mut Chunk,
    #[allow(dead_code)] // CPython reads it.
    top: *mut *mut ffi::PyObject,
    #[allow(dead_code)] // CPython reads it.
    limit: *mut *mut ffi::PyObject,
}

impl DataStack {
    pub const fn empty() -> DataStack {
        DataStack { chunk: ptr::null_mut(), top: ptr::null_mut(), limit: ptr::null_mut() }
    }

    /// Frees the chunks above the root one; none of their frames may be used again.
    ///
    /// # Safety
    /// The chunk is the newest of a list that ends in a chunk made by [`Chunk::root`].
    pub unsafe fn free_to_root(self) {
        let mut allocator = ffi::PyObjectArenaAllocator { ctx: ptr::null_mut(), alloc: None, free: None };
        // SAFETY: fills in the struct; the chunks above the root came from this allocator.
        unsafe {
            let mut chunk = self.chunk;
            if chunk.is_null() || (*chunk).previous.is_null() {
                return;
            }
            ffi::PyObject_GetArenaAllocator(&mut allocator);
            while !chunk.is_null() && !(*chunk).previous.is_null() {
                let previous = (*chunk).previous;
                if let Some(free) = allocator.free {
                    free(allocator.ctx, chunk.cast(), (*chunk).size);
                }
                chunk = previous;
            }
        }
    }
}

impl Chunk {
    /// Makes a root chunk of [`ROOT_CHUNK_SIZE`] bytes at `memory`.
    ///
    /// # Safety
    /// The memory is the caller's, that large, and aligned for pointers.
    pub unsafe fn root(memory: *mut Chunk) -> DataStack {
        // SAFETY: the memory is the caller's, large enough and aligned, and nobody reads it yet.
        unsafe {
            (*memory).previous = ptr::null_mut();
            (*memory).size = SIZE;
            (*memory).top = 0;
            let data = (&raw mut (*memory).data).cast::<*mut ffi::PyObject>();
            DataStack { chunk: memory, top: data.add(1), limit: memory.byte_add(SIZE).cast() }
        }
    }
}
