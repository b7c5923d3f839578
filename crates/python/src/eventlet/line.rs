//! A line of greenlets that wait for something to take: an item, a free place, a unit of a semaphore.
//!
//! The line is [`greenloom_hub::line`]'s, and its waiters are *called*: a greenlet is woken when there is something
//! and takes it when it goes on, or rejoins at its old place if somebody else was faster. The owner keeps this: as many
//! are called as there are things to take, or else all.
//!
//! What is Python's stands here: the waker is a [`Ticket`], whose greenlet may be gone with its OS thread; a line is
//! shared under the interpreter's lock; and as letting go of a ticket, or of what a greenlet brought, may run Python
//! code, that is done when the line is whole again.

use std::cell::RefCell;
use std::convert::Infallible;

use greenloom_hub::line;

pub use greenloom_hub::line::Place;

use super::ticket::{Outcome, Ticket};
use crate::greenlet::body;
use crate::py::{Gil, Owned};

/// The line. Each greenlet in it may bring something, of type `T`.
pub struct Line<T = ()>(RefCell<line::Line<Ticket, T, Infallible>>);

/// How a greenlet stood in the line that it left, and what it brought. Nothing is granted in these lines.
pub type Left<T> = line::Left<T, Infallible>;

/// A greenlet that was taken out of its line.
pub struct Waiter<T> {
    ticket: Ticket,
    /// Whether it was called, and so woken, before.
    pub was_called: bool,
    /// What it brings.
    pub brings: T,
}

impl<T> Waiter<T> {
    #[inline]
    fn new((ticket, left): (Ticket, Left<T>)) -> Waiter<T> {
        match left {
            Left::Waiting(brings) => Waiter { ticket, was_called: false, brings },
            Left::Called(brings) => Waiter { ticket, was_called: true, brings },
        }
    }

    /// Wakes the greenlet, from any OS thread.
    #[inline]
    pub fn wake(self, gil: Gil<'_>, outcome: Outcome) -> bool {
        self.ticket.wake(gil, outcome)
    }

    /// The ticket of the greenlet's park.
    pub fn into_ticket(self) -> Ticket {
        self.ticket
    }
}

impl<T> Line<T> {
    /// An empty line.
    pub const fn new() -> Line<T> {
        Line(RefCell::new(line::Line::new()))
    }

    /// Joins at the end. The ticket is for the next park.
    #[inline]
    pub fn join(&self, ticket: Ticket, brings: T) -> Place {
        self.0.borrow_mut().join(ticket, brings)
    }

    /// Joins at a place that was left.
    pub fn rejoin(&self, left: Place, ticket: Ticket, brings: T) -> Place {
        self.0.borrow_mut().rejoin(left, ticket, brings)
    }

    /// Leaves the line. `None` if somebody else has taken the place out of it.
    #[inline]
    pub fn leave(&self, place: Place) -> Option<Left<T>> {
        let (ticket, left) = self.0.borrow_mut().leave(place)?;
        drop(ticket);
        Some(left)
    }

    /// Leaves the line. Returns whether it was called.
    #[inline]
    pub fn leave_called(&self, place: Place) -> bool {
        matches!(self.leave(place), Some(Left::Called(_)))
    }

    /// Calls the first that was not called. Returns whether there was one.
    pub fn call(&self, gil: Gil<'_>) -> bool {
        while let Some((place, ticket)) = self.mark_called() {
            if ticket.wake(gil, Outcome::none(gil)) {
                return true;
            }
            // It went on without leaving: its OS thread has ended.
            self.leave(place);
        }
        false
    }

    /// As [`call`](Self::call), but the caller wakes it with the ticket.
    pub fn call_by_ticket(&self) -> Option<Ticket> {
        while let Some((place, ticket)) = self.mark_called() {
            if ticket.is_valid() {
                return Some(ticket);
            }
            self.leave(place);
        }
        None
    }

    fn mark_called(&self) -> Option<(Place, Ticket)> {
        self.0.borrow_mut().call()
    }

    /// Takes the first out of the line.
    #[inline]
    pub fn take_first(&self) -> Option<Waiter<T>> {
        let first = self.0.borrow_mut().take_first()?;
        Some(Waiter::new(first))
    }

    /// Takes out as many as stand in it now, one after another: while one is woken, code may run that joins or leaves.
    #[inline]
    pub fn take_all(&self) -> impl Iterator<Item = Waiter<T>> {
        (0..self.len()).map_while(|_| self.take_first())
    }

    /// How many are in the line.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Whether nobody is in the line.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// How many were called and did not run yet.
    #[inline]
    pub fn called(&self) -> usize {
        self.0.borrow().called()
    }

    /// Whether there is somebody to call.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        self.0.borrow().has_waiting()
    }

    /// Forgets those that were called and cannot go on, as their OS thread has ended since, or a fork left them behind.
    #[inline]
    pub fn forget_dead(&self) {
        // Those that are alive leave soon, so that the others come to the front.
        // SAFETY: a ticket keeps its greenlet.
        let is_dead = |ticket: &Ticket| unsafe { body(ticket.greenlet()).is_lost() };
        loop {
            let dead = self.0.borrow_mut().take_called_if(is_dead);
            if dead.is_none() {
                return;
            }
        }
    }

    /// The tickets of those that bring something of which `wanted` is true.
    pub fn tickets(&self, wanted: impl Fn(&T) -> bool) -> Vec<Ticket> {
        let line = self.0.borrow();
        line.iter().filter(|(_, brings)| wanted(brings)).map(|(ticket, _)| ticket.clone()).collect()
    }

    /// The greenlets.
    pub fn greenlets(&self) -> Vec<Owned> {
        // SAFETY: a ticket keeps its greenlet.
        self.tickets(|_| true).iter().map(|ticket| unsafe { Owned::borrow(ticket.greenlet()) }).collect()
    }
}
