//! A value that changes, and receivers that care for the newest only.
//!
//! Semantics: `tokio::sync::watch`. What is borrowed here is a snapshot behind an `Arc` and not a lock, so it may be
//! kept across a wait.
//!
//! ```
//! use greenloom::{spawn, sync::watch};
//!
//! let (level, mut seen) = watch::channel("info");
//! let reader = spawn(move || {
//!     let mut levels = vec![*seen.borrow_and_update()];
//!     while seen.changed().is_ok() {
//!         levels.push(*seen.borrow_and_update());
//!     }
//!     levels
//! });
//! greenloom::yield_now();
//! level.send("warn").unwrap();
//! level.send("debug").unwrap(); // nobody has looked in between
//! drop(level);
//! assert_eq!(reader.wait()?, ["info", "debug"]);
//! # Ok::<(), greenloom::JoinError>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenloom_hub::Time;

use super::must_be_granted;
use crate::runtime::error::Refused;
use crate::runtime::line::{Claim, Place, Registered, Ungranted, deadline};
use crate::runtime::park::Waker;
use crate::runtime::watched::{Await, Senders, Sent, State, Watched};

/// A sender and a receiver that has seen the first value, `initial`. Each may be on any OS thread.
pub fn channel<T>(initial: T) -> (Sender<T>, Receiver<T>) {
    let value = Arc::new(initial);
    let shared = Arc::new(Watched::new(Shared { value, version: 0, senders: 1, receivers: 1 }));
    (Sender { shared: Senders::first(&shared) }, Receiver { shared, seen: 0 })
}

struct Shared<T> {
    value: Arc<T>,
    /// How many values came after the first one.
    version: u64,
    senders: usize,
    receivers: usize,
}

impl<T> State for Shared<T> {
    const WAITS_FOR: &'static str = "watch";
}

impl<T> Sent for Shared<T> {
    fn senders(&mut self) -> &mut usize {
        &mut self.senders
    }
}

impl<T> Shared<T> {
    /// What a receiver that has seen this version is told, if it need not wait.
    fn changed_since(&self, seen: u64) -> Option<Result<u64, RecvError>> {
        match self.version {
            version if version != seen => Some(Ok(version)),
            _ if self.senders == 0 => Some(Err(RecvError::Closed)),
            _ => None,
        }
    }

    /// Returns the value before, to be dropped outside of the lock.
    fn replace(&mut self, value: Arc<T>) -> Arc<T> {
        self.version += 1;
        std::mem::replace(&mut self.value, value)
    }
}

/// Changes the value; see the [module](self). Clones change the same one.
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
    /// Sets the value and tells all receivers. Never waits and never switches.
    ///
    /// # Errors
    /// When there is no receiver; the value stays as it is then. [`Sender::send_replace`] sets it all the same.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let value = Arc::new(value);
        let old =
            self.shared.change(|shared| if shared.receivers == 0 { Err(value) } else { Ok(shared.replace(value)) });
        match old {
            Ok(_) => Ok(()),
            Err(value) => Err(SendError(Arc::into_inner(value).expect("nobody has seen it"))),
        }
    }

    /// Sets the value, whether there are receivers or not, and returns the one before.
    pub fn send_replace(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        self.shared.change(|shared| shared.replace(value))
    }

    /// Sets the value to what `modify` makes of a clone of it, whether there are receivers or not. `modify` runs with
    /// nothing locked, and again if somebody else has sent meanwhile.
    ///
    /// ```
    /// let (count, seen) = greenloom::sync::watch::channel(5);
    /// count.send_modify(|count| *count += 1);
    /// assert_eq!(*seen.borrow(), 6);
    /// ```
    pub fn send_modify(&self, mut modify: impl FnMut(&mut T))
    where
        T: Clone,
    {
        loop {
            let before = self.borrow();
            let mut value = T::clone(&before);
            modify(&mut value);
            let value = Arc::new(value);
            let old = self.shared.change(|shared| Arc::ptr_eq(&shared.value, &before).then(|| shared.replace(value)));
            if old.is_some() {
                return;
            }
        }
    }

    /// The value.
    pub fn borrow(&self) -> Arc<T> {
        self.shared.look(|shared| Arc::clone(&shared.value))
    }

    /// A receiver that has seen the present value.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.look(|shared| {
            shared.receivers += 1;
            shared.version
        });
        Receiver { shared: Arc::clone(&self.shared), seen }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.shared.look(|shared| shared.receivers)
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Parks until there is no receiver.
    ///
    /// # Panics
    /// Where waiting is not possible; see [`sync`](super).
    pub fn closed(&self) {
        must_be_granted(self.shared.wait(|| None, |shared| (shared.receivers == 0).then_some(())));
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { shared: self.shared.clone() }
    }
}

