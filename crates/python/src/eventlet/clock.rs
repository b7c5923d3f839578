//! The clock, and spans of time as Python gives them: in seconds.

use std::time::Duration;

use ::hub::Time;

/// The time of CLOCK_MONOTONIC, as `time.monotonic` has it.
#[inline]
pub fn monotonic() -> Time {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: an out parameter; this clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Time::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

/// A point in time in seconds.
pub fn seconds(time: Time) -> f64 {
    time.as_nanos() as f64 / 1e9
}

/// The point in time of a number of seconds.
pub fn from_seconds(seconds: f64) -> Time {
    // Saturates; NaN becomes zero.
    Time::from_nanos((seconds * 1e9) as u64)
}

/// A time span; negative ones and NaN count as none, infinite ones as for ever.
pub fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// The point that many seconds after `now`, or before it if they are negative.
pub fn after(now: Time, seconds: f64) -> Time {
    if seconds >= 0.0 {
        now + duration(seconds)
    } else {
        Time::from_nanos(now.as_nanos().saturating_sub(duration(-seconds).as_nanos() as u64))
    }
}
