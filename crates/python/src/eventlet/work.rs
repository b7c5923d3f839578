//! What the hub has to do: pieces of ready work, and what timers and file descriptors wait with.

use std::os::fd::RawFd;

use ::hub::Direction;

use super::park::{Outcome, Ticket};
use crate::greenlet::{PyGreenlet, State, body};
use crate::py::Owned;

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
