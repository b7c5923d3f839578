//! An event: a value that is sent once and received by everybody.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::Time;

use crate::Refused;
use crate::park::Waker;
use crate::wait_list::{Claim, Line, Ungranted, WaitList, WaiterKey, deadline, grant_all, lock, wait};

/// A value, or an error, that is sent once; everybody who waits, or comes later, gets a clone.
///
/// Semantics: eventlet's `Event`, without its stale timers, and with waiters woken in the order in which they came.
///
/// ```
/// use greenloom::{spawn, sync::Event};
/// use std::rc::Rc;
///
/// let event = Rc::new(Event::new());
/// let waits = { let event = event.clone(); spawn(move || event.wait()) };
/// event.send("go")?;
/// assert_eq!(waits.wait().unwrap()?, "go");
/// assert_eq!(event.poll().unwrap()?, "go");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Event<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    outcome: Option<Result<T, Arc<dyn Error + Send + Sync>>>,
    waiters: WaitList<(), ()>,
}

/// Those who wait.
struct Waiters<T>(std::marker::PhantomData<T>);

impl<T> Line for Waiters<T> {
    type State = State<T>;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "event";

    fn list(state: &mut State<T>) -> &mut WaitList<(), ()> {
        &mut state.waiters
    }

    fn take_back(_state: &mut State<T>, _: ()) -> Option<Waker> {
        None
    }
}

/// Why an event gives no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventError {
    /// An error was sent.
    Failed(Arc<dyn Error + Send + Sync>),
    /// Nothing was sent in time.
    TimedOut,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventError::Failed(error) => error.fmt(f),
            EventError::TimedOut => f.write_str("nothing was sent to the event in time"),
            EventError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl Error for EventError {}

/// The event has an outcome already; here is the one that was to be sent. [`Event::reset`] makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySent<T>(pub T);

impl<T> fmt::Display for AlreadySent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the event was sent already; reset it before it is used again")
    }
}

impl<T: fmt::Debug> Error for AlreadySent<T> {}

impl<T> Event<T> {
    /// An event that was not sent.
    pub const fn new() -> Event<T> {
        Event { state: Mutex::new(State { outcome: None, waiters: WaitList::new() }) }
    }

    /// Sends the value and wakes everybody who waits. Never switches.
    ///
    /// # Errors
    /// [`AlreadySent`], with the value.
    pub fn send(&self, value: T) -> Result<(), AlreadySent<T>> {
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            return Err(AlreadySent(value));
        }
        state.outcome = Some(Ok(value));
        drop(state);
        self.tell();
        Ok(())
    }

    /// Sends an error: everybody who waits gets it.
    ///
    /// # Errors
    /// [`AlreadySent`].
    pub fn send_error(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Result<(), AlreadySent<()>> {
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            return Err(AlreadySent(()));
        }
        state.outcome = Some(Err(Arc::from(error.into())));
        drop(state);
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        grant_all::<Waiters<T>>(&self.state);
    }

    /// Whether a value or an error was sent.
    pub fn ready(&self) -> bool {
        lock(&self.state).outcome.is_some()
    }

    /// Forgets what was sent, so that the event can be used again. Does nothing if nothing was.
    pub fn reset(&self) {
        let outcome = lock(&self.state).outcome.take();
        drop(outcome);
    }

    pub(crate) fn register(&self, waker: Waker, claim: &Claim) -> Option<WaiterKey> {
        let mut state = lock(&self.state);
        match state.outcome {
            Some(_) => None,
            None => Some(state.waiters.push(waker, Some(claim.clone()), ())),
        }
    }

    pub(crate) fn leave(&self, key: WaiterKey) -> bool {
        lock(&self.state).waiters.leave(key).is_ok()
    }
}

impl<T: Clone> Event<T> {
    /// What was sent, if something was. Does not wait.
    pub fn poll(&self) -> Option<Result<T, EventError>> {
        lock(&self.state).outcome.clone().map(|outcome| outcome.map_err(EventError::Failed))
    }

    /// Parks until something is sent and returns it.
    ///
    /// # Errors
    /// [`EventError::Failed`], [`EventError::Refused`].
    pub fn wait(&self) -> Result<T, EventError> {
        self.wait_until(|| None)
    }

    /// As [`Event::wait`], at most for `timeout`.
    ///
    /// # Errors
    /// As there, and [`EventError::TimedOut`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<T, EventError> {
        self.wait_until(|| deadline(timeout))
    }

    fn wait_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<T, EventError> {
        let deadline = deadline();
        loop {
            let state = lock(&self.state);
            if let Some(outcome) = &state.outcome {
                return outcome.clone().map_err(EventError::Failed);
            }
            // Granted, it looks again: the event may have been reset, and sent anew, meanwhile.
            match wait::<Waiters<T>>(&self.state, state, (), deadline) {
                Ok(()) => {}
                Err(Ungranted::TimedOut(())) => return Err(EventError::TimedOut),
                Err(Ungranted::Refused(refused, ())) => return Err(EventError::Refused(refused)),
            }
        }
    }
}

impl<T> Default for Event<T> {
    fn default() -> Event<T> {
        Event::new()
    }
}

impl<T> fmt::Debug for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Event").field("ready", &state.outcome.is_some()).field("waiting", &state.waiters.len()).finish()
    }
}
