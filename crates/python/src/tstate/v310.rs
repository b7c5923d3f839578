//! CPython 3.10.
//!
//! One recursion counter serves Python and C code alike, and frames are objects, so there is no data stack.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::part::{ExcState, Frames, Part};

/// What CPython calls `struct _ts`, up to the last field that we use.
#[repr(C)]
#[allow(missing_docs)]
pub struct ThreadState {
    pub prev: *mut ThreadState,
    pub next: *mut ThreadState,
    pub interp: *mut c_void,
    pub frame: *mut Frame,
    pub recursion_depth: c_int,
    pub recursion_headroom: c_int,
    pub stackcheck_counter: c_int,
    pub tracing: c_int,
    pub cframe: *mut Entry,
    pub c_profilefunc: *mut c_void,
    pub c_tracefunc: *mut c_void,
    pub c_profileobj: *mut PyObject,
    pub c_traceobj: *mut PyObject,
    pub curexc: [*mut PyObject; 3],
    pub exc_state: ExcState,
    pub exc_info: *mut ExcState,
    pub dict: *mut PyObject,
    pub gilstate_counter: c_int,
    pub async_exc: *mut PyObject,
    pub thread_id: c_ulong,
    pub trash_delete_nesting: c_int,
    pub trash_delete_later: *mut PyObject,
    pub on_delete: *mut c_void,
    pub on_delete_data: *mut c_void,
    pub coroutine_origin_tracking_depth: c_int,
    pub async_gen_firstiter: *mut PyObject,
    pub async_gen_finalizer: *mut PyObject,
    pub context: *mut PyObject,
    pub context_ver: u64,
    pub id: u64,
    pub root_cframe: Entry,
    /// Nothing, in place of what later versions have.
    pub datastack: DataStack,
}

/// `PyFrameObject`, up to the last field that we use.
#[repr(C)]
pub struct Frame {
    head: pyo3_ffi::PyVarObject,
    back: *mut Frame,
    /// Code, builtins, globals, locals, value stack, trace function.
    references: [*mut c_void; 6],
    stack_depth: c_int,
    trace_lines: u8,
    trace_opcodes: u8,
    /// Borrowed: the generator that the frame belongs to.
    f_gen: *mut PyObject,
    last_instruction: c_int,
}

impl Frame {
    /// The frame that called it; null for the outermost.
    pub fn previous(&self) -> *mut Frame {
        self.back
    }

    /// What tells this line of this function from any other, for as long as the function's code is there; 0 for what is
    /// no function.
    pub fn place(&self) -> usize {
        (self.references[0] as usize).wrapping_mul(1 << 20).wrapping_add(self.last_instruction as usize)
    }

    /// Its code, as an address.
    pub fn code(&self) -> usize {
        self.references[0] as usize
    }

    /// How far into its instructions it is, in bytes.
    pub fn offset_in(&self, _begin: usize) -> usize {
        const UNIT: usize = 2;
        usize::try_from(self.last_instruction).unwrap_or(0) * UNIT
    }

    /// The frame object whose content this is: none, since frames are objects that stay where they are.
    pub fn object(&self) -> *mut PyObject {
        ptr::null_mut()
    }
}

/// There is no data stack: frames are objects on the heap.
#[derive(Clone, Copy)]
pub struct DataStack;

impl DataStack {
    /// The only one.
    pub const fn empty() -> DataStack {
        DataStack
    }

    /// Later versions free memory here.
    ///
    /// # Safety
    /// None.
    pub unsafe fn free_to_root(self) {}
}

/// A chunk of the data stack that is not there.
pub struct Chunk;

/// No memory is needed for it.
pub const ROOT_CHUNK_SIZE: usize = 0;

impl Chunk {
    /// Later versions write to the memory.
    ///
    /// # Safety
    /// None.
    pub unsafe fn root(_memory: *mut Chunk) -> DataStack {
        DataStack
    }
}

/// `_PyCFrame`, or `CFrame`: the link between the C stack and the Python stack. A greenlet needs one under the first
/// that the interpreter loop pushes.
#[repr(C)]
pub struct Entry {
    use_tracing: c_int,
    previous: *mut Entry,
}

impl Entry {
    /// Not linked in yet.
    pub const fn new() -> Entry {
        Entry { use_tracing: 0, previous: ptr::null_mut() }
    }
}

/// From a thread state to the running frame: the offset of each pointer that is followed.
pub const FRAME_AT: &[usize] = &[offset_of!(ThreadState, frame)];

