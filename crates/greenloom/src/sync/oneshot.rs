//! One value, from one sender to one receiver.
//!
//! Semantics: `tokio::sync::oneshot`, with [`Receiver::recv`] for awaiting the receiver.
//!
//! ```
//! use greenloom::{spawn, sync::oneshot};
//!
//! let (sender, receiver) = oneshot::channel();
//! spawn(move || sender.send("done").unwrap());
//! assert_eq!(receiver.recv()?, "done");
//!
//! let (sender, receiver) = oneshot::channel::<u32>();
//! drop(sender);
//! assert_eq!(receiver.recv(), Err(oneshot::RecvError::Closed));
//! # Ok::<(), oneshot::RecvError>(())
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greenloom_hub::Time;

use super::must_be_granted;
use crate::runtime::error::Refused;
use crate::runtime::line::{Claim, Place, Registered, Ungranted, deadline};
use crate::runtime::park::Waker;
use crate::runtime::watched::{Await, State, Watched};

/// A sender and its receiver. Each may be on any OS thread.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Watched::new(Shared { value: None, has_sender: true, has_receiver: true }));
    (Sender { shared: Arc::clone(&shared), sent: false }, Receiver { shared })
}

struct Shared<T> {
    value: Option<T>,
    has_sender: bool,
    has_receiver: bool,
}

impl<T> State for Shared<T> {
    const WAITS_FOR: &'static str = "oneshot";
}

impl<T> Shared<T> {
    /// What the receiver gets, if it need not wait.
    fn take(&mut self) -> Option<Result<T, RecvError>> {
        match self.value.take() {
            Some(value) => Some(Ok(value)),
            None if self.has_sender => None,
            None => Some(Err(RecvError::Closed)),
        }
    }

    fn is_there(&self) -> bool {
        self.value.is_some() || !self.has_sender
    }
}

/// Sends the one value; see the [module](self).
pub struct Sender<T> {
    shared: Arc<Watched<Shared<T>>>,
    sent: bool,
}

impl<T> Sender<T> {
    /// Sends the value. Never waits and never switches. That it was sent does not mean that it will be received: the
    /// receiver may be dropped afterwards, and the value with it.
    ///
    /// # Errors
    /// The value, when the receiver is gone or has closed.
    pub fn send(mut self, value: T) -> Result<(), T> {
        self.sent = true;
        self.shared.change(|shared| {
            shared.has_sender = false;
            if !shared.has_receiver {
                return Err(value);
            }
            shared.value = Some(value);
            Ok(())
        })
    }

    /// Whether the receiver is gone or has closed, so that nobody wants the value any more.
    pub fn is_closed(&self) -> bool {
        self.shared.look(|shared| !shared.has_receiver)
    }

    /// Parks until the receiver is gone or has closed: for one that would rather stop than make a value for nobody.
    ///
    /// # Panics
    /// Where waiting is not possible; see [`sync`](super).
    ///
    /// ```
    /// let (sender, receiver) = greenloom::sync::oneshot::channel::<u32>();
    /// greenloom::spawn(move || drop(receiver));
    /// sender.closed();
    /// assert_eq!(sender.send(1), Err(1));
    /// ```
    pub fn closed(&self) {
        must_be_granted(self.shared.wait(|| None, |shared| (!shared.has_receiver).then_some(())));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.change(|shared| shared.has_sender = false);
        }
    }
}

/// Receives the one value; see the [module](self).
pub struct Receiver<T> {
    shared: Arc<Watched<Shared<T>>>,
}

impl<T> Receiver<T> {
    /// Parks until the value is there and returns it.
    ///
    /// # Errors
    /// [`RecvError::Closed`] when the sender was dropped; where waiting is not possible.
    pub fn recv(self) -> Result<T, RecvError> {
        self.recv_until(|| None)
    }

    /// As [`Receiver::recv`], at most for `timeout`; it can be called again after that.
    ///
    /// # Errors
    /// As there, and [`RecvError::Empty`].
    ///
    /// ```
    /// use greenloom::sync::oneshot::{RecvError, channel};
    /// use std::time::Duration;
    ///
    /// let (sender, mut receiver) = channel();
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(RecvError::Empty));
    /// sender.send(5)?;
    /// assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Ok(5));
    /// # Ok::<(), i32>(())
    /// ```
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        self.recv_until(|| deadline(timeout))
    }

    /// The value, if it is there. Never waits.
    ///
    /// # Errors
    /// [`RecvError::Empty`], and [`RecvError::Closed`] when the sender was dropped or the value was received.
    pub fn try_recv(&mut self) -> Result<T, RecvError> {
        self.shared.look(Shared::take).unwrap_or(Err(RecvError::Empty))
    }

    fn recv_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<T, RecvError> {
        match self.shared.wait(deadline, Shared::take) {
            Ok(received) => received,
            Err(Ungranted::TimedOut(())) => Err(RecvError::Empty),
            Err(Ungranted::Refused(refused, ())) => Err(RecvError::Refused(refused)),
        }
    }

    /// Refuses the value, unless it was sent already: sending is an error from now on. What was sent can still be
    /// received.
    pub fn close(&mut self) {
        self.shared.change(|shared| shared.has_receiver = false);
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let value = self.shared.change(|shared| {
            shared.has_receiver = false;
            shared.value.take()
        });
        drop(value);
    }
}

impl<T> Await for &mut Receiver<T> {
    type Got = Result<T, RecvError>;

    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        self.shared.register(waker, claim, Shared::is_there)
    }

    fn leave(&mut self, place: Place) -> bool {
        self.shared.leave(place, Shared::is_there)
    }

    fn forget(&mut self, place: Place) {
        self.shared.forget(place);
    }

    fn take(&mut self) -> Result<T, RecvError> {
        self.try_recv()
    }
}

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing was sent yet.
    Empty,
    /// The sender was dropped without sending, or the value was received before.
    Closed,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty => f.write_str("nothing was sent yet"),
            RecvError::Closed => f.write_str("the sender is gone, and nothing is to be received"),
            RecvError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_value = self.shared.look(|shared| shared.value.is_some());
        f.debug_struct("Receiver").field("has_value", &has_value).finish_non_exhaustive()
    }
}
