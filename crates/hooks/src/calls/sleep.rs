//! Waiting for time to pass. A sleep that is given up ends early and says that it is over: callers start one that was
//! interrupted anew, again and again. After a signal it ends early, too, and says what is left, as the system's does.

use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use super::poll::is_valid;
use crate::current;
use crate::host::{Host, Wait};
use crate::real;
use crate::wait::{Deadline, duration, errno, fail, in_signal_handler, set_errno};

fn host() -> Option<&'static dyn Host> {
    current::here().filter(|_| !in_signal_handler())
}

/// Sleeps; after a signal, returns how long it would have gone on.
fn sleep_for(host: &dyn Host, time: Duration) -> Option<Duration> {
    let (before, deadline) = (errno(), Deadline::after(Some(time)));
    let waited = if time.is_zero() {
        host.yield_now();
        Wait::TimedOut
    } else {
        host.sleep(time)
    };
    set_errno(before);
    (waited == Wait::Signalled).then(|| deadline.left().unwrap_or(time))
}

/// # Safety
/// Null, or room for a time.
unsafe fn tell(place: *mut timespec, left: Duration) {
    // SAFETY: the caller's contract.
    if let Some(place) = unsafe { place.as_mut() } {
        place.tv_sec = left.as_secs().try_into().unwrap_or(time_t::MAX);
        place.tv_nsec = left.subsec_nanos().into();
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's contract: null, which is refused, or a time.
    let valid = unsafe { time.as_ref() }.filter(|time| is_valid(time));
    match (host(), valid) {
        (Some(host), Some(time)) => match sleep_for(host, duration(time.tv_sec, time.tv_nsec)) {
            None => 0,
            Some(rest) => {
                // SAFETY: the caller's contract.
                unsafe { tell(left, rest) };
                fail(EINTR) as c_int
            }
        },
        // SAFETY: the caller's contract.
        _ => unsafe { real::nanosleep(time, left) },
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn clock_nanosleep(clock: clockid_t, flags: c_int, time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's contract: null, which is refused, or a time.
    let valid = unsafe { time.as_ref() }.filter(|time| is_valid(time));
    // A clock of the processor's time does not go on while we are parked.
    let known = matches!(clock, CLOCK_MONOTONIC | CLOCK_REALTIME | CLOCK_BOOTTIME | CLOCK_TAI);
    let (Some(host), Some(time)) = (host().filter(|_| known), valid) else {
        // SAFETY: the caller's contract.
        return unsafe { real::clock_nanosleep(clock, flags, time, left) };
    };
    let mut wanted = duration(time.tv_sec, time.tv_nsec);
    if flags & TIMER_ABSTIME != 0 {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it lives over the call.
        unsafe { clock_gettime(clock, &raw mut now) };
        wanted = wanted.saturating_sub(duration(now.tv_sec, now.tv_nsec));
    }
    let Some(rest) = sleep_for(host, wanted) else { return 0 };
    if flags & TIMER_ABSTIME == 0 {
        // SAFETY: the caller's contract.
        unsafe { tell(left, rest) };
    }
    EINTR
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn usleep(microseconds: c_uint) -> c_int {
    match host() {
        Some(host) if sleep_for(host, Duration::from_micros(microseconds.into())).is_some() => fail(EINTR) as c_int,
        Some(_) => 0,
        // SAFETY: the caller's contract.
        None => unsafe { real::usleep(microseconds) },
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sleep(seconds: c_uint) -> c_uint {
    match host() {
        // What is left, to the nearest second.
        Some(host) => sleep_for(host, Duration::from_secs(seconds.into()))
            .map_or(0, |rest| c_uint::try_from((rest + Duration::from_millis(500)).as_secs()).unwrap_or(seconds)),
        // SAFETY: the caller's contract.
        None => unsafe { real::sleep(seconds) },
    }
}
