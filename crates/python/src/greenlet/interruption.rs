//! Exceptions that greenlets shall raise when they reach Python next.
//!
//! C frames cannot be unwound. If something is thrown into a greenlet that waits beneath a C function, the wait fails,
//! the function fails in its own manner, and its caller in Python raises some error of the library's. What was thrown
//! waits here for that moment.
//!
//! The interpreter is asked to raise it by `PyThreadState_SetAsyncExc`, which takes a class: one whose `__new__` gives
//! the very exception. But it knows OS threads only. So it is asked while the greenlet runs, and not while others do:
//! that is changed where a switch [arrives](Interruptions::arrived). There are three places which raise it earlier: the
//! next park, the end of the greenlet, and what takes it of its own accord ([`take`](Interruptions::take)).

use std::cell::RefCell;
use std::ffi::c_ulong;
use std::ptr;

use super::body::{PyGreenlet, State, body};
use crate::py::ffi::{self, PyObject};
use crate::py::{Gil, Global, GlobalObject, Owned, Pending};

/// Those of a thread.
pub struct Interruptions(RefCell<Vec<Interruption>>);

struct Interruption {
    greenlet: Owned,
    exception: Owned,
    /// What the interpreter is asked to raise.
    class: Owned,
    /// The frame whose C function was interrupted, and the instruction.
    at: Place,
    /// Code that this function calls runs.
    withheld: bool,
}

/// A frame and where it is; no more than that is known without one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(*mut ffi::PyFrameObject, std::ffi::c_int);

impl Place {
    fn here(_: Gil<'_>) -> Place {
        // SAFETY: the lock is held; the frame, if there is one, is running.
        unsafe {
            let frame = ffi::PyEval_GetFrame();
            Place(frame, if frame.is_null() { 0 } else { instruction(frame) })
        }
    }
}

/// # Safety
/// A live frame.
#[cfg(Py_3_11)]
unsafe fn instruction(frame: *mut ffi::PyFrameObject) -> std::ffi::c_int {
    // SAFETY: a live frame.
    unsafe { ffi::PyFrame_GetLasti(frame) }
}

/// # Safety
/// A live frame.
#[cfg(not(Py_3_11))]
unsafe fn instruction(frame: *mut ffi::PyFrameObject) -> std::ffi::c_int {
    // SAFETY: a live frame.
    unsafe { ffi::PyFrame_GetLineNumber(frame) }
}

/// The class whose instances are the exceptions of others.
pub(super) static CLASS: GlobalObject = GlobalObject::null();

impl Interruptions {
    /// None.
    pub const fn none() -> Interruptions {
        Interruptions(RefCell::new(Vec::new()))
    }

    /// Whether there is any.
    #[inline(always)]
    pub fn any(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// Whether there is one for this greenlet.
    pub fn has(&self, greenlet: *mut PyGreenlet) -> bool {
        self.0.borrow().iter().any(|one| one.greenlet.as_ptr() == greenlet.cast())
    }

    /// A new frame begins. Returns whether it is one that the interrupted C function calls, in which nothing is to be
    /// raised until [`no_longer_withhold`](Self::no_longer_withhold).
    pub fn withhold(&self, ident: c_ulong, running: *mut PyGreenlet) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(one) = all.iter_mut().find(|one| one.greenlet.as_ptr() == running.cast()) else { return false };
        if one.withheld || one.at != Place::here(one.greenlet.gil()) {
            return false;
        }
        one.withheld = true;
        drop(all);
        ask(ident, ptr::null_mut());
        true
    }

    /// The frame has ended; what is to be raised may have been raised meanwhile.
    pub fn no_longer_withhold(&self, ident: c_ulong, running: *mut PyGreenlet) {
        let mut all = self.0.borrow_mut();
        let Some(one) = all.iter_mut().find(|one| one.greenlet.as_ptr() == running.cast()) else { return };
        one.withheld = false;
        let class = one.class.clone();
        drop(all);
        ask(ident, class.as_ptr());
    }

    /// The running greenlet shall raise this exception. A second one is dropped: the first was not raised yet.
    ///
    /// # Safety
    /// The running greenlet of the thread of this number.
    pub unsafe fn add(&self, ident: c_ulong, running: *mut PyGreenlet, exception: Owned) {
        if self.has(running) {
            return;
        }
        let class = class_for(&exception);
        // SAFETY: a live greenlet.
        let greenlet = unsafe { Owned::borrow(running) };
        ask(ident, class.as_ptr());
        let at = Place::here(greenlet.gil());
        count(greenlet.gil(), 1);
        self.0.borrow_mut().push(Interruption { greenlet, exception, class, at, withheld: false });
    }

    /// Takes that of the running greenlet, if it has one.
    pub fn take(&self, ident: c_ulong, running: *mut PyGreenlet) -> Option<Owned> {
        let mut all = self.0.borrow_mut();
        let index = all.iter().position(|one| one.greenlet.as_ptr() == running.cast())?;
        let Interruption { greenlet, exception, class, .. } = all.swap_remove(index);
        drop(all);
        ask(ident, ptr::null_mut());
        count(greenlet.gil(), -1);
        drop((greenlet, class));
        Some(exception)
    }

