//! A thread as its greenlets see it.
//!
//! A greenlet refers to the thread that it began in through a [`Handle`], which outlives the thread. What else is known
//! of a thread is in its record ([`thread`](super::thread)), of which only the address is known here.

use std::cell::Cell;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use crate::py::ffi::PyObject;

/// A thread.
pub struct Handle {
    alive: AtomicBool,
    /// Which greenlet runs in the thread; compared only, never followed.
    running: AtomicPtr<PyObject>,
    /// Where its record is. Null once the thread has ended.
    record: AtomicPtr<()>,
    /// The process it lives in: threads do not survive a fork, but the one that forks, and gets the child's number.
    generation: AtomicU64,
}

// The record of the running thread, null if it has none; `Handle::record` of its handle.
greenloom_fiber::thread_pointer!(mod here = "greenloom_python_record");

thread_local! {
    /// The handle in it.
    static HANDLE: Cell<*const Handle> = const { Cell::new(ptr::null()) };
}

/// Where the running thread's record is, null if it has none.
#[inline]
pub fn record_here() -> *const () {
    here::get()
}

impl Handle {
    /// Of a thread that runs `greenlet`.
    pub fn new(greenlet: *mut PyObject) -> Handle {
        Handle {
            alive: AtomicBool::new(true),
            running: AtomicPtr::new(greenlet),
            record: AtomicPtr::new(ptr::null_mut()),
            generation: AtomicU64::new(greenloom_fiber::fork_generation()),
        }
    }

    /// Makes it the running thread's, with a record.
    ///
    /// # Safety
    /// It lives until [`end`](Self::end).
    pub unsafe fn begin(&self, record: *const ()) {
        follow_forks();
        self.record.store(record.cast_mut(), Ordering::Relaxed);
        HANDLE.set(self);
        here::set(record);
    }

    /// The running thread ends.
    pub fn end(&self) {
        self.alive.store(false, Ordering::Release);
        self.record.store(ptr::null_mut(), Ordering::Relaxed);
        HANDLE.set(ptr::null());
        here::set(ptr::null());
    }

    /// Whether the thread can still run greenlets.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
            && self.generation.load(Ordering::Relaxed) == greenloom_fiber::fork_generation()
    }

    /// Whether it is the running thread's.
    #[inline]
    pub fn is_mine(&self) -> bool {
        let record = here::get();
        !record.is_null() && ptr::eq(record, self.record.load(Ordering::Relaxed))
    }

    /// Whether the thread runs this greenlet now.
    pub fn runs(&self, greenlet: *mut PyObject) -> bool {
        self.running.load(Ordering::Relaxed) == greenlet && self.is_alive()
    }

    /// Whether the thread runs this greenlet now, or ran it when it ended.
    #[cfg(Py_3_15)]
    pub fn ran_last(&self, greenlet: *mut PyObject) -> bool {
        self.running.load(Ordering::Relaxed) == greenlet
    }

    /// Notes which greenlet the thread runs.
    #[inline]
    pub fn set_running(&self, greenlet: *mut PyObject) {
        self.running.store(greenlet, Ordering::Relaxed);
    }

    /// Where the thread's record is, null once it has ended.
    #[inline]
    pub fn record(&self) -> *const () {
        self.record.load(Ordering::Relaxed)
    }
}

/// Arranges that the thread which forks goes on in the child, where others look at its handle, too.
fn follow_forks() {
    static REGISTERED: Once = Once::new();
    extern "C" fn in_child() {
        let handle = HANDLE.get();
        if !handle.is_null() {
            // SAFETY: the running thread's handle, which lives until `end` takes the address away.
            unsafe { &*handle }.generation.store(greenloom_fiber::fork_generation(), Ordering::Relaxed);
        }
    }
    // SAFETY: the handler stores a number, which is allowed in the child of a fork. It runs after the one that counts,
    // which was registered before.
    REGISTERED.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
    });
}
