//! The clock, and spans of time as Python gives them: in seconds.

use std::time::Duration;

use greenloom_hub::Time;

use crate::py::ffi::{self, PyMethodDef};
use crate::py::object::Object;
use crate::py::{self, Args, Gil, Owned, Result};

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

/// What fits into CPython's count of nanoseconds, about 292 years: `threading.TIMEOUT_MAX`, but for the fraction.
const MOST_SECONDS: f64 = i64::MAX as f64 / 1e9;

/// The seconds in a timeout; every wait that takes one checks it here, as CPython's functions of C do. Beside their
/// floats and integers stock eventlet takes all that can be made a float, so that does too.
///
/// # Errors
/// TypeError for what is no number, ValueError for NaN, OverflowError beyond `threading.TIMEOUT_MAX` in either
/// direction.
pub fn timeout(object: Object<'_>) -> Result<f64> {
    let seconds = object.float()?;
    if seconds.is_nan() {
        return py::value_error(object.gil(), "Invalid value NaN (not a number)");
    }
    if seconds.abs() >= MOST_SECONDS {
        return py::overflow_error(object.gil(), "timeout value is too large");
    }
    Ok(seconds)
}

/// How long one waits to acquire something.
#[derive(Clone, Copy)]
pub enum Patience {
    /// Not at all.
    None,
    /// So many seconds.
    Seconds(f64),
    /// As long as it takes.
    Endless,
}

/// The patience in the arguments of an `acquire`, which are checked as those of `threading`'s locks.
///
/// # Errors
/// Those of [`timeout`]; ValueError if it is negative, except -1, which stands for none, or with `blocking` false.
pub fn patience(gil: Gil<'_>, blocking: Option<Object<'_>>, limit: Option<Object<'_>>) -> Result<Patience> {
    let blocking = blocking.map_or(Ok(true), Object::truth)?;
    let seconds = limit.map_or(Ok(-1.0), timeout)?;
    match (blocking, seconds) {
        (true, -1.0) => Ok(Patience::Endless),
        (false, -1.0) => Ok(Patience::None),
        (false, _) => py::value_error(gil, "can't specify a timeout for a non-blocking call"),
        (true, seconds) if seconds < 0.0 => py::value_error(gil, "timeout value must be a non-negative number"),
        (true, seconds) => Ok(Patience::Seconds(seconds)),
    }
}

/// The functions of the module about this.
pub fn functions() -> Vec<PyMethodDef> {
    vec![py::function(
        c"_timeout",
        timeout_from_python,
        c"_timeout(seconds)\n\nThe seconds in a timeout, as a float. What CPython's functions of C refuse is refused \
          with their TypeError, ValueError or OverflowError; negative ones are not.",
    )]
}

fn timeout_from_python(args: Args<'_>) -> Result<Owned> {
    let ([seconds], []) = args.parse("_timeout", ["seconds"], [])?;
    // SAFETY: the lock is held during the call. Plus zero, as C's zero has no sign.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(timeout(seconds)? + 0.0)) }
}

/// When a timeout, which starts now, is over; none without one, or for None. Negative ones are over.
///
/// # Errors
/// Those of [`timeout`].
pub fn deadline(seconds: Option<Object<'_>>) -> Result<Option<Time>> {
    let Some(seconds) = seconds.and_then(Object::unless_none) else { return Ok(None) };
    Ok(Some(monotonic() + duration(timeout(seconds)?)))
}

/// The point that many seconds after `now`, or before it if they are negative.
pub fn after(now: Time, seconds: f64) -> Time {
    if seconds >= 0.0 {
        now + duration(seconds)
    } else {
        Time::from_nanos(now.as_nanos().saturating_sub(duration(-seconds).as_nanos() as u64))
    }
}
