//! Confirms: the broker's word for each message that was published.

use std::collections::VecDeque;
use std::fmt;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::{Event, EventError};

use super::error::Error;
use crate::reason::Awaited;

/// The broker's word for a message.
#[derive(Debug)]
#[must_use = "only `wait` tells whether the message has arrived"]
pub struct Confirm {
    /// `None` on a channel without confirms.
    waiting: Option<Rc<Waiting>>,
}

impl Confirm {
    /// Of a message on a channel without confirms.
    pub(super) fn none() -> Confirm {
        Confirm { waiting: None }
    }

    /// Parks until the broker has the message: in its queues, and on disk if it is persistent and the queue is durable.
    /// Without [`Channel::confirm_select`](super::Channel::confirm_select) it returns at once.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a mandatory message, [`Error::Nacked`], [`Error::TimedOut`]; those of the channel if
    /// it ended before: then nobody knows whether the message arrived.
    pub fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        match waiting.outcome.wait_timeout(timeout) {
            Ok(outcome) => outcome,
            Err(EventError::TimedOut) => Err(Error::TimedOut(Awaited::Confirm)),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    }
}

/// By what a message that comes back is known: a hash of its exchange, its routing key and its id.
pub(super) type Mark = u64;

/// The mark of a message.
pub(super) fn mark(exchange: &str, routing_key: &str, id: Option<&str>) -> Mark {
    foldhash::fast::FixedState::default().hash_one((exchange, routing_key, id))
}

struct Waiting {
    /// Of a mandatory message.
    mark: Option<Mark>,
    outcome: Event<Result<(), Error>>,
}

impl Waiting {
    fn settle(&self, outcome: Result<(), Error>) {
        // It is settled once: whoever does it has taken it out of the list.
        let _ = self.outcome.send(outcome);
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Messages without a confirm, in the order of their numbers.
#[derive(Default)]
pub(super) struct Confirms {
    /// Whether the broker confirms at all.
    pub on: bool,
    /// How many were taken off the front.
    before: u64,
    waiting: VecDeque<Option<Rc<Waiting>>>,
    /// Messages that the broker has sent back and not yet confirmed, by their marks, which need not be theirs alone.
    returned: Vec<(Mark, Error)>,
}

impl Confirms {
    /// The number of the next message. The broker counts from 1.
    pub fn next(&self) -> u64 {
        self.before + self.waiting.len() as u64 + 1
    }

    /// Notes that the next message was published; `mark` is by what it is known if it comes back.
    pub fn published(&mut self, mark: Option<Mark>) -> Confirm {
        let waiting = Rc::new(Waiting { mark, outcome: Event::new() });
        self.waiting.push_back(Some(Rc::clone(&waiting)));
        Confirm { waiting: Some(waiting) }
    }

    /// The channel has ended, and nobody knows what became of those that wait.
    pub fn end(&mut self, error: &Error) {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().flatten().for_each(|waiting| waiting.settle(Err(error.clone())));
    }

    /// Takes out the message `number`, or all up to it.
    pub fn settle(&mut self, number: u64, multiple: bool, outcome: &Result<(), Error>) {
        // 0 with `multiple` means all.
        let newest = self.next() - 1;
        let last = if multiple && number == 0 { newest } else { number.min(newest) };
        let first = if multiple { self.before + 1 } else { number };
        let mut numbers = first.max(self.before + 1)..=last;
        // Of several with one mark, the one that the confirm names was the last to be looked at by the broker.
        let mut next = |from_behind| if from_behind { numbers.next_back() } else { numbers.next() };
        while let Some(number) = next(!self.returned.is_empty()) {
            let index = (number - self.before - 1) as usize;
            let Some(waiting) = self.waiting.get_mut(index).and_then(Option::take) else { continue };
            let returned = self.returned.iter().position(|(mark, _)| waiting.mark == Some(*mark));
            let returned = returned.map(|at| Err(self.returned.remove(at).1));
            waiting.settle(returned.unwrap_or_else(|| outcome.clone()));
        }
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.before += 1;
        }
    }

    /// The broker sends a message back. Its confirm is still to come, and tells which one it was.
    pub fn returned(&mut self, mark: Mark, error: Error) {
        if self.waiting.iter().flatten().any(|waiting| waiting.mark == Some(mark)) {
            self.returned.push((mark, error));
        }
    }
}
