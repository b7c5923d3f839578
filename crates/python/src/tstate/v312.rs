//! CPython 3.12.
//!
//! As 3.11, but C code has a recursion counter of its own, of which each greenlet gets a budget that fits its stack.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::c_budget;
use super::datastack::{Chunk, DataStack};
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
struct Frame {
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

/// The owner of a frame that only marks where C code called the interpreter; few of its fields are set.
const C_STACK: u8 = 3;

/// An entry of the stack of exceptions being handled.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExcState {
    values: [*mut PyObject; 1],
    previous: *mut ExcState,
}

const NOT_HANDLING: ExcState = ExcState { values: [ptr::null_mut()], previous: ptr::null_mut() };

/// `_PyCFrame`, or `CFrame`: the link between the C stack and the Python stack. A greenlet needs one under the first
/// that the interpreter loop pushes.
#[repr(C)]
pub struct Entry {
    current_frame: *mut c_void,
    previous: *mut Entry,
}

impl Entry {
    /// Not linked in yet.
    pub const fn new() -> Entry {
        Entry { current_frame: ptr::null_mut(), previous: ptr::null_mut() }
    }
}

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

/// A greenlet's part of the thread state while it does not run.
pub struct Saved {
    /// Owned. Also meaningful before the first run and after the last.
    pub context: *mut PyObject,
    exc_state: ExcState,
    /// Null for the entry in the thread state itself, so that it may be another thread state when the greenlet goes on.
    exc_info: *mut ExcState,
    depth: c_int,
    c_remaining: c_int,
    cframe: *mut Entry,
    trash_nesting: c_int,
    datastack: DataStack,
}

impl Saved {
    /// Of a greenlet that has not begun.
    pub const fn new() -> Saved {
        Saved {
            context: ptr::null_mut(),
            exc_state: NOT_HANDLING,
            exc_info: ptr::null_mut(),
            depth: 0,
            c_remaining: 0,
            cframe: ptr::null_mut(),
            trash_nesting: 0,
            datastack: DataStack::empty(),
        }
    }

