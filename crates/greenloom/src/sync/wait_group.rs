//! A wait group.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use greenloom_hub::Time;

use super::{granted_in_time, must_be_granted};
use crate::runtime::line::{Granted, Line, LineRules, Ungranted, deadline, grant_all, lock, wait, wake_all};

/// Waits until work that was announced is done.
///
/// Semantics: Go's `sync.WaitGroup`.
///
/// ```
/// use greenloom::{spawn_n, sync::WaitGroup};
/// use std::rc::Rc;
///
/// let group = Rc::new(WaitGroup::new());
/// for _ in 0..3 {
///     group.add(1);
///     let group = group.clone();
///     spawn_n(move || group.done());
/// }
/// group.wait();
/// ```
pub struct WaitGroup {
    state: Mutex<State>,
}

struct State {
    pending: usize,
    waiters: Line<(), ()>,
}

/// The waiters.
struct Waiters;

impl LineRules for Waiters {
    type State = State;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = "wait group";

    fn line(state: &mut State) -> &mut Line<(), ()> {
        &mut state.waiters
    }

    fn take_back(_state: &mut State, _: ()) -> Option<Granted> {
        None
    }
}

impl WaitGroup {
    /// A group with no work.
    pub const fn new() -> WaitGroup {
        WaitGroup { state: Mutex::new(State { pending: 0, waiters: Line::new() }) }
    }

    /// Announces work.
    pub fn add(&self, count: usize) {
        lock(&self.state).pending += count;
    }

    /// Says that a piece of work is done; the last one wakes the waiters.
    ///
    /// # Panics
    /// When more was done than announced.
    pub fn done(&self) {
        let mut state = lock(&self.state);
        let Some(pending) = state.pending.checked_sub(1) else {
            drop(state);
            panic!("more work was done than was announced to the wait group");
        };
        state.pending = pending;
        if pending == 0 {
            let all = grant_all(&mut state.waiters, |()| ());
            drop(state);
            wake_all(all);
        }
    }

    /// How much is announced and not done.
    pub fn pending(&self) -> usize {
        lock(&self.state).pending
    }

    /// Parks until everything is done.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    pub fn wait(&self) {
        must_be_granted(self.wait_until(|| None));
    }

    /// As [`WaitGroup::wait`], at most for `timeout`; returns whether everything is done.
    ///
    /// # Panics
    /// As there.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        granted_in_time(self.wait_until(|| deadline(timeout))).is_some()
    }

    fn wait_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<(), Ungranted<()>> {
        let state = lock(&self.state);
        if state.pending == 0 {
            return Ok(());
        }
        wait::<Waiters>(&self.state, (), state, deadline())
    }
}

impl Default for WaitGroup {
    fn default() -> WaitGroup {
        WaitGroup::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("pending", &self.pending()).finish()
    }
}
