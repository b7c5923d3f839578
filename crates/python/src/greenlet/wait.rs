//! What a suspended greenlet waits for, and how old it is, for those who look.
//!
//! Births, and who has taken a lock, are noted only since the process can be looked into.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use greenloom_fiber::Births;

pub use super::awaited::{At, Awaited, Life, Wait};
use super::body::{PyGreenlet, State, body};
use super::thread::Here;
use crate::py::Gil;

/// They, and who has taken a lock, are noted since the process can be looked into. What ticks needs no lock.
pub static BIRTHS: Births = Births::new();

/// Whether they are.
#[inline]
pub fn is_noted() -> bool {
    BIRTHS.are_noted()
}

/// The last birth. Changed by holders of the interpreter's lock only.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The time of a birth, which no other one has; 0 if those are not noted.
#[inline]
pub fn birth(_: Gil<'_>) -> u64 {
    let now = BIRTHS.now();
    if now == 0 {
        return 0;
    }
    let birth = now.max(LAST.load(Ordering::Relaxed) + 1);
    LAST.store(birth, Ordering::Relaxed);
    birth
}

/// Who runs, if that is noted.
#[inline]
pub fn taker(gil: Gil<'_>) -> Option<Life> {
    if !is_noted() {
        return None;
    }
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
        BIRTHS.age(self.began)
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