    /// Takes the running greenlet's part out. What is in the thread state stays there, to be overwritten.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held.
    #[inline]
    pub unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the caller's word.
        unsafe {
            self.context = (*state).context;
            self.exc_state = (*state).exc_state;
            let exc_info = (*state).exc_info;
            self.exc_info = if exc_info == &raw mut (*state).exc_state { ptr::null_mut() } else { exc_info };
            self.depth = (*state).recursion_limit - (*state).recursion_remaining;
            self.c_remaining = (*state).c_recursion_remaining;
            self.cframe = (*state).cframe;
            self.trash_nesting = (*state).trash_delete_nesting;
            self.datastack = (*state).datastack;
        }
    }

    /// Puts a suspended greenlet's part back in.
    ///
    /// # Safety
    /// As [`save`](Self::save), and the thread state holds the part of a greenlet that was saved or has ended.
    #[inline]
    pub unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: the caller's word.
        unsafe {
            (*state).context = std::mem::replace(&mut self.context, ptr::null_mut());
            (*state).context_ver += 1;
            (*state).exc_state = std::mem::replace(&mut self.exc_state, NOT_HANDLING);
            (*state).exc_info = if self.exc_info.is_null() { &raw mut (*state).exc_state } else { self.exc_info };
            (*state).recursion_remaining = (*state).recursion_limit - self.depth;
            (*state).c_recursion_remaining = self.c_remaining;
            (*state).cframe = self.cframe;
            (*state).trash_delete_nesting = self.trash_nesting;
            (*state).datastack = self.datastack;
        }
    }

    /// Sets up the thread state for a greenlet that begins: nothing on its stacks, nothing being handled, the context
    /// that was chosen for it, and the depth of whoever started it.
    ///
    /// # Safety
    /// As [`restore`](Self::restore). `entry` stays valid until [`end`](Self::end), and `chunk` is memory for a root
    /// chunk.
    pub unsafe fn begin(
        &mut self,
        state: *mut ThreadState,
        entry: *mut Entry,
        chunk: *mut Chunk,
        stack: &Range<usize>,
    ) {
        // SAFETY: the caller's word.
        unsafe {
            (*state).context = std::mem::replace(&mut self.context, ptr::null_mut());
            (*state).context_ver += 1;
            // Its own stack has room for all of the limit, whoever begins it.
            (*state).recursion_remaining = (*state).recursion_limit;
            (*state).exc_state = NOT_HANDLING;
            (*state).exc_info = &raw mut (*state).exc_state;
            (*state).c_recursion_remaining = c_budget(stack.len());
            (*entry).current_frame = ptr::null_mut();
            (*entry).previous = &raw mut (*state).root_cframe;
            (*state).cframe = entry;
            (*state).trash_delete_nesting = 0;
            (*state).datastack = Chunk::root(chunk);
        }
    }

    /// Takes what outlives the greenlet out of the thread state, and lets go of the rest.
    ///
    /// # Safety
    /// As [`save`](Self::save); the running greenlet began with [`begin`](Self::begin) and has nothing left to run.
    pub unsafe fn end(&mut self, state: *mut ThreadState) {
        // SAFETY: the caller's word.
        unsafe {
            self.context = std::mem::replace(&mut (*state).context, ptr::null_mut());
            (*state).datastack.free_to_root();
            (*state).cframe = &raw mut (*state).root_cframe;
        }
    }

    /// Lets go of a greenlet that will never go on: its stacks are about to be taken away.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn abandon(&mut self) {
        // SAFETY: no frame on it is used again.
        unsafe { std::mem::replace(&mut self.datastack, DataStack::empty()).free_to_root() };
        self.exc_info = ptr::null_mut();
    }

    /// Whether somebody else holds a frame object of a suspended greenlet, whose content is on its data stack.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn is_seen(&self) -> bool {
        // SAFETY: a suspended greenlet's frames are intact.
        unsafe {
            if self.cframe.is_null() {
                return false;
            }
            let mut frame = (*self.cframe).current_frame.cast::<Frame>();
            while !frame.is_null() {
                if (*frame).owner != C_STACK
                    && !(*frame).frame_obj.is_null()
                    && pyo3_ffi::Py_REFCNT((*frame).frame_obj) > 1
                {
                    return true;
                }
                frame = (*frame).previous;
            }
        }
        false
    }

    /// The objects that a suspended greenlet holds through its thread state.
    pub fn held(&self) -> impl Iterator<Item = *mut PyObject> {
        self.exc_state.values.into_iter().chain([self.context]).filter(|object| !object.is_null())
    }

    /// Makes the saved frame the thread state's current one, and returns what was there.
    ///
    /// # Safety
    /// The saved greenlet is suspended; [`put_frame`](Self::put_frame) must follow before anything runs.
    pub unsafe fn swap_frame(&self, state: *mut ThreadState) -> *mut c_void {
        // SAFETY: the caller's word.
        unsafe { std::mem::replace(&mut (*state).cframe, self.cframe).cast() }
    }

    /// Undoes [`swap_frame`](Self::swap_frame).
    ///
    /// # Safety
    /// `frame` is what `swap_frame` returned.
    pub unsafe fn put_frame(state: *mut ThreadState, frame: *mut c_void) {
        // SAFETY: the caller's word.
        unsafe { (*state).cframe = frame.cast() };
    }
}

impl ThreadState {
    /// The recursion limit as this thread state has it; `None` where it is kept elsewhere.
    pub fn depth_limit(&self) -> Option<c_int> {
        Some(self.recursion_limit)
    }

    /// Whether the stack of handled exceptions ends in this thread state.
    ///
    /// # Safety
    /// The caller holds the lock, and the layout is right or fails this check on a null pointer.
    pub unsafe fn handles_exceptions_here(&self) -> bool {
        let mut entry: *const ExcState = self.exc_info;
        for _ in 0..1_000_000 {
            if entry.is_null() {
                return false;
            }
            if ptr::eq(entry, &self.exc_state) {
                return true;
            }
            // SAFETY: a list in CPython's own memory.
            entry = unsafe { (*entry).previous };
        }
        false
    }
}
