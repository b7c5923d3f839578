//! Exceptions that greenlets shall raise when they reach Python next.
//!
//! C frames cannot be unwound. If something is thrown into a greenlet that waits beneath a C function, the wait fails,
//! the function fails in its own manner, and its caller in Python raises some error of the library's. What was thrown
//! waits here for that moment.
//!
//! It is not raised while that error is handled: an `except` or a `finally` clause may let go of a lock, and is not to
//! be cut short. Whatever else the greenlet calls then, raises it ([`frame_begins`](Interruptions::frame_begins)); so
//! do its next park, its end, and what takes it of its own accord ([`take`](Interruptions::take)).
//!
//! The interpreter is asked to raise it by `PyThreadState_SetAsyncExc`, which takes a class: one whose `__new__` gives
//! the very exception. But it knows OS threads only. So it is asked while the greenlet runs, and not while others do:
//! that is changed where a switch [arrives](Interruptions::arrived).

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
    /// What was being handled then, if anything.
    handled: Option<Owned>,
    /// Code that this function calls runs.
    withheld: bool,
    /// The library's error may be on its way, or is being handled.
    held: bool,
    /// How many more waits fail before it is raised in whatever comes next: something tries again and again.
    patience: u8,
}

/// How often a wait fails at most before.
const PATIENCE: u8 = 8;

impl Interruption {
    /// What the interpreter is to be asked for.
    fn asked(&self) -> Option<Owned> {
        (!self.withheld && !self.held).then(|| self.class.clone())
    }
}

