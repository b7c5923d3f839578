//! A condition variable.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use super::{MutexGuard, granted_in_time, must_be_granted};
use crate::runtime::line::{Granted, Line, LineRules, Ungranted, deadline, grant_all, lock, wait, wake, wake_all};

/// Lets green threads wait, without the lock, until somebody says that what it protects has changed.
///
/// Waiters are notified in the order in which they came, and there are no spurious wake-ups; the condition may still
/// have changed again by the time the lock is had, so wait in a loop.
///
/// ```
/// use greenloom::{scope, sync::{Condvar, Mutex}};
///
/// let (open, changed) = (Mutex::new(false), Condvar::new());
/// scope(|scope| {
///     scope.spawn(|| {
///         let mut open = open.lock();
///         while !*open {
///             open = changed.wait(open);
///         }
///     });
///     *open.lock() = true;
///     changed.notify_all();
/// });
/// ```
pub struct Condvar {
    waiters: Mutex<Line<(), ()>>,
}

/// The waiters.
struct Waiters;

impl LineRules for Waiters {
    type State = Line<(), ()>;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "condvar";

    fn line(state: &mut Line<(), ()>) -> &mut Line<(), ()> {
        state
    }

    fn take_back(state: &mut Line<(), ()>, _: ()) -> Option<Granted> {
        // A notification that a killed waiter cannot use goes to the next.
        state.grant(|()| ())
    }
}

impl Condvar {
    /// A condition variable that nobody waits on.
    pub const fn new() -> Condvar {
        Condvar { waiters: Mutex::new(Line::new()) }
    }

    /// Releases the lock, parks until notified, and takes the lock again.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let mutex = guard.mutex;
        must_be_granted(self.wait_without(guard, None));
        mutex.lock()
    }

    /// As [`Condvar::wait`], at most for `timeout`; the second value says whether it was notified.
    ///
    /// # Panics
    /// As there.
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> (MutexGuard<'a, T>, bool) {
        let mutex = guard.mutex;
        let notified = granted_in_time(self.wait_without(guard, deadline(timeout))).is_some();
        (mutex.lock(), notified)
    }

    fn wait_without<T: ?Sized>(
        &self,
        guard: MutexGuard<'_, T>,
        deadline: Option<greenloom_hub::Time>,
    ) -> Result<(), Ungranted<()>> {
        let waiters = lock(&self.waiters);
        // Whoever notifies from now on waits for `waiters` and finds this one in the line.
        drop(guard);
        wait::<Waiters>(&self.waiters, (), waiters, deadline)
    }

    /// Wakes the one that has waited longest, if somebody waits.
    pub fn notify_one(&self) {
        let first = lock(&self.waiters).grant(|()| ());
        wake::<Waiters>(&self.waiters, first);
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        let all = grant_all(&mut lock(&self.waiters), |()| ());
        wake_all(all);
    }
}

impl Default for Condvar {
    fn default() -> Condvar {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").field("waiting", &lock(&self.waiters).len()).finish()
    }
}
