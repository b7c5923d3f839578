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

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use greenloom_fiber::Ticks;
use greenloom_hub::{Clock, Time};
use greenloom_trace::{ENDED, READY, Reader, Text, Writer, ring};

pub use greenloom_trace::{Format, Timeline, timeline};

use crate::instrument::Event;
use crate::runtime::counters::Counters;
use crate::runtime::node::{AnyGreenlet, Kind, Wake};
use crate::runtime::registry::{self, Message};
use crate::runtime::watch::Record;
use crate::runtime::{NEW_HUB, here};

/// How many events of a hub are kept: the newest ones, in 16 MB of memory.
pub const CAPACITY: usize = 1 << 20;

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
    timeline.add(&reader.take().with_ticks_of(installed.0.clock.tick()));
    drop(installed);
    (value, timeline)
}

/// A recording of all hubs of the process, until it is [finished](Recording::finish). There is one at a time.
///
/// A hub begins to record when it next comes to its messages, so one that is blocked does so late; a hub that is made
/// meanwhile, at once. A [`Simulation`](crate::testing::Simulation), which has a clock of its own, takes no part:
/// [`record`] records it from within.
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
}

#[derive(Debug)]
struct Shared {
    clock: Ticks,
    capacity: usize,
    finished: AtomicBool,
    readers: Mutex<Vec<Reader>>,
}

/// Hubs that a recording has at most: a program that makes hubs without end makes no rings without end.
const HUBS: usize = 1000;

/// The one of this process.
static RECORDING: Mutex<Option<Arc<Shared>>> = Mutex::new(None);

fn recording() -> MutexGuard<'static, Option<Arc<Shared>>> {
    // It is replaced as a whole.
    RECORDING.lock().unwrap_or_else(PoisonError::into_inner)
}

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
        let mut present = recording();
        if present.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a trace of this process is being recorded already; finish that one first",
            ));
        }
        let finished = AtomicBool::new(false);
        let shared = Arc::new(Shared { clock: Ticks::new(), capacity, finished, readers: Mutex::default() });
        *present = Some(Arc::clone(&shared));
        drop(present);
        NEW_HUB.get_or_init(|| begin_in_new_hub);
        let own = crate::runtime::try_here().map(|runtime| runtime.id());
        for hub in hubs() {
            let shared = Arc::clone(&shared);
            if own == Some(hub) {
                begin(&shared);
            } else {
                // One that has ended meanwhile has nothing to record.
                let _ = registry::send(hub, Message::Call(Box::new(move || begin(&shared))));
            }
        }
        Ok(Recording { shared })
    }

    /// Adds what has been recorded since the last call to `timeline`: for a reader that follows the program. It waits
    /// for no hub. What was overwritten meanwhile is counted as [dropped](Timeline::dropped). A recording that is read
    /// so ends when it is dropped.
    pub fn read_into(&self, timeline: &mut Timeline) {
        for reader in self.shared.readers().iter_mut() {
            timeline.add(&reader.take().with_ticks_of(self.shared.clock.length()));
        }
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
        self.shared.finished.store(true, Ordering::Release);
        let own = crate::runtime::try_here().map(|runtime| runtime.id());
        for hub in hubs() {
            if own == Some(hub) {
                leave();
            } else {
                let _ = registry::send(hub, Message::Call(Box::new(leave)));
            }
        }
        *recording() = None;
    }
}

impl Shared {
    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        // Readers are only appended.
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
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
fn begin_in_new_hub() {
    // A copy: to begin takes a lock of its own.
    let present = recording().clone().filter(|_| !here().counters.is_simulated);
    if let Some(shared) = present {
        begin(&shared);
    }
}

/// On the OS thread of a hub: takes part in a recording.
fn begin(shared: &Shared) {
    // An OS thread that is ending has no place for it any more, and nothing to record.
    let _ = INSTALLED.try_with(|place| {
        let mut place = place.borrow_mut();
        if place.is_none() && !shared.finished.load(Ordering::Acquire) && shared.readers().len() < HUBS {
            let (installed, reader) = Installed::new(shared.capacity, Some(shared.clock));
            shared.readers().push(reader);
            *place = Some(installed);
        }
    });
}

/// On the OS thread of a hub: takes part no longer.
fn leave() {
    let _ = INSTALLED.try_with(RefCell::take);
}

/// What the timeline of this process is called.
fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy();
    format!("{name} ({})", std::process::id())
}

/// A recorder that is told of this OS thread's events, until this is dropped.
struct Installed(Rc<Recorder>);

impl Installed {
    /// With times by the recording's clock, or by one that begins now.
    fn new(capacity: usize, clock: Option<Ticks>) -> (Installed, Reader) {
        let runtime = here();
        let (writer, reader) = ring(capacity, hub_name(runtime.id()));
        let virtual_clock = runtime.with_core(|core| Rc::clone(core.clock())).filter(|clock| clock.is_virtual());
        let clock = match virtual_clock {
            Some(clock) => Source::Virtual { began: clock.now(), clock },
            None => Source::System(clock.unwrap_or_default()),
        };
        let recorder = Rc::new(Recorder {
            writer,
            clock,
            waits: Cell::new(None),
            waker: Cell::new(greenloom_trace::Wake::Thread),
            before: runtime.watch.recorder.take(),
        });
        recorder.tell_who_is_there();
        Installed::put(Some(recorder.clone()));
        (Installed(recorder), reader)
    }

