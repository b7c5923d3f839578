//! CPython 3.14.
//!
//! There is no C recursion counter any more: C code compares the stack pointer with limits in the private part of the
//! thread state, which have to be those of the stack that runs. That part moved within the released series, so it is
//! found at import, by what is in it.

use std::ffi::{c_int, c_ulong, c_void};
use std::mem::offset_of;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3_ffi::PyObject;

use super::datastack::{Chunk, DataStack};
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
    pub current_frame: *mut c_void,
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
    stack_pointer: *mut c_void,
    return_offset: u16,
    owner: u8,
}

/// Owners from here on are not functions: such a frame only marks where C code called the interpreter, and few of its
/// fields are set.
const NO_FUNCTION: u8 = 3;

/// How far above the end of the stack the hard limit is, and again how far above that the soft one; CPython's own
/// numbers.
const MARGIN: usize = 2048 * size_of::<usize>();

/// Where the three limits lie behind the thread state's public part: top, soft limit, hard limit.
static LIMITS_OFFSET: AtomicUsize = AtomicUsize::new(0);

/// # Safety
/// [`ThreadState::find_private_part`] has succeeded.
#[inline]
unsafe fn stack_limits(state: *mut ThreadState) -> *mut [usize; 3] {
    // SAFETY: the caller's word.
    unsafe { state.byte_add(LIMITS_OFFSET.load(Ordering::Relaxed)).cast() }
}

/// An entry of the stack of exceptions being handled.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExcState {
    values: [*mut PyObject; 1],
    previous: *mut ExcState,
}

const NOT_HANDLING: ExcState = ExcState { values: [ptr::null_mut()], previous: ptr::null_mut() };

/// Nothing needs to lie on the C stack.
pub struct Entry;

impl Entry {
    /// The only one.
    pub const fn new() -> Entry {
        Entry
    }
}

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
];

/// A greenlet's part of the thread state while it does not run.
pub struct Saved {
    /// Owned. Also meaningful before the first run and after the last.
    pub context: *mut PyObject,
    exc_state: ExcState,
    /// Null for the entry in the thread state itself, so that it may be another thread state when the greenlet goes on.
    exc_info: *mut ExcState,
    depth: c_int,
    stack_limits: [usize; 3],
    frame: *mut c_void,
    delete_later: *mut PyObject,
    critical_section: usize,
    executor: *mut PyObject,
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
            stack_limits: [0; 3],
            frame: ptr::null_mut(),
            delete_later: ptr::null_mut(),
            critical_section: 0,
            executor: ptr::null_mut(),
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
            self.stack_limits = *stack_limits(state);
            self.executor = (*state).current_executor;
            self.frame = (*state).current_frame;
            self.delete_later = (*state).delete_later;
            self.critical_section = (*state).critical_section;
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
            *stack_limits(state) = self.stack_limits;
            (*state).current_executor = self.executor;
            (*state).current_frame = self.frame;
            (*state).delete_later = self.delete_later;
            (*state).critical_section = self.critical_section;
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
        _entry: *mut Entry,
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
            *stack_limits(state) = [stack.end, stack.start + 2 * MARGIN, stack.start + MARGIN];
            (*state).current_executor = ptr::null_mut();
            (*state).current_frame = ptr::null_mut();
            (*state).delete_later = ptr::null_mut();
            (*state).critical_section = 0;
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
            let mut frame = self.frame.cast::<Frame>();
            while !frame.is_null() {
                if (*frame).owner < NO_FUNCTION
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
        unsafe { std::mem::replace(&mut (*state).current_frame, self.frame) }
    }

    /// Undoes [`swap_frame`](Self::swap_frame).
    ///
    /// # Safety
    /// `frame` is what `swap_frame` returned.
    pub unsafe fn put_frame(state: *mut ThreadState, frame: *mut c_void) {
        // SAFETY: the caller's word.
        unsafe { (*state).current_frame = frame };
    }
}

impl ThreadState {
    /// Finds the stack limits, by the only three words in a row that enclose the stack pointer as they must. Returns
    /// whether they are there.
    ///
    /// # Safety
    /// `state` is the running OS thread's, and its lock is held.
    pub unsafe fn find_private_part(state: *mut ThreadState) -> bool {
        let marker = 0u8;
        let here = (&raw const marker).addr();
        // The rest of the public part, with 65 words for a debugger, comes in between; the private one is larger than
        // this.
        let words = state.cast::<usize>();
        let mut found = (size_of::<ThreadState>() / 8..size_of::<ThreadState>() / 8 + 120).filter(|index| {
            // SAFETY: within the private part.
            let [top, soft, hard] = unsafe { *words.add(*index).cast::<[usize; 3]>() };
            hard < soft && soft < here && here < top && soft - hard == MARGIN && top - hard < 1 << 32
        });
        match (found.next(), found.next()) {
            (Some(index), None) => {
                LIMITS_OFFSET.store(index * size_of::<usize>(), Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }

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
