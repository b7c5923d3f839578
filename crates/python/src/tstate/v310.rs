//! CPython 3.10.
//!
//! One recursion counter serves Python and C code alike, and frames are objects, so there is no data stack.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

/// What CPython calls `struct _ts`, up to the last field that we use.
#[repr(C)]
#[allow(missing_docs)]
pub struct ThreadState {
    pub prev: *mut ThreadState,
    pub next: *mut ThreadState,
    pub interp: *mut c_void,
    pub frame: *mut c_void,
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
}

/// `PyFrameObject`, up to the last field that we use.
#[repr(C)]
struct Frame {
    head: pyo3_ffi::PyVarObject,
    /// Back, code, builtins, globals, locals, value stack, trace function.
    references: [*mut c_void; 7],
    stack_depth: c_int,
    trace_lines: u8,
    trace_opcodes: u8,
    /// Borrowed: the generator that the frame belongs to.
    f_gen: *mut PyObject,
}

/// An entry of the stack of exceptions being handled.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExcState {
    values: [*mut PyObject; 3],
    previous: *mut ExcState,
}

const NOT_HANDLING: ExcState = ExcState { values: [ptr::null_mut(); 3], previous: ptr::null_mut() };

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

/// A greenlet's part of the thread state while it does not run.
pub struct Saved {
    /// Owned. Also meaningful before the first run and after the last.
    pub context: *mut PyObject,
    exc_state: ExcState,
    /// Null for the entry in the thread state itself, so that it may be another thread state when the greenlet goes on.
    exc_info: *mut ExcState,
    depth: c_int,
    cframe: *mut Entry,
    frame: *mut c_void,
    trash_nesting: c_int,
}

impl Saved {
    /// Of a greenlet that has not begun.
    pub const fn new() -> Saved {
        Saved {
            context: ptr::null_mut(),
            exc_state: NOT_HANDLING,
            exc_info: ptr::null_mut(),
            depth: 0,
            cframe: ptr::null_mut(),
            frame: ptr::null_mut(),
            trash_nesting: 0,
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
            self.depth = (*state).recursion_depth;
            self.cframe = (*state).cframe;
            self.frame = (*state).frame;
            self.trash_nesting = (*state).trash_delete_nesting;
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
            (*state).recursion_depth = self.depth;
            // Whether tracing is on is the thread's affair, so it goes along.
            (*self.cframe).use_tracing = (*(*state).cframe).use_tracing;
            (*state).cframe = self.cframe;
            (*state).frame = self.frame;
            (*state).trash_delete_nesting = self.trash_nesting;
        }
    }

    /// Sets up the thread state for a greenlet that begins: nothing on its stacks, nothing being handled, the context
    /// that was chosen for it, and the depth of whoever started it.
    ///
    /// # Safety
    /// As [`restore`](Self::restore). `entry` stays valid until [`end`](Self::end).
    pub unsafe fn begin(&mut self, state: *mut ThreadState, entry: *mut Entry, _stack: &Range<usize>) {
        // SAFETY: the caller's word.
        unsafe {
            (*state).context = std::mem::replace(&mut self.context, ptr::null_mut());
            (*state).context_ver += 1;
            // Its own stack has room for all of the limit, whoever begins it.
            (*state).recursion_depth = 0;
            (*state).exc_state = NOT_HANDLING;
            (*state).exc_info = &raw mut (*state).exc_state;
            (*entry).use_tracing = (*(*state).cframe).use_tracing;
            (*entry).previous = &raw mut (*state).root_cframe;
            (*state).cframe = entry;
            (*state).frame = ptr::null_mut();
            (*state).trash_delete_nesting = 0;
        }
    }

    /// Takes what outlives the greenlet out of the thread state, and lets go of the rest.
    ///
    /// # Safety
    /// As [`save`](Self::save); the running greenlet began with [`begin`](Self::begin) and has nothing left to run.
    pub unsafe fn end(&mut self, state: *mut ThreadState) {
        // SAFETY: the caller's word.
        unsafe {
            // None, once an exception was handled.
            self.exc_state = std::mem::replace(&mut (*state).exc_state, NOT_HANDLING);
            self.context = std::mem::replace(&mut (*state).context, ptr::null_mut());
            (*state).root_cframe.use_tracing = (*(*state).cframe).use_tracing;
            (*state).cframe = &raw mut (*state).root_cframe;
        }
    }

    /// Lets go of a greenlet that will never go on: its stacks are about to be taken away.
    ///
    /// # Safety
    /// The greenlet is suspended, and the caller holds the lock.
    pub unsafe fn abandon(&mut self) {
        self.exc_info = ptr::null_mut();
        let frame = std::mem::replace(&mut self.frame, ptr::null_mut()).cast::<Frame>();
        // SAFETY: the interpreter loop that ran the frame owned it and will not give it back; a generator owns its own.
        unsafe {
            if !frame.is_null() && (*frame).f_gen.is_null() {
                crate::py::ffi::decref(frame);
            }
        }
    }

    /// Whether somebody else holds a frame whose content is on the greenlet's stacks: frames are objects, so never.
    ///
    /// # Safety
    /// None; later versions look at the frames.
    pub unsafe fn is_seen(&self) -> bool {
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
        unsafe { std::mem::replace(&mut (*state).frame, self.frame) }
    }

    /// Undoes [`swap_frame`](Self::swap_frame).
    ///
    /// # Safety
    /// `frame` is what `swap_frame` returned.
    pub unsafe fn put_frame(state: *mut ThreadState, frame: *mut c_void) {
        // SAFETY: the caller's word.
        unsafe { (*state).frame = frame };
    }
}

impl ThreadState {
    /// The recursion limit as this thread state has it; `None` where it is kept elsewhere.
    pub fn depth_limit(&self) -> Option<c_int> {
        None
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

impl ThreadState {
    /// Turns tracing off. Later versions have a function for it.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held.
    pub unsafe fn enter_tracing(state: *mut ThreadState) {
        // SAFETY: the caller's word.
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
        // SAFETY: the caller's word.
        unsafe {
            (*state).tracing -= 1;
            let traced = !(*state).c_tracefunc.is_null() || !(*state).c_profilefunc.is_null();
            (*(*state).cframe).use_tracing = c_int::from(traced);
        }
    }
}
