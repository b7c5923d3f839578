//! A timeline of what green threads do: recorded while the program runs, and written for people to look at.
//!
//! [`record`] records one hub while a function runs; [`Recording`] all hubs of the process, from a start to a finish.
//! Both give a [`Timeline`], which [saves itself](Timeline::save) for [Perfetto's UI](https://ui.perfetto.dev) or as
//! one page of HTML that works offline. In a [`Simulation`](crate::testing::Simulation) it shows virtual time.
//!
//! It has the life of each green thread (when it ran, was ready, waited, and for what), who woke whom, how late timers
//! were, and how long blocking calls were in line and ran. Green threads are called by the names that
//! [`Builder::name`](crate::Builder::name) gave them.
//!
//! A hub writes its events, 16 bytes each, into a ring of fixed size. It waits for nobody, and the newest events take
//! the place of the oldest: what is lost so is counted and [said](Timeline::dropped).
//!
//! ```
//! use greenloom::{Builder, sleep, trace};
//! use std::time::Duration;
//!
//! let ((), timeline) = trace::record(|| {
//!     let worker = Builder::new().name("worker").spawn(|| sleep(Duration::from_millis(2))).unwrap();
//!     worker.wait().unwrap();
//! });
//! # let folder = std::env::temp_dir().join(format!("greenloom-trace-example-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("out.html");
//! timeline.save(&path)?; // a name that does not end in .html: for Perfetto's UI
//! # std::fs::remove_dir_all(folder)?;
//! # Ok::<(), std::io::Error>(())
//! ```

pub use greenloom_trace::{Format, Timeline, timeline};

use crate::runtime::recorder::Installed;
use crate::runtime::recording::program;
pub use crate::runtime::recording::{CAPACITY, Recording};

/// Records what this OS thread's hub does while `f` runs, and returns the timeline beside `f`'s value. At most the
/// newest [`CAPACITY`] events are kept.
///
/// An [`Instrument`](crate::instrument::Instrument) that is installed goes on to be told of everything.
///
/// ```
/// use greenloom::{sleep, testing::Simulation, trace};
/// use std::time::Duration;
///
/// let hour = Duration::from_secs(3600);
/// let ((), timeline) = Simulation::new().seed(3).run(move || trace::record(|| sleep(hour))).unwrap();
/// assert_eq!(timeline.end(), 3_600_000_000_000);
/// ```
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Timeline) {
    let (installed, mut reader) = Installed::new(CAPACITY, None);
    let value = f();
    let mut timeline = Timeline::new(program());
    timeline.add(&reader.take().with_ticks_of(installed.tick()));
    drop(installed);
    (value, timeline)
}
