//! What a suspended greenlet waits for, and how old it is, for those who look.
//!
//! Births, and who has taken a lock, are noted only since the process can be looked into.

use std::sync::OnceLock;
use std::time::Duration;

use greenloom_fiber::Ticks;

pub use super::awaited::{At, Awaited, Life, Wait};
use super::body::{PyGreenlet, State, body};
use super::thread::Here;
use crate::py::Gil;

/// Set since the process can be looked into.
static CLOCK: OnceLock<Ticks> = OnceLock::new();

/// From now on births, and who has taken a lock, are noted.
pub fn begin_to_note() {
    CLOCK.get_or_init(Ticks::new);
}

/// Whether they are.
#[inline]
pub fn is_noted() -> bool {
    CLOCK.get().is_some()
}

/// The time of a birth; 0 if those are not noted.
#[inline]
pub fn birth() -> u64 {
    CLOCK.get().map_or(0, |clock| clock.now().max(1))
}

/// Who runs, if that is noted.
#[inline]
pub fn taker(gil: Gil<'_>) -> Option<Life> {
    CLOCK.get()?;
    super::here(gil).ok().map(|thread| Life::of_running(thread))
}

impl Life {
    fn of_running(thread: Here<'_>) -> Life {
        // SAFETY: the running greenlet.
        unsafe { Life::of(thread.current()) }
    }

    /// Of a greenlet.
    ///
    /// # Safety
    /// A live greenlet.
    pub unsafe fn of(greenlet: *mut PyGreenlet) -> Life {
        // SAFETY: a live greenlet.
        Life { address: greenlet as usize, began: unsafe { body(greenlet).began.get() } }
    }

    /// Of a greenlet that has begun and not ended.
    ///
    /// # Safety
    /// A live greenlet.
    pub unsafe fn of_active(greenlet: *mut PyGreenlet) -> Option<Life> {
        // SAFETY: a live greenlet.
        unsafe { body(greenlet).is_active().then(|| Life::of(greenlet)) }
    }

    /// How long ago it began, if that was noted.
    pub fn age(self) -> Option<Duration> {
        let clock = CLOCK.get().filter(|_| self.began > 0)?;
        let ticks = clock.now().saturating_sub(self.began);
        Some(Duration::from_nanos((ticks as f64 * clock.length()) as u64))
    }
}

/// Calls `park` while the running greenlet's record has this wait.
#[inline]
pub fn with_wait<R>(thread: Here<'_>, wait: &Wait<'_>, park: impl FnOnce() -> R) -> R {
    // SAFETY: the running greenlet, which is the same one and alive afterwards.
    let place = unsafe { &body(thread.current()).wait };
    // One within another: a hub that is written in Python may park in the middle of it.
    let before = place.replace(std::ptr::from_ref(wait).cast());
    let result = park();
    place.set(before);
    result
}

/// The wait of a suspended greenlet, as long as the look takes.
///
/// # Safety
/// A live greenlet.
pub unsafe fn wait_of<'a>(_: Gil<'a>, greenlet: *mut PyGreenlet) -> Option<&'a Wait<'a>> {
    // SAFETY: a live greenlet. What is active and not current is suspended, on a stack of its own, where its wait lies;
    // it does not go on as long as the lock is held.
    unsafe {
        let body = body(greenlet);
        let is_suspended = body.state.get() == State::Active && !body.is_current(greenlet);
        if is_suspended { body.wait.get().as_ref() } else { None }
    }
}
