//! What runs in a green thread: the spawned function, and then the news of its end for waiters and links.

use std::ptr;

use super::end::{Link, end};
use super::hub_ref::squelch;
use super::ticket::restore;
use super::{frame, pool};
use crate::greenlet::{Here, PyGreenlet, this_thread};
use crate::py::ffi::{self, PyObject};
use crate::py::{Gil, Owned, Pending, Result, exception_info};

/// Runs a spawned function.
///
/// # Safety
/// As the `Runner` of a greenlet, of a green thread.
pub unsafe fn run(
    _: Gil<'_>,
    greenlet: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with, of a green thread.
    unsafe { on_end(this_thread(), greenlet.cast(), frame::call(function, args, kwargs)) }
}

/// Runs a spawned function whose result nobody wants.
///
/// # Safety
/// As the `Runner` of a greenlet.
pub unsafe fn run_plain(
    _: Gil<'_>,
    _: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with.
    unsafe { frame::call(function, args, kwargs) }
}

/// Runs the `main` of a green thread that was not made by `spawn`, which tells of the end by itself.
///
/// # Safety
/// As the `Runner` of a greenlet, of a green thread.
pub unsafe fn run_main(
    _: Gil<'_>,
    greenlet: *mut PyGreenlet,
    main: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with, of a green thread.
    unsafe {
        if args.is_null() {
            on_end(this_thread(), greenlet.cast(), args)
        } else {
            ffi::PyObject_Call(main, args, kwargs)
        }
    }
}

/// A function has ended with this result, or with the pending exception if it is null. Returns what the greenlet ends
/// with.
///
/// # Safety
/// A live green thread and an owned result.
pub unsafe fn on_end(thread: Here<'_>, this: *mut PyObject, result: *mut PyObject) -> *mut PyObject {
    // SAFETY: a live green thread; the result is owned, and without one an exception is pending.
    unsafe {
        if end(this).done.get() {
            // Killed before it began.
            return result;
        }
        let result = thread.interruptions.at_end(thread.gil(), thread.ident(), thread.current(), result);
        if result.is_null() {
            let pending = finish_with_exception(thread, this);
            pending.put_back();
            return result;
        }
        finish(thread, this, Owned::new(result).ok());
        Owned::none(thread.gil()).into_raw()
    }
}

/// The function raised the pending exception. It stays with the caller.
///
/// # Safety
/// A live green thread; an exception is pending.
pub unsafe fn finish_with_exception(thread: Here<'_>, this: *mut PyObject) -> Pending {
    // SAFETY: a live green thread, and an exception is pending: its value and its traceback are in the triple.
    unsafe {
        if let Ok(info) = exception_info(thread.gil()) {
            let item = |index| Owned::borrow(ffi::PyTuple_GET_ITEM(info.as_ptr(), index));
            let (exception, traceback) = (item(1), item(2));
            end(this).exception.set(Some(exception.clone()));
            end(this).traceback.set((!traceback.is_none()).then_some(traceback.clone()));
            finish(thread, this, None);
            restore(&exception, (!traceback.is_none()).then_some(traceback));
        }
        Pending::take(thread.gil())
    }
}

/// # Safety
/// A live green thread.
unsafe fn finish(thread: Here<'_>, this: *mut PyObject, value: Option<Owned>) {
    // SAFETY: a live green thread; no exception is pending, be it that none was or that it was taken out.
    unsafe {
        let end = end(this);
        end.value.set(value);
        end.done.set(true);
        for place in end.waiters.take_all() {
            place.wake(thread.gil(), end.outcome(thread.gil()));
        }
        pool::leave(this.cast());
        resolve_links(thread, this);
    }
}

/// Tells the links. One that raises is reported, and the others are told all the same.
///
/// # Safety
/// A live green thread.
pub unsafe fn resolve_links(thread: Here<'_>, this: *mut PyObject) {
    // SAFETY: a live green thread; a link is taken off the list before it is called.
    unsafe {
        let end = end(this);
        if end.resolving.replace(true) {
            return;
        }
        loop {
            let next = end.links.borrow_mut().pop_front();
            let Some(link) = next else { break };
            if call_link(this, &link).is_err() {
                squelch(thread, this);
            }
        }
        end.resolving.set(false);
    }
}

/// # Safety
/// A live green thread.
unsafe fn call_link(this: *mut PyObject, link: &Link) -> Result<Owned> {
    // SAFETY: live objects; a link has a tuple, and a dict or none.
    unsafe {
        let kwargs = link.kwargs.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
        let head = Owned::new(ffi::PyTuple_Pack(1, this))?;
        let args = Owned::new(ffi::PySequence_Concat(head.as_ptr(), link.args.as_ptr()))?;
        Owned::new(frame::call(link.function.as_ptr(), args.as_ptr(), kwargs))
    }
}
