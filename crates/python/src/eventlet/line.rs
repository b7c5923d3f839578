//! A line of greenlets that wait for something to take: an item, a free place, a unit of a semaphore.
//!
//! Nothing is handed to who waits. It is *called* when there is something, goes on when its turn comes, and takes it
//! then. Somebody else may have been faster; it then goes back to its old place. So what is there is never in the hands
//! of a greenlet that is killed before it runs, and whoever leaves the line after a call only has to see to it that the
//! next one is called.
//!
//! The owner keeps this: as many are called as there are things to take, or else all.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::ticket::{Outcome, Ticket};
use crate::greenlet::body;
use crate::py::Owned;

/// The line. Each greenlet in it may bring something, of type `T`.
pub struct Line<T = ()>(RefCell<Places<T>>);

struct Places<T> {
    /// Those who were not called, in the order of their numbers.
    waiting: VecDeque<Place<T>>,
    /// Those who were called and did not run yet, in the same order.
    called: VecDeque<Place<T>>,
    next: u64,
}

/// A place in the line.
pub struct Place<T> {
    number: u64,
    ticket: Ticket,
    /// What the greenlet brings.
    pub brings: T,
}

impl<T> Place<T> {
    /// Wakes the greenlet, from any OS thread.
    pub fn wake(self, outcome: Outcome) -> bool {
        self.ticket.wake(outcome)
    }

    /// The ticket of the greenlet's park.
    pub fn into_ticket(self) -> Ticket {
        self.ticket
    }
}

/// How somebody who leaves the line stood in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stood {
    /// It was not called.
    Waiting,
    /// It was called.
    Called,
    /// Its place was taken out of the line by somebody else.
    Gone,
}

impl<T> Line<T> {
    /// An empty line.
    pub const fn new() -> Line<T> {
        Line(RefCell::new(Places { waiting: VecDeque::new(), called: VecDeque::new(), next: 0 }))
    }

    /// Adds a place at the end, and returns its number. The ticket is for the next park.
    pub fn join(&self, ticket: Ticket, brings: T) -> u64 {
        let places = &mut *self.0.borrow_mut();
        let number = places.next;
        places.next += 1;
        places.waiting.push_back(Place { number, ticket, brings });
        number
    }

    /// Goes back to the place of this number, which was left.
    pub fn rejoin(&self, number: u64, ticket: Ticket, brings: T) {
        insert(&mut self.0.borrow_mut().waiting, Place { number, ticket, brings });
    }

    /// Leaves the line.
    pub fn leave(&self, number: u64) -> Stood {
        // Letting go of the place may run code, so that is done last.
        let (place, stood) = {
            let places = &mut *self.0.borrow_mut();
            match remove(&mut places.called, number) {
                Some(place) => (Some(place), Stood::Called),
                None => match remove(&mut places.waiting, number) {
                    Some(place) => (Some(place), Stood::Waiting),
                    None => (None, Stood::Gone),
                },
            }
        };
        drop(place);
        stood
    }

    /// Calls the first who was not called. Returns whether there was one.
    pub fn call(&self) -> bool
    where
        T: Clone,
    {
        while let Some((number, ticket)) = self.mark_called() {
            if ticket.wake(Outcome::none()) {
                return true;
            }
            // It went on without leaving: its OS thread has ended.
            self.leave(number);
        }
        false
    }

    /// As [`call`](Self::call), but the caller wakes it with the ticket.
    pub fn call_by_ticket(&self) -> Option<Ticket> {
        while let Some((number, ticket)) = self.mark_called() {
            if ticket.is_valid() {
                return Some(ticket);
            }
            self.leave(number);
        }
        None
    }

    fn mark_called(&self) -> Option<(u64, Ticket)> {
        let places = &mut *self.0.borrow_mut();
        let place = places.waiting.pop_front()?;
        let found = (place.number, place.ticket.clone());
        insert(&mut places.called, place);
        Some(found)
    }

    /// Takes the first place out of the line, and tells how it stood.
    pub fn take_first(&self) -> Option<(Place<T>, Stood)> {
        let places = &mut *self.0.borrow_mut();
        let called_first = match (places.called.front(), places.waiting.front()) {
            (Some(called), Some(waiting)) => called.number < waiting.number,
            (called, _) => called.is_some(),
        };
        if called_first {
            places.called.pop_front().map(|place| (place, Stood::Called))
        } else {
            places.waiting.pop_front().map(|place| (place, Stood::Waiting))
        }
    }

    /// Takes all places out.
    pub fn take_all(&self) -> impl Iterator<Item = Place<T>> + use<T> {
        let places = &mut *self.0.borrow_mut();
        std::mem::take(&mut places.called).into_iter().chain(std::mem::take(&mut places.waiting))
    }

    /// How many are in the line.
    #[inline]
    pub fn len(&self) -> usize {
        let places = self.0.borrow();
        places.waiting.len() + places.called.len()
    }

    /// Whether nobody is in the line.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were called and did not run yet.
    #[inline]
    pub fn called(&self) -> usize {
        self.0.borrow().called.len()
    }

    /// Whether there is somebody to call.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        !self.0.borrow().waiting.is_empty()
    }

    /// Forgets who was called and cannot come, as its OS thread has ended since.
    #[inline]
    pub fn forget_dead(&self) {
        // Those who live leave soon, so that the others come to the front.
        // SAFETY: tickets keep their greenlets.
        let is_dead = |place: &Place<T>| unsafe { body(place.ticket.greenlet()).is_thread_dead() };
        while self.0.borrow().called.front().is_some_and(is_dead) {
            let place = self.0.borrow_mut().called.pop_front();
            drop(place);
        }
    }

    /// The tickets of those who bring something of which `wanted` is true.
    pub fn tickets(&self, wanted: impl Fn(&T) -> bool) -> Vec<Ticket> {
        let places = self.0.borrow();
        let all = places.called.iter().chain(&places.waiting);
        all.filter(|place| wanted(&place.brings)).map(|place| place.ticket.clone()).collect()
    }

    /// The greenlets.
    pub fn greenlets(&self) -> Vec<Owned> {
        // SAFETY: tickets keep their greenlets.
        self.tickets(|_| true).iter().map(|ticket| unsafe { Owned::borrow(ticket.greenlet()) }).collect()
    }
}

/// Puts a place where its number belongs, which is the end but for one that comes back.
fn insert<T>(places: &mut VecDeque<Place<T>>, place: Place<T>) {
    if places.back().is_none_or(|last| last.number < place.number) {
        places.push_back(place);
        return;
    }
    let index = places.partition_point(|other| other.number < place.number);
    places.insert(index, place);
}

fn remove<T>(places: &mut VecDeque<Place<T>>, number: u64) -> Option<Place<T>> {
    if places.front()?.number == number {
        return places.pop_front();
    }
    let index = places.partition_point(|other| other.number < number);
    if places.get(index)?.number == number { places.remove(index) } else { None }
}
