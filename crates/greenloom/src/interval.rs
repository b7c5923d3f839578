//! Something that happens again and again.

use std::time::Duration;

use greenloom_hub::Time;

use crate::runtime::error::Refused;
use crate::runtime::here;
use crate::runtime::park::prepare;

/// Ticks every `period`, for the first time at once.
///
/// Semantics: `tokio::time::interval`.
///
/// # Panics
/// When the period is zero.
///
/// ```
/// use greenloom::{hub::now, interval, testing::Simulation};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let ticks = Simulation::new().run(move || {
///     let mut interval = interval(second);
///     (0..3).map(|_| { interval.tick(); now() }).collect::<Vec<_>>()
/// });
/// assert_eq!(ticks.unwrap(), [0 * second, 1 * second, 2 * second]);
/// ```
pub fn interval(period: Duration) -> Interval {
    interval_after(Duration::ZERO, period)
}

/// Ticks every `period`, for the first time after `delay`.
///
/// # Panics
/// As [`interval`].
///
/// ```
/// use greenloom::{hub::now, interval_after, testing::Simulation};
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let ticks = Simulation::new().run(move || {
///     let mut interval = interval_after(5 * second, second);
///     (0..2).map(|_| { interval.tick(); now() }).collect::<Vec<_>>()
/// });
/// assert_eq!(ticks.unwrap(), [5 * second, 6 * second]);
/// ```
pub fn interval_after(delay: Duration, period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period above zero");
    Interval { next: here().now() + delay, period, missed: MissedTickBehavior::default() }
}

/// What happens after a tick that was late by more than 5 ms: because the caller came late, or because
/// something kept the OS thread busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Those that were missed come at once, one after another, until they have caught up.
    #[default]
    Burst,
    /// The next one comes a period after the late one, and all later ones are shifted.
    Delay,
    /// Those that were missed are left out; the next one comes when it would have come anyway.
    Skip,
}

/// Ticks; see [`interval`].
#[derive(Debug)]
#[must_use = "an interval does nothing until it ticks"]
pub struct Interval {
    next: Time,
    period: Duration,
    missed: MissedTickBehavior,
}

/// How late a tick may be and still be taken for one in time: tokio's figure.
const TOLERANCE: Duration = Duration::from_millis(5);

impl Interval {
    /// Parks until the next tick and returns the time on the hub's clock at which it was due. One that is due already
    /// lets others that are ready run first. A kill or a timeout meanwhile takes no tick away.
    ///
    /// Returns at once in the destructor of a thread-local that comes after the hub's end.
    ///
    /// # Panics
    /// In a function that the hub calls, and while a panic unwinds.
    pub fn tick(&mut self) -> Time {
        let due = self.next;
        match prepare() {
            Ok(ticket) => {
                ticket.park("interval", Some(due));
            }
            Err(Refused::ThreadEnding) => {}
            Err(refused) => refused.raise(),
        }
        let now = here().now();
        self.next = if now > due + TOLERANCE { self.after_missed(due, now) } else { due + self.period };
        due
    }

    fn after_missed(&self, due: Time, now: Time) -> Time {
        match self.missed {
            MissedTickBehavior::Burst => due + self.period,
            MissedTickBehavior::Delay => now + self.period,
            MissedTickBehavior::Skip => {
                let late = (now - due).as_nanos() % self.period.as_nanos();
                // Less than the period, which is a duration.
                let late = Duration::new((late / 1_000_000_000) as u64, (late % 1_000_000_000) as u32);
                now + (self.period - late)
            }
        }
    }

    /// What happens after a late tick.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Says what happens after a late tick; [`MissedTickBehavior::Burst`] if nothing is said.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// Makes the next tick come a period from now.
    pub fn reset(&mut self) {
        self.next = here().now() + self.period;
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }
}
