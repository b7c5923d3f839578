//! What is counted of a socket that takes in.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;

use super::wire::Fields;
use crate::hash::HashMap;
use crate::metrics::note_consumer;
use crate::stats::ConsumerCounts;
use crate::transport::Address;

/// Of how many requests it is known since when they are worked on, and how many methods are counted one by one.
const WORKED_ON_AT_MOST: usize = 100_000;
const METHODS_AT_MOST: usize = 1_000;
/// The name of the others.
const OTHER: &str = "-";

pub(super) struct Work {
    pub from: Vec<Address>,
    /// The name of the first queue.
    pub topic: String,
    /// Whether these are requests, which are worked on. Of notifications nobody says so.
    pub requests: bool,
    pub counts: Rc<ConsumerCounts>,
    /// The requests that were handed over and not worked on yet, by their numbers, and since when.
    worked_on: RefCell<HashMap<u64, Duration>>,
}

impl Work {
    pub fn new(from: Vec<Address>, requests: bool) -> Work {
        let topic = from.first().map(Address::to_string).unwrap_or_default();
        let counts = Rc::default();
        note_consumer(&topic, &counts);
        Work { from, topic, requests, counts, worked_on: RefCell::default() }
    }

    /// How many requests are worked on, or wait for it in the program.
    pub fn in_work(&self) -> usize {
        self.worked_on.borrow().len()
    }

    /// A message is handed over.
    pub fn handed_over(&self, number: u64) {
        let mut worked_on = self.worked_on.borrow_mut();
        if self.requests && worked_on.len() < WORKED_ON_AT_MOST {
            worked_on.insert(number, now());
        }
    }

    /// A request was worked on, as a frame says.
    pub fn done(&self, number: u64, how: &mut Fields<'_>) {
        let (Some(failed), Some(method)) = (how.byte(), how.rest()) else { return };
        let Some(since) = self.worked_on.borrow_mut().remove(&number) else { return };
        let mut methods = self.counts.methods.borrow_mut();
        let name = match methods.get_key_value(method) {
            Some((name, _)) => *name,
            // For as long as the process lives, as a service in Rust has its names.
            None if methods.len() < METHODS_AT_MOST => String::leak(method.to_owned()),
            None => OTHER,
        };
        let counts = methods.entry(name).or_default();
        counts.latency.add(now() - since);
        counts.failed += u64::from(failed != 0);
    }
}
