//! A barrier.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use greenloom_hub::Time;

use super::{granted_in_time, must_be_granted};
use crate::runtime::line::{Granted, Line, LineRules, Ungranted, deadline, grant_all, lock, wait, wake_all};

/// Lets so many green threads wait for one another. It can be used again and again.
///
/// ```
/// use greenloom::{scope, sync::Barrier};
///
/// let barrier = Barrier::new(3);
/// let leaders: usize = scope(|scope| {
///     let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait())).collect();
///     threads.into_iter().map(|thread| usize::from(thread.wait().unwrap())).sum()
/// });
/// assert_eq!(leaders, 1);
/// ```
pub struct Barrier {
    size: usize,
    waiters: Mutex<Line<(), ()>>,
}

/// The waiters.
struct Waiters;

impl LineRules for Waiters {
    type State = Line<(), ()>;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "barrier";

    fn line(state: &mut Line<(), ()>) -> &mut Line<(), ()> {
        state
    }

    fn take_back(_state: &mut Line<(), ()>, _: ()) -> Option<Granted> {
        None
    }
}

impl Barrier {
    /// A barrier for so many; with 0 or 1, nobody waits.
    pub const fn new(size: usize) -> Barrier {
        Barrier { size, waiters: Mutex::new(Line::new()) }
    }

    /// Parks until all the others wait, too. Returns `true` for one of them, the one that came last. One that is killed
    /// while it waits does not count any more.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    pub fn wait(&self) -> bool {
        must_be_granted(self.wait_until(|| None))
    }

    /// As [`Barrier::wait`], at most for `timeout`. `None` when the others did not come in time; then it does not count
    /// any more, and the others wait for one more again.
    ///
    /// ```
    /// use greenloom::{spawn, sync::Barrier};
    /// use std::{rc::Rc, time::Duration};
    ///
    /// let barrier = Rc::new(Barrier::new(2));
    /// assert_eq!(barrier.wait_timeout(Duration::from_millis(1)), None);
    /// let other = barrier.clone();
    /// spawn(move || other.wait());
    /// assert!(barrier.wait_timeout(Duration::from_secs(9)).is_some());
    /// ```
    ///
    /// # Panics
    /// As there.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<bool> {
        granted_in_time(self.wait_until(|| deadline(timeout)))
    }

    fn wait_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<bool, Ungranted<()>> {
        let mut waiters = lock(&self.waiters);
        if waiters.len() + 1 < self.size {
            wait::<Waiters>(&self.waiters, (), waiters, deadline())?;
            return Ok(false);
        }
        // All are let go under one lock, so that the next round's waiters stay.
        let all = grant_all(&mut waiters, |()| ());
        drop(waiters);
        wake_all(all);
        Ok(true)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.waiters).len();
        f.debug_struct("Barrier").field("size", &self.size).field("waiting", &waiting).finish()
    }
}
