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

use crate::queue::{Order, QueueOf, Reason};
use crate::runtime::line::{Claim, Place, Registered, deadline};
use crate::runtime::park::{Waker, prepare};
use crate::sync::{Event, EventError};

/// A choice between several things to wait for; see the [module](self). Built anew for each wait.
///
/// What is there already is taken in the order in which the arms were added; else the first that comes is. An item is
/// taken from one queue only, and a select that is killed or times out gives an item that was handed to it back.
#[must_use = "a select does nothing until it waits"]
pub struct Select<'a, R> {
    arms: Vec<Box<dyn Arm<R> + 'a>>,
    timeout: Option<(Duration, Box<dyn FnOnce() -> R + 'a>)>,
}

/// One of the things that are waited for. What it gets it keeps until it is concluded, when all lines were left: what
/// is made of it may take its time.
trait Arm<R> {
    /// Takes what is there, or queues for it.
    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()>;

    /// Leaves the line; returns whether something was granted.
    fn leave(&mut self) -> bool;

    /// Leaves the line and gives back what was granted.
    fn give_back(&mut self);

    /// Makes a result of what it got.
    fn conclude(&mut self) -> R;
}

/// What makes a result of what an arm gets.
struct Then<T, F> {
    got: Option<T>,
    then: Option<F>,
    key: Option<Place>,
}

impl<T, R, F: FnOnce(T) -> R> Then<T, F> {
    fn new(then: F) -> Then<T, F> {
        Then { got: None, then: Some(then), key: None }
    }

    fn registered(&mut self, outcome: Registered<T>) -> Registered<()> {
        match outcome {
            Registered::Now(got) => {
                self.got = Some(got);
                Registered::Now(())
            }
            Registered::Waits(key) => {
                self.key = Some(key);
                Registered::Waits(key)
            }
            Registered::Claimed => Registered::Claimed,
        }
    }

    fn conclude(&mut self) -> R {
        let (then, got) = self.then.take().zip(self.got.take()).expect("one arm is concluded, once, with what it got");
        then(got)
    }
}

struct Get<'a, O: Order, F> {
    queue: &'a QueueOf<O>,
    then: Then<Result<O::Item, Reason>, F>,
}

impl<R, O: Order, F: FnOnce(Result<O::Item, Reason>) -> R> Arm<R> for Get<'_, O, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        let outcome = self.queue.register(waker, claim);
        self.then.registered(outcome)
    }

    fn leave(&mut self) -> bool {
        self.then.got = self.then.key.take().and_then(|key| self.queue.leave(key));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(key) = self.then.key.take() {
            self.queue.give_back(key);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}

struct OnEvent<'a, T, F> {
    event: &'a Event<T>,
    then: Then<Result<T, EventError>, F>,
}

impl<R, T: Clone, F: FnOnce(Result<T, EventError>) -> R> Arm<R> for OnEvent<'_, T, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        let outcome = self.event.register(waker, claim);
        self.then.registered(outcome)
    }

    fn leave(&mut self) -> bool {
        self.then.got = self.then.key.take().and_then(|key| self.event.leave(key));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(key) = self.then.key.take() {
            self.event.forget(key);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
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
        self.arms.push(Box::new(Get { queue, then: Then::new(then) }));
        self
    }

    /// Receives what is sent to an event and makes a result of it.
    pub fn event<T: Clone>(
        mut self,
        event: &'a Event<T>,
        then: impl FnOnce(Result<T, EventError>) -> R + 'a,
    ) -> Select<'a, R> {
        self.arms.push(Box::new(OnEvent { event, then: Then::new(then) }));
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
        match self.first() {
            Some(arm) => self.arms[arm].conclude(),
            None => {
                let (_, then) = self.timeout.expect("nothing came, so the time was over");
                then()
            }
        }
    }

    /// Which arm has got something, once one has; `None` when the time was over before that.
    fn first(&mut self) -> Option<usize> {
        let ticket = prepare().unwrap_or_else(|refused| refused.raise());
        let until = self.timeout.as_ref().and_then(|(timeout, _)| deadline(*timeout));
        let claim = Claim::default();
        let registered = GiveBack(&mut self.arms);
        let mut must_wait = true;
        for (number, arm) in registered.0.iter_mut().enumerate() {
            match arm.register(ticket.waker(), &claim) {
                Registered::Now(()) => return Some(number),
                Registered::Waits(_) => {}
                Registered::Claimed => {
                    must_wait = false;
                    break;
                }
            }
        }
        if must_wait {
            ticket.park("select", until);
        }
        registered.0.iter_mut().position(|arm| arm.leave())
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
