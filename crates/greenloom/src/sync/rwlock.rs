//! A lock for many readers or one writer.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use greenloom_hub::Time;

use super::{granted_in_time, must_be_granted};
use crate::runtime::line::{Granted, Line, LineRules, Ungranted, deadline, lock, wait, wake};

/// A lock around a value for many readers or one writer, first come first served: a reader that comes after a waiting
/// writer waits behind it, so neither starves. It is not poisoned.
///
/// ```
/// use greenloom::sync::RwLock;
///
/// let value = RwLock::new(5);
/// {
///     let (one, two) = (value.read(), value.read());
///     assert_eq!(*one + *two, 10);
///     assert!(value.try_write().is_none());
/// }
/// *value.write() += 1;
/// assert_eq!(value.into_inner(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    state: Mutex<State>,
    /// `state` says who may have it, so this lock is never waited for.
    value: std::sync::RwLock<T>,
}

struct State {
    readers: usize,
    writer: bool,
    waiters: Line<Access, Access>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl State {
    fn may(&self, access: Access) -> bool {
        match access {
            Access::Read => !self.writer,
            Access::Write => !self.writer && self.readers == 0,
        }
    }

    fn take(&mut self, access: Access) {
        match access {
            Access::Read => self.readers += 1,
            Access::Write => self.writer = true,
        }
    }

    /// Takes access back, and gives it to the first in line if that has become possible.
    fn take_back(&mut self, access: Access) -> Option<Granted> {
        match access {
            Access::Read => self.readers -= 1,
            Access::Write => self.writer = false,
        }
        self.grant_next()
    }

    fn grant_next(&mut self) -> Option<Granted> {
        let access = *self.waiters.front()?;
        if !self.may(access) {
            return None;
        }
        self.take(access);
        self.waiters.grant(|access| access)
    }
}

/// The waiters.
struct Waiters;

impl LineRules for Waiters {
    type State = State;
    type Brings = Access;
    type Grant = Access;
    const WAITS_FOR: &'static str = "rwlock";

    fn line(state: &mut State) -> &mut Line<Access, Access> {
        &mut state.waiters
    }

    fn take_back(state: &mut State, access: Access) -> Option<Granted> {
        state.take_back(access)
    }

    fn left(state: &mut State) -> Option<Granted> {
        // A reader may have stood behind a writer that is gone.
        state.grant_next()
    }
}

impl<T> RwLock<T> {
    /// An unlocked lock around `value`.
    pub const fn new(value: T) -> RwLock<T> {
        let state = State { readers: 0, writer: false, waiters: Line::new() };
        RwLock { state: Mutex::new(state), value: std::sync::RwLock::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Parks until no writer has the lock or waits before us, and takes it for reading.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.read_guard(must_be_granted(self.acquire(Access::Read, || None)))
    }

    /// As [`RwLock::read`], at most for `timeout`.
    ///
    /// # Panics
    /// As there.
    ///
    /// ```
    /// let lock = greenloom::sync::RwLock::new(());
    /// let _writer = lock.write();
    /// assert!(lock.read_timeout(std::time::Duration::from_millis(1)).is_none());
    /// ```
    pub fn read_timeout(&self, timeout: Duration) -> Option<RwLockReadGuard<'_, T>> {
        Some(self.read_guard(granted_in_time(self.acquire(Access::Read, || deadline(timeout)))?))
    }

    /// Parks until nobody has the lock, and takes it for writing.
    ///
    /// # Panics
    /// As [`RwLock::read`].
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.write_guard(must_be_granted(self.acquire(Access::Write, || None)))
    }

    /// As [`RwLock::write`], at most for `timeout`.
    ///
    /// # Panics
    /// As there.
    pub fn write_timeout(&self, timeout: Duration) -> Option<RwLockWriteGuard<'_, T>> {
        Some(self.write_guard(granted_in_time(self.acquire(Access::Write, || deadline(timeout)))?))
    }

    /// Takes the lock for reading if no writer has it or waits.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        Some(self.read_guard(self.try_acquire(Access::Read)?))
    }

    /// Takes the lock for writing if nobody has it or waits.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        Some(self.write_guard(self.try_acquire(Access::Write)?))
    }

    fn acquire(&self, access: Access, deadline: impl FnOnce() -> Option<Time>) -> Result<Turn<'_>, Ungranted<Access>> {
        let mut state = lock(&self.state);
        if state.waiters.is_empty() && state.may(access) {
            state.take(access);
            drop(state);
        } else {
            wait::<Waiters>(&self.state, access, state, deadline())?;
        }
        let turn = Turn { state: &self.state, access };
        if access == Access::Read {
            // Readers behind this one go with it.
            turn.grant_next();
        }
        Ok(turn)
    }

    fn try_acquire(&self, access: Access) -> Option<Turn<'_>> {
        let mut state = lock(&self.state);
        if !state.waiters.is_empty() || !state.may(access) {
            return None;
        }
        state.take(access);
        Some(Turn { state: &self.state, access })
    }

    fn read_guard<'a>(&'a self, turn: Turn<'a>) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard { value: self.value.read().unwrap_or_else(PoisonError::into_inner), _turn: turn }
    }

    fn write_guard<'a>(&'a self, turn: Turn<'a>) -> RwLockWriteGuard<'a, T> {
        RwLockWriteGuard { value: self.value.write().unwrap_or_else(PoisonError::into_inner), _turn: turn }
    }
}

/// Access that is given back when it is dropped.
struct Turn<'a> {
    state: &'a Mutex<State>,
    access: Access,
}

impl Turn<'_> {
    fn grant_next(&self) {
        let next = lock(self.state).grant_next();
        wake::<Waiters>(self.state, next);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = lock(self.state).take_back(self.access);
        wake::<Waiters>(self.state, next);
    }
}

/// Shared access to the value of a [`RwLock`]. Fields drop in order: the value is let go before the turn.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    value: std::sync::RwLockReadGuard<'a, T>,
    _turn: Turn<'a>,
}

/// Exclusive access to the value of a [`RwLock`]. Fields drop in order: the value is let go before the turn.
#[must_use = "a guard that is dropped at once protects nothing"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    value: std::sync::RwLockWriteGuard<'a, T>,
    _turn: Turn<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("RwLock")
            .field("readers", &state.readers)
            .field("writer", &state.writer)
            .field("waiting", &state.waiters.len())
            .finish_non_exhaustive()
    }
}
