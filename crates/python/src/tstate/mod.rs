//! The interpreter's thread state: what of it belongs to a greenlet, and how that is taken out and put back.
//!
//! CPython keeps what it knows of a running Python stack in `PyThreadState`: the current frame, the exceptions being
//! handled, the recursion counters, the data stack, the context. A greenlet has its own of each. The struct's layout
//! changes with every minor version and is not public, so there is one file a version, with the same items:
//!
//! - `ThreadState`: the layout, and `Frame`: that of a Python frame;
//! - `FRAME_AT`: the way from the one to the other;
//! - `LAYOUT`: the offsets that we use, compared with the interpreter's own headers by a test;
//! - `Own`: what a greenlet has of its own in this version and not in all; from 3.14 on `Rest`, and what those versions
//!   have in common is in `since_v314`;
//! - `Entry`: what must lie on the greenlet's own C stack as long as it runs.
//!
//! What all versions have, and the steps of a switch, are in [`mod@saved`]; what another OS thread reads without the
//! interpreter's lock is in [`mod@unlocked`]; the check at import is in [`mod@check`].
//! `docs/cpython.md` says where each field comes from and how to add a version. Must not know greenlets.

mod check;
#[cfg(Py_3_11)]
mod datastack;
#[cfg(Py_3_14)]
mod limits;
mod part;
mod saved;
#[cfg(Py_3_14)]
mod since_v314;
mod unlocked;

#[cfg(all(Py_3_10, not(Py_3_11)))]
#[path = "v310.rs"]
mod version;
#[cfg(all(Py_3_11, not(Py_3_12)))]
#[path = "v311.rs"]
mod version;
#[cfg(all(Py_3_12, not(Py_3_13)))]
#[path = "v312.rs"]
mod version;
#[cfg(all(Py_3_13, not(Py_3_14)))]
#[path = "v313.rs"]
mod version;
#[cfg(all(Py_3_14, not(Py_3_15)))]
#[path = "v314.rs"]
mod version;
#[cfg(all(Py_3_15, not(Py_3_16)))]
#[path = "v315.rs"]
mod version;

#[cfg(any(not(Py_3_10), Py_3_16))]
compile_error!("greenloom knows the thread state of CPython 3.10 to 3.15; docs/cpython.md tells how to add a version");
#[cfg(Py_GIL_DISABLED)]
compile_error!(
    "greenloom needs a CPython with the GIL: it does not know the thread state of free-threaded builds yet; \
     docs/cpython.md says what they need"
);

pub use check::check;
#[cfg(Py_3_11)]
pub use datastack::{Chunk, DataStack, ROOT_CHUNK_SIZE};
pub use saved::{KEPT, Saved};
pub use unlocked::{Line, Unlocked};
#[cfg(not(Py_3_11))]
pub use version::{Chunk, DataStack, ROOT_CHUNK_SIZE};
pub use version::{Entry, LAYOUT, ThreadState};

use pyo3_ffi as ffi;

/// The thread state of the running OS thread.
///
/// # Safety
/// The caller holds the interpreter's lock.
#[inline]
pub unsafe fn current() -> *mut ThreadState {
    // SAFETY: with the lock held, there is one.
    unsafe { ffi::PyThreadState_Get() }.cast()
}

/// The Python stack of a suspended greenlet, as a new reference to its innermost frame; null if there is none.
///
/// # Safety
/// The caller holds the interpreter's lock, and `saved` is that of a suspended greenlet.
pub unsafe fn frame_of(saved: &Saved) -> *mut ffi::PyObject {
    // SAFETY: the caller holds the lock.
    unsafe { saved.frame_object(current()) }
}

/// How deep C code may recurse on a stack of `size` bytes: 600 levels a MiB, which held for every kind of recursion we
/// know of. 3.14 looks at the stack pointer instead.
#[cfg(all(Py_3_12, not(Py_3_14)))]
fn c_budget(size: usize) -> std::ffi::c_int {
    std::ffi::c_int::try_from(size * 600 / (1 << 20)).unwrap_or(std::ffi::c_int::MAX)
}

/// The innermost Python frame of a thread of this interpreter, by the thread's number, as a new reference; null if
/// there is none.
///
/// Not by `sys._current_frames`, which makes frame objects for the threads of all interpreters: one that has a lock of
/// its own runs meanwhile, and gives back to its own memory what is of ours.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn frame_of_thread(ident: std::ffi::c_ulong) -> *mut ffi::PyObject {
    // SAFETY: a thread state is taken out of the list with the lock held, and others are put in at its beginning. The
    // thread does not run while we have the lock.
    unsafe {
        let mut state = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Get());
        while !state.is_null() {
            if (*state.cast::<ThreadState>()).thread_id == ident {
                let frame = ffi::PyThreadState_GetFrame(state);
                if !frame.is_null() {
                    return frame.cast();
                }
            }
            state = ffi::PyThreadState_Next(state);
        }
    }
    std::ptr::null_mut()
}
