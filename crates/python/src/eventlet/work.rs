//! What the hub has to do: pieces of ready work, and what timers and file descriptors wait with.

use std::os::fd::RawFd;
use std::ptr;

use greenloom_hub::Direction;

use super::ticket::{Outcome, Ticket};
use crate::greenlet::handover::Handover;
use crate::greenlet::switch;
use crate::greenlet::{PyGreenlet, State, body};
use crate::py::ffi::PyObject;
use crate::py::{Owned, assumed};

/// One piece of work.
pub enum Work {
    /// A parked greenlet goes on, unless it has gone on meanwhile.
    Wake(Ticket, Outcome),
    /// A greenlet begins with these arguments, unless it has begun or ended meanwhile.
    Start {
        /// The greenlet.
        greenlet: Owned,
        /// A tuple.
        args: Owned,
        /// A dict.
        kwargs: Option<Owned>,
    },
    /// A timer's function is called in the hub's greenlet.
    Timer(Owned),
    /// The listeners of a file descriptor are told, in the hub's greenlet.
    Listener(RawFd, Direction),
}

impl Work {
    /// Whether it is a switch and nothing else, so that whoever parks can make it in the hub's place.
    pub fn is_switch(&self) -> bool {
        matches!(self, Work::Wake(..) | Work::Start { .. })
    }

    /// Whether there is nothing left to do.
    pub fn is_stale(&self) -> bool {
        match self {
            Work::Wake(ticket, _) => !ticket.is_valid(),
            // SAFETY: a greenlet, kept by the work.
            Work::Start { greenlet, .. } => unsafe {
                body(greenlet.as_ptr().cast::<PyGreenlet>()).state.get() != State::Pending
            },
            Work::Timer(_) | Work::Listener(..) => false,
        }
    }
}

/// As [`begin`], for who cannot do what is to be done if there is no stack for the greenlet: gives the work back then.
///
/// # Safety
/// As [`begin`].
#[inline]
pub unsafe fn try_begin(greenlet: Owned, args: Owned, kwargs: Option<Owned>) -> Result<*mut PyObject, Work> {
    let greenlet = greenlet.into_raw();
    let (args, kwargs) = (args.into_raw(), kwargs.map_or(ptr::null_mut(), Owned::into_raw));
    let mut handover = Handover::Call { args, kwargs };
    // SAFETY: the references are handed over, and taken back if nothing has happened.
    unsafe {
        let take = |object| Owned::new(object).expect("it came from a reference");
        switch::try_begin_owned(assumed(), greenlet.cast(), &mut handover).ok_or_else(|| Work::Start {
            greenlet: take(greenlet),
            args: take(args),
            kwargs: Owned::new(kwargs).ok(),
        })
    }
}

/// Switches to a greenlet that begins. If there is no stack for it, it ends with that error, here.
///
/// # Safety
/// Live objects; the interpreter's lock is held, in the thread whose record exists.
pub unsafe fn begin(greenlet: Owned, args: Owned, kwargs: Option<Owned>) -> *mut PyObject {
    let kwargs = kwargs.map_or(ptr::null_mut(), Owned::into_raw);
    // SAFETY: the references are handed over.
    unsafe {
        switch::switch_owned(assumed(), greenlet.into_raw().cast(), Handover::Call { args: args.into_raw(), kwargs })
    }
}
