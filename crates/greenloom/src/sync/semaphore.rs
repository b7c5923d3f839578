//! Semaphores.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use greenloom_hub::Time;

use super::{granted_in_time, must_be_granted};
use crate::runtime::error::Refused;
use crate::runtime::held::Takers;
use crate::runtime::line::{Granted, Line, LineRules, Ungranted, deadline, lock, wait, wake};

/// A number of permits. Its waiters get them in the order in which they came: a permit that is released while
/// somebody waits goes to the first of them, and later ones queue behind. [`Semaphore::try_acquire`] takes what
/// is free.
///
/// Semantics: eventlet's `Semaphore`.
///
/// ```
/// use greenloom::sync::Semaphore;
///
/// let two = Semaphore::new(2);
/// let first = two.acquire();
/// let second = two.acquire();
/// assert!(two.try_acquire().is_none());
/// drop(first);
/// assert_eq!(two.available(), 1);
/// # drop(second);
/// ```
pub struct Semaphore {
    state: Mutex<State>,
}

struct State {
    available: usize,
    waiters: Line<(), ()>,
    takers: Takers,
}

impl State {
    /// Gives a permit to the first in line, or sets it aside.
    fn release(&mut self) -> Option<Granted> {
        let first = self.waiters.grant(|()| ());
        if first.is_none() {
            self.available += 1;
        }
        first
    }
}

/// The waiters.
struct Waiters;

impl LineRules for Waiters {
    type State = State;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "semaphore";

    fn line(state: &mut State) -> &mut Line<(), ()> {
        &mut state.waiters
    }

    fn take_back(state: &mut State, _: ()) -> Option<Granted> {
        state.release()
    }
}

/// A permit; dropping it releases it.
#[must_use = "a permit that is dropped at once is released at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
}

impl Permit<'_> {
    /// Keeps the permit for good: it is released by [`Semaphore::release`], by anyone.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.release();
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

impl Semaphore {
    /// A semaphore with so many permits.
    pub const fn new(permits: usize) -> Semaphore {
        Semaphore {
            state: Mutex::new(State { available: permits, waiters: Line::new(), takers: Takers::new(permits) }),
        }
    }

    /// Parks until there is a permit and takes it.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    #[inline]
    pub fn acquire(&self) -> Permit<'_> {
        must_be_granted(self.wait(|| None));
        Permit { semaphore: self }
    }

    /// As [`Semaphore::acquire`], at most for `timeout`.
    ///
    /// # Panics
    /// As there.
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        granted_in_time(self.wait(|| deadline(timeout))).map(|()| Permit { semaphore: self })
    }

    /// Takes a permit if one is free, even while others wait for more.
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        let mut state = lock(&self.state);
        state.available = state.available.checked_sub(1)?;
        state.takers.take();
        drop(state);
        Some(Permit { semaphore: self })
    }

    /// Releases a permit, one that was [forgotten](Permit::forget) or a new one. Never switches.
    pub fn release(&self) {
        let first = lock(&self.state).release();
        wake::<Waiters>(&self.state, first);
    }

    /// As [`Semaphore::acquire`], with the permit forgotten and an error where waiting is not possible.
    pub(crate) fn acquire_or_refuse(&self) -> Result<(), Refused> {
        match self.wait(|| None) {
            Ok(()) => Ok(()),
            Err(Ungranted::Refused(refused, ())) => Err(refused),
            Err(Ungranted::TimedOut(())) => unreachable!("there was no deadline"),
        }
    }

    #[inline]
    fn wait(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<(), Ungranted<()>> {
        let mut state = lock(&self.state);
        if state.available > 0 {
            state.available -= 1;
            state.takers.take();
            return Ok(());
        }
        let noted = state.takers.wait();
        wait::<Waiters>(&self.state, (), state, deadline())?;
        if let Some(taken) = noted {
            taken.take();
        }
        Ok(())
    }

    /// Takes `count` permits away, now or as soon as they are released, without waiting. Returns how many are owed
    /// still.
    pub(crate) fn take_away(&self, count: usize) -> usize {
        let mut state = lock(&self.state);
        let now = state.available.min(count);
        state.available -= now;
        count - now
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        lock(&self.state).available
    }

    /// How many wait for one.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiters.len()
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Semaphore").field("available", &state.available).field("waiting", &state.waiters.len()).finish()
    }
}