/// What the running code is handling, if anything.
fn handled() -> Option<Owned> {
    let (mut class, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: reached under the lock only; each is owned, or null.
    unsafe {
        ffi::PyErr_GetExcInfo(&raw mut class, &raw mut value, &raw mut traceback);
        drop([Owned::new(class).ok(), Owned::new(traceback).ok()]);
        Owned::new(value).ok().filter(|value| !value.is_none())
    }
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

    /// A new frame begins, which is where it may be raised. Returns whether it is one that the interrupted C function
    /// calls, in which nothing is to be raised until [`no_longer_withhold`](Self::no_longer_withhold).
    pub fn frame_begins(&self, ident: c_ulong, running: *mut PyGreenlet) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(one) = all.iter_mut().find(|one| one.greenlet.as_ptr() == running.cast()) else { return false };
        if one.withheld || one.patience == 0 {
            return false;
        }
        let before = one.held;
        one.withheld = one.at == Place::here(one.greenlet.gil());
        let now = handled();
        let same = now.as_ref().map(Owned::as_ptr) == one.handled.as_ref().map(Owned::as_ptr);
        // In what the C function calls, nothing is known of its error yet.
        one.held = if one.withheld { before } else { !same };
        let (withheld, asked) = (one.withheld, one.asked());
        drop(all);
        if withheld || before != asked.is_none() {
            ask(ident, asked.as_ref());
        }
        withheld
    }

    /// The frame has ended; what is to be raised may have been raised meanwhile.
    pub fn no_longer_withhold(&self, ident: c_ulong, running: *mut PyGreenlet) {
        let mut all = self.0.borrow_mut();
        let Some(one) = all.iter_mut().find(|one| one.greenlet.as_ptr() == running.cast()) else { return };
        one.withheld = false;
        let asked = one.asked();
        drop(all);
        ask(ident, asked.as_ref());
    }

    /// The running greenlet shall raise this exception. A second one is dropped: the first was not raised yet. `fails`
    /// is for a wait that tells its caller of a failure, so that an error of the library's comes first.
    ///
    /// # Safety
    /// The running greenlet of the thread of this number.
    pub unsafe fn add(&self, ident: c_ulong, running: *mut PyGreenlet, exception: Owned, fails: bool) {
        if self.has(running) {
            return;
        }
        let class = class_for(&exception);
        // SAFETY: a live greenlet.
        let greenlet = unsafe { Owned::borrow(running) };
        count(greenlet.gil(), 1);
        // SAFETY: `greenlet` says that the lock is held.
        let held = fails && unsafe { *FRAMES_ARE_TOLD.get() };
        let (at, handled) = (Place::here(greenlet.gil()), handled());
        let one = Interruption { greenlet, exception, class, at, handled, withheld: false, held, patience: PATIENCE };
        ask(ident, one.asked().as_ref());
        self.0.borrow_mut().push(one);
    }

    /// Returns whether there is one for the running greenlet, which is about to wait beneath a C function again.
    pub fn fails_again(&self, ident: c_ulong, running: *mut PyGreenlet) -> bool {
        let mut all = self.0.borrow_mut();
        let Some(one) = all.iter_mut().find(|one| one.greenlet.as_ptr() == running.cast()) else { return false };
        one.patience = one.patience.saturating_sub(1);
        if one.patience == 0 {
            (one.held, one.withheld) = (false, false);
        }
        let asked = one.asked();
        drop(all);
        ask(ident, asked.as_ref());
        true
    }

    /// Takes that of the running greenlet, if it has one.
    pub fn take(&self, ident: c_ulong, running: *mut PyGreenlet) -> Option<Owned> {
        self.take_if(ident, running, |_| true)
    }

    /// Takes that of the running greenlet, if it has one that is meant.
    pub fn take_if(
        &self,
        ident: c_ulong,
        running: *mut PyGreenlet,
        is_meant: impl Fn(&Owned) -> bool,
    ) -> Option<Owned> {
        let mut all = self.0.borrow_mut();
        let index = all.iter().position(|one| one.greenlet.as_ptr() == running.cast() && is_meant(&one.exception))?;
        let Interruption { greenlet, exception, class, handled, .. } = all.swap_remove(index);
        drop(all);
        ask(ident, None);
        count(greenlet.gil(), -1);
        drop((greenlet, class, handled));
        Some(exception)
    }

    /// The running greenlet ends with this result, or with the pending exception if it is null. Raises what it shall
    /// raise in the place of either; an exception becomes its context. Returns what it ends with.
    ///
    /// # Safety
    /// The result is owned; without one an exception is pending.
    #[inline]
    pub unsafe fn at_end(
        &self,
        gil: Gil<'_>,
        ident: c_ulong,
        running: *mut PyGreenlet,
        result: *mut PyObject,
    ) -> *mut PyObject {
        if self.any() {
            // SAFETY: the caller's contract.
            return unsafe { self.take_the_place_of(gil, ident, running, result) };
        }
        result
    }

    /// # Safety
    /// As [`at_end`](Self::at_end).
    #[cold]
    unsafe fn take_the_place_of(
        &self,
        gil: Gil<'_>,
        ident: c_ulong,
        running: *mut PyGreenlet,
        result: *mut PyObject,
    ) -> *mut PyObject {
        // It may be raised already, without being looked at: then this takes it.
        // SAFETY: the caller's contract.
        let value = unsafe { if result.is_null() { Pending::take(gil).into_value() } else { ptr::null_mut() } };
        match self.take(ident, running) {
            Some(exception) => {
                // SAFETY: owned, or null.
                unsafe { ffi::xdecref(result) };
                raise(exception, value);
                ptr::null_mut()
            }
            // SAFETY: an owned exception.
            None if result.is_null() => unsafe {
                raise(Owned::borrow(value), value);
                ptr::null_mut()
            },
            None => result,
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
        let mine = all.iter().find(|one| one.greenlet.as_ptr() == running.cast());
        let asked = mine.and_then(Interruption::asked);
        drop(all);
        ask(ident, asked.as_ref());
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

/// Called when there is one in some thread, and when there is none any more. Returns whether it could do so.
pub(super) static WITHHOLD: Global<Option<Withhold>> = Global::new(None);

pub(super) type Withhold = fn(Gil<'_>, bool) -> bool;

/// Whether [`frame_begins`](Interruptions::frame_begins) is called while there is one.
static FRAMES_ARE_TOLD: Global<bool> = Global::new(false);

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
        let told = function(gil, now > 0);
        // SAFETY: as above.
        unsafe { *FRAMES_ARE_TOLD.get() = told };
    }
}

/// Asks the interpreter to raise this class in a thread, or nothing any more.
fn ask(ident: c_ulong, class: Option<&Owned>) {
    let class = class.map_or(ptr::null_mut(), Owned::as_ptr);
    // SAFETY: a class or null; reached under the lock only.
    unsafe { ffi::PyThreadState_SetAsyncExc(ident as _, class) };
}
