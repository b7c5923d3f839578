//! What the socket tells of the hubs of a Rust program, for [`greenloom_inspect`].
//!
//! A hub's counters are read from outside. Its green threads it has to look at itself ([`look`](super::look)).

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom_fiber::{SignalsBlocked, Snapshot};
use greenloom_inspect::native::Symbols;
use greenloom_inspect::protocol::Trace;
use greenloom_inspect::traced::{self, Recorded};
use greenloom_inspect::{Hub, Info, Program, Pulse, Server, Settings, Stacks, Thread, Whereabouts};
use greenloom_inspect::{signal_named, to_stderr};

use super::held::BIRTHS;
use super::look::{Look, PATIENCE};
use super::node::{AnyGreenlet, Kind};
use super::recording::Recording;
use super::registry::{self, Message};
use super::stacks;
use super::state::Runtime;
use super::try_here;
use super::watch::Event;

/// The number of an OS thread's own greenlet.
const ROOT: u64 = 0;

struct Open {
    server: Server,
    dump: Option<i32>,
}

static OPEN: Mutex<Option<Open>> = Mutex::new(None);

fn open() -> MutexGuard<'static, Option<Open>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the socket, unless it is open. Returns its path.
pub fn serve(dump: Option<i32>) -> io::Result<PathBuf> {
    let mut open = open();
    BIRTHS.begin();
    let opened = match open.take() {
        Some(opened) => opened,
        None => {
            // The dump is the matter of the OS thread that serves: the hubs may block the signal.
            let _blocked = SignalsBlocked::all_but(dump)?;
            Open { server: Server::start(Rust::default(), Settings::new().dump(dump).told_watchdog())?, dump }
        }
    };
    Ok(open.insert(opened).server.path().to_owned())
}

/// Says something, if standard error takes it: no hub waits for that.
fn say(message: &str) {
    to_stderr(&format!("greenloom: {message}\n"), Duration::ZERO);
}

/// Opens the socket if the environment says so. What is wrong with that is printed, and the program goes on.
pub(super) fn serve_as_told() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    if ASKED.swap(true, Ordering::Relaxed) {
        return;
    }
    let wanted = std::env::var_os("GREENLOOM_INSPECT").is_some_and(|value| !value.is_empty() && value != "0");
    let dump = std::env::var("GREENLOOM_DUMP_SIGNAL").ok().filter(|name| !name.is_empty());
    if wanted || dump.is_some() {
        let dump = dump.map(|name| signal_named(&name)).transpose();
        if let Err(error) = dump.map_err(io::Error::other).and_then(serve) {
            say(&format!("cannot be looked into: {error}"));
        }
    }
}

/// In the child of a fork, which opens a socket of its own if its parent had one.
pub(super) fn after_fork() {
    // If another OS thread had it in that moment, nobody unlocks it here.
    let opened = OPEN.try_lock().ok().and_then(|mut open| open.take());
    if let Some(Open { server, dump }) = opened {
        server.leave_to_parent();
        BIRTHS.stop_ticking();
        if let Err(error) = serve(dump) {
            say(&format!("the child of a fork cannot be looked into: {error}"));
        }
    }
}

/// What the hubs have done, as of their last look at timers and I/O.
pub fn hubs() -> Vec<Hub> {
    if let Some(runtime) = try_here() {
        runtime.publish_counts();
    }
    let os_threads: HashMap<u32, i32> = registry::watched().into_iter().map(|hub| (hub.id, hub.os_thread)).collect();
    let describe = |(id, counters): (u32, Arc<super::counters::Counters>)| {
        let counts = counters.statistics.counts();
        Hub {
            number: id.into(),
            os_thread: counters.os_thread.clone().unwrap_or_default(),
            waits: counters.statistics.waits(),
            green_threads: Some(counters.green_threads.load(Ordering::Relaxed)),
            switches: counts.switches,
            turns: counts.turns,
            timers: counts.timers,
            timer_lag: counts.timer_lag.as_secs_f64(),
            longest_timer_lag: counts.longest_timer_lag.as_secs_f64(),
            longest_block: counts.longest_block.as_secs_f64(),
            os_thread_id: os_threads.get(&id).copied(),
            ..Hub::default()
        }
    };
    registry::all().into_iter().map(describe).collect()
}

/// The program.
#[derive(Default)]
struct Rust {
    symbols: Symbols,
}

