//! A recording of all hubs of the process: who takes part, and what they have recorded.

use std::cell::RefCell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use greenloom_fiber::{ForkMutex, Ticks};
use greenloom_trace::{Reader, Readers, Timeline};

use super::counters::Counters;
use super::recorder::Installed;
use super::registry::{self, Message};
use super::{here, try_here};

/// How many events of a hub are kept: the newest ones, in 16 MB of memory.
pub const CAPACITY: usize = 1 << 20;

/// A recording of all hubs of the process, until it is [finished](Recording::finish). There is one at a time.
///
/// A hub begins to record when it next comes to its messages, so one that is blocked does so late; a hub that is made
/// meanwhile, at once. A [`Simulation`](crate::testing::Simulation), which has a clock of its own, takes no part:
/// [`record`](crate::trace::record) records it from within.
///
/// ```
/// use greenloom::{Hubs, trace::Recording};
///
/// let hubs = Hubs::new(2)?;
/// let recording = Recording::start()?;
/// assert!(Recording::start().is_err());
/// hubs.spawn(|| greenloom::yield_now()).wait().unwrap();
/// let timeline = recording.finish();
/// assert!(timeline.events() > 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a recording that is dropped records nothing"]
pub struct Recording {
    shared: Arc<Shared>,
    /// Those of the hubs that have begun: no hub waits for one that reads.
    readers: Mutex<Readers>,
}

#[derive(Debug)]
struct Shared {
    clock: Ticks,
    capacity: usize,
    finished: AtomicBool,
    begun: Mutex<Begun>,
}

/// What hubs leave that begin to record.
#[derive(Debug, Default)]
struct Begun {
    count: usize,
    /// Those that whoever reads has yet to find.
    new: Vec<Reader>,
}

/// Hubs that a recording has at most: a program that makes hubs without end makes no rings without end.
const HUBS: usize = 1000;

/// The one of this process.
static RECORDING: ForkMutex<Option<Arc<Shared>>> = ForkMutex::new(None);

impl Recording {
    /// Begins to record, at most the newest [`CAPACITY`] events of each hub.
    ///
    /// # Errors
    /// `AlreadyExists` while there is another recording.
    pub fn start() -> io::Result<Recording> {
        Recording::with_capacity(CAPACITY)
    }

    /// As [`Recording::start`], with room for this many events of each hub, of 16 bytes each.
    ///
    /// # Errors
    /// As there.
    pub fn with_capacity(capacity: usize) -> io::Result<Recording> {
        let mut present = RECORDING.lock();
        if present.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a trace of this process is being recorded already; finish that one first",
            ));
        }
        let finished = AtomicBool::new(false);
        let shared = Arc::new(Shared { clock: Ticks::new(), capacity, finished, begun: Mutex::default() });
        *present = Some(Arc::clone(&shared));
        drop(present);
        let own = try_here().map(|runtime| runtime.id());
        for hub in hubs() {
            let shared = Arc::clone(&shared);
            if own == Some(hub) {
                begin(&shared);
            } else {
                // One that has ended meanwhile has nothing to record.
                let _ = registry::send(hub, Message::Call(Box::new(move || begin(&shared))));
            }
        }
        Ok(Recording { shared, readers: Mutex::default() })
    }

    /// Adds what has been recorded since the last call to `timeline`: for a reader that follows the program. It waits
    /// for no hub. What was overwritten meanwhile is counted as [dropped](Timeline::dropped). A recording that is read
    /// so ends when it is dropped.
    pub fn read_into(&self, timeline: &mut Timeline) {
        self.readers().take(self.tick()).iter().for_each(|taken| timeline.add(taken));
    }

    /// Those of all hubs that have begun.
    pub(super) fn readers(&self) -> MutexGuard<'_, Readers> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.begun().new.drain(..).for_each(|reader| readers.push(reader));
        readers
    }

    /// How many nanoseconds a tick takes.
    pub(super) fn tick(&self) -> f64 {
        self.shared.clock.length()
    }

    /// Records no more. What was recorded stays to be read.
    #[cfg(feature = "inspect")]
    pub(super) fn stop(&self) {
        self.shared.stop();
        self.readers().end_here();
    }

    /// Ends the recording and returns what was recorded.
    pub fn finish(self) -> Timeline {
        let mut timeline = Timeline::new(program());
        self.read_into(&mut timeline);
        timeline
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        if self.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = try_here().map(|runtime| runtime.id());
        for hub in hubs() {
            if own == Some(hub) {
                leave();
            } else {
                let _ = registry::send(hub, Message::Call(Box::new(leave)));
            }
        }
        *RECORDING.lock() = None;
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        // Readers are appended, or taken out, one by one.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that take part in a recording of the process.
fn hubs() -> impl Iterator<Item = u32> {
    let takes_part = |(hub, counters): (u32, Arc<Counters>)| (!counters.is_simulated).then_some(hub);
    registry::all().into_iter().filter_map(takes_part)
}

thread_local! {
    /// The recorder of the process's recording, in this hub.
    static INSTALLED: RefCell<Option<Installed>> = const { RefCell::new(None) };
}

/// On the OS thread of a hub that was just made.
pub(super) fn begin_in_new_hub() {
    // A copy: to begin takes a lock of its own.
    let present = RECORDING.lock().clone().filter(|_| !here().counters.is_simulated);
    if let Some(shared) = present {
        begin(&shared);
    }
}

/// On the OS thread of a hub: takes part in a recording.
fn begin(shared: &Shared) {
    // An OS thread that is ending has no place for it any more, and nothing to record.
    let _ = INSTALLED.try_with(|place| {
        let mut place = place.borrow_mut();
        if place.is_none() && !shared.finished.load(Ordering::Acquire) && shared.begun().count < HUBS {
            let (installed, reader) = Installed::new(shared.capacity, Some(shared.clock));
            let mut begun = shared.begun();
            begun.count += 1;
            begun.new.push(reader);
            drop(begun);
            *place = Some(installed);
        }
    });
}

/// On the OS thread of a hub: takes part no longer.
fn leave() {
    let _ = INSTALLED.try_with(RefCell::take);
}

/// What the timeline of this process is called.
pub(crate) fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
    format!("{name} ({})", std::process::id())
}
