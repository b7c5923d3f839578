//! The program's end: an OS thread that waits on the socket.
//!
//! Nobody else in the program ever waits for whoever asks. An answer that is not taken stays in a buffer, of which each
//! connection has one, for one answer; a connection that takes nothing for [`STALL`] is closed.
//!
//! What the OS thread has open lies in a shared [`Sockets`], so that the child of a fork, where the OS thread does not
//! exist, can close its copies.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use serde::Serialize;

use crate::peer::{MOST_PEERS, Peer, STALL, admit};
use crate::place::Served;
use crate::protocol::{Answer, Ask, Frame, Greeting, Hub, Info, Request, Stacks, Thread, VERSION};
use crate::settings::{Settings, dump_on};
use crate::sockets::{LISTENER, Sockets, lock};
use crate::stderr::to_stderr;
use crate::traced::Recorded;
use crate::watchdog::{self, Found, Pulse, Watchdog};
use crate::{metrics, place, text};

/// What there is to tell of a program. The OS thread of the [`Server`] asks, one question after another.
///
/// An answer must not wait for a hub without a limit: it is for seeing that a hub is blocked, too.
pub trait Program: Send + 'static {
    /// `rust` or `python`.
    fn language(&self) -> &'static str;

    /// What each hub has done.
    fn hubs(&mut self) -> Vec<Hub>;

    /// All green threads, grouped by where they wait.
    fn stacks(&mut self) -> Stacks;

    /// All about one green thread.
    ///
    /// # Errors
    /// A sentence.
    fn thread(&mut self, thread: Thread) -> Result<Info, String> {
        Err(format!("this program tells nothing of green thread {thread}"))
    }

    /// What is to be said when an OS thread with a hub, of which this is known, waits for a lock: what sort of lock it
    /// may be, and what to do.
    fn of_locks(&self, found: &Whereabouts) -> &'static str {
        let _ = found;
        ""
    }

    /// Ends a green thread. Says in a sentence what was done.
    ///
    /// # Errors
    /// A sentence.
    fn kill(&mut self, thread: Thread) -> Result<String, String>;

    /// Begins to record what green threads do, with room for so many events of each hub that were not read.
    ///
    /// # Errors
    /// A sentence.
    fn record(&mut self, events: usize) -> Result<Box<dyn Recorded>, String> {
        let _ = events;
        Err("this program records nothing".into())
    }

    /// The hubs, for the watchdog. Called many times a second.
    fn pulses(&mut self) -> Vec<Pulse> {
        Vec::new()
    }

    /// The watchdog has found this, and has written it to standard error: for the program's own log.
    fn log(&mut self, message: String) {
        drop(message);
    }

    /// What each of these hubs is doing, which do not move: which green thread runs, and where. What has to be waited
    /// for is waited for once, however many there are; what is not known by then is left out.
    fn whereabouts(&mut self, pulses: &[Pulse], until: Instant) -> Vec<Whereabouts> {
        let _ = until;
        vec![Whereabouts::default(); pulses.len()]
    }
}

/// What a hub is doing.
#[derive(Clone, Debug, Default)]
pub struct Whereabouts {
    /// In sentences.
    pub said: Vec<String>,
    /// The native code that its OS thread is in, innermost first, as far as that tells something more.
    pub backtrace: Vec<Frame>,
}

/// How long metrics wait for hubs that are busy.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long hubs that do not move are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// How long a dump waits for whoever reads standard error.
const DUMP_PATIENCE: Duration = Duration::from_secs(1);

/// How large an answer may be, in bytes.
const LARGEST_ANSWER: usize = 8 << 20;

/// How many events are told in one answer, of about 16 bytes each.
const EVENTS_AT_ONCE: usize = 100_000;

/// Events that a hub's ring may have: 1 GB of memory.
const MOST_EVENTS: usize = 1 << 26;

/// How long a recording goes on that nobody reads.
const UNREAD: Duration = Duration::from_secs(30);

const BELL: u64 = 1;
const DUMP: u64 = 2;

