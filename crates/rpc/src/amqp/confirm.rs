//! Confirms: the broker's word for each message that was published.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::{Event, EventError};

use super::error::Error;

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

    /// Parks until the broker has the message: in its queues, and on disk if it is persistent and the queue is durable. Without
    /// [`Channel::confirm_select`](super::Channel::confirm_select) it returns at once.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a mandatory message, [`Error::Nacked`], [`Error::TimedOut`]; those of the channel if it ended
    /// before: then nobody knows whether the message arrived.
    pub fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        match waiting.outcome.wait_timeout(timeout) {
            Ok(outcome) => outcome,
            Err(EventError::TimedOut) => Err(Error::TimedOut("the broker to confirm a message")),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    }
}

struct Waiting {
    /// Of a mandatory message.
    id: Option<String>,
    /// The broker has sent it back; its confirm is still to come.
    returned: RefCell<Option<Error>>,
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
}

impl Confirms {
    /// The number of the next message. The broker counts from 1.
    pub fn next(&self) -> u64 {
        self.before + self.waiting.len() as u64 + 1
    }

    /// Notes that the next message was published; `id` is by what it is known if it comes back.
    pub fn published(&mut self, id: Option<String>) -> Confirm {
        let waiting = Rc::new(Waiting { id, returned: RefCell::default(), outcome: Event::new() });
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
        // RabbitMQ's 0 with `multiple` means all.
        let newest = self.next() - 1;
        let last = if number == 0 { newest } else { number.min(newest) };
        let first = if multiple { self.before + 1 } else { number };
        for number in first.max(self.before + 1)..=last {
            let index = (number - self.before - 1) as usize;
            let Some(waiting) = self.waiting.get_mut(index).and_then(Option::take) else { continue };
            let returned = waiting.returned.take();
            waiting.settle(returned.map_or_else(|| outcome.clone(), Err));
        }
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.before += 1;
        }
    }

    /// The broker sends a message back. Its confirm comes later.
    pub fn returned(&self, id: &str, error: Error) {
        let mut mandatory = self.waiting.iter().flatten();
        if let Some(waiting) = mandatory.find(|waiting| waiting.id.as_deref() == Some(id)) {
            *waiting.returned.borrow_mut() = Some(error);
        }
    }
}
