//! What a greenlet has of its own from CPython 3.14 on, beside what all versions keep. What only one of these versions
//! has is in its `Rest`.

use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

use super::limits::{self, Limits};
use super::part::{Frames, Part};
use super::version::{Entry, Frame, Rest, ThreadState};

/// What a greenlet has of its own beside what all versions keep.
pub struct Own {
    limits: Limits,
    frame: *mut Frame,
    delete_later: *mut PyObject,
    critical_section: usize,
    executor: *mut PyObject,
    rest: Rest,
}

impl Part for Own {
    type State = ThreadState;
    type Entry = Entry;

    const NEW: Own = Own {
        limits: [0; 3],
        frame: ptr::null_mut(),
        delete_later: ptr::null_mut(),
        critical_section: 0,
        executor: ptr::null_mut(),
        rest: Rest::NEW,
    };

    #[inline]
    unsafe fn save(&mut self, state: *mut ThreadState) {
        // SAFETY: the running OS thread's state, which nobody else changes while the lock is held.
        unsafe {
            self.limits = *limits::of(state);
            self.frame = (*state).current_frame;
            self.delete_later = (*state).delete_later;
            self.critical_section = (*state).critical_section;
            self.executor = (*state).current_executor;
            self.rest.save(state);
        }
    }

    #[inline]
    unsafe fn restore(&mut self, state: *mut ThreadState) {
        // SAFETY: as for `save`.
        unsafe {
            *limits::of(state) = self.limits;
            (*state).current_frame = self.frame;
            (*state).delete_later = self.delete_later;
            (*state).critical_section = self.critical_section;
            (*state).current_executor = self.executor;
            self.rest.restore(state);
        }
    }

    #[inline]
    unsafe fn begin(state: *mut ThreadState, entry: *mut Entry, stack: &Range<usize>) {
        // SAFETY: as for `save`.
        unsafe {
            *limits::of(state) = limits::of_stack(stack);
            (*state).delete_later = ptr::null_mut();
            (*state).critical_section = 0;
            (*state).current_executor = ptr::null_mut();
            Rest::begin(state, entry, stack);
        }
    }
}

impl Frames for Own {
    type Frame = Frame;

    #[inline]
    fn frame(&self) -> *mut Frame {
        self.frame
    }

    #[inline]
    unsafe fn running_frame(state: *mut ThreadState) -> *mut *mut Frame {
        // SAFETY: a live thread state.
        unsafe { &raw mut (*state).current_frame }
    }
}
