//! Numbers for hubs, so that a waker is plain data and waking at home touches no reference count; and what hubs are
//! sent.

use std::any::Any;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "inspect")]
use std::sync::atomic::Ordering;
use std::sync::{Arc, Once, PoisonError, RwLock, RwLockWriteGuard, TryLockError};

use greenloom_fiber::{fork_generation, hold_over_forks};
use greenloom_hub::{Direction, Inbox, InboxClosed, SourceKey};

use super::counters::Counters;
use super::node::Wake;
use super::try_here;

/// What other OS threads send to a hub.
pub(crate) enum Message {
    Wake { slot: u32, ticket: u64, cause: Wake },
    Call(Box<dyn FnOnce() + Send>),
    RemoveSource(SourceKey),
    RouseSource(SourceKey, Direction),
}

/// A hub, as others know it.
struct Entry {
    inbox: Arc<Inbox<Message>>,
    counters: Arc<Counters>,
    /// The process it lives in: of a fork's child only the hub of the OS thread that forked is alive.
    generation: u64,
    /// Which greenlet runs, and the system's number of the OS thread.
    running: Option<(&'static AtomicU64, i32)>,
}

/// A hub, as the watchdog sees it.
#[cfg(feature = "inspect")]
pub struct Watched {
    pub id: u32,
    pub counters: Arc<Counters>,
    /// The number of the greenlet that runs.
    pub running: u64,
    /// The system's number of its OS thread.
    pub os_thread: i32,
}

static HUBS: RwLock<Vec<Option<Entry>>> = RwLock::new(Vec::new());

pub fn add(inbox: Arc<Inbox<Message>>, counters: Arc<Counters>) -> u32 {
    static HELD: Once = Once::new();
    HELD.call_once(|| hold_over_forks(|| HeldOverAFork::take().map(|held| Box::new(held) as Box<dyn Any>)));
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    // Numbers are not used again: an old waker must not reach a new hub.
    hubs.push(Some(Entry { inbox, counters, generation: fork_generation(), running: None }));
    u32::try_from(hubs.len() - 1).expect("4 billion hubs were made")
}

/// The list while the process forks. Those of other OS threads are gone in the child, where their inboxes may be locked
/// for ever: what is sent there from then on finds them closed.
struct HeldOverAFork {
    hubs: RwLockWriteGuard<'static, Vec<Option<Entry>>>,
    own: Option<u32>,
}

impl HeldOverAFork {
    fn take() -> Option<HeldOverAFork> {
        let hubs = match HUBS.try_write() {
            Ok(hubs) => hubs,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(HeldOverAFork { hubs, own: try_here().map(|runtime| runtime.id()) })
    }
}

impl Drop for HeldOverAFork {
    fn drop(&mut self) {
        if let Some(entry) = self.own.and_then(|id| self.hubs[id as usize].as_mut()) {
            entry.generation = fork_generation();
        }
    }
}

pub fn replace(id: u32, inbox: Arc<Inbox<Message>>) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = &mut hubs[id as usize] {
        entry.inbox = inbox;
        entry.generation = fork_generation();
        // The forking OS thread has another number in the child.
        entry.running = entry.running.map(|(running, _)| (running, os_thread()));
    }
}

/// Lets others read which greenlet runs in the hub of the running OS thread.
pub fn show_running(id: u32, running: &'static AtomicU64) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = &mut hubs[id as usize] {
        entry.running = Some((running, os_thread()));
    }
}

fn os_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// The hubs that there are in this process, for the watchdog.
#[cfg(feature = "inspect")]
pub fn watched() -> Vec<Watched> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    let here = |entry: &&Entry| entry.generation == fork_generation();
    let watched = |(entry, id): (&Option<Entry>, u32)| {
        let entry = entry.as_ref().filter(here)?;
        let (running, os_thread) = entry.running?;
        let running = running.load(Ordering::Relaxed);
        Some(Watched { id, counters: Arc::clone(&entry.counters), running, os_thread })
    };
    hubs.iter().zip(0..).filter_map(watched).collect()
}

pub fn remove(id: u32) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    hubs[id as usize] = None;
}

pub fn send(id: u32, message: Message) -> Result<(), InboxClosed<Message>> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    // A hub that has ended has nobody's number.
    match hubs.get(id as usize) {
        Some(Some(entry)) if entry.generation == fork_generation() => entry.inbox.send(message),
        _ => Err(InboxClosed(message)),
    }
}

/// The hubs that there are in this process, by their numbers.
pub fn all() -> Vec<(u32, Arc<Counters>)> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    let is_here = |entry: &&Entry| entry.generation == fork_generation();
    let entry = |entry: &Option<Entry>| entry.as_ref().filter(is_here).map(|entry| Arc::clone(&entry.counters));
    hubs.iter().zip(0..).filter_map(|(hub, id)| Some((id, entry(hub)?))).collect()
}