/// Sees the newest value; see the [module](self). A clone has seen what the original has.
pub struct Receiver<T> {
    shared: Arc<Watched<Shared<T>>>,
    seen: u64,
}

/// Why a receiver learns of no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// All senders are gone, and the newest value was seen.
    Closed,
    /// There was no change in time.
    TimedOut,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("all senders are gone, and the newest value was seen"),
            RecvError::TimedOut => f.write_str("the value did not change in time"),
            RecvError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

impl<T> Receiver<T> {
    /// Parks until there is a value that this receiver has not seen, and marks it as seen. Returns at once if there is
    /// one.
    ///
    /// # Errors
    /// [`RecvError::Closed`]; where waiting is not possible.
    pub fn changed(&mut self) -> Result<(), RecvError> {
        self.changed_until(|| None)
    }

    /// As [`Receiver::changed`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`RecvError::TimedOut`].
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvError> {
        self.changed_until(|| deadline(timeout))
    }

    fn changed_until(&mut self, deadline: impl FnOnce() -> Option<Time>) -> Result<(), RecvError> {
        let seen = self.seen;
        self.seen = match self.shared.wait(deadline, |shared| shared.changed_since(seen)) {
            Ok(changed) => changed?,
            Err(Ungranted::TimedOut(())) => return Err(RecvError::TimedOut),
            Err(Ungranted::Refused(refused, ())) => return Err(RecvError::Refused(refused)),
        };
        Ok(())
    }

    /// Parks until the value is one that `suits`, and returns it, seen. Returns at once if the present one is.
    ///
    /// # Errors
    /// As [`Receiver::changed`].
    ///
    /// ```
    /// let (ready, mut seen) = greenloom::sync::watch::channel(0);
    /// greenloom::spawn(move || (1..9).for_each(|count| drop(ready.send(count))));
    /// assert_eq!(*seen.wait_for(|count| *count > 5).unwrap(), 8);
    /// ```
    pub fn wait_for(&mut self, mut suits: impl FnMut(&T) -> bool) -> Result<Arc<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if suits(&value) {
                return Ok(value);
            }
            self.changed()?;
        }
    }

    /// Whether there is a value that this receiver has not seen.
    pub fn has_changed(&self) -> bool {
        self.shared.look(|shared| shared.version != self.seen)
    }

    /// The newest value.
    pub fn borrow(&self) -> Arc<T> {
        self.shared.look(|shared| Arc::clone(&shared.value))
    }

    /// The newest value, which counts as seen from now on.
    pub fn borrow_and_update(&mut self) -> Arc<T> {
        let (value, version) = self.shared.look(|shared| (Arc::clone(&shared.value), shared.version));
        self.seen = version;
        value
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        self.shared.look(|shared| shared.receivers += 1);
        Receiver { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let last = self.shared.look(|shared| {
            shared.receivers -= 1;
            shared.receivers == 0
        });
        if last {
            self.shared.change(|_| ());
        }
    }
}

impl<T> Await for &mut Receiver<T> {
    type Got = Result<(), RecvError>;

    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        self.shared.register(waker, claim, |shared| shared.changed_since(self.seen).is_some())
    }

    fn leave(&mut self, place: Place) -> bool {
        self.shared.leave(place, |shared| shared.changed_since(self.seen).is_some())
    }

    fn forget(&mut self, place: Place) {
        self.shared.forget(place);
    }

    fn take(&mut self) -> Result<(), RecvError> {
        let changed = self.shared.look(|shared| shared.changed_since(self.seen));
        self.seen = changed.expect("a change is there until it was seen")?;
        Ok(())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("receivers", &self.receiver_count()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("has_changed", &self.has_changed()).finish_non_exhaustive()
    }
}
