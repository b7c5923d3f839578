//! Values that every receiver gets, each of them all; the slow ones lose the oldest and are told how many.
//!
//! Semantics: `tokio::sync::broadcast`, with a capacity that is not rounded up.
//!
//! ```
//! use greenloom::{spawn, sync::broadcast};
//!
//! let (news, mut first) = broadcast::channel(16);
//! let mut second = news.subscribe();
//! let reader = spawn(move || (second.recv(), second.recv()));
//! news.send("rain")?;
//! news.send("sun")?;
//! assert_eq!(first.recv(), Ok("rain"));
//! assert_eq!(reader.wait().unwrap(), (Ok("rain"), Ok("sun")));
//! # Ok::<(), broadcast::SendError<&str>>(())
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenloom_hub::Time;

use crate::runtime::error::Refused;
use crate::runtime::line::{Claim, Place, Registered, Ungranted, deadline};
use crate::runtime::park::Waker;
use crate::runtime::watched::{Await, Senders, Sent, State, Watched};

/// A sender and a first receiver of a channel that keeps the newest `capacity` values. Each may be on any OS thread.
///
/// # Panics
/// When the capacity is zero.
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a broadcast channel keeps at least one value");
    let shared = Shared { slots: VecDeque::new(), first: 0, capacity, senders: 1, receivers: 1 };
    let shared = Arc::new(Watched::new(shared));
    (Sender { shared: Senders::first(&shared) }, Receiver { shared, next: 0 })
}

struct Shared<T> {
    /// The newest values, the oldest of them first.
    slots: VecDeque<Slot<T>>,
    /// The number of the first slot's value.
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
}

struct Slot<T> {
    /// Gone when all receivers have it. Behind an `Arc`, so that it is cloned with nothing locked.
    value: Option<Arc<T>>,
    /// How many receivers have not got it.
    owed: usize,
}

impl<T> State for Shared<T> {
    const WAITS_FOR: &'static str = "broadcast";
}

impl<T> Sent for Shared<T> {
    fn senders(&mut self) -> &mut usize {
        &mut self.senders
    }
}

impl<T> Shared<T> {
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    fn is_there(&self, next: u64) -> bool {
        next != self.end() || self.senders == 0
    }

    /// What the receiver whose next value has this number gets, if it need not wait.
    fn receive(&mut self, next: &mut u64) -> Option<Result<Arc<T>, RecvError>> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Some(Err(RecvError::Lagged(missed)));
        }
        let index = usize::try_from(*next - self.first).expect("what is in a slot has an index");
        let Some(slot) = self.slots.get_mut(index) else {
            return (self.senders == 0).then_some(Err(RecvError::Closed));
        };
        *next += 1;
        slot.owed -= 1;
        let value = if slot.owed == 0 { slot.value.take() } else { slot.value.clone() };
        Some(Ok(value.expect("it is kept as long as it is owed")))
    }

    /// A receiver is gone; returns the values that nobody waits for any more, to be dropped outside of the lock.
    fn leave(&mut self, next: u64) -> Vec<Arc<T>> {
        self.receivers -= 1;
        let seen = usize::try_from(next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let owed = self.slots.iter_mut().skip(seen);
        owed.filter_map(|slot| {
            slot.owed -= 1;
            if slot.owed == 0 { slot.value.take() } else { None }
        })
        .collect()
    }
}

/// Sends to all receivers; see the [module](self). Clones send to the same ones.
pub struct Sender<T> {
    shared: Senders<Shared<T>>,
}

/// There is no receiver; here is the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no receiver")
    }
}

impl<T: fmt::Debug> std::error::Error for SendError<T> {}

