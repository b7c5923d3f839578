//! What a version says of itself to [`saved`](super::saved): what a greenlet has of its own in that version, and how an
//! exception that is being handled is noted. Must not know which version this is for.

use std::ops::Range;
use std::ptr;

use pyo3_ffi::PyObject;

/// A part of the thread state of which each greenlet has its own. The steps are those of `Saved`, which calls them
/// under the conditions that it states.
pub trait Part: Sized {
    /// The thread state.
    type State;
    /// What must lie on the greenlet's C stack.
    type Entry;

    /// Of a greenlet that has not begun.
    const NEW: Self;

    /// # Safety
    /// As `Saved::save`.
    unsafe fn save(&mut self, state: *mut Self::State);

    /// # Safety
    /// As `Saved::restore`.
    unsafe fn restore(&mut self, state: *mut Self::State);

    /// # Safety
    /// As `Saved::begin`.
    unsafe fn begin(state: *mut Self::State, entry: *mut Self::Entry, stack: &Range<usize>);

    /// # Safety
    /// As `Saved::end`.
    unsafe fn end(_state: *mut Self::State) {}

    /// # Safety
    /// As `Saved::abandon`.
    unsafe fn abandon(&mut self) {}
}

/// The part in which the Python frames are found.
pub trait Frames: Part {
    /// A Python frame.
    type Frame;

    /// The innermost frame of a suspended greenlet; null if there is none.
    fn frame(&self) -> *mut Self::Frame;

    /// Where the running greenlet's innermost frame is noted.
    ///
    /// # Safety
    /// `state` is a live thread state.
    unsafe fn running_frame(state: *mut Self::State) -> *mut *mut Self::Frame;
}

/// How many objects an exception is made of.
const VALUES: usize = if cfg!(Py_3_11) { 1 } else { 3 };

/// An entry of the stack of exceptions being handled.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExcState {
    /// The exception; up to 3.10 its type, itself and its traceback.
    pub values: [*mut PyObject; VALUES],
    pub previous: *mut ExcState,
}

impl ExcState {
    /// Nothing is being handled, and this is the last entry.
    pub const NONE: ExcState = ExcState { values: [ptr::null_mut(); VALUES], previous: ptr::null_mut() };
}
