//! A set of green threads whose ends are waited for as they come.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::green_thread::{GreenThread, spawn};
use crate::queue::Queue;
use crate::runtime::error::JoinError;

/// Green threads that belong together; their outcomes come in the order in which they end. Dropping the set kills those
/// that are left.
///
/// Semantics: `tokio::task::JoinSet`, with kill for abort.
///
/// ```
/// use greenloom::{JoinSet, sleep};
/// use std::time::Duration;
///
/// let mut set = JoinSet::new();
/// for millis in [3, 1, 2] {
///     set.spawn(move || {
///         sleep(Duration::from_millis(millis));
///         millis
///     });
/// }
/// let mut ended = Vec::new();
/// while let Some(outcome) = set.join_next() {
///     ended.push(outcome?);
/// }
/// assert_eq!(ended, [1, 2, 3]);
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub struct JoinSet<T: 'static> {
    threads: HashMap<u64, GreenThread<T>>,
    last: u64,
    /// The numbers of those that have ended, in that order.
    ended: Rc<Queue<u64>>,
}

impl<T: 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet { threads: HashMap::new(), last: 0, ended: Rc::new(Queue::unbounded()) }
    }

    /// Starts a green thread in the set.
    ///
    /// # Panics
    /// As [`spawn`].
    #[track_caller]
    pub fn spawn(&mut self, f: impl FnOnce() -> T + 'static) {
        self.insert(spawn(f));
    }

    /// Takes in a green thread that was started already, of a pool for example.
    ///
    /// ```
    /// let mut set = greenloom::JoinSet::new();
    /// set.insert(greenloom::Builder::new().name("seven").spawn(|| 7)?);
    /// assert_eq!(set.join_next().unwrap().unwrap(), 7);
    /// # Ok::<(), greenloom::SpawnError>(())
    /// ```
    pub fn insert(&mut self, thread: GreenThread<T>) {
        self.last += 1;
        let (number, ended) = (self.last, Rc::clone(&self.ended));
        thread.link(move |_| {
            // It has no limit and is never closed.
            let _ = ended.try_put(number);
        });
        self.threads.insert(number, thread);
    }

    /// Parks until the next one ends and returns what it came to; `None` when the set is empty. One that is killed or
    /// timed out while it waits here takes no outcome with it.
    ///
    /// # Errors
    /// The inner one is that of [`GreenThread::wait`], where waiting is not possible included.
    pub fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        if self.is_empty() {
            return None;
        }
        match self.ended.get() {
            Ok(number) => self.take(number),
            Err(reason) => reason.refused().map(|refused| Err(JoinError::Refused(refused))),
        }
    }

    /// As [`JoinSet::join_next`], but `None` also when none has ended since. Never waits.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        let number = self.ended.try_get().ok()?;
        self.take(number)
    }

    fn take(&mut self, number: u64) -> Option<Result<T, JoinError>> {
        // It need not wait: the outcome is there, but for one whose links are being called right now.
        self.threads.remove(&number).map(GreenThread::wait)
    }

    /// Kills all that are left. They stay in the set, and [`JoinSet::join_next`] says so of each.
    pub fn kill_all(&self) {
        self.threads.values().for_each(GreenThread::kill);
    }

    /// Kills all that are left and empties the set. Parks until they have ended; where waiting is not possible, they
    /// end when they next run.
    pub fn shutdown(&mut self) {
        self.kill_all();
        while let Some(outcome) = self.join_next() {
            if let Err(JoinError::Refused(_)) = outcome {
                self.detach_all();
            }
        }
    }

    /// Empties the set and lets all that are left run on.
    pub fn detach_all(&mut self) {
        self.threads.clear();
        self.ended = Rc::new(Queue::unbounded());
    }

    /// How many there are whose outcome was not taken.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T: 'static> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.threads.values().for_each(GreenThread::kill_shielded);
    }
}

impl<T: 'static> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish_non_exhaustive()
    }
}
