//! Waiting for the first of several things: queues, events, time.
//!
//! ```
//! use greenloom::{queue::Queue, select::Select, sync::Event};
//! use std::time::Duration;
//!
//! #[derive(Debug, PartialEq)]
//! enum Next { Job(u32), Stop, Idle }
//!
//! let (jobs, stop) = (Queue::unbounded(), Event::<()>::new());
//! let next = || {
//!     Select::new()
//!         .event(&stop, |_| Next::Stop)
//!         .get(&jobs, |job| job.map_or(Next::Stop, Next::Job))
//!         .timeout(Duration::from_millis(5), || Next::Idle)
//!         .wait()
//! };
//! jobs.put(7)?;
//! assert_eq!(next(), Next::Job(7));
//! assert_eq!(next(), Next::Idle);
//! # Ok::<(), greenloom::queue::PutError<u32>>(())
//! ```

use std::fmt;
use std::time::Duration;

use crate::park::{Waker, prepare};
use crate::queue::{Order, QueueOf, Reason, Registered};
use crate::sync::{Event, EventError};
use crate::wait_list::{Claim, WaiterKey, deadline};

/// A choice between several things to wait for; see the [module](self). Built anew for each wait.
///
/// What is there already is taken in the order in which the arms were added; else the first that comes is. An item is taken
/// from one queue only, and a select that is killed or times out gives an item that was handed to it back.
#[must_use = "a select does nothing until it waits"]
pub struct Select<'a, R> {
    arms: Vec<Box<dyn Arm<R> + 'a>>,
    timeout: Option<(Duration, Box<dyn FnOnce() -> R + 'a>)>,
}

/// One of the things that are waited for.
trait Arm<R> {
    /// Takes what is there, or queues for it.
    fn register(&mut self, waker: Waker, claim: &Claim) -> Outcome<R>;

    /// Leaves the line; what was granted, if something was.
    fn leave(&mut self) -> Option<R>;

    /// Leaves the line and gives back what was granted.
    fn give_back(&mut self);
}

enum Outcome<R> {
    Done(R),
    Waits,
    /// Another arm has been granted something.
    Claimed,
}

struct Get<'a, O: Order, F> {
    queue: &'a QueueOf<O>,
    then: Option<F>,
    key: Option<WaiterKey>,
}

impl<R, O: Order, F: FnOnce(Result<O::Item, Reason>) -> R> Get<'_, O, F> {
    fn done(&mut self, item: Result<O::Item, Reason>) -> R {
        let then = self.then.take().expect("an arm is done once");
        then(item)
    }
}

impl<R, O: Order, F: FnOnce(Result<O::Item, Reason>) -> R> Arm<R> for Get<'_, O, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Outcome<R> {
        match self.queue.register(waker, claim) {
            Registered::Now(item) => Outcome::Done(self.done(item)),
            Registered::Claimed => Outcome::Claimed,
            Registered::Waits(key) => {
                self.key = Some(key);
                Outcome::Waits
            }
        }
    }

    fn leave(&mut self) -> Option<R> {
        let item = self.queue.leave(self.key.take()?)?;
        Some(self.done(item))
    }

    fn give_back(&mut self) {
        if let Some(key) = self.key.take() {
            self.queue.give_back(key);
        }
    }
}

struct OnEvent<'a, T, F> {
    event: &'a Event<T>,
    then: Option<F>,
    key: Option<WaiterKey>,
}

impl<R, T: Clone, F: FnOnce(Result<T, EventError>) -> R> OnEvent<'_, T, F> {
    fn done(&mut self) -> Option<R> {
        let outcome = self.event.poll()?;
        let then = self.then.take().expect("an arm is done once");
        Some(then(outcome))
    }
}

