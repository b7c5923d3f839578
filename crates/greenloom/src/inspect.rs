//! What lives in a hub: every green thread, its state, and what it waits for.

use std::fmt;

pub use fiber::{PoolStats, pool_stats};

use crate::runtime::here;
use crate::runtime::node::AnyGreenlet;

/// A greenlet at the moment it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GreenletInfo {
    /// Its number on its OS thread; 0 for the root.
    pub id: u64,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Its state.
    pub state: GreenletState,
    /// Bytes of its stack in use; 0 while it runs and before it begins.
    pub stack_in_use: usize,
}

/// What a greenlet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GreenletState {
    /// It has not begun.
    NotStarted,
    /// It is the running one.
    Running,
    /// It is ready to run, or another greenlet has switched away from it by hand.
    Suspended,
    /// It is parked, and waits for this.
    Waiting(&'static str),
}

impl fmt::Display for GreenletInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.id) {
            (Some(name), id) => write!(f, "green thread {id} {name:?} ")?,
            (None, 0) => f.write_str("root ")?,
            (None, id) => write!(f, "green thread {id} ")?,
        }
        match self.state {
            GreenletState::NotStarted => f.write_str("has not started"),
            GreenletState::Running => f.write_str("runs"),
            GreenletState::Suspended => f.write_str("is ready"),
            GreenletState::Waiting(what) => write!(f, "waits for: {what}"),
        }
    }
}

/// All green threads of the running OS thread's hub, and its root, in no particular order.
///
/// ```
/// use greenloom::{Builder, inspect, sleep, yield_now};
/// use std::time::Duration;
///
/// let sleeper = Builder::new().name("sleeper").spawn(|| sleep(Duration::from_secs(9)))?;
/// yield_now();
/// let all = inspect::green_threads();
/// let info = all.iter().find(|info| info.name.as_deref() == Some("sleeper")).unwrap();
/// assert_eq!(info.state, inspect::GreenletState::Waiting("sleep"));
/// sleeper.kill();
/// # Ok::<(), greenloom::SpawnError>(())
/// ```
pub fn green_threads() -> Vec<GreenletInfo> {
    here().enrolled().iter().map(info).collect()
}

/// How many stacks were leaked in this process because a greenlet that was suspended could not be unwound: green
/// threads left when their OS thread ended, and greenlets that refused to end.
///
/// ```
/// assert_eq!(greenloom::inspect::leaked_stacks(), 0);
/// ```
pub fn leaked_stacks() -> usize {
    fiber::leaked_stacks()
}

fn info(greenlet: &AnyGreenlet) -> GreenletInfo {
    let state = match greenlet.waits_for() {
        Some(what) => GreenletState::Waiting(what),
        None if !greenlet.is_started() => GreenletState::NotStarted,
        None if greenlet.is_current() => GreenletState::Running,
        None => GreenletState::Suspended,
    };
    GreenletInfo {
        id: greenlet.id(),
        name: greenlet.name().map(String::from),
        state,
        stack_in_use: greenlet.node().fiber.stack_in_use(),
    }
}
