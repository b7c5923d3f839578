//! The end of a green thread: what it ended with, and who wants to know.
//!
//! ```text
//! object:  | PyGreenlet | End |
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::line::Line;
use super::ticket::Outcome;
use crate::greenlet::{PyGreenlet, body};
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::free_list::{FreeList, Kept};
use crate::py::object::Object;
use crate::py::table::zeroed_type;
use crate::py::{Gil, Global, Owned, Slot};

/// The object.
#[repr(C)]
pub struct PyGreenThread {
    greenlet: PyGreenlet,
    pub end: End,
}

/// How a green thread ended, and who wants to know.
pub struct End {
    pub done: Cell<bool>,
    /// The function's result, or the exception that ended it and its traceback.
    pub value: Slot,
    pub exception: Slot,
    pub traceback: Slot,
    pub waiters: Line,
    pub links: RefCell<VecDeque<Link>>,
    pub resolving: Cell<bool>,
}

/// A function that is told of the end.
pub struct Link {
    pub function: Owned,
    pub args: Owned,
    pub kwargs: Option<Owned>,
}

impl End {
    /// Not ended.
    pub fn new() -> End {
        End {
            done: Cell::new(false),
            value: Slot::empty(),
            exception: Slot::empty(),
            traceback: Slot::empty(),
            waiters: Line::new(),
            links: RefCell::new(VecDeque::new()),
            resolving: Cell::new(false),
        }
    }

    /// What a wait gets.
    pub fn outcome(&self, gil: Gil<'_>) -> Outcome {
        match self.exception.object() {
            Some(exception) => Outcome::Throw(exception, self.traceback.object()),
            None => Outcome::Value(self.value.object().unwrap_or_else(|| Owned::none(gil))),
        }
    }
}

static TYPE: Global<PyTypeObject> = Global::new(zeroed_type());

/// The `GreenThread` type.
pub fn green_thread_type() -> *mut PyTypeObject {
    TYPE.get()
}

static FREE: Global<FreeList> = Global::new(FreeList::new());

/// Objects of the type itself.
pub enum GreenThreads {}

impl Kept for GreenThreads {
    fn kind() -> *mut PyTypeObject {
        green_thread_type()
    }

    fn list() -> &'static Global<FreeList> {
        &FREE
    }
}

/// Whether the greenlet is of the `GreenThread` type itself.
///
/// # Safety
/// A live greenlet.
#[inline]
pub unsafe fn is_exact(greenlet: *mut PyGreenlet) -> bool {
    // SAFETY: a live greenlet.
    unsafe { ffi::Py_TYPE(greenlet.cast()) == green_thread_type() }
}

/// The end of a green thread.
///
/// # Safety
/// A live green thread, which outlives `'a`.
pub unsafe fn end<'a>(green_thread: *mut PyObject) -> &'a End {
    // SAFETY: a live green thread, whose end was written before anybody saw it.
    unsafe { &(*green_thread.cast::<PyGreenThread>()).end }
}

/// A live green thread, borrowed for `'a`.
#[derive(Clone, Copy)]
pub struct GreenThread<'a>(Object<'a>);

impl<'a> GreenThread<'a> {
    /// # Safety
    /// The object is a green thread.
    pub unsafe fn of(object: Object<'a>) -> GreenThread<'a> {
        GreenThread(object)
    }

    /// The object.
    pub fn object(self) -> Object<'a> {
        self.0
    }

    /// Its end.
    pub fn end(self) -> &'a End {
        // SAFETY: a live green thread, which something keeps for `'a`.
        unsafe { end(self.0.as_ptr()) }
    }

    /// Whether it has begun.
    pub fn is_started(self) -> bool {
        // SAFETY: a live green thread, which is a greenlet.
        unsafe { body(self.0.as_ptr().cast()) }.is_started()
    }
}

/// Whether the object is a green thread, of the type itself or of a subclass.
///
/// # Safety
/// A live object.
pub unsafe fn is_green_thread(object: *mut PyObject) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::PyObject_TypeCheck(object, green_thread_type()) != 0 }
}
