//! Waiting for time to pass. A sleep that is given up ends early and says that it is over: callers start one that was
//! interrupted anew, again and again.

use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use super::poll::is_valid;
use crate::current;
use crate::host::Host;
use crate::real;
use crate::wait::{duration, errno, in_signal_handler, set_errno};

fn host() -> Option<&'static dyn Host> {
    current::here().filter(|_| !in_signal_handler())
}

fn sleep_for(host: &dyn Host, time: Duration) {
    let before = errno();
    if time.is_zero() {
        host.yield_now();
    } else {
        host.sleep(time);
    }
    set_errno(before);
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: the caller's contract: null, which is refused, or a time.
    let valid = unsafe { time.as_ref() }.filter(|time| is_valid(time));
    match (host(), valid) {
        (Some(host), Some(time)) => {
            sleep_for(host, duration(time.tv_sec, time.tv_nsec));
            0
        }
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
    sleep_for(host, wanted);
    0
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn usleep(microseconds: c_uint) -> c_int {
    match host() {
        Some(host) => {
            sleep_for(host, Duration::from_micros(microseconds.into()));
            0
        }
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
        Some(host) => {
            sleep_for(host, Duration::from_secs(seconds.into()));
            0
        }
        // SAFETY: the caller's contract.
        None => unsafe { real::sleep(seconds) },
    }
}
