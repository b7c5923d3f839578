//! Timeouts: a scope that interrupts any park inside it.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::runtime::error::Expired;
use crate::runtime::here;
use crate::runtime::node::{AnyGreenlet, Extra, TimeLimit, Wake};

/// The time of a [`timeout`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    /// The time that was given.
    pub after: Duration,
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.after)
    }
}

impl Error for Elapsed {}

/// Runs `body`; if it is not done after `after`, unwinds it from where it is parked, or from where it next parks.
///
/// It only acts where the green thread parks: a computation that never blocks is not interrupted, and its result counts
/// even if it is late. Scopes nest; each catches its own end only, and an outer one that expires unwinds the inner
/// ones. A `body` that swallows the unwind meets it again at its next park, as long as it is in the scope.
///
/// Semantics: eventlet's `with_timeout`.
///
/// # Errors
/// [`Elapsed`].
///
/// ```
/// use greenloom::{sleep, timeout};
/// use std::time::Duration;
///
/// let millis = Duration::from_millis;
/// assert!(timeout(millis(5), || sleep(millis(5_000))).is_err());
/// assert_eq!(timeout(millis(5_000), || 42), Ok(42));
/// ```
pub fn timeout<R>(after: Duration, body: impl FnOnce() -> R) -> Result<R, Elapsed> {
    let runtime = here();
    let me = runtime.current();
    let limit = runtime.next_ticket();
    let weak = me.downgrade();
    let expire = move || {
        let Some(greenlet) = weak.upgrade() else { return };
        let node = greenlet.node();
        let mut extra = node.extra.borrow_mut();
        let Some(extra) = extra.as_mut() else { return };
        let Some(limit) = extra.limits.iter_mut().find(|candidate| candidate.id == limit) else { return };
        limit.expired = true;
        runtime.change_interrupts(&greenlet, |interrupts| interrupts.set_expired(true));
        runtime.wake(node.slot.get(), node.ticket.get(), Wake::Interrupted);
    };
    with_limits(&me, |limits| limits.push(TimeLimit { id: limit, expired: false }));
    drop(me);
    let timer = runtime.add_call_timer(runtime.now() + after, Box::new(expire));
    let result = catch_unwind(AssertUnwindSafe(body));
    if let Some(timer) = timer {
        runtime.cancel_timer(timer);
    }
    let me = runtime.current();
    let expired = with_limits(&me, |limits| {
        limits.retain(|candidate| candidate.id != limit);
        limits.iter().any(|limit| limit.expired)
    });
    runtime.change_interrupts(&me, |interrupts| interrupts.set_expired(expired));
    drop(me);
    match result {
        Ok(value) => Ok(value),
        Err(payload) if payload.downcast_ref::<Expired>().is_some_and(|expired| expired.limit == limit) => {
            Err(Elapsed { after })
        }
        Err(payload) => resume_unwind(payload),
    }
}

fn with_limits<R>(greenlet: &AnyGreenlet, f: impl FnOnce(&mut Vec<TimeLimit>) -> R) -> R {
    f(&mut greenlet.node().extra.borrow_mut().get_or_insert_with(|| Box::new(Extra::default())).limits)
}
