//! What is counted of a socket that takes in.

use std::cell::Cell;
use std::rc::Rc;

use super::wire::Fields;
use crate::metrics::note_consumer;
use crate::stats::ConsumerCounts;
use crate::transport::Address;

/// How many methods are counted one by one.
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
    /// How many requests are worked on, or wait for it in the program.
    pub in_work: Cell<usize>,
}

impl Work {
    pub fn new(from: Vec<Address>, requests: bool) -> Work {
        let topic = from.first().map(Address::to_string).unwrap_or_default();
        let counts = Rc::default();
        note_consumer(&topic, &counts);
        Work { from, topic, requests, counts, in_work: Cell::new(0) }
    }

    /// A message is handed over.
    pub fn handed_over(&self) {
        if self.requests {
            self.in_work.set(self.in_work.get() + 1);
        }
    }

    /// Requests were worked on, as a frame says.
    pub fn done(&self, mut requests: Fields<'_>) {
        while self.one_done(&mut requests).is_some() {}
    }

    fn one_done(&self, of: &mut Fields<'_>) -> Option<()> {
        let (failed, took, method) = (of.byte()?, of.seconds()?.unwrap_or_default(), of.text()?);
        self.in_work.set(self.in_work.get().saturating_sub(1));
        let mut methods = self.counts.methods.borrow_mut();
        let name = match methods.get_key_value(method) {
            Some((name, _)) => *name,
            // For as long as the process lives, as a service in Rust has its names.
            None if methods.len() < METHODS_AT_MOST => String::leak(method.to_owned()),
            None => OTHER,
        };
        let counts = methods.entry(name).or_default();
        counts.latency.add(took);
        counts.failed += u64::from(failed != 0);
        Some(())
    }
}
