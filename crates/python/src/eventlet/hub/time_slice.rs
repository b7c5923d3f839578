//! How much a green thread may do at a stretch without parking.
//!
//! What returns at once, again and again, would keep everybody else from running: reads of a socket that always has
//! data, a `select` that always finds something, a lock that nobody else wants. All of that spends from one time slice
//! of the hub, which every switch of the hub's renews. Ordinary code never gets as far as to read the clock.
//!
//! Of a loop around `select` nobody expects that it keeps others from running: on stock each call lets them. So its
//! turn is over much sooner.

use std::cell::Cell;
use std::time::Duration;

use greenloom_hub::Time;

use crate::eventlet::clock::monotonic;

/// After how much of it the clock is read. One is what a lock costs that is free.
const BETWEEN_LOOKS: u32 = 256;

/// How long others wait then, at least.
const LENGTH: Duration = Duration::from_millis(10);

/// The same for looks at files: a turn for others costs about 2 % of it.
const LENGTH_OF_LOOKS: Duration = Duration::from_micros(100);

/// What has been spent since the last switch.
#[derive(Default)]
pub struct TimeSlice {
    spent: Cell<u32>,
    /// When the clock was read first since then.
    since: Cell<Time>,
}

impl TimeSlice {
    /// Somebody else runs.
    #[inline]
    pub fn renew(&self) {
        self.spent.set(0);
    }

    /// Spends from it. Returns whether it is time for others.
    #[inline]
    pub fn spend(&self, cost: u32) -> bool {
        let before = self.spent.get();
        let spent = before.wrapping_add(cost);
        self.spent.set(spent);
        before / BETWEEN_LOOKS != spent / BETWEEN_LOOKS && self.is_over(before, LENGTH)
    }

    /// As [`spend`](Self::spend), for a look at files.
    pub fn look(&self) -> bool {
        let before = self.spent.get();
        self.spent.set(before.wrapping_add(BETWEEN_LOOKS));
        self.is_over(before, LENGTH_OF_LOOKS)
    }

    #[cold]
    fn is_over(&self, before: u32, length: Duration) -> bool {
        let now = monotonic();
        if before < BETWEEN_LOOKS {
            self.since.set(now);
            return false;
        }
        now.since(self.since.get()) >= length
    }
}