/// A [`Semaphore`] that never has more permits than it began with.
///
/// ```
/// use greenloom::sync::BoundedSemaphore;
///
/// let one = BoundedSemaphore::new(1);
/// one.acquire().forget();
/// one.release()?;
/// assert!(one.release().is_err());
/// # Ok::<(), greenloom::sync::OverReleased>(())
/// ```
#[derive(Debug)]
pub struct BoundedSemaphore {
    semaphore: Semaphore,
    bound: usize,
}

/// A permit was released that nobody had taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverReleased;

impl fmt::Display for OverReleased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was released more often than acquired")
    }
}

impl std::error::Error for OverReleased {}

impl BoundedSemaphore {
    /// A semaphore with so many permits, and never more.
    pub const fn new(permits: usize) -> BoundedSemaphore {
        BoundedSemaphore { semaphore: Semaphore::new(permits), bound: permits }
    }

    /// As [`Semaphore::acquire`].
    pub fn acquire(&self) -> Permit<'_> {
        self.semaphore.acquire()
    }

    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_timeout(&self, timeout: Duration) -> Option<Permit<'_>> {
        self.semaphore.acquire_timeout(timeout)
    }

    /// As [`Semaphore::try_acquire`].
    pub fn try_acquire(&self) -> Option<Permit<'_>> {
        self.semaphore.try_acquire()
    }

    /// Releases a permit that was [forgotten](Permit::forget).
    ///
    /// # Errors
    /// [`OverReleased`], and nothing changes.
    pub fn release(&self) -> Result<(), OverReleased> {
        let mut state = lock(&self.semaphore.state);
        if state.available >= self.bound {
            return Err(OverReleased);
        }
        let first = state.release();
        drop(state);
        wake::<Waiters>(&self.semaphore.state, first);
        Ok(())
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        self.semaphore.available()
    }
}

/// A semaphore with two ends: acquiring waits while it is empty, releasing waits while it is full.
///
/// Semantics: eventlet's `CappedSemaphore`.
///
/// ```
/// use greenloom::sync::CappedSemaphore;
///
/// let capped = CappedSemaphore::new(1, 2);
/// capped.release(); // now it is full, and one more would wait
/// assert!(!capped.release_timeout(std::time::Duration::from_millis(1)));
/// capped.acquire();
/// assert_eq!(capped.available(), 1);
/// ```
#[derive(Debug)]
pub struct CappedSemaphore {
    permits: Semaphore,
    room: Semaphore,
}

impl CappedSemaphore {
    /// A semaphore with `permits` of at most `limit`.
    ///
    /// # Panics
    /// When there are more permits than the limit allows.
    pub const fn new(permits: usize, limit: usize) -> CappedSemaphore {
        assert!(permits <= limit, "more permits than the limit allows");
        CappedSemaphore { permits: Semaphore::new(permits), room: Semaphore::new(limit - permits) }
    }

    /// Parks until there is a permit and takes it.
    ///
    /// # Panics
    /// As [`Semaphore::acquire`].
    pub fn acquire(&self) {
        self.permits.acquire().forget();
        self.room.release();
    }

    /// As [`CappedSemaphore::acquire`], at most for `timeout`; returns whether it has a permit.
    ///
    /// # Panics
    /// As [`Semaphore::acquire`].
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        let Some(permit) = self.permits.acquire_timeout(timeout) else { return false };
        permit.forget();
        self.room.release();
        true
    }

    /// Parks until there is room for a permit and adds it.
    ///
    /// # Panics
    /// As [`Semaphore::acquire`].
    pub fn release(&self) {
        self.room.acquire().forget();
        self.permits.release();
    }

    /// As [`CappedSemaphore::release`], at most for `timeout`; returns whether the permit was added.
    ///
    /// # Panics
    /// As [`Semaphore::acquire`].
    pub fn release_timeout(&self, timeout: Duration) -> bool {
        let Some(room) = self.room.acquire_timeout(timeout) else { return false };
        room.forget();
        self.permits.release();
        true
    }

    /// How many permits are free.
    pub fn available(&self) -> usize {
        self.permits.available()
    }
}
