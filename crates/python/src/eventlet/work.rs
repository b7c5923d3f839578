//! What the hub has to do: pieces of ready work, and what timers and file descriptors wait with.

use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use greenloom_hub::Direction;

use super::ticket::{Outcome, Ticket};
use crate::greenlet::handover::Handover;
use crate::greenlet::recording::{self, Wake};
use crate::greenlet::switch;
use crate::greenlet::{Here, PyGreenlet, State, body};
use crate::py::{self, Owned};

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
    /// Whether it is a switch and nothing else, so that a greenlet that parks can make it in the hub's place.
    pub fn is_switch(&self) -> bool {
        matches!(self, Work::Wake(..) | Work::Start { .. })
    }

    /// Tells the recorder whom this makes ready, and what did it if it was not the running greenlet.
    #[cold]
    pub fn tell_woken(&self, by: Option<Wake>) {
        if let Work::Wake(ticket, _) = self
            && ticket.is_valid()
        {
            // SAFETY: the ticket keeps the greenlet, under the interpreter's lock.
            unsafe { recording::woken(ticket.gil(), ticket.greenlet(), by) };
        }
    }

    /// Tells the recorder that this was a timer's, so late.
    #[cold]
    pub fn tell_fired(&self, lag: Duration) {
        self.tell_woken(Some(Wake::Timer));
        if let Work::Wake(ticket, _) = self {
            // SAFETY: as above.
            unsafe { recording::timer_lag(ticket.gil(), ticket.greenlet(), lag) };
        }
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

/// As [`begin`], for callers that cannot do what is to be done if there is no stack for the greenlet: gives the work
/// back then.
///
/// # Safety
/// As [`begin`].
#[inline]
pub unsafe fn try_begin(
    thread: Here<'_>,
    greenlet: Owned,
    args: Owned,
    kwargs: Option<Owned>,
) -> Result<py::Result<Owned>, Work> {
    let greenlet = greenlet.into_raw();
    let (args, kwargs) = (args.into_raw(), kwargs.map_or(ptr::null_mut(), Owned::into_raw));
    let mut handover = Handover::Call { args, kwargs };
    // SAFETY: a greenlet, a tuple and a dict, whose references are handed over, and taken back if nothing has happened.
    unsafe {
        let take = |object| Owned::new(object).expect("it came from a reference");
        match switch::try_begin_owned(thread, greenlet.cast(), &mut handover) {
            Some(value) => Ok(Owned::new(value)),
            None => Err(Work::Start { greenlet: take(greenlet), args: take(args), kwargs: Owned::new(kwargs).ok() }),
        }
    }
}

/// Switches to a greenlet that begins. If there is no stack for it, it ends with that error, here.
///
/// # Safety
/// A greenlet, a tuple and a dict.
pub unsafe fn begin(thread: Here<'_>, greenlet: Owned, args: Owned, kwargs: Option<Owned>) -> py::Result<Owned> {
    let kwargs = kwargs.map_or(ptr::null_mut(), Owned::into_raw);
    let handover = Handover::Call { args: args.into_raw(), kwargs };
    // SAFETY: a greenlet, a tuple and a dict, whose references are handed over; what comes back is, too.
    unsafe { Owned::new(switch::switch_owned(thread, greenlet.into_raw().cast(), handover)) }
}
