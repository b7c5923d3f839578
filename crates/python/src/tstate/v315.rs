//! CPython 3.15.
//!
//! There is no C recursion counter any more: C code compares the stack pointer with [limits](super::limits).
//! Each stack of frames ends in a base frame, by which a profiler in another process sees that it has read all of it.
//! The garbage collector looks into the frames of suspended greenlets, as it does into those of generators.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::{MaybeUninit, offset_of};
use std::ops::Range;
use std::ptr;

use pyo3_ffi::{PyObject, visitproc};

use super::datastack::DataStack;
use super::part::{ExcState, Part};
use crate::py::ffi;

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
    pub gil_requested: c_int,
    pub whence: c_int,
    pub state: c_int,
    pub recursion_remaining: c_int,
    pub recursion_limit: c_int,
    pub recursion_headroom: c_int,
    pub tracing: c_int,
    pub what_event: c_int,
    pub current_frame: *mut Frame,
    pub base_frame: *mut Frame,
    pub last_profiled_frame: *mut Frame,
    pub last_profiled_frame_seq: usize,
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
    pub datastack_cached_chunk: *mut c_void,
    pub exc_state: ExcState,
    pub current_executor: *mut PyObject,
    pub jit_exit: *mut c_void,
    pub dict_global_version: u64,
    pub threading_local_key: *mut PyObject,
    pub threading_local_sentinel: *mut PyObject,
}

/// `_PyInterpreterFrame`, up to its local variables.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Frame {
    code: StackRef,
    previous: *mut Frame,
    function: StackRef,
    /// Borrowed: globals, builtins.
    namespaces: [*mut PyObject; 2],
    locals: *mut PyObject,
    frame_obj: *mut PyObject,
    instruction: *mut c_void,
    stack_pointer: *mut StackRef,
    return_offset: u16,
    owner: u8,
    visited: u8,
}

/// A reference in a frame: an object's address with two bits that say whether it is counted, or a number.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct StackRef(usize);

impl StackRef {
    const NUMBER: usize = 3;
    const NOT_COUNTED: usize = 1;
    const NULL: StackRef = StackRef(StackRef::NOT_COUNTED);

    /// Whether there is an object.
    fn has_object(self) -> bool {
        self.0 & 3 != StackRef::NUMBER && self.0 & !StackRef::NOT_COUNTED != 0
    }

    /// Empties it, and lets go of what was in it.
    ///
    /// # Safety
    /// In a frame that nothing runs any more, with the lock held.
    unsafe fn clear(this: *mut StackRef) {
        // SAFETY: a counted reference is the frame's own, and is gone from it before code can run.
        unsafe {
            let StackRef(object) = this.replace(StackRef::NULL);
            if object & 3 == 0 && object != 0 {
                ffi::decref(std::ptr::with_exposed_provenance_mut::<PyObject>(object));
            }
        }
    }
}

/// The owner of a frame that the thread's data stack has.
const THREAD: u8 = 0;

/// Owners from here on are not functions: such a frame only marks where C code called the interpreter, and few of its
/// fields are set.
const NO_FUNCTION: u8 = 3;

