//! The interpreter's lock.

use super::ffi;

/// Whether there is no interpreter to call any more.
pub fn is_gone() -> bool {
    // SAFETY: reads a flag.
    is_finalizing() || unsafe { ffi::Py_IsInitialized() == 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(Py_3_13)]
pub fn is_finalizing() -> bool {
    // SAFETY: reads a flag.
    unsafe { ffi::Py_IsFinalizing() != 0 }
}

/// Whether the interpreter is being torn down.
#[cfg(not(Py_3_13))]
pub fn is_finalizing() -> bool {
    unsafe extern "C" {
        fn _Py_IsFinalizing() -> std::ffi::c_int;
    }
    // SAFETY: reads a flag.
    unsafe { _Py_IsFinalizing() != 0 }
}
