//! Numbers for hubs, so that a waker is plain data and waking at home touches no reference count; and what hubs are
//! sent.

use std::sync::{Arc, PoisonError, RwLock};

use greenloom_hub::{Inbox, InboxClosed, SourceKey};

use super::counters::Counters;
use super::node::Wake;

/// What other OS threads send to a hub.
pub(crate) enum Message {
    Wake { slot: u32, ticket: u64, cause: Wake },
    Call(Box<dyn FnOnce() + Send>),
    RemoveSource(SourceKey),
}

/// A hub, as others know it.
struct Entry {
    inbox: Arc<Inbox<Message>>,
    counters: Arc<Counters>,
}

static HUBS: RwLock<Vec<Option<Entry>>> = RwLock::new(Vec::new());

pub fn add(inbox: Arc<Inbox<Message>>, counters: Arc<Counters>) -> u32 {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    // Numbers are not used again: an old waker must not reach a new hub.
    hubs.push(Some(Entry { inbox, counters }));
    u32::try_from(hubs.len() - 1).expect("4 billion hubs were made")
}

pub fn replace(id: u32, inbox: Arc<Inbox<Message>>) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(entry) = &mut hubs[id as usize] {
        entry.inbox = inbox;
    }
}

pub fn remove(id: u32) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    hubs[id as usize] = None;
}

pub fn send(id: u32, message: Message) -> Result<(), InboxClosed<Message>> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    match &hubs[id as usize] {
        Some(entry) => entry.inbox.send(message),
        None => Err(InboxClosed(message)),
    }
}

/// The hubs that there are, by their numbers.
pub fn all() -> Vec<(u32, Arc<Counters>)> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    let entries = hubs.iter().zip(0..).filter_map(|(entry, id)| Some((id, Arc::clone(&entry.as_ref()?.counters))));
    entries.collect()
}