impl Program for Rust {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        hubs()
    }

    fn of_locks(&self, _: &Whereabouts) -> &'static str {
        "if that is a lock of std (Mutex, RwLock, Condvar) which a green thread holds while it is parked, let go of it \
         before what parks, or use greenloom::sync"
    }

    fn stacks(&mut self) -> Stacks {
        Look::at_all(&mut self.symbols)
    }

    fn thread(&mut self, thread: Thread) -> Result<Info, String> {
        Look::at_one(thread, &mut self.symbols)
            .ok_or_else(|| format!("there is no green thread {thread}: it may have ended"))
    }

    fn record(&mut self, events: usize) -> Result<Box<dyn Recorded>, String> {
        match Recording::with_capacity(events) {
            Ok(recording) => Ok(Box::new(recording)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pulses(&mut self) -> Vec<Pulse> {
        BIRTHS.tick();
        let pulse = |hub: registry::Watched| {
            let statistics = &hub.counters.statistics;
            // The OS thread's own code keeps nobody waiting where there are no green threads.
            let is_alone = hub.running == ROOT && hub.counters.green_threads.load(Ordering::Relaxed) == 0;
            Pulse {
                hub: hub.id.into(),
                os_thread: Some(hub.os_thread),
                steps: statistics.counts().turns,
                is_free: statistics.waits() || is_alone,
            }
        };
        registry::watched().into_iter().map(pulse).collect()
    }

    fn whereabouts(&mut self, pulses: &[Pulse], until: Instant) -> Vec<Whereabouts> {
        pulses.iter().map(|pulse| self.whereabouts_of(pulse, until).unwrap_or_default()).collect()
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        let (sender, receiver) = sync_channel(1);
        let gone = || format!("there is no green thread {thread}: it may have ended");
        let hub = u32::try_from(thread.hub).ok().filter(|id| registry::all().iter().any(|(other, _)| other == id));
        let call = move || {
            let killed = try_here().map(|runtime| runtime.kill_from_outside(thread.number));
            let _ = sender.try_send(killed.unwrap_or(false));
        };
        match hub.map(|hub| registry::send(hub, Message::Call(Box::new(call)))) {
            Some(Ok(())) => {}
            _ => return Err(gone()),
        }
        match receiver.recv_timeout(PATIENCE) {
            Ok(true) => Ok(format!("green thread {thread} unwinds")),
            Ok(false) => Err(gone()),
            Err(_) => Err(format!("the hub of {thread} is blocked: it will be killed when that has ended")),
        }
    }
}

impl Rust {
    /// Which one runs is known at once. What it is called the hub says itself, when it moves again.
    fn whereabouts_of(&mut self, pulse: &Pulse, until: Instant) -> Option<Whereabouts> {
        let hub = registry::watched().into_iter().find(|watched| u64::from(watched.id) == pulse.hub)?;
        let stack = Snapshot::of_os_thread_until(hub.os_thread, until);
        // It may have moved on before it was looked at.
        if !self.pulses().contains(pulse) {
            return None;
        }
        let (id, running) = (hub.id, hub.running);
        let name = hub.counters.os_thread.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        let mut found = Whereabouts::default();
        found.said.push(match running {
            ROOT => format!("the OS thread's own code{name} runs"),
            number => format!("green thread {id}:{number}{name} runs"),
        });
        match stack {
            Ok(stack) => {
                self.symbols.renew();
                found.backtrace = stacks::frames_of_running(&mut self.symbols, &stack);
            }
            Err(unseen) => found.said.push(format!("its native code is not known: {unseen}")),
        }
        let tell = move || {
            if let Some(runtime) = try_here() {
                runtime.tell_what_blocked(running);
            }
        };
        let _ = registry::send(id, Message::Call(Box::new(tell)));
        Some(found)
    }
}

impl Recorded for Recording {
    fn read(&mut self, events: usize) -> Trace {
        traced::read(&mut self.readers(), events, self.tick())
    }

    fn stop(&mut self) {
        Recording::stop(self);
    }
}

impl Runtime {
    /// Says which green thread had kept the hub from moving, to standard error and as a warning.
    fn tell_what_blocked(&self, number: u64) {
        let found = self.threads.borrow().iter().find(|greenlet| greenlet.id() == number).cloned();
        let name = found.and_then(|greenlet| match (greenlet.name(), greenlet.node().spawned_at.get()) {
            (Some(name), _) => Some(format!("{name:?}")),
            (None, place) => place.map(|place| format!("spawned at {place}")),
        });
        let id = self.id();
        let who =
            if number == ROOT { "the OS thread's own code".into() } else { format!("green thread {id}:{number}") };
        let message =
            format!("hub {id} was blocked by {who}{}", name.map(|name| format!(", {name}")).unwrap_or_default());
        say(&message);
        self.watch.tell(&Event::Warning { message: format_args!("{message}") });
    }

    /// Kills a green thread from the hub's own greenlet. Returns whether there is one of that number.
    fn kill_from_outside(&'static self, number: u64) -> bool {
        let is_it = |greenlet: &&AnyGreenlet| greenlet.id() == number && greenlet.node().kind.get() != Kind::Root;
        let found = self.threads.borrow().iter().find(is_it).cloned();
        if let Some(greenlet) = &found
            && !greenlet.node().fiber.cancel()
        {
            self.kill_shielded(greenlet);
        }
        found.is_some()
    }
}
