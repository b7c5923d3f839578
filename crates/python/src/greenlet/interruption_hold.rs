//! Python code that a C function calls on its way to an error.
//!
//! ```text
//! def handler():
//!     try:
//!         cursor.execute()        C: its wait was interrupted
//!             codecs.decode()     Python, for the text of the library's error: nothing is raised here, since the
//!                                 C function would drop it
//!     finally:
//!         lock.release()          nothing is raised here, since it would be cut short
//!     next()                      here it is raised
//! ```
//!
//! The interpreter would raise an [interruption](super::interruption) in whatever Python code comes next. So while
//! there is one, new frames are evaluated through a function of ours (PEP 523), which decides. Where an interpreter has
//! no such thing, it is raised in what comes next.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use super::handle::record_here;
use super::interruption::WITHHOLD;
use super::thread::Thread;
use crate::py::ffi;
use crate::py::{Gil, Global};

/// The running thread's record, if it has one. The interpreter's lock need not be held: what may be asked then are
/// plain values which the thread itself changes.
#[inline]
pub fn unlocked_record<'a>() -> Option<&'a Thread> {
    // SAFETY: null, or the running thread's record, which lives as long as the thread.
    unsafe { record_here().cast::<Thread>().as_ref() }
}

type Evaluate = unsafe extern "C-unwind" fn(*mut ffi::PyThreadState, *mut c_void, c_int) -> *mut ffi::PyObject;

type Get = unsafe extern "C" fn(*mut ffi::PyInterpreterState) -> Option<Evaluate>;
type Set = unsafe extern "C" fn(*mut ffi::PyInterpreterState, Evaluate);

struct Functions {
    get: Get,
    set: Set,
}

static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();

/// What evaluated frames before.
static BEFORE: Global<Option<Evaluate>> = Global::new(None);

fn functions() -> Option<&'static Functions> {
    FUNCTIONS.get_or_init(find).as_ref()
}

/// They have had one signature since CPython 3.9, under one of two names.
fn find() -> Option<Functions> {
    let find = |names: [&CStr; 2]| {
        // SAFETY: names that end with a zero byte.
        let found = names.map(|name| unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) });
        found.into_iter().find(|address| !address.is_null())
    };
    let get = find([c"_PyInterpreterState_GetEvalFrameFunc", c"PyUnstable_InterpreterState_GetEvalFrameFunc"])?;
    let set = find([c"_PyInterpreterState_SetEvalFrameFunc", c"PyUnstable_InterpreterState_SetEvalFrameFunc"])?;
    // SAFETY: the interpreter's functions of these names have these signatures.
    unsafe {
        let get = std::mem::transmute::<*mut c_void, Get>(get);
        Some(Functions { get, set: std::mem::transmute::<*mut c_void, Set>(set) })
    }
}

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn ready() {
    // SAFETY: called at import with the lock held.
    unsafe { *WITHHOLD.get() = Some(withhold) };
}

/// There is an interruption in some thread, or none any more.
fn withhold(_: Gil<'_>, on: bool) -> bool {
    let Some(Functions { get, set }) = functions() else { return false };
    // SAFETY: the token says that the lock is held.
    unsafe {
        let interpreter = ffi::PyInterpreterState_Get();
        let Some(now) = get(interpreter) else { return false };
        let ours = ptr::fn_addr_eq(now, evaluate as Evaluate);
        if on && !ours {
            *BEFORE.get() = Some(now);
            set(interpreter, evaluate);
        } else if !on
            && ours
            && let Some(before) = *BEFORE.get()
        {
            set(interpreter, before);
        }
    }
    true
}

/// # Safety
/// Called by the interpreter in the place of what evaluated frames before, which was noted then.
unsafe extern "C-unwind" fn evaluate(
    state: *mut ffi::PyThreadState,
    frame: *mut c_void,
    throws: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: the lock is held, and the interpreter's arguments are handed on. Nothing here has a destructor.
    unsafe {
        let before = (*BEFORE.get()).expect("it was noted when this took its place");
        let thread = unlocked_record().filter(|thread| thread.interruptions.any());
        let Some(thread) = thread.filter(|thread| thread.interruptions.frame_begins(thread.ident(), thread.current()))
        else {
            return before(state, frame, throws);
        };
        let me = thread.current();
        let result = before(state, frame, throws);
        thread.interruptions.no_longer_withhold(thread.ident(), me);
        result
    }
}
