//! What lives in a hub: every green thread, its state, and what it waits for; and what each hub has done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use greenloom_fiber::{PoolStats, pool_stats};

use greenloom_hub::Counts;

use crate::runtime::counters::Counters;
#[cfg(feature = "inspect")]
use crate::runtime::inspector;
use crate::runtime::node::AnyGreenlet;
use crate::runtime::{here, registry, try_here};

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

/// A hub at the moment it was looked at: what it has done, and how late it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubInfo {
    /// Its number among those of the process, ended ones included.
    pub id: u32,
    /// The name of its OS thread, if it has one.
    pub os_thread: Option<String>,
    /// Green threads, and greenlets that have waited.
    pub green_threads: u64,
    /// How often control has passed from one greenlet to another.
    pub switches: u64,
    /// How often it has looked at timers and I/O.
    pub turns: u64,
    /// How many timers have fired.
    pub timers: u64,
    /// How late the last of them was.
    pub timer_lag: Duration,
    /// The most that one was.
    pub longest_timer_lag: Duration,
    /// The longest that what runs has kept it from looking at timers and I/O. Much more than a millisecond means that
    /// something blocks the OS thread: it belongs on [`blocking`](crate::blocking), or should give way now and then.
    pub longest_block: Duration,
}

/// The hubs of all OS threads, by age. What another one has done is told as of its last look at timers and I/O.
///
/// ```
/// use greenloom::{Hubs, inspect};
///
/// let hubs = Hubs::new(1)?;
/// hubs.spawn(|| std::thread::sleep(std::time::Duration::from_millis(20))).wait().unwrap();
/// hubs.spawn(|| ()).wait().unwrap();
/// let all = inspect::hubs();
/// let other = all.iter().find(|hub| hub.os_thread.as_deref() == Some("hub-0")).unwrap();
/// assert!(other.switches > 0 && other.longest_block.as_millis() >= 20);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn hubs() -> Vec<HubInfo> {
    if let Some(runtime) = try_here() {
        runtime.publish_counts();
    }
    let info = |(id, counters): (u32, Arc<Counters>)| {
        let Counts { switches, turns, timers, timer_lag, longest_timer_lag, longest_block } =
            counters.statistics.counts();
        HubInfo {
            id,
            os_thread: counters.os_thread.clone(),
            green_threads: counters.green_threads.load(Ordering::Relaxed),
            switches,
            turns,
            timers,
            timer_lag,
            longest_timer_lag,
            longest_block,
        }
    };
    registry::all().into_iter().map(info).collect()
}

/// Lets the program be looked into by `greenloom stacks`, `metrics` and `kill`: opens a Unix socket that only this
/// program's user can open, served by an OS thread of its own. Returns its path; the same path if it is open already.
///
/// The environment variable `GREENLOOM_INSPECT=1` does the same when the first hub is made, and
/// `GREENLOOM_DUMP_SIGNAL=USR1` names a signal that writes all stacks to standard error. The child of a fork opens a
/// socket of its own when its hub notices the fork. It needs the feature `inspect`.
///
/// # Errors
/// `PermissionDenied` in a program with rights that its user has not (setuid), and where the folder for sockets is not
/// this user's alone; those of the socket and of the OS thread.
///
/// ```
/// let path = greenloom::inspect::serve()?;
/// assert!(path.ends_with(std::process::id().to_string()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(feature = "inspect")]
pub fn serve() -> std::io::Result<std::path::PathBuf> {
    inspector::serve(None)
}

/// What the hubs have done, as OpenMetrics text, for a server of metrics: its media type is [`METRICS_TYPE`]. It needs
/// the feature `inspect`.
///
/// ```
/// greenloom::yield_now();
/// let text = greenloom::inspect::metrics();
/// assert!(text.contains("greenloom_switches_total{hub=\"0\"") && text.ends_with("# EOF\n"));
/// ```
#[cfg(feature = "inspect")]
pub fn metrics() -> String {
    greenloom_inspect::metrics::text(&inspector::hubs())
}

#[cfg(feature = "inspect")]
pub use greenloom_inspect::metrics::CONTENT_TYPE as METRICS_TYPE;

/// How many stacks were leaked in this process because a greenlet that was suspended could not be unwound: green
/// threads left when their OS thread ended, and greenlets that refused to end.
///
/// ```
/// assert_eq!(greenloom::inspect::leaked_stacks(), 0);
/// ```
pub fn leaked_stacks() -> usize {
    greenloom_fiber::leaked_stacks()
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
