//! A walk over the active greenlets of all threads, in steps: between two of them other threads may have the
//! interpreter's lock, and greenlets may begin and end.
//!
//! A step leaves in the thread's record where the next one goes on; a greenlet that ends moves that on to its
//! neighbour. Greenlets that begin meanwhile come before it in the list, and are not met.

use std::ptr;
use std::sync::Arc;

use super::body::{PyGreenlet, State, body, running_interpreter};
use super::handle::Handle;
use super::thread::{Here, Thread, find_thread};
use crate::py::ffi;
use crate::py::{Gil, Owned, Result};
use crate::tstate;

/// How many greenlets are met between two questions whether it is enough.
const BETWEEN_QUESTIONS: usize = 32;

/// A walk. There is one at a time that takes more than one step.
pub struct Walk {
    /// The threads that are done with, and the one that is not.
    done: Vec<Arc<Handle>>,
    present: Option<Arc<Handle>>,
}

impl Walk {
    /// Before the first step.
    pub const fn new() -> Walk {
        Walk { done: Vec::new(), present: None }
    }

    /// Meets greenlets until it is `enough`; of a thread first the main one, then the newest. Returns whether there may
    /// be more. `meet` must run no Python code that could end a greenlet.
    pub fn step(
        &mut self,
        gil: Gil<'_>,
        mut enough: impl FnMut() -> bool,
        mut meet: impl FnMut(&Thread, *mut PyGreenlet),
    ) -> bool {
        let interpreter = running_interpreter(gil);
        loop {
            let present = self.present.take();
            let goes_on = |thread: &Thread| match &present {
                Some(handle) => Arc::ptr_eq(handle, &thread.handle),
                None => !self.done.iter().any(|handle| Arc::ptr_eq(handle, &thread.handle)),
            };
            let found = find_thread(gil, |thread| goes_on(thread).then(|| ptr::from_ref(thread)));
            // SAFETY: the record lives at least until the lock is let go of, which no code here does.
            let Some(thread) = found.map(|thread| unsafe { &*thread }) else {
                match present {
                    // It has ended meanwhile.
                    Some(ended) => self.done.push(ended),
                    None => return false,
                }
                continue;
            };
            let mut next = if present.is_some() {
                thread.walk.replace(ptr::null_mut())
            } else {
                meet(thread, thread.main);
                thread.active.get()
            };
            let mut met = 0;
            while !next.is_null() {
                if met == BETWEEN_QUESTIONS {
                    if enough() {
                        thread.walk.set(next);
                        self.present = Some(Arc::clone(&thread.handle));
                        return true;
                    }
                    met = 0;
                }
                met += 1;
                // SAFETY: listed greenlets are alive; one that is being deallocated has no references left.
                unsafe {
                    let [_, after] = body(next).links.get();
                    if ffi::Py_REFCNT(next.cast()) > 0 && body(next).interpreter == interpreter {
                        meet(thread, next);
                    }
                    next = after;
                }
            }
            self.done.push(Arc::clone(&thread.handle));
        }
    }
}

/// New references to all active greenlets of the process, thread by thread, main greenlets first.
pub fn active_greenlets(gil: Gil<'_>) -> Vec<*mut PyGreenlet> {
    let mut found = Vec::new();
    // SAFETY: a walk meets live greenlets.
    Walk::new().step(gil, || false, |_, greenlet| found.push(unsafe { ffi::incref(greenlet) }));
    found
}

/// In the child of a fork: the running greenlet is the only one that goes on.
pub fn leave_others_behind(thread: Here<'_>) {
    let running = thread.current();
    let leave_behind = |_: &Thread, greenlet: *mut PyGreenlet| {
        if greenlet != running {
            // SAFETY: a walk meets live greenlets.
            unsafe { body(greenlet) }.leave_behind();
        }
    };
    Walk::new().step(thread.gil(), || false, leave_behind);
}

/// The active greenlet at an address, if there is one, with its thread's number and what `look` says of both.
pub fn find<T>(gil: Gil<'_>, address: usize, look: impl Fn(&Thread, *mut PyGreenlet) -> T) -> Option<(u64, Owned, T)> {
    let mut found = None;
    Walk::new().step(
        gil,
        || false,
        |thread, greenlet| {
            if greenlet as usize == address {
                // SAFETY: a live greenlet.
                found = Some((thread.number, unsafe { Owned::borrow(greenlet) }, look(thread, greenlet)));
            }
        },
    );
    found
}

/// Adds what tells where a suspended greenlet is from where others are: a number a frame, from the innermost. Nothing
/// of a greenlet that is not suspended.
///
/// # Safety
/// A live greenlet.
pub unsafe fn places(_: Gil<'_>, greenlet: *mut PyGreenlet, places: &mut Vec<usize>, most: usize) {
    // SAFETY: a live greenlet; what is active and not current is suspended, and its frames are intact.
    unsafe {
        let body = body(greenlet);
        if body.state.get() == State::Active && !body.is_current(greenlet) {
            (*body.saved.get()).add_places(places, most);
        }
    }
}

/// The innermost frame of a suspended greenlet.
///
/// # Errors
/// `Raised`, without an exception, where there is none.
///
/// # Safety
/// A live greenlet.
pub unsafe fn suspended_frame(_: Gil<'_>, greenlet: *mut PyGreenlet) -> Result<Owned> {
    // SAFETY: a live greenlet; what is active and not current is suspended.
    unsafe {
        let body = body(greenlet);
        let is_suspended = body.state.get() == State::Active && !body.is_current(greenlet);
        Owned::new(if is_suspended { tstate::frame_of(&*body.saved.get()) } else { ptr::null_mut() })
    }
}

/// The function that an active greenlet runs, if that is known.
///
/// # Safety
/// A live greenlet.
pub unsafe fn function_of(_: Gil<'_>, greenlet: *mut PyGreenlet) -> Option<Owned> {
    // SAFETY: a live greenlet, which keeps its function.
    unsafe {
        let [called, ..] = body(greenlet).call.get();
        let found = [called, body(greenlet).run.get()].into_iter().find(|function| !function.is_null());
        found.map(|function| Owned::borrow(function))
    }
}
