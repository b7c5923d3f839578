//! When a caller's limit is over. One longer than any clock is none.

use std::time::Duration;

use greenloom::hub::now;

/// As good as without a limit: 34 years.
pub(crate) const FOREVER: Duration = Duration::from_secs(1 << 30);

/// A moment on the hub's clock. Every step of an operation takes what is left until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Duration);

impl Deadline {
    pub fn after(limit: Duration) -> Deadline {
        Deadline::from(now(), limit)
    }

    /// For callers that have just looked at the clock.
    pub fn from(now: Duration, limit: Duration) -> Deadline {
        Deadline(now.saturating_add(limit.min(FOREVER)))
    }

    /// That moment on the hub's clock.
    pub fn until(at: Duration) -> Deadline {
        Deadline(at)
    }

    /// What is left; zero when it is over.
    pub fn left(self) -> Duration {
        self.0.saturating_sub(now())
    }

    /// The moment itself.
    pub fn at(self) -> Duration {
        self.0
    }

    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}