    /// Raises that of the running greenlet, if it has one, in the place of the pending exception, which becomes its
    /// context.
    #[inline]
    pub fn take_the_place(&self, gil: Gil<'_>, ident: c_ulong, running: *mut PyGreenlet) {
        if self.any() {
            self.take_the_place_of(Pending::take(gil), ident, running);
        }
    }

    #[cold]
    fn take_the_place_of(&self, pending: Pending, ident: c_ulong, running: *mut PyGreenlet) {
        // It may be raised already, without being looked at: then this takes it.
        // SAFETY: the caller has an exception pending.
        let value = unsafe { pending.into_value() };
        match self.take(ident, running) {
            Some(exception) => raise(exception, value),
            // SAFETY: an owned exception.
            None => unsafe { raise(Owned::borrow(value), value) },
        }
    }

    /// Another greenlet runs.
    #[cold]
    pub fn arrived(&self, ident: c_ulong, running: *mut PyGreenlet) {
        // SAFETY: greenlets, which are kept.
        let is_dead = |one: &Interruption| unsafe { body(one.greenlet.as_ptr().cast()) }.state.get() == State::Dead;
        let (dead, left) = self.0.take().into_iter().partition::<Vec<_>, _>(is_dead);
        self.0.borrow_mut().extend(left);
        let all = self.0.borrow();
        let mine = all.iter().find(|one| one.greenlet.as_ptr() == running.cast() && !one.withheld);
        let class = mine.map(|one| one.class.clone());
        drop(all);
        ask(ident, class.map_or(ptr::null_mut(), |class| class.as_ptr()));
        if let Some(one) = dead.first() {
            let gil = one.greenlet.gil();
            count(gil, -dead.len().cast_signed());
            // Letting go of them may run code.
            let pending = Pending::take(gil);
            drop(dead);
            pending.put_back();
        }
    }

    /// The thread has ended.
    pub fn forget(&self, gil: Gil<'_>) {
        let all = self.0.take();
        count(gil, -all.len().cast_signed());
    }
}

/// Raises an exception with a context, which is taken over and may be null.
fn raise(exception: Owned, context: *mut PyObject) {
    // SAFETY: an exception, and one or null, both owned; `SetContext` takes its own over.
    unsafe {
        if context == exception.as_ptr() {
            ffi::decref(context);
        } else if !context.is_null() {
            ffi::PyException_SetContext(exception.as_ptr(), context);
        }
        ffi::PyErr_SetObject(ffi::Py_TYPE(exception.as_ptr()).cast(), exception.as_ptr());
    }
}

/// What the interpreter is asked to raise in the place of an exception.
#[cfg(Py_3_11)]
fn class_for(_: &Owned) -> Owned {
    // SAFETY: the class lives for ever; reached under the lock only.
    unsafe { Owned::borrow(CLASS.object()) }
}

/// What the interpreter is asked to raise in the place of an exception. Until CPython 3.10 this class is compared with
/// those that are caught, so it has to be one of the exception's kind.
#[cfg(not(Py_3_11))]
fn class_for(exception: &Owned) -> Owned {
    // SAFETY: live classes; reached under the lock only. An exception of the making is not kept.
    unsafe {
        let base = ffi::Py_TYPE(exception.as_ptr()).cast::<PyObject>();
        let new = Owned::new(ffi::PyObject_GetAttrString(CLASS.object(), c"__new__".as_ptr()));
        let made = new.and_then(|new| {
            let (meta, format) = (ffi::Py_TYPE(base).cast(), c"s(O){sO}".as_ptr());
            let made = ffi::PyObject_CallFunction(
                meta,
                format,
                (*base.cast::<ffi::PyTypeObject>()).tp_name,
                base,
                c"__new__".as_ptr(),
                new.as_ptr(),
            );
            Owned::new(made)
        });
        made.unwrap_or_else(|_| {
            ffi::PyErr_Clear();
            Owned::borrow(CLASS.object())
        })
    }
}

/// Called when there is one in some thread, and when there is none any more.
pub(super) static WITHHOLD: Global<Option<Withhold>> = Global::new(None);

pub(super) type Withhold = fn(Gil<'_>, bool);

/// How many there are in all threads.
static COUNT: Global<usize> = Global::new(0);

/// So many less or more.
fn count(gil: Gil<'_>, change: isize) {
    // SAFETY: the token says that the lock is held; nothing runs meanwhile.
    let (before, now, function) = unsafe {
        let count = &mut *COUNT.get();
        let before = *count;
        *count = count.saturating_add_signed(change);
        (before, *count, *WITHHOLD.get())
    };
    if let Some(function) = function
        && (before == 0) != (now == 0)
    {
        function(gil, now > 0);
    }
}

/// Asks the interpreter to raise this class in a thread, or, with null, nothing any more.
fn ask(ident: c_ulong, class: *mut PyObject) {
    // SAFETY: a class or null; reached under the lock only.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, class) };
}