impl<R, T: Clone, F: FnOnce(Result<T, EventError>) -> R> Arm<R> for OnEvent<'_, T, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Outcome<R> {
        loop {
            self.key = self.event.register(waker, claim);
            if self.key.is_some() {
                return Outcome::Waits;
            }
            if !claim.take() {
                return Outcome::Claimed;
            }
            if let Some(outcome) = self.done() {
                return Outcome::Done(outcome);
            }
            // It was reset in between, by another OS thread. The claim stays taken, so only this arm is left; it polls.
            std::thread::yield_now();
        }
    }

    fn leave(&mut self) -> Option<R> {
        if self.event.leave(self.key.take()?) { self.done() } else { None }
    }

    fn give_back(&mut self) {
        if let Some(key) = self.key.take() {
            self.event.leave(key);
        }
    }
}

impl<'a, R> Select<'a, R> {
    /// A choice between nothing.
    pub fn new() -> Select<'a, R> {
        Select { arms: Vec::new(), timeout: None }
    }

    /// Takes an item from a queue, or learns that it is closed, and makes a result of it.
    pub fn get<O: Order>(
        mut self,
        queue: &'a QueueOf<O>,
        then: impl FnOnce(Result<O::Item, Reason>) -> R + 'a,
    ) -> Select<'a, R> {
        self.arms.push(Box::new(Get { queue, then: Some(then), key: None }));
        self
    }

    /// Receives what is sent to an event and makes a result of it.
    pub fn event<T: Clone>(
        mut self,
        event: &'a Event<T>,
        then: impl FnOnce(Result<T, EventError>) -> R + 'a,
    ) -> Select<'a, R> {
        self.arms.push(Box::new(OnEvent { event, then: Some(then), key: None }));
        self
    }

    /// Makes a result if nothing else comes within `timeout`. The last one that is set counts.
    pub fn timeout(mut self, timeout: Duration, then: impl FnOnce() -> R + 'a) -> Select<'a, R> {
        self.timeout = Some((timeout, Box::new(then)));
        self
    }

    /// Parks until the first of them comes and returns its result.
    ///
    /// # Panics
    /// Where waiting is not possible: in a function that the hub calls, and while a panic unwinds.
    pub fn wait(mut self) -> R {
        loop {
            match self.try_wait() {
                Ok(Some(result)) => return result,
                // An event was sent and reset before we could look: to wait again is all that is left.
                Ok(None) => {}
                Err(then) => return then(),
            }
        }
    }

    fn try_wait(&mut self) -> Result<Option<R>, Box<dyn FnOnce() -> R + 'a>> {
        let claim = Claim::default();
        let ticket = prepare().unwrap_or_else(|refused| refused.raise());
        let waker = ticket.waker();
        let until = self.timeout.as_ref().and_then(|(timeout, _)| deadline(*timeout));
        let registered = GiveBack(&mut self.arms);
        let mut must_wait = true;
        for arm in registered.0.iter_mut() {
            match arm.register(waker, &claim) {
                Outcome::Waits => {}
                Outcome::Claimed => {
                    must_wait = false;
                    break;
                }
                Outcome::Done(result) => return Ok(Some(result)),
            }
        }
        if must_wait {
            ticket.park("select", until);
        }
        let result = registered.0.iter_mut().find_map(|arm| arm.leave());
        drop(registered);
        match (result, self.timeout.take()) {
            (Some(result), _) => Ok(Some(result)),
            (None, Some((timeout, then))) if claim.take() => {
                let _ = timeout;
                Err(then)
            }
            (None, timeout) => {
                self.timeout = timeout;
                Ok(None)
            }
        }
    }
}

/// Leaves all lines. Those that were left already are left alone.
struct GiveBack<'s, 'a, R>(&'s mut Vec<Box<dyn Arm<R> + 'a>>);

impl<R> Drop for GiveBack<'_, '_, R> {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|arm| arm.give_back());
    }
}

impl<R> Default for Select<'_, R> {
    fn default() -> Self {
        Select::new()
    }
}

impl<R> fmt::Debug for Select<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("arms", &self.arms.len()).finish_non_exhaustive()
    }
}
