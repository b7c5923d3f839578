//! A mutual exclusion lock.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::{Permit, Semaphore};
use crate::runtime::line::lock;

/// A lock around a value. Waiting for it parks the green thread; it may be held while other green threads run.
///
/// It is not poisoned: a panic releases it.
///
/// ```
/// use greenloom::{scope, sleep, sync::Mutex};
/// use std::time::Duration;
///
/// let total = Mutex::new(0);
/// scope(|scope| {
///     for _ in 0..10 {
///         scope.spawn(|| {
///             let mut total = total.lock();
///             let before = *total;
///             sleep(Duration::from_micros(10)); // others run, and wait
///             *total = before + 1;
///         });
///     }
/// });
/// assert_eq!(total.into_inner(), 10);
/// ```
pub struct Mutex<T: ?Sized> {
    turn: Semaphore,
    /// The holder of the turn has this to itself, so this lock is never waited for.
    value: std::sync::Mutex<T>,
}

/// Access to the value of a [`Mutex`]. Fields drop in order: the value is let go before the turn.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct MutexGuard<'a, T: ?Sized> {
    value: std::sync::MutexGuard<'a, T>,
    _turn: Permit<'a>,
    pub(super) mutex: &'a Mutex<T>,
}

impl<T> Mutex<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { turn: Semaphore::new(1), value: std::sync::Mutex::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Parks until the lock is free and takes it.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super). A green thread that locks twice waits for ever, as with
    /// any lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.guard(self.turn.acquire())
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        Some(self.guard(self.turn.try_acquire()?))
    }

    /// As [`Mutex::lock`], at most for `timeout`.
    ///
    /// # Panics
    /// As there.
    pub fn lock_timeout(&self, timeout: Duration) -> Option<MutexGuard<'_, T>> {
        Some(self.guard(self.turn.acquire_timeout(timeout)?))
    }

    #[inline]
    fn guard<'a>(&'a self, turn: Permit<'a>) -> MutexGuard<'a, T> {
        MutexGuard { value: lock(&self.value), _turn: turn, mutex: self }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").field("locked", &(self.turn.available() == 0)).finish_non_exhaustive()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
