//! Waiting for the first of several things: queues, channels, events, sockets, signals, the end of a green thread, a
//! cancellation, time.
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

mod arms;

use std::fmt;
use std::io;
use std::time::Duration;

use greenloom_hub::Direction;

use crate::green_thread::GreenThread;
use crate::net::Waitable;
use crate::queue::{Order, QueueOf, Reason};
use crate::runtime::line::{Claim, deadline};
use crate::runtime::node::Wake;
use crate::runtime::park::prepare;
use crate::runtime::watched::Await;
use crate::signal::{Signal, Signals};
use crate::sync::{CancellationToken, Event, EventError, broadcast, oneshot, watch};
use arms::{Arm, End, Get, LookAt, OnEvent, OnSignal, Put, Ready, Standing, Then};

/// A choice between several things to wait for; see the [module](self). Built anew for each wait.
///
/// What is there already is taken in the order in which the arms were added; else the first that comes is. An item is
/// taken from one queue only, and a select that is killed or times out gives an item that was handed to it back.
#[must_use = "a select does nothing until it waits"]
pub struct Select<'a, R> {
    arms: Vec<Box<dyn Arm<R> + 'a>>,
    timeout: Option<(Duration, Box<dyn FnOnce() -> R + 'a>)>,
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

    /// Puts an item into a queue, which may have to wait for room, and makes a result of it. The item is in `item` and
    /// is taken from there when it goes in; if it does not, because something else came first or the queue is closed,
    /// it is there afterwards.
    ///
    /// ```
    /// use greenloom::{queue::Queue, select::Select};
    /// use std::time::Duration;
    ///
    /// let queue = Queue::new(1);
    /// let mut send = |item: &mut Option<u32>| {
    ///     Select::new().put(&queue, item, |_| "in").timeout(Duration::from_millis(1), || "full").wait()
    /// };
    /// let (mut first, mut second) = (Some(1), Some(2));
    /// assert_eq!((send(&mut first), first), ("in", None));
    /// assert_eq!((send(&mut second), second), ("full", Some(2)));
    /// ```
    ///
    /// # Panics
    /// When there is no item.
    pub fn put<O: Order>(
        mut self,
        queue: &'a QueueOf<O>,
        item: &'a mut Option<O::Item>,
        then: impl FnOnce(Result<(), Reason>) -> R + 'a,
    ) -> Select<'a, R> {
        assert!(item.is_some(), "a select was to put an item that is not there");
        self.arms.push(Box::new(Put { queue, item, then: Then::new(then) }));
        self
    }

    /// Makes a result when a green thread has ended; what it came to, its `wait` says, which need not wait any more.
    ///
    /// ```
    /// use greenloom::{select::Select, sleep, spawn};
    /// use std::time::Duration;
    ///
    /// let (slow, quick) = (spawn(|| sleep(Duration::from_secs(9))), spawn(|| 7));
    /// let first = Select::new().end(&slow, || "slow").end(&quick, || "quick").wait();
    /// assert_eq!((first, quick.wait()?), ("quick", 7));
    /// # Ok::<(), greenloom::JoinError>(())
    /// ```
    pub fn end<T: 'static>(mut self, thread: &'a GreenThread<T>, then: impl FnOnce() -> R + 'a) -> Select<'a, R> {
        self.arms.push(Box::new(End::new(thread, then)));
        self
    }

    /// Makes a result when a token is cancelled.
    pub fn cancelled(self, token: &'a CancellationToken, then: impl FnOnce() -> R + 'a) -> Select<'a, R> {
        self.looks_at(token, |()| then())
    }

    /// Receives the value of a [`oneshot`] channel, or learns that there will be none, and makes a result of it.
    pub fn oneshot<T>(
        self,
        receiver: &'a mut oneshot::Receiver<T>,
        then: impl FnOnce(Result<T, oneshot::RecvError>) -> R + 'a,
    ) -> Select<'a, R> {
        self.looks_at(receiver, then)
    }

    /// Learns that the value of a [`watch`] channel has changed, or will not any more, and makes a result of it. The
    /// change counts as seen.
    pub fn changed<T>(
        self,
        receiver: &'a mut watch::Receiver<T>,
        then: impl FnOnce(Result<(), watch::RecvError>) -> R + 'a,
    ) -> Select<'a, R> {
        self.looks_at(receiver, then)
    }

    /// Receives from a [`broadcast`] channel, or learns what it has missed or that it is closed, and makes a result of
    /// it.
    pub fn recv<T: Clone>(
        self,
        receiver: &'a mut broadcast::Receiver<T>,
        then: impl FnOnce(Result<T, broadcast::RecvError>) -> R + 'a,
    ) -> Select<'a, R> {
        self.looks_at(receiver, then)
    }

    fn looks_at<A: Await + 'a>(mut self, source: A, then: impl FnOnce(A::Got) -> R + 'a) -> Select<'a, R> {
        self.arms.push(Box::new(LookAt::new(source, then)));
        self
    }

    /// Makes a result when a signal arrives; one that has arrived since the last call is there already.
    ///
    /// The error is that of [`Signals::wait`].
    ///
    /// ```
    /// use greenloom::{select::Select, signal::{Signal, Signals}};
    /// use std::time::Duration;
    ///
    /// let signals = Signals::new([Signal::USR2])?;
    /// let mut next = || {
    ///     let select = Select::new().signal(&signals, |signal| signal.ok());
    ///     select.timeout(Duration::from_secs(9), || None).wait()
    /// };
    /// let me = std::process::id().to_string();
    /// greenloom::process::Command::new("kill").args(["-USR2", &me]).status()?;
    /// assert_eq!(next(), Some(Signal::USR2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn signal(mut self, signals: &'a Signals, then: impl FnOnce(io::Result<Signal>) -> R + 'a) -> Select<'a, R> {
        self.arms.push(Box::new(OnSignal::new(signals, then)));
        self
    }

    /// Makes a result when a socket or pipe can be read, or has ended or failed: reading then does not block, unless
    /// somebody else has been faster. A listener can be read when there is a connection.
    ///
    /// The error is that of registering it with the hub, or `ResourceBusy` when a green thread reads there already.
    ///
    /// ```
    /// use greenloom::{net::UnixStream, select::Select};
    /// use std::{io::Write, time::Duration};
    ///
    /// let (mut ours, theirs) = UnixStream::pair()?;
    /// let is_readable = || {
    ///     Select::new().readable(&theirs, |ready| ready.is_ok()).timeout(Duration::from_millis(5), || false).wait()
    /// };
    /// assert!(!is_readable());
    /// ours.write_all(b"x")?;
    /// assert!(is_readable());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn readable(self, source: &'a impl Waitable, then: impl FnOnce(io::Result<()>) -> R + 'a) -> Select<'a, R> {
        self.ready(source, Direction::Read, then)
    }

    /// As [`Select::readable`], for writing.
    pub fn writable(self, source: &'a impl Waitable, then: impl FnOnce(io::Result<()>) -> R + 'a) -> Select<'a, R> {
        self.ready(source, Direction::Write, then)
    }

    fn ready(
        mut self,
        source: &'a impl Waitable,
        direction: Direction,
        then: impl FnOnce(io::Result<()>) -> R + 'a,
    ) -> Select<'a, R> {
        self.arms.push(Box::new(Ready::new(source, direction, then)));
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
        let until = self.timeout.as_ref().and_then(|(timeout, _)| deadline(*timeout));
        loop {
            let ticket = prepare().unwrap_or_else(|refused| refused.raise());
            let claim = Claim::default();
            let registered = GiveBack(&mut self.arms);
            let mut must_wait = true;
            for (number, arm) in registered.0.iter_mut().enumerate() {
                match arm.register(ticket.waker(), &claim) {
                    Standing::Has => return Some(number),
                    Standing::Waits => {}
                    Standing::Claimed => {
                        must_wait = false;
                        break;
                    }
                }
            }
            let is_over = must_wait && ticket.park("select", until) == Wake::TimedOut;
            let arm = registered.0.iter_mut().position(|arm| arm.leave());
            if arm.is_some() || is_over {
                return arm;
            }
            // What was there when an arm looked is gone again, and another may be there.
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