/// A socket that is served. Dropping it closes and removes it.
pub struct Server {
    path: PathBuf,
    /// The process that made it: in the child of a fork it is not ours to remove.
    pid: u32,
    sockets: Arc<Mutex<Option<Sockets>>>,
    /// Ends the OS thread's wait when it is dropped.
    bell: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the socket and starts the OS thread, which takes the signals that the caller's takes: leave it none.
    ///
    /// # Errors
    /// Those of [`place::folder`], of the socket, of the OS thread, and of a signal that cannot be handled.
    pub fn start(program: impl Program, settings: Settings) -> io::Result<Server> {
        let folder = place::folder()?;
        place::sweep(&folder);
        let pid = std::process::id();
        let path = folder.join(pid.to_string());
        if place::server(&path)? == Served::ByAnother {
            let message = format!(
                "{} is served by another process with this one's number, of another container: set XDG_RUNTIME_DIR",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        // Another process had the number; or this one has a socket already, which is then out of reach.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (bell, rung) = UnixStream::pair()?;
        let dump = settings.dump.map(dump_on).transpose()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |stream: &UnixStream, data| {
            epoll::add(&epoll, stream, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
        };
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        watch(&rung, BELL)?;
        if let Some(dump) = &dump {
            watch(dump, DUMP)?;
        }
        let sockets = Sockets::new(listener, rung, dump)?;
        let sockets = Arc::new(Mutex::new(Some(sockets)));
        let watch = settings.watchdog.map(Watchdog::new);
        let service = Service {
            program,
            epoll,
            sockets: Arc::clone(&sockets),
            watch,
            blocked: HashMap::new(),
            following: HashMap::new(),
        };
        let thread = std::thread::Builder::new().name("greenloom-inspect".into()).spawn(|| service.run())?;
        Ok(Server { path, pid, sockets, bell: Some(bell), thread: Some(thread) })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// In the child of a fork, where there is no OS thread to serve it: closes the child's copies, and leaves the
    /// socket to the parent.
    pub fn leave_to_parent(mut self) {
        // If the OS thread had it in that moment nobody ever unlocks it here, and the copies stay open.
        if let Ok(mut sockets) = self.sockets.try_lock() {
            sockets.take();
        }
        // To detach from it would be to write where it has been.
        if let Some(thread) = self.thread.take() {
            std::mem::forget(thread);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.pid != std::process::id() {
            return;
        }
        let _ = fs::remove_file(&self.path);
        self.bell.take();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the OS thread does.
struct Service<P> {
    program: P,
    epoll: OwnedFd,
    sockets: Arc<Mutex<Option<Sockets>>>,
    watch: Option<Watchdog>,
    /// What hubs were doing that the watchdog has found not to move.
    blocked: HashMap<u64, Whereabouts>,
    /// The connections that follow what the program does.
    following: HashMap<u64, Following>,
}

/// What a connection follows.
struct Following {
    recorded: Box<dyn Recorded>,
    read_at: Instant,
}

impl<P: Program> Service<P> {
    fn run(mut self) {
        let mut events = Vec::with_capacity(MOST_PEERS);
        loop {
            let Some(waits) = self.close_stalled() else { return };
            let interval = self.watch.as_ref().map(Watchdog::interval);
            let soon = waits || !self.following.is_empty();
            let timeout = interval.or_else(|| soon.then_some(Duration::from_secs(1)));
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            events.clear();
            let begun = Instant::now();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    to_stderr(&format!("greenloom: cannot be looked into any more: {error}\n"), Duration::ZERO);
                    return;
                }
            }
            self.watch_hubs(begun.elapsed());
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(),
                    BELL => return,
                    DUMP => self.dump(),
                    peer => self.serve(peer),
                }
            }
        }
    }

    /// Closes connections that take nothing. Whether it is to be called again soon; `None` when nothing is open.
    fn close_stalled(&mut self) -> Option<bool> {
        let mut sockets = lock(&self.sockets);
        let sockets = sockets.as_mut()?;
        sockets.renew_reserve(&self.epoll);
        let peers = &mut sockets.peers;
        peers.retain(|_, peer| peer.stalled.is_none_or(|since| since.elapsed() < STALL));
        // A recording ends with the one that follows it, or that does so no more.
        self.following.retain(|peer, following| peers.contains_key(peer) && following.read_at.elapsed() < UNREAD);
        Some(sockets.paused.is_some() || peers.values().any(|peer| peer.stalled.is_some()))
    }

    /// Looks which hubs do not move, and says so, after a wait that took so long.
    fn watch_hubs(&mut self, waited: Duration) {
        let Some(watch) = &mut self.watch else { return };
        watch.wake(waited);
        let found = watch.look(Instant::now(), &self.program.pulses());
        let blocked: Vec<_> = found.iter().filter_map(Found::blocked).cloned().collect();
        let mut whereabouts = self.look_at(&blocked).into_iter();
        for found in found {
            match found {
                Found::Blocked(pulse, lasts) => {
                    let whereabouts = whereabouts.next().unwrap_or_default();
                    let native = text::in_a_line(&whereabouts.backtrace).map(|line| format!("; in {line}"));
                    let (said, native) = (whereabouts.said.join("; "), native.unwrap_or_default());
                    self.warn(format!("hub {} has not moved for {} ms: {said}{native}", pulse.hub, lasts.as_millis()));
                    self.blocked.insert(pulse.hub, whereabouts);
                }
                Found::Moves(pulse, lasts) => {
                    self.blocked.remove(&pulse.hub);
                    self.warn(format!("hub {} moves again, after {} ms", pulse.hub, lasts.as_millis()));
                }
            }
        }
    }

    /// What hubs that do not move are doing. Says something of each.
    fn look_at(&mut self, pulses: &[Pulse]) -> Vec<Whereabouts> {
        if pulses.is_empty() {
            return Vec::new();
        }
        let activities: Vec<_> = pulses.iter().map(|pulse| pulse.os_thread.and_then(watchdog::activity)).collect();
        let mut all = self.program.whereabouts(pulses, Instant::now() + LOOK);
        for (found, activity) in all.iter_mut().zip(activities) {
            let waits_for_lock = activity.as_deref().is_some_and(watchdog::is_wait_for_lock);
            let advice = waits_for_lock.then(|| self.program.of_locks(found).to_owned());
            found.said.extend(activity.into_iter().chain(advice).filter(|said| !said.is_empty()));
            if found.said.is_empty() {
                found.said.push("something blocks its OS thread".into());
            }
        }
        all
    }

    fn warn(&mut self, message: String) {
        to_stderr(&format!("greenloom: {message}\n"), Duration::ZERO);
        self.program.log(message);
    }

    /// What each hub has done, with what the watchdog knows.
    fn hubs(&mut self) -> Vec<Hub> {
        let mut hubs = self.program.hubs();
        for hub in &mut hubs {
            let blocked = self.watch.as_ref().and_then(|watch| watch.blocked(hub.number));
            hub.blocked = blocked.map(|blocked| blocked.as_secs_f64());
            if let Some(found) = blocked.and_then(|_| self.blocked.get(&hub.number)) {
                hub.whereabouts = Some(found.said.join("; "));
                hub.backtrace.clone_from(&found.backtrace);
            }
        }
        hubs
    }

    fn accept(&mut self) {
        let mut sockets = lock(&self.sockets);
        let Some(sockets) = sockets.as_mut() else { return };
        while let Some(stream) = sockets.accept(&self.epoll) {
            let first = match admit(&stream, sockets.peers.len()) {
                Ok(()) => line(&self.greeting()),
                Err(problem) => {
                    // It has room for one line.
                    let _ = stream.set_nonblocking(true);
                    let _ = (&stream).write(&line(&Answer { problem: Some(problem), ..Answer::default() }));
                    continue;
                }
            };
            let number = sockets.next;
            sockets.next += 1;
            let data = epoll::EventData::new_u64(number);
            if stream.set_nonblocking(true).is_ok()
                && epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).is_ok()
            {
                let mut peer = Peer::new(stream, first);
                if peer.flush().is_ok() {
                    sockets.peers.insert(number, peer);
                }
            }
        }
    }

    fn greeting(&self) -> Greeting {
        Greeting {
            greenloom: VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            language: self.program.language().into(),
            program: text::command_line(),
        }
    }

    /// Reads what a connection asks, answers, and writes what it has room for.
    fn serve(&mut self, number: u64) {
        if self.exchange(number).is_err()
            && let Some(sockets) = lock(&self.sockets).as_mut()
        {
            sockets.peers.remove(&number);
        }
    }

    fn exchange(&mut self, number: u64) -> io::Result<()> {
        loop {
            // The answer is made without the lock.
            let request = {
                let mut sockets = lock(&self.sockets);
                let Some(peer) = sockets.as_mut().and_then(|sockets| sockets.peers.get_mut(&number)) else {
                    return Ok(());
                };
                peer.flush()?;
                let request = if peer.output.is_empty() { peer.next_request()? } else { None };
                // Whoever does not take its answers is not read from.
                let wanted = if peer.output.is_empty() { epoll::EventFlags::IN } else { epoll::EventFlags::OUT };
                epoll::modify(&self.epoll, &peer.stream, epoll::EventData::new_u64(number), wanted)?;
                request
            };
            let Some(request) = request else { return Ok(()) };
            let answer = self.answer(number, &request);
            if let Some(peer) = lock(&self.sockets).as_mut().and_then(|sockets| sockets.peers.get_mut(&number)) {
                peer.output = answer;
            }
        }
    }

    fn answer(&mut self, peer: u64, request: &[u8]) -> Vec<u8> {
        let answer = match serde_json::from_slice::<Request>(request) {
            Ok(Request { id, ask }) => Answer { id, ..self.tell(peer, ask) },
            Err(error) => Answer { problem: Some(format!("not a request: {error}")), ..Answer::default() },
        };
        let id = answer.id;
        let told = line(&answer);
        if told.len() <= LARGEST_ANSWER {
            return told;
        }
        let problem = format!("the answer has {} bytes, more than the {LARGEST_ANSWER} that are sent", told.len());
        line(&Answer { id, problem: Some(problem), ..Answer::default() })
    }

    fn tell(&mut self, peer: u64, ask: Ask) -> Answer {
        let mut answer = Answer::default();
        match ask {
            Ask::Hubs => answer.hubs = Some(self.hubs()),
            Ask::Stacks => answer.stacks = Some(self.program.stacks()),
            Ask::Metrics => answer.metrics = Some(metrics::text_within(&self.hubs(), PATIENCE)),
            Ask::Kill { thread } => match self.program.kill(thread) {
                Ok(done) => answer.done = Some(done),
                Err(problem) => answer.problem = Some(problem),
            },
            Ask::Thread { thread } => match self.program.thread(thread) {
                Ok(info) => answer.thread = Some(info),
                Err(problem) => answer.problem = Some(problem),
            },
            Ask::TraceStart { events } => match self.follow(peer, events) {
                Ok(()) => answer.done = Some("it is recorded what green threads do".into()),
                Err(problem) => answer.problem = Some(problem),
            },
            Ask::TraceRead | Ask::TraceStop => match self.following.get_mut(&peer) {
                None => answer.problem = Some(format!("no trace was begun here, or it was not read for {UNREAD:?}")),
                Some(following) if ask == Ask::TraceStop => {
                    following.recorded.stop();
                    answer.done = Some("it is recorded no more".into());
                }
                Some(following) => {
                    following.read_at = Instant::now();
                    answer.trace = Some(following.recorded.read(EVENTS_AT_ONCE));
                }
            },
        }
        answer
    }

    /// Begins to record for a connection.
    fn follow(&mut self, peer: u64, events: usize) -> Result<(), String> {
        if !(1..=MOST_EVENTS).contains(&events) {
            return Err(format!("the number of events is from 1 to {MOST_EVENTS}"));
        }
        self.following.remove(&peer);
        let recorded = self.program.record(events)?;
        self.following.insert(peer, Following { recorded, read_at: Instant::now() });
        Ok(())
    }

    /// Writes all stacks to standard error.
    fn dump(&mut self) {
        if let Some(Sockets { dump: Some(dump), .. }) = lock(&self.sockets).as_mut() {
            let mut signals = [0; 64];
            while matches!(dump.read(&mut signals), Ok(1..)) {}
        }
        let hubs = text::hubs(&self.hubs());
        let stacks = text::stacks(&self.program.stacks());
        to_stderr(&format!("greenloom: process {}\n{hubs}{stacks}", std::process::id()), DUMP_PATIENCE);
    }
}

impl<P> Drop for Service<P> {
    /// Whoever asks when nobody serves any more, for whatever reason, is refused, and does not wait.
    fn drop(&mut self) {
        lock(&self.sockets).take();
    }
}

fn line(what: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(what).expect("all keys are strings");
    line.push(b'\n');
    line
}
