//! Work that many want done at the same moment and that is done once: each waits for it as long as its own limit
//! allows, and gets what came of it.
//!
//! It is done in a green thread of its own, so that it does not end with the first caller.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;

use greenloom::sync::Event;
use greenloom::{Builder, SpawnError};

use crate::deadline::Deadline;
use crate::hash::HashMap;

type Outcome<V, E> = Event<Result<V, E>>;

/// What is under way, by key.
pub(crate) struct Flights<K, V, E> {
    under_way: RefCell<HashMap<K, Rc<Outcome<V, E>>>>,
}

/// Why somebody has nothing of the work.
pub(crate) enum Missed<E> {
    /// It failed.
    Failed(E),
    /// It was not done in time.
    TimedOut,
    /// It was not begun.
    NotBegun(SpawnError),
}

impl<K, V, E> Default for Flights<K, V, E> {
    fn default() -> Self {
        Flights { under_way: RefCell::default() }
    }
}

impl<K, V, E> Flights<K, V, E>
where
    K: Clone + Eq + Hash + 'static,
    V: Clone + 'static,
    E: Clone + 'static,
{
    /// Parks until the work is done that is under way for the key, or else this one, at most until `deadline`.
    pub fn join(
        self: &Rc<Self>,
        key: K,
        deadline: Deadline,
        work: impl FnOnce() -> Result<V, E> + 'static,
    ) -> Result<V, Missed<E>> {
        let known = self.under_way.borrow().get(&key).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => self.begin(key, work).map_err(Missed::NotBegun)?,
        };
        match outcome.wait_timeout(deadline.left()) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Missed::Failed(error)),
            Err(_) => Err(Missed::TimedOut),
        }
    }

    fn begin(
        self: &Rc<Self>,
        key: K,
        work: impl FnOnce() -> Result<V, E> + 'static,
    ) -> Result<Rc<Outcome<V, E>>, SpawnError> {
        let outcome = Rc::new(Outcome::new());
        let landing = Landing { flights: Rc::clone(self), key: key.clone(), outcome: Rc::clone(&outcome) };
        // Before it begins, for it may be done at once.
        self.under_way.borrow_mut().insert(key, Rc::clone(&outcome));
        let fly = move || {
            let landing = landing;
            let done = work();
            landing.flights.under_way.borrow_mut().remove(&landing.key);
            let _ = landing.outcome.send(done);
        };
        // One that cannot be started drops the landing, and with it what is known of it.
        Builder::new().name("first use").spawn(fly)?;
        Ok(outcome)
    }
}

/// The end of the work, however it ends.
struct Landing<K: Eq + Hash, V, E> {
    flights: Rc<Flights<K, V, E>>,
    key: K,
    outcome: Rc<Outcome<V, E>>,
}

impl<K: Eq + Hash, V, E> Drop for Landing<K, V, E> {
    fn drop(&mut self) {
        if !self.outcome.ready() {
            self.flights.under_way.borrow_mut().remove(&self.key);
            let _ = self.outcome.send_error("the work was abandoned");
        }
    }
}
