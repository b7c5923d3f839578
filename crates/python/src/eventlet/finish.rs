//! What runs in a green thread: the spawned function, and then the news of its end for waiters and links.

use std::ptr;

use super::end::{Link, end};
use super::hub_ref::{hub_object, squelch};
use super::ticket::restore;
use super::{frame, pool};
use crate::greenlet::{PyGreenlet, here};
use crate::py::ffi::{self, PyObject};
use crate::py::{Owned, Pending, Raised, Result, assumed, exception_info};

/// Runs a spawned function.
///
/// # Safety
/// As the `Runner` of a greenlet.
pub unsafe fn run(
    greenlet: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with, of a green thread.
    unsafe {
        let result = if args.is_null() { args } else { frame::call(function, args, kwargs) };
        on_end(greenlet.cast(), result)
    }
}

/// Runs a spawned function whose result nobody wants.
///
/// # Safety
/// As the `Runner` of a greenlet.
pub unsafe fn run_plain(
    _: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with.
    unsafe { if args.is_null() { args } else { frame::call(function, args, kwargs) } }
}

/// Runs the `main` of a green thread that was not made by `spawn`, which tells of the end by itself.
///
/// # Safety
/// As the `Runner` of a greenlet.
pub unsafe fn run_main(
    greenlet: *mut PyGreenlet,
    main: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with, of a green thread.
    unsafe { if args.is_null() { on_end(greenlet.cast(), args) } else { ffi::PyObject_Call(main, args, kwargs) } }
}

/// A function has ended with this result, or with the pending exception if it is null. Returns what the greenlet ends
/// with.
///
/// # Safety
/// A live green thread and an owned result; the interpreter's lock is held.
pub unsafe fn on_end(this: *mut PyObject, result: *mut PyObject) -> *mut PyObject {
    // SAFETY: a live green thread; the result is owned.
    unsafe {
        if end(this).done.get() {
            // Killed before it began.
            return result;
        }
        if result.is_null() {
            let pending = finish_with_exception(this);
            pending.put_back();
            return result;
        }
        finish(this, Owned::new(result).ok());
        Owned::none(assumed()).into_raw()
    }
}

/// The function raised the pending exception. It stays with the caller.
///
/// # Safety
/// A live green thread, an exception is pending; the interpreter's lock is held.
pub unsafe fn finish_with_exception(this: *mut PyObject) -> Pending {
    // SAFETY: the caller's word.
    unsafe {
        if let Ok(info) = exception_info(assumed()) {
            let item = |index| Owned::borrow(ffi::PyTuple_GET_ITEM(info.as_ptr(), index));
            let (exception, traceback) = (item(1), item(2));
            end(this).exception.set(Some(exception.clone()));
            end(this).traceback.set((!traceback.is_none()).then_some(traceback.clone()));
            finish(this, None);
            restore(&exception, (!traceback.is_none()).then_some(traceback));
        }
        Pending::take(assumed())
    }
}

/// # Safety
/// A live green thread; the interpreter's lock is held.
pub unsafe fn finish(this: *mut PyObject, value: Option<Owned>) {
    // SAFETY: the caller's word.
    unsafe {
        let end = end(this);
        end.value.set(value);
        end.done.set(true);
        for place in end.waiters.take_all() {
            place.wake(end.outcome());
        }
        pool::leave(this.cast());
        resolve_links(this);
    }
}

/// Tells the links. One that raises is reported, and the others are told all the same.
///
/// # Safety
/// A live green thread; the interpreter's lock is held.
pub unsafe fn resolve_links(this: *mut PyObject) {
    // SAFETY: the caller's word; a link is taken off the list before it is called.
    unsafe {
        let end = end(this);
        if end.resolving.replace(true) {
            return;
        }
        loop {
            let next = end.links.borrow_mut().pop_front();
            let Some(link) = next else { break };
            if call_link(this, &link).is_err() {
                let hub = here(assumed()).and_then(|thread| hub_object(thread));
                match hub {
                    Ok(hub) => squelch(hub),
                    Err(Raised) => ffi::PyErr_WriteUnraisable(this),
                }
            }
        }
        end.resolving.set(false);
    }
}

pub unsafe fn call_link(this: *mut PyObject, link: &Link) -> Result<Owned> {
    // SAFETY: live objects, with the lock held.
    unsafe {
        let kwargs = link.kwargs.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
        let head = Owned::new(ffi::PyTuple_Pack(1, this))?;
        let args = Owned::new(ffi::PySequence_Concat(head.as_ptr(), link.args.as_ptr()))?;
        Owned::new(frame::call(link.function.as_ptr(), args.as_ptr(), kwargs))
    }
}
