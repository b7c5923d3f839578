//! Timeouts: a scope that interrupts any park inside it.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::hub::with_hub;
use crate::node::{Extra, Scope, Wake};

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

/// What unwinds a green thread out of an expired scope.
pub(crate) struct Expired {
    pub scope: u64,
}

/// Runs `body`; if it is not done after `after`, unwinds it from where it is parked, or from where it next parks.
///
/// It only acts where the green thread parks: a computation that never blocks is not interrupted, and its result counts even if
/// it is late. Scopes nest; each catches its own end only, and an outer one that expires unwinds the inner ones. A `body`
/// that swallows the unwind meets it again at its next park, as long as it is in the scope.
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
    let (scope, timer) = with_hub(|hub| {
        let me = hub.current();
        let scope = hub.next_ticket();
        let mut extra = me.node().extra.borrow_mut();
        extra.get_or_insert_with(|| Box::new(Extra::default())).timeouts.push(Scope { id: scope, expired: false });
        drop(extra);
        let weak = me.downgrade();
        let expire = move || {
            let Some(greenlet) = weak.upgrade() else { return };
            let node = greenlet.node();
            let mut extra = node.extra.borrow_mut();
            let Some(extra) = extra.as_mut() else { return };
            let Some(scope) = extra.timeouts.iter_mut().find(|candidate| candidate.id == scope) else { return };
            scope.expired = true;
            with_hub(|hub| {
                hub.change_interrupts(&greenlet, |interrupts| interrupts.expired = true);
                hub.wake(node.slot.get(), node.ticket.get(), Wake::Interrupted);
            });
        };
        (scope, hub.add_call_timer(hub.now() + after, Box::new(expire)))
    });
    let result = catch_unwind(AssertUnwindSafe(body));
    with_hub(|hub| {
        hub.cancel_timer(timer);
        let me = hub.current();
        let mut extra = me.node().extra.borrow_mut();
        let timeouts = &mut extra.as_mut().expect("the scope is in it").timeouts;
        timeouts.retain(|candidate| candidate.id != scope);
        let expired = timeouts.iter().any(|scope| scope.expired);
        hub.change_interrupts(&me, |interrupts| interrupts.expired = expired);
    });
    match result {
        Ok(value) => Ok(value),
        Err(payload) if payload.downcast_ref::<Expired>().is_some_and(|expired| expired.scope == scope) => {
            Err(Elapsed { after })
        }
        Err(payload) => resume_unwind(payload),
    }
}