/// Name in the interpreter's headers and offset of each field that we use.
pub const LAYOUT: &[(&str, usize)] = &[
    ("interp", offset_of!(ThreadState, interp)),
    ("frame", offset_of!(ThreadState, frame)),
    ("recursion_depth", offset_of!(ThreadState, recursion_depth)),
    ("tracing", offset_of!(ThreadState, tracing)),
    ("cframe", offset_of!(ThreadState, cframe)),
    ("exc_state", offset_of!(ThreadState, exc_state)),
    ("exc_info", offset_of!(ThreadState, exc_info)),
    ("dict", offset_of!(ThreadState, dict)),
    ("trash_delete_nesting", offset_of!(ThreadState, trash_delete_nesting)),
    ("context", offset_of!(ThreadState, context)),
    ("context_ver", offset_of!(ThreadState, context_ver)),
    ("id", offset_of!(ThreadState, id)),
    ("root_cframe", offset_of!(ThreadState, root_cframe)),
];

/// What a greenlet has of its own beside what all versions keep.
pub struct Own {
    cframe: *mut Entry,
    frame: *mut Frame,
    trash_nesting: c_int,
}

impl Part for Own {
    type State = ThreadState;
    type Entry = Entry;

    const NEW: Own = Own { cframe: ptr::null_mut(), frame: ptr::null_mut(), trash_nesting: 0 };

    #[inline]
    unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the running OS thread's state, which nobody else changes while the lock is held.
        unsafe {
            self.cframe = (*state).cframe;
            self.frame = (*state).frame;
            self.trash_nesting = (*state).trash_delete_nesting;
        }
    }

    #[inline]
    unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`; a suspended greenlet's entries are on its C stack.
        unsafe {
            // Whether tracing is on is the thread's affair, so it goes along.
            (*self.cframe).use_tracing = (*(*state).cframe).use_tracing;
            (*state).cframe = self.cframe;
            (*state).frame = self.frame;
            (*state).trash_delete_nesting = self.trash_nesting;
        }
    }

    #[inline]
    unsafe fn begin(state: *mut ThreadState, entry: *mut Entry, _stack: &Range<usize>) {
        // SAFETY: as for `save`; the entry outlives the greenlet's run.
        unsafe {
            (*entry).use_tracing = (*(*state).cframe).use_tracing;
            (*entry).previous = &raw mut (*state).root_cframe;
            (*state).cframe = entry;
            (*state).frame = ptr::null_mut();
            (*state).trash_delete_nesting = 0;
        }
    }

    #[inline]
    unsafe fn end(state: *mut ThreadState) {
        // SAFETY: as for `save`; the current entry is the greenlet's, which is still there.
        unsafe {
            (*state).root_cframe.use_tracing = (*(*state).cframe).use_tracing;
            (*state).cframe = &raw mut (*state).root_cframe;
        }
    }

    unsafe fn abandon(&mut self) {
        let frame = std::mem::replace(&mut self.frame, ptr::null_mut());
        // SAFETY: the interpreter loop that ran the frame owned it and will not give it back; a generator owns its own.
        unsafe {
            if !frame.is_null() && (*frame).f_gen.is_null() {
                crate::py::ffi::decref(frame);
            }
        }
    }
}

impl Frames for Own {
    type Frame = Frame;

    #[inline]
    fn frame(&self) -> *mut Frame {
        self.frame
    }

    #[inline]
    unsafe fn running_frame(state: *mut ThreadState) -> *mut *mut Frame {
        // SAFETY: a live thread state.
        unsafe { &raw mut (*state).frame }
    }
}

impl ThreadState {
    /// How deep calls are nested.
    #[inline]
    pub fn depth(&self) -> c_int {
        self.recursion_depth
    }

    /// Makes calls be nested this deep.
    #[inline]
    pub fn set_depth(&mut self, depth: c_int) {
        self.recursion_depth = depth;
    }

    /// The recursion limit as this thread state has it; `None` where it is kept elsewhere.
    pub fn depth_limit(&self) -> Option<c_int> {
        None
    }

    /// Turns tracing off. Later versions have a function for it.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held.
    pub unsafe fn enter_tracing(state: *mut ThreadState) {
        // SAFETY: the running thread's state always has a current entry, and nobody else changes it under the lock.
        unsafe {
            (*state).tracing += 1;
            (*(*state).cframe).use_tracing = 0;
        }
    }

    /// Undoes [`enter_tracing`](Self::enter_tracing).
    ///
    /// # Safety
    /// As there.
    pub unsafe fn leave_tracing(state: *mut ThreadState) {
        // SAFETY: the running thread's state always has a current entry, and nobody else changes it under the lock.
        unsafe {
            (*state).tracing -= 1;
            let traced = !(*state).c_tracefunc.is_null() || !(*state).c_profilefunc.is_null();
            (*(*state).cframe).use_tracing = c_int::from(traced);
        }
    }
}
