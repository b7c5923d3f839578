//! CPython 3.12.
//!
//! As 3.11, but C code has a recursion counter of its own, of which each greenlet gets a budget that fits its stack.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::c_budget;
use super::datastack::DataStack;
use super::part::{ExcState, Frames, Part};

/// What CPython calls `struct _ts`, up to the last field that we use.
#[repr(C)]
#[allow(missing_docs)]
pub struct ThreadState {
    pub prev: *mut ThreadState,
    pub next: *mut ThreadState,
    pub interp: *mut c_void,
    pub status: u32,
    pub recursion_remaining: c_int,
    pub recursion_limit: c_int,
    pub c_recursion_remaining: c_int,
    pub recursion_headroom: c_int,
    pub tracing: c_int,
    pub what_event: c_int,
    pub cframe: *mut Entry,
    pub c_profilefunc: *mut c_void,
    pub c_tracefunc: *mut c_void,
    pub c_profileobj: *mut PyObject,
    pub c_traceobj: *mut PyObject,
    pub current_exception: *mut PyObject,
    pub exc_info: *mut ExcState,
    pub dict: *mut PyObject,
    pub gilstate_counter: c_int,
    pub async_exc: *mut PyObject,
    pub thread_id: c_ulong,
    pub native_thread_id: c_ulong,
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
    pub datastack: DataStack,
    pub exc_state: ExcState,
    pub root_cframe: Entry,
}

/// `_PyInterpreterFrame`, up to the last field that we use.
#[repr(C)]
pub struct Frame {
    code: *mut c_void,
    previous: *mut Frame,
    /// Function, globals, builtins, locals.
    references: [*mut c_void; 4],
    frame_obj: *mut PyObject,
    instruction: *mut c_void,
    stack_top: c_int,
    return_offset: u16,
    owner: u8,
}

/// Owners from here on are not functions: such a frame only marks where C code called the interpreter, and few of its
/// fields are set.
const NO_FUNCTION: u8 = 3;

impl Frame {
    /// The frame that called it; null for the outermost.
    pub fn previous(&self) -> *mut Frame {
        self.previous
    }

    /// What tells this line of this function from any other, for as long as the function's code is there; 0 for what is
    /// no function.
    pub fn place(&self) -> usize {
        if self.owner < NO_FUNCTION { self.instruction as usize } else { 0 }
    }

    /// Its code, as an address.
    pub fn code(&self) -> usize {
        self.code as usize
    }

    /// How far into its instructions it is, in bytes; they begin at `begin`.
    pub fn offset_in(&self, begin: usize) -> usize {
        (self.instruction as usize).saturating_sub(begin)
    }

    /// The frame object whose content this is; null if there is none.
    pub fn object(&self) -> *mut PyObject {
        if self.owner < NO_FUNCTION { self.frame_obj } else { ptr::null_mut() }
    }
}

/// `_PyCFrame`, or `CFrame`: the link between the C stack and the Python stack. A greenlet needs one under the first
/// that the interpreter loop pushes.
#[repr(C)]
pub struct Entry {
    current_frame: *mut Frame,
    previous: *mut Entry,
}

impl Entry {
    /// Not linked in yet.
    pub const fn new() -> Entry {
        Entry { current_frame: ptr::null_mut(), previous: ptr::null_mut() }
    }
}

/// From a thread state to the running frame: the offset of each pointer that is followed.
pub const FRAME_AT: &[usize] = &[offset_of!(ThreadState, cframe), offset_of!(Entry, current_frame)];

/// Name in the interpreter's headers and offset of each field that we use.
pub const LAYOUT: &[(&str, usize)] = &[
    ("interp", offset_of!(ThreadState, interp)),
    ("py_recursion_remaining", offset_of!(ThreadState, recursion_remaining)),
    ("py_recursion_limit", offset_of!(ThreadState, recursion_limit)),
    ("c_recursion_remaining", offset_of!(ThreadState, c_recursion_remaining)),
    ("tracing", offset_of!(ThreadState, tracing)),
    ("cframe", offset_of!(ThreadState, cframe)),
    ("exc_info", offset_of!(ThreadState, exc_info)),
    ("dict", offset_of!(ThreadState, dict)),
    ("trash.delete_nesting", offset_of!(ThreadState, trash_delete_nesting)),
    ("context", offset_of!(ThreadState, context)),
    ("context_ver", offset_of!(ThreadState, context_ver)),
    ("id", offset_of!(ThreadState, id)),
    ("datastack_chunk", offset_of!(ThreadState, datastack)),
    ("exc_state", offset_of!(ThreadState, exc_state)),
    ("root_cframe", offset_of!(ThreadState, root_cframe)),
];

/// What a greenlet has of its own beside what all versions keep.
pub struct Own {
    c_remaining: c_int,
    cframe: *mut Entry,
    trash_nesting: c_int,
}

impl Part for Own {
    type State = ThreadState;
    type Entry = Entry;

    const NEW: Own = Own { c_remaining: 0, cframe: ptr::null_mut(), trash_nesting: 0 };

    #[inline]
    unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the running OS thread's state, which nobody else changes while the lock is held.
        unsafe {
            self.c_remaining = (*state).c_recursion_remaining;
            self.cframe = (*state).cframe;
            self.trash_nesting = (*state).trash_delete_nesting;
        }
    }

    #[inline]
    unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`.
        unsafe {
            (*state).c_recursion_remaining = self.c_remaining;
            (*state).cframe = self.cframe;
            (*state).trash_delete_nesting = self.trash_nesting;
        }
    }

    #[inline]
    unsafe fn begin(state: *mut ThreadState, entry: *mut Entry, stack: &Range<usize>) {
        // SAFETY: as for `save`; the entry outlives the greenlet's run.
        unsafe {
            (*entry).current_frame = ptr::null_mut();
            (*entry).previous = &raw mut (*state).root_cframe;
            (*state).c_recursion_remaining = c_budget(stack.len());
            (*state).cframe = entry;
            (*state).trash_delete_nesting = 0;
        }
    }

    #[inline]
    unsafe fn end(state: *mut ThreadState) {
        // SAFETY: as for `save`.
        unsafe {
            (*state).cframe = &raw mut (*state).root_cframe;
        }
    }
}

impl Frames for Own {
    type Frame = Frame;

    #[inline]
    fn frame(&self) -> *mut Frame {
        if self.cframe.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: a suspended greenlet's entries are on its C stack.
        unsafe { (*self.cframe).current_frame }
    }

    #[inline]
    unsafe fn running_frame(state: *mut ThreadState) -> *mut *mut Frame {
        // SAFETY: a live thread state always has a current entry.
        unsafe { &raw mut (*(*state).cframe).current_frame }
    }
}
