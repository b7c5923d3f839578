//! One call, in as many parts as it takes: its limit, and its tries and waits in between.

use std::cell::Cell;

use greenloom_hub::attempt::Endpoint;
use greenloom_hub::{Direction, Time};

use super::Socket;
use super::wait::{Failure, deadline_after, seconds_or_none};
use crate::eventlet::hub_ref;
use crate::eventlet::source::{LastTry, Ready};
use crate::greenlet::Here;
use crate::py::object::Object;
use crate::py::{Result, This};

/// What one call transfers, at once or in parts.
#[derive(Default)]
pub struct Whole {
    /// A part was transferred.
    pub has_begun: Cell<bool>,
    /// When it gives up, once it has waited.
    pub deadline: Cell<Option<Option<Time>>>,
}

impl Whole {
    /// Of which something was transferred, and for which that many seconds are left; None for no limit.
    pub fn rest(left: Object<'_>) -> Result<Whole> {
        let deadline = deadline_after(seconds_or_none(Some(left))?);
        Ok(Whole { has_begun: Cell::new(true), deadline: Cell::new(Some(deadline)) })
    }

    /// One limit for all parts, as the system has it; but a Unix socket's begins anew with each part that is sent.
    fn deadline(&self, socket: &Socket, direction: Direction) -> Option<Time> {
        if direction == Direction::Write && socket.is_unix() {
            return socket.deadline(direction);
        }
        let deadline = self.deadline.get().unwrap_or_else(|| socket.deadline(direction));
        self.deadline.set(Some(deadline));
        deadline
    }
}

/// One direction of a socket, in which an operation is attempted.
pub struct Side<'a> {
    pub this: This<'a, Socket>,
    pub thread: Here<'a>,
    pub direction: Direction,
    /// Parks; otherwise it raises what says that it would block.
    pub waits: bool,
    pub whole: &'a Whole,
    /// The next try is made whatever is known.
    pub tries: Cell<bool>,
    /// It is the one at the end of the system's limit.
    pub is_last: Cell<bool>,
    pub last_try: Cell<LastTry>,
}

impl Endpoint for Side<'_> {
    type Error = Failure;

    #[inline]
    fn is_ready(&self) -> std::result::Result<bool, Failure> {
        let (this, thread) = (self.this, self.thread);
        let knows = |hub| this.source.is_ready(thread, hub, self.direction);
        Ok(self.tries.replace(false) || hub_ref::native(&thread).is_none_or(knows))
    }

    #[inline]
    fn would_block(&self) {
        self.last_try.set(LastTry::WouldBlock);
    }

    fn deadline(&self) -> Option<Time> {
        self.whole.deadline(&self.this, self.direction)
    }

    fn wait(&self, deadline: Option<Time>) -> std::result::Result<(), Failure> {
        if !self.waits {
            return Err(Failure::Os(libc::EAGAIN));
        }
        let waited = Socket::wait(self.this, self.thread, self.direction, self.last_try.take(), deadline);
        let is_over = matches!(waited, Err(Failure::Os(libc::EAGAIN)));
        // A Unix socket says that it can be written when most is read. The system finds less room when time is up.
        if is_over && self.direction == Direction::Write && self.this.is_unix() && !self.is_last.replace(true) {
            self.tries.set(true);
            return Ok(());
        }
        if waited? == Ready::Busy {
            self.tries.set(true);
        }
        Ok(())
    }
}
