//! A program that is watched: an OS thread asks it again and again.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom_inspect::counters::COUNTERS;
use greenloom_inspect::protocol::{Ask, Greeting};
use greenloom_inspect::{Client, Failure, Hub, Info, Stacks, Thread};

/// What was found out of a program.
pub struct News {
    pub pid: u32,
    /// Why nothing comes, if so.
    pub found: Result<Box<Found>, String>,
}

/// What a program said.
pub struct Found {
    pub hubs: Vec<HubNow>,
    pub stacks: Stacks,
    /// The green thread that was asked for.
    pub one: Option<Result<Info, String>>,
    /// Bytes of memory that the process has.
    pub memory: Option<u64>,
}

/// A hub, and what it did since it was asked before.
pub struct HubNow {
    pub hub: Hub,
    /// Which part of the time its OS thread was on a processor.
    pub load: Option<f64>,
    /// How much more of each of the [counters](COUNTERS) there is a second.
    pub rates: Vec<f64>,
}

/// The end that the screen has.
pub struct Watch {
    pub pid: u32,
    pub greeting: Greeting,
    wanted: Arc<Wanted>,
}

#[derive(Default)]
struct Wanted {
    one: Mutex<Option<Thread>>,
    changed: Condvar,
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, Option<Thread>> {
        self.one.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Begins to ask, once every `interval`.
    pub fn start(client: Client, interval: Duration, news: Sender<News>) -> io::Result<Watch> {
        let greeting = client.greeting().clone();
        let (pid, wanted) = (client.pid(), Arc::new(Wanted::default()));
        let mut asking = Asking { pid, client: Some(client), wanted: Arc::clone(&wanted), before: HashMap::new() };
        std::thread::Builder::new().name(format!("watch {pid}")).spawn(move || {
            loop {
                let begun = Instant::now();
                let found = asking.ask();
                let is_over = found.as_ref().is_err_and(|failure| !matches!(failure, Failure::Stopped(_)));
                let found = found.map(Box::new).map_err(|failure| failure.to_string());
                // The screen may be gone.
                if news.send(News { pid, found }).is_err() || is_over {
                    return;
                }
                asking.rest(begun + interval);
            }
        })?;
        Ok(Watch { pid, greeting, wanted })
    }

    /// Asks for all about one green thread from now on, or for none.
    pub fn want(&self, one: Option<Thread>) {
        let mut wanted = self.wanted.lock();
        if *wanted != one {
            *wanted = one;
            self.wanted.changed.notify_one();
        }
    }
}

struct Asking {
    pid: u32,
    /// None where the last one has failed: what it asked may be answered still.
    client: Option<Client>,
    wanted: Arc<Wanted>,
    /// Of each hub: when, its counters, the nanoseconds of its OS thread on a processor.
    before: HashMap<u64, (Instant, Vec<f64>, Option<u64>)>,
}

impl Asking {
    fn ask(&mut self) -> Result<Found, Failure> {
        let no_answer = || Failure::Problem(crate::NoAnswer.to_string());
        let mut client = self.client.take().map_or_else(|| Client::connect(self.pid), Ok)?;
        let hubs = client.ask(Ask::Hubs)?.hubs.ok_or_else(no_answer)?;
        let hubs = hubs.into_iter().map(|hub| self.compared(hub)).collect();
        let stacks = client.ask(Ask::Stacks)?.stacks.ok_or_else(no_answer)?;
        let wanted = *self.wanted.lock();
        let one = match wanted.map(|thread| client.ask(Ask::Thread { thread })) {
            None => None,
            Some(Ok(answer)) => Some(Ok(answer.thread.ok_or_else(no_answer)?)),
            Some(Err(Failure::Problem(problem))) => Some(Err(problem)),
            Some(Err(failure)) => return Err(failure),
        };
        self.client = Some(client);
        Ok(Found { hubs, stacks, one, memory: memory(self.pid) })
    }

    fn compared(&mut self, hub: Hub) -> HubNow {
        let (now, ran) = (Instant::now(), hub.os_thread_id.and_then(|id| ran(self.pid, id)));
        let counted: Vec<_> = COUNTERS.iter().map(|counter| (counter.value)(&hub).unwrap_or_default()).collect();
        let (mut load, mut rates) = (None, vec![0.0; counted.len()]);
        let before = self.before.insert(hub.number, (now, counted.clone(), ran));
        if let Some((then, counted_then, ran_then)) = before {
            let seconds = now.duration_since(then).as_secs_f64().max(1e-3);
            let rate = |(now, then): (&f64, &f64)| (now - then).max(0.0) / seconds;
            rates = counted.iter().zip(&counted_then).map(rate).collect();
            load = ran.zip(ran_then).map(|(ran, then)| (ran.saturating_sub(then) as f64 / 1e9 / seconds).min(1.0));
        }
        HubNow { hub, load, rates }
    }

    /// Waits until then, or until something else is wanted.
    fn rest(&self, until: Instant) {
        let wanted = self.wanted.lock();
        let pause = until.saturating_duration_since(Instant::now());
        drop(self.wanted.changed.wait_timeout(wanted, pause));
    }
}

/// How long an OS thread was on a processor, in nanoseconds.
fn ran(pid: u32, os_thread: i32) -> Option<u64> {
    let line = fs::read_to_string(format!("/proc/{pid}/task/{os_thread}/schedstat")).ok()?;
    line.split(' ').next()?.parse().ok()
}

/// Bytes of memory that a process has.
fn memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok().map(|kilobytes: u64| kilobytes << 10)
}