    fn put(recorder: Option<Rc<dyn Record>>) {
        let runtime = here();
        drop(runtime.watch.recorder.replace(recorder));
        runtime.watch.update();
        runtime.update_unusual();
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let installed = here().watch.recorder.take();
        let is_ours = installed.as_ref().is_some_and(|installed| std::ptr::addr_eq(&**installed, &*self.0));
        // One that began later stays, and keeps this one, which it tells of everything.
        Installed::put(if is_ours { self.0.before.clone() } else { installed });
    }
}

fn hub_name(id: u32) -> String {
    match std::thread::current().name() {
        Some(name) => format!("hub {id} ({name})"),
        None => format!("hub {id}"),
    }
}

/// Where times come from.
enum Source {
    System(Ticks),
    Virtual { clock: Rc<dyn Clock>, began: Time },
}

impl Source {
    /// Since recording began, in ticks.
    #[inline]
    fn now(&self) -> u64 {
        match self {
            Source::System(ticks) => ticks.now(),
            Source::Virtual { clock, began } => clock.now().since(*began).as_nanos() as u64,
        }
    }

    /// How many nanoseconds a tick takes.
    fn tick(&self) -> f64 {
        match self {
            Source::System(ticks) => ticks.length(),
            Source::Virtual { .. } => 1.0,
        }
    }
}

/// Writes events into a hub's ring.
struct Recorder {
    writer: Writer,
    clock: Source,
    /// What the one that runs has just said that it waits for.
    waits: Cell<Option<Text>>,
    /// On whose behalf the hub's loop wakes others.
    waker: Cell<greenloom_trace::Wake>,
    /// One that began before, and is told too.
    before: Option<Rc<dyn Record>>,
}

impl Recorder {
    #[inline]
    fn now(&self) -> u64 {
        self.clock.now()
    }

    fn tell_who_is_there(&self) {
        let (runtime, now) = (here(), self.now());
        let current = runtime.current();
        for greenlet in runtime.enrolled().iter().chain([runtime.loop_greenlet(), &current]) {
            let waits_for = greenlet.waits_for().map(|what| self.writer.static_text(what));
            self.writer.exists(now, greenlet.id(), self.name(greenlet), waits_for);
        }
        self.writer.run(now, current.id(), READY);
    }

    fn name(&self, greenlet: &AnyGreenlet) -> Text {
        match (greenlet.name(), greenlet.node().kind.get()) {
            (Some(name), _) => self.writer.text(name),
            (None, Kind::Root) => self.writer.static_text("root"),
            (None, Kind::Greenlet) => self.writer.static_text("greenlet"),
            (None, _) => self.writer.static_text("green thread"),
        }
    }

    /// Why `origin` no longer runs.
    #[inline]
    fn why(&self, origin: &AnyGreenlet, ends: bool) -> Text {
        match self.waits.take() {
            _ if ends => ENDED,
            Some(text) => text,
            None if origin.node().kind.get() == Kind::Hub => READY,
            None => self.writer.static_text("switch by hand"),
        }
    }

    fn waker(&self, woken: &AnyGreenlet) -> greenloom_trace::Wake {
        if here().try_with_current(|me| me.node().kind.get()) != Some(Kind::Hub) {
            return greenloom_trace::Wake::Thread;
        }
        match woken.node().cause.get() {
            Wake::TimedOut => greenloom_trace::Wake::Timer,
            _ => self.waker.get(),
        }
    }
}

impl Record for Recorder {
    fn switch(&self, origin: &AnyGreenlet, target: &AnyGreenlet, ends: bool) {
        self.writer.run(self.now(), target.id(), self.why(origin, ends));
        if let Some(before) = &self.before {
            before.switch(origin, target, ends);
        }
    }

    fn event(&self, event: &Event<'_>) {
        match *event {
            Event::Park { waits_for: "", .. } => self.waits.set(Some(READY)),
            Event::Park { waits_for, .. } => self.waits.set(Some(self.writer.static_text(waits_for))),
            Event::Wake { greenlet } => self.writer.wake(self.now(), greenlet.id(), self.waker(greenlet)),
            Event::Spawn { greenlet } => self.writer.spawn(self.now(), greenlet.id(), self.name(greenlet)),
            Event::Look => self.writer.idle(self.now()),
            Event::Turn { timer_lag, .. } => {
                let now = self.now();
                self.writer.busy(now);
                self.waker.set(greenloom_trace::Wake::Io);
                if let Some(lag) = timer_lag.filter(|lag| lag.as_micros() > 0) {
                    self.writer.timer_lag(now, lag.as_nanos() as u64);
                }
            }
            Event::Messages { .. } => self.waker.set(greenloom_trace::Wake::Elsewhere),
            Event::Call => self.waker.set(greenloom_trace::Wake::Thread),
            Event::Blocking { greenlet, queued, ran } => {
                let nanoseconds = |time: std::time::Duration| time.as_nanos() as u64;
                self.writer.blocking(self.now(), greenlet.id(), nanoseconds(queued), nanoseconds(ran));
            }
            Event::Switch { .. } | Event::Warning { .. } => {}
        }
        if let Some(before) = &self.before {
            before.event(event);
        }
    }
}