unsafe extern "C" {
    /// Visits what is in a frame's local variables and on its value stack.
    fn _PyGC_VisitFrameStack(frame: *mut Frame, visit: visitproc, arg: *mut c_void) -> c_int;
    /// Visits what is in a reference, unless it is not counted and the visitor counts.
    fn _PyGC_VisitStackRef(reference: *mut StackRef, visit: visitproc, arg: *mut c_void) -> c_int;
}

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
        self.code.0 & !3
    }

    /// How far into its instructions it is, in bytes; they begin at `begin`.
    pub fn offset_in(&self, begin: usize) -> usize {
        (self.instruction as usize).saturating_sub(begin)
    }

    /// The frame object whose content this is; null if there is none.
    pub fn object(&self) -> *mut PyObject {
        if self.owner < NO_FUNCTION { self.frame_obj } else { ptr::null_mut() }
    }

    /// Shows the garbage collector what a frame holds, if it is not a generator's, which does that itself.
    ///
    /// # Safety
    /// A frame of a suspended greenlet, with the lock held.
    pub unsafe fn traverse(frame: *mut Frame, visit: visitproc, arg: *mut c_void) -> c_int {
        // SAFETY: a suspended frame is intact, and visiting changes nothing.
        unsafe {
            if (*frame).owner != THREAD {
                return 0;
            }
            for object in [(*frame).frame_obj, (*frame).locals] {
                let answer = if object.is_null() { 0 } else { visit(object, arg) };
                if answer != 0 {
                    return answer;
                }
            }
            for reference in [&raw mut (*frame).function, &raw mut (*frame).code] {
                let answer = if (*reference).has_object() { _PyGC_VisitStackRef(reference, visit, arg) } else { 0 };
                if answer != 0 {
                    return answer;
                }
            }
            _PyGC_VisitFrameStack(frame, visit, arg)
        }
    }

    /// Lets go of what a frame holds, if it is not a generator's.
    ///
    /// # Safety
    /// A frame of a suspended greenlet that never goes on, of which nobody has the frame object; the lock is held.
    pub unsafe fn clear(frame: *mut Frame) {
        // SAFETY: nothing runs the frame any more. Its variables and values lie behind it, and each is emptied before
        // it is let go of.
        unsafe {
            if (*frame).owner != THREAD {
                return;
            }
            let variables = frame.add(1).cast::<StackRef>();
            while (*frame).stack_pointer > variables {
                (*frame).stack_pointer = (*frame).stack_pointer.sub(1);
                StackRef::clear((*frame).stack_pointer);
            }
            for slot in [&raw mut (*frame).locals, &raw mut (*frame).frame_obj] {
                ffi::xdecref(slot.replace(ptr::null_mut()));
            }
            StackRef::clear(&raw mut (*frame).function);
            StackRef::clear(&raw mut (*frame).code);
        }
    }
}

/// The greenlet's base frame, in which its stack of frames ends.
///
/// The interpreter's own has room for one local variable.
#[repr(C)]
pub struct Entry {
    frame: MaybeUninit<Frame>,
    variable: usize,
}

impl Entry {
    /// Filled in when the greenlet begins.
    pub const fn new() -> Entry {
        Entry { frame: MaybeUninit::uninit(), variable: 0 }
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
    ("base_frame", offset_of!(ThreadState, base_frame)),
    ("last_profiled_frame", offset_of!(ThreadState, last_profiled_frame)),
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
    ("_PyInterpreterFrame.f_executable", offset_of!(Frame, code)),
    ("_PyInterpreterFrame.previous", offset_of!(Frame, previous)),
    ("_PyInterpreterFrame.f_funcobj", offset_of!(Frame, function)),
    ("_PyInterpreterFrame.f_locals", offset_of!(Frame, locals)),
    ("_PyInterpreterFrame.frame_obj", offset_of!(Frame, frame_obj)),
    ("_PyInterpreterFrame.stackpointer", offset_of!(Frame, stack_pointer)),
    ("_PyInterpreterFrame.owner", offset_of!(Frame, owner)),
    ("_PyInterpreterFrame.localsplus", size_of::<Frame>()),
];

/// What a greenlet has of its own beside [that of 3.14 and later](super::since_v314).
pub struct Rest {
    base_frame: *mut Frame,
}

impl Part for Rest {
    type State = ThreadState;
    type Entry = Entry;

    const NEW: Rest = Rest { base_frame: ptr::null_mut() };

    #[inline]
    unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the running OS thread's state, which nobody else changes while the lock is held.
        self.base_frame = unsafe { (*state).base_frame };
    }

    #[inline]
    unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`.
        unsafe {
            (*state).base_frame = self.base_frame;
            // What a profiler saw last was another stack.
            (*state).last_profiled_frame = ptr::null_mut();
        }
    }

    #[inline]
    unsafe fn begin(state: *mut ThreadState, entry: *mut Entry, _stack: &Range<usize>) {
        // SAFETY: as for `save`; the entry outlives the greenlet's run.
        unsafe {
            // As the thread's own: it has no function, no caller, and no more content.
            let base = (*entry).frame.as_mut_ptr();
            base.write(*(*state).base_frame);
            (*state).current_frame = base;
            (*state).base_frame = base;
            (*state).last_profiled_frame = ptr::null_mut();
        }
    }
}
