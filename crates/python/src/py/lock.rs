//! The interpreter's lock, and the token that stands for it.
//!
//! Whatever touches Python objects needs the lock. A [`Gil`] is the proof that the running thread holds it: a value
//! without a size, made where the interpreter calls us, and carried by what comes with such a call
//! ([`This`](super::This), [`Args`](super::Args)) and by what only exists under the lock ([`Owned`](super::Owned)). A
//! function that takes one is safe to call as far as the lock is concerned, and one that may run without the lock
//! cannot get at one.
//!
//! A switch between greenlets keeps the lock, so a token is still true after one: the thread that resumes a stack holds
//! the lock then, and it is the thread that left it.

use std::marker::PhantomData;

use super::ffi;

/// The running thread holds the interpreter's lock, for `'py`.
#[derive(Clone, Copy)]
pub struct Gil<'py>(PhantomData<(&'py (), *mut ())>);

impl<'py> Gil<'py> {
    /// Where the interpreter or C code calls us with the lock held.
    ///
    /// # Safety
    /// The running thread holds the lock for `'py`, but for stretches in which it touches no object and uses no token.
    #[inline(always)]
    pub const unsafe fn assume() -> Gil<'py> {
        Gil(PhantomData)
    }
}

/// Whether there is no interpreter to call any more.
pub fn is_gone() -> bool {
    // SAFETY: reads an atomic flag, for which no lock is needed.
    is_finalizing() || unsafe { ffi::Py_IsInitialized() == 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(Py_3_13)]
pub fn is_finalizing() -> bool {
    // SAFETY: reads an atomic flag, for which no lock is needed.
    unsafe { ffi::Py_IsFinalizing() != 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(not(Py_3_13))]
pub fn is_finalizing() -> bool {
    unsafe extern "C" {
        fn _Py_IsFinalizing() -> std::ffi::c_int;
    }
    // SAFETY: reads an atomic flag, for which no lock is needed.
    unsafe { _Py_IsFinalizing() != 0 }
}

/// Whether the running OS thread holds the lock; `false` for one that Python does not know.
pub fn is_held() -> bool {
    #[cfg(Py_3_13)]
    use ffi::PyThreadState_GetUnchecked as current;
    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        #[link_name = "_PyThreadState_UncheckedGet"]
        fn current() -> *mut ffi::PyThreadState;
    }
    // SAFETY: both only read a pointer, and need no lock.
    let (current, mine) = unsafe { (current(), ffi::PyGILState_GetThisThreadState()) };
    !mine.is_null() && current == mine
}
