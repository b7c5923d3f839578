//! An event: a value that is sent once and received by everybody.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloom_hub::Time;

use crate::runtime::error::Refused;
use crate::runtime::line::{
    Claim, Granted, Line, LineRules, Place, Registered, Ungranted, deadline, grant_all, leave, lock, take_out, wait,
    wake_all,
};
use crate::runtime::park::Waker;

/// A value, or an error, that is sent once; all waiters, early or late, get a clone.
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
    outcome: Option<Arc<Outcome<T>>>,
    /// Each is granted what was sent, so a reset takes nothing from them.
    waiters: Line<(), Arc<Outcome<T>>>,
}

/// What was sent. Shared, so that it is cloned with no lock held.
type Outcome<T> = Result<T, Arc<dyn Error + Send + Sync>>;

/// The waiters.
struct Waiters<T>(std::marker::PhantomData<T>);

impl<T> LineRules for Waiters<T> {
    type State = State<T>;
    type Brings = ();
    type Grant = Arc<Outcome<T>>;
    const WAITS_FOR: &'static str = "event";

    fn line(state: &mut State<T>) -> &mut Line<(), Arc<Outcome<T>>> {
        &mut state.waiters
    }

    fn take_back(_state: &mut State<T>, _: Arc<Outcome<T>>) -> Option<Granted> {
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

impl Error for EventError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            EventError::Failed(error) => error.source(),
            EventError::TimedOut => None,
            EventError::Refused(refused) => refused.source(),
        }
    }
}

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
        Event { state: Mutex::new(State { outcome: None, waiters: Line::new() }) }
    }

    /// Sends the value and wakes all waiters. Never switches.
    ///
    /// # Errors
    /// [`AlreadySent`], with the value.
    pub fn send(&self, value: T) -> Result<(), AlreadySent<T>> {
        self.settle(Ok(value)).map_err(|outcome| match outcome {
            Ok(value) => AlreadySent(value),
            Err(_) => unreachable!("a value comes back"),
        })
    }

    /// Sends an error: all waiters get it.
    ///
    /// # Errors
    /// [`AlreadySent`].
    pub fn send_error(&self, error: impl Into<Box<dyn Error + Send + Sync>>) -> Result<(), AlreadySent<()>> {
        self.settle(Err(Arc::from(error.into()))).map_err(|_| AlreadySent(()))
    }

    fn settle(&self, outcome: Outcome<T>) -> Result<(), Outcome<T>> {
        let mut state = lock(&self.state);
        if state.outcome.is_some() {
            return Err(outcome);
        }
        let outcome = Arc::new(outcome);
        state.outcome = Some(Arc::clone(&outcome));
        let all = grant_all(&mut state.waiters, |()| Arc::clone(&outcome));
        drop(state);
        wake_all(all);
        Ok(())
    }

    /// Whether a value or an error was sent.
    pub fn is_ready(&self) -> bool {
        lock(&self.state).outcome.is_some()
    }

    /// The same as [`is_ready`](Event::is_ready), by the name it has in eventlet.
    pub fn ready(&self) -> bool {
        self.is_ready()
    }

    /// Forgets what was sent, so that the event can be used again. Does nothing if nothing was. Who was woken by what
    /// was sent still gets that.
    pub fn reset(&self) {
        let outcome = lock(&self.state).outcome.take();
        drop(outcome);
    }
}

impl<T: Clone> Event<T> {
    /// What was sent, if something was. Does not wait.
    pub fn poll(&self) -> Option<Result<T, EventError>> {
        let outcome = lock(&self.state).outcome.clone();
        outcome.map(received)
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
        let state = lock(&self.state);
        if let Some(outcome) = state.outcome.clone() {
            drop(state);
            return received(outcome);
        }
        match wait::<Waiters<T>>(&self.state, (), state, deadline()) {
            Ok(outcome) => received(outcome),
            Err(Ungranted::TimedOut(())) => Err(EventError::TimedOut),
            Err(Ungranted::Refused(refused, ())) => Err(EventError::Refused(refused)),
        }
    }

    /// For `select`: what was sent, if nothing else was got, or a place in the line.
    pub(crate) fn register(&self, waker: Waker, claim: &Claim) -> Registered<Result<T, EventError>> {
        let mut state = lock(&self.state);
        let Some(outcome) = state.outcome.clone() else {
            return Registered::Waits(state.waiters.join_with(waker, Some(claim.clone()), ()));
        };
        drop(state);
        if claim.take() { Registered::Now(received(outcome)) } else { Registered::Claimed }
    }

    /// For `select`: leaves the line with what was granted.
    pub(crate) fn leave(&self, key: Place) -> Option<Result<T, EventError>> {
        let granted = take_out(&mut lock(&self.state).waiters, key);
        granted.ok().map(received)
    }

    /// For `select`, when it is unwound or has something else: leaves the line.
    pub(crate) fn forget(&self, key: Place) {
        leave::<Waiters<T>>(&self.state, key);
    }
}

fn received<T: Clone>(outcome: Arc<Outcome<T>>) -> Result<T, EventError> {
    // The last one to ask need not clone.
    Arc::unwrap_or_clone(outcome).map_err(EventError::Failed)
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
