//! What a hub has done and how late it was: counted by its OS thread, read by any.
//!
//! Only one OS thread writes, so that a count is a load and a store, and no operation locks the memory bus.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::Time;

/// The counters of a hub.
#[derive(Debug, Default)]
pub struct Statistics {
    switches: AtomicU64,
    turns: AtomicU64,
    timers: AtomicU64,
    // In nanoseconds, and the last one of the hub's clock.
    timer_lag: AtomicU64,
    longest_timer_lag: AtomicU64,
    longest_block: AtomicU64,
    looked_at: AtomicU64,
    waits: AtomicBool,
}

/// What [`Statistics`] said at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often control has passed from one greenlet to another.
    pub switches: u64,
    /// How often the loop has looked at timers and I/O.
    pub turns: u64,
    /// How many timers have fired.
    pub timers: u64,
    /// How late the last of them was.
    pub timer_lag: Duration,
    /// The most that one was.
    pub longest_timer_lag: Duration,
    /// The longest that what runs has kept the loop from looking at timers and I/O.
    pub longest_block: Duration,
}

impl Statistics {
    /// Of a loop that begins now.
    pub fn new(now: Time) -> Statistics {
        let statistics = Statistics::default();
        statistics.looked(now);
        statistics
    }

    /// A switch.
    #[inline]
    pub fn count_switch(&self) {
        add_one(&self.switches);
    }

    /// For an owner that counts switches by itself: how many there were.
    #[inline]
    pub fn set_switches(&self, switches: u64) {
        self.switches.store(switches, Ordering::Relaxed);
    }

    /// A timer fires, this late.
    #[inline]
    pub fn count_timer(&self, lag: Duration) {
        let lag = nanoseconds(lag);
        add_one(&self.timers);
        self.timer_lag.store(lag, Ordering::Relaxed);
        raise(&self.longest_timer_lag, lag);
    }

    /// The loop comes to look at timers and I/O: what ran since it last did has kept it so long.
    #[inline]
    pub fn count_look(&self, now: Time) {
        add_one(&self.turns);
        raise(&self.longest_block, nanoseconds(now.since(self.looked_at())));
        self.looked(now);
    }

    /// The loop has looked, and waited if there was nothing else to do.
    #[inline]
    pub fn looked(&self, now: Time) {
        self.looked_at.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// When that was.
    #[inline]
    pub fn looked_at(&self) -> Time {
        Time::from_nanos(self.looked_at.load(Ordering::Relaxed))
    }

    /// The loop begins or ends its wait for something to do.
    #[inline]
    pub fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Whether the loop waits for something to do, so that nothing keeps it from looking.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// All of it.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let time = |counter| Duration::from_nanos(read(counter));
        Counts {
            switches: read(&self.switches),
            turns: read(&self.turns),
            timers: read(&self.timers),
            timer_lag: time(&self.timer_lag),
            longest_timer_lag: time(&self.longest_timer_lag),
            longest_block: time(&self.longest_block),
        }
    }
}

#[inline]
fn add_one(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

#[inline]
fn raise(most: &AtomicU64, to: u64) {
    if to > most.load(Ordering::Relaxed) {
        most.store(to, Ordering::Relaxed);
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_what_ran_between_two_looks_and_not_the_wait_in_a_look() {
        let at = Time::from_nanos;
        let statistics = Statistics::new(at(100));
        statistics.count_look(at(130));
        statistics.looked(at(9_000));
        statistics.count_look(at(9_020));
        let counts = statistics.counts();
        assert_eq!((counts.turns, counts.longest_block), (2, Duration::from_nanos(30)));
        assert_eq!(statistics.looked_at(), at(9_020));
    }

    #[test]
    fn the_lag_is_the_last_timer_s_and_the_longest_stays() {
        let statistics = Statistics::default();
        for lag in [5, 70, 20] {
            statistics.count_timer(Duration::from_nanos(lag));
        }
        let counts = statistics.counts();
        assert_eq!((counts.timers, counts.timer_lag.as_nanos(), counts.longest_timer_lag.as_nanos()), (3, 20, 70));
    }
}
