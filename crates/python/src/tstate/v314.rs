//! CPython 3.14.
//!
//! There is no C recursion counter any more: C code compares the stack pointer with [limits](super::limits).

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::datastack::DataStack;
use super::part::{ExcState, Part};

/// What CPython calls `struct _ts`, up to the last field that we use.
#[repr(C)]
#[allow(missing_docs)]
pub struct ThreadState {
    pub prev: *mut ThreadState,
    pub next: *mut ThreadState,
    pub interp: *mut c_void,
    pub eval_breaker: usize,
    pub status: u32,
    pub holds_gil: c_int,
    pub whence: c_int,
    pub state: c_int,
    pub recursion_remaining: c_int,
    pub recursion_limit: c_int,
    pub recursion_headroom: c_int,
    pub tracing: c_int,
    pub what_event: c_int,
    pub current_frame: *mut Frame,
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
    pub delete_later: *mut PyObject,
    pub critical_section: usize,
    pub coroutine_origin_tracking_depth: c_int,
    pub async_gen_firstiter: *mut PyObject,
    pub async_gen_finalizer: *mut PyObject,
    pub context: *mut PyObject,
    pub context_ver: u64,
    pub id: u64,
    pub datastack: DataStack,
    pub exc_state: ExcState,
    pub current_executor: *mut PyObject,
    pub dict_global_version: u64,
    pub threading_local_key: *mut PyObject,
    pub threading_local_sentinel: *mut PyObject,
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
    stack_pointer: *mut c_void,
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
        // The lowest bits say whether the reference is counted.
        self.code as usize & !3
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

/// Nothing needs to lie on the C stack.
pub struct Entry;

impl Entry {
    /// The only one.
    pub const fn new() -> Entry {
        Entry
    }
}

/// From a thread state to the running frame: the offset of each pointer that is followed.
pub const FRAME_AT: &[usize] = &[offset_of!(ThreadState, current_frame)];

/// Name in the interpreter's headers and offset of each field that we use.
pub const LAYOUT: &[(&str, usize)] = &[
    ("interp", offset_of!(ThreadState, interp)),
    ("py_recursion_remaining", offset_of!(ThreadState, recursion_remaining)),
    ("py_recursion_limit", offset_of!(ThreadState, recursion_limit)),
    ("tracing", offset_of!(ThreadState, tracing)),
    ("current_frame", offset_of!(ThreadState, current_frame)),
    ("exc_info", offset_of!(ThreadState, exc_info)),
    ("dict", offset_of!(ThreadState, dict)),
    ("delete_later", offset_of!(ThreadState, delete_later)),
    ("critical_section", offset_of!(ThreadState, critical_section)),
    ("context", offset_of!(ThreadState, context)),
    ("context_ver", offset_of!(ThreadState, context_ver)),
    ("id", offset_of!(ThreadState, id)),
    ("datastack_chunk", offset_of!(ThreadState, datastack)),
    ("exc_state", offset_of!(ThreadState, exc_state)),
    ("current_executor", offset_of!(ThreadState, current_executor)),
    ("threading_local_key", offset_of!(ThreadState, threading_local_key)),
    ("threading_local_sentinel", offset_of!(ThreadState, threading_local_sentinel)),
];

/// What a greenlet has of its own beside [that of 3.14 and later](super::since_v314): nothing.
pub struct Rest;

impl Part for Rest {
    type State = ThreadState;
    type Entry = Entry;

    const NEW: Rest = Rest;

    #[inline]
    unsafe fn save(&mut self, _state: *mut ThreadState) {}

    #[inline]
    unsafe fn restore(&mut self, _state: *mut ThreadState) {}

    #[inline]
    unsafe fn begin(state: *mut ThreadState, _entry: *mut Entry, _stack: &Range<usize>) {
        // SAFETY: the running OS thread's state, which nobody else changes while the lock is held.
        unsafe { (*state).current_frame = ptr::null_mut() };
    }
}