impl<T> Sender<T> {
    /// Sends a value to all receivers that there are, and returns how many. Never waits and never switches: when the
    /// channel is full, its oldest value goes.
    ///
    /// # Errors
    /// The value, when there is no receiver. More may [subscribe](Sender::subscribe) later.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let sent = self.shared.change(|shared| {
            if shared.receivers == 0 {
                return Err(value);
            }
            let full = shared.slots.len() == shared.capacity;
            let oldest = if full { shared.slots.pop_front() } else { None };
            shared.first += u64::from(full);
            shared.slots.push_back(Slot { value: Some(Arc::new(value)), owed: shared.receivers });
            Ok((shared.receivers, oldest))
        });
        match sent {
            Ok((receivers, _oldest)) => Ok(receivers),
            Err(value) => Err(SendError(value)),
        }
    }

    /// A receiver of what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        subscribe(&self.shared)
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.look(|shared| shared.receivers)
    }

    /// How many values are kept that not all receivers have got.
    pub fn len(&self) -> usize {
        self.shared.look(|shared| shared.slots.iter().filter(|slot| slot.owed > 0).count())
    }

    /// Whether all receivers have got everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn subscribe<T>(shared: &Arc<Watched<Shared<T>>>) -> Receiver<T> {
    let next = shared.look(|shared| {
        shared.receivers += 1;
        shared.end()
    });
    Receiver { shared: Arc::clone(shared), next }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { shared: self.shared.clone() }
    }
}

/// Receives everything that is sent while it lives; see the [module](self).
pub struct Receiver<T> {
    shared: Arc<Watched<Shared<T>>>,
    /// The number of the value it gets next.
    next: u64,
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// It was too slow: so many values were dropped before it got them. The next call gets the oldest that is left.
    Lagged(u64),
    /// All senders are gone, and it has got everything.
    Closed,
    /// Nothing is there, or nothing was sent in time.
    Empty,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Lagged(missed) => write!(f, "too slow: {missed} values were missed"),
            RecvError::Closed => f.write_str("all senders are gone, and everything was received"),
            RecvError::Empty => f.write_str("nothing was sent"),
            RecvError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

impl<T: Clone> Receiver<T> {
    /// Parks until there is a value that this receiver has not got, and returns a clone of it; the last receiver to get
    /// it gets the value itself.
    ///
    /// # Errors
    /// [`RecvError::Lagged`], [`RecvError::Closed`]; where waiting is not possible.
    ///
    /// ```
    /// use greenloom::sync::broadcast::{self, RecvError};
    ///
    /// let (news, mut slow) = broadcast::channel(2);
    /// (1..=5).try_for_each(|n| news.send(n).map(drop))?;
    /// assert_eq!(slow.recv(), Err(RecvError::Lagged(3)));
    /// assert_eq!(slow.recv(), Ok(4));
    /// # Ok::<(), broadcast::SendError<i32>>(())
    /// ```
    pub fn recv(&mut self) -> Result<T, RecvError> {
        self.recv_until(|| None)
    }

    /// As [`Receiver::recv`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`RecvError::Empty`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(|| deadline(timeout))
    }

    /// The next value, if there is one. Never waits.
    ///
    /// # Errors
    /// [`RecvError::Lagged`], [`RecvError::Closed`], [`RecvError::Empty`].
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        let next = &mut self.next;
        let received = self.shared.look(|shared| shared.receive(next));
        received.unwrap_or(Err(RecvError::Empty)).map(Arc::unwrap_or_clone)
    }

    fn recv_until(&mut self, deadline: impl FnOnce() -> Option<Time>) -> Result<T, RecvError> {
        let next = &mut self.next;
        match self.shared.wait(deadline, |shared| shared.receive(next)) {
            Ok(received) => received.map(Arc::unwrap_or_clone),
            Err(Ungranted::TimedOut(())) => Err(RecvError::Empty),
            Err(Ungranted::Refused(refused, ())) => Err(RecvError::Refused(refused)),
        }
    }
}

impl<T> Receiver<T> {
    /// Another receiver, of what is sent from now on.
    pub fn resubscribe(&self) -> Receiver<T> {
        subscribe(&self.shared)
    }

    /// How many values there are that it has not got, those that it has missed included.
    pub fn len(&self) -> u64 {
        self.shared.look(|shared| shared.end() - self.next)
    }

    /// Whether it has got everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let unseen = self.shared.look(|shared| shared.leave(self.next));
        drop(unseen);
    }
}

impl<T: Clone> Await for &mut Receiver<T> {
    type Got = Result<T, RecvError>;

    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        self.shared.register(waker, claim, |shared| shared.is_there(self.next))
    }

    fn leave(&mut self, place: Place) -> bool {
        self.shared.leave(place, |shared| shared.is_there(self.next))
    }

    fn forget(&mut self, place: Place) {
        self.shared.forget(place);
    }

    fn take(&mut self) -> Result<T, RecvError> {
        self.try_recv()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).field("receivers", &self.receiver_count()).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}
