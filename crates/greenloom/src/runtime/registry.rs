//! Numbers for hubs, so that a waker is plain data and waking at home touches no reference count; and what hubs are
//! sent.

use std::sync::{Arc, PoisonError, RwLock};

use hub::{Inbox, InboxClosed, SourceKey};

use super::node::Wake;

/// What other OS threads send to a hub.
pub(crate) enum Message {
    Wake { slot: u32, ticket: u64, cause: Wake },
    Call(Box<dyn FnOnce() + Send>),
    RemoveSource(SourceKey),
}

static HUBS: RwLock<Vec<Option<Arc<Inbox<Message>>>>> = RwLock::new(Vec::new());

pub fn add(inbox: Arc<Inbox<Message>>) -> u32 {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    // Numbers are not used again: an old waker must not reach a new hub.
    hubs.push(Some(inbox));
    u32::try_from(hubs.len() - 1).expect("4 billion hubs were made")
}

pub fn replace(id: u32, inbox: Arc<Inbox<Message>>) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    hubs[id as usize] = Some(inbox);
}

pub fn remove(id: u32) {
    let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
    hubs[id as usize] = None;
}

pub fn send(id: u32, message: Message) -> Result<(), InboxClosed<Message>> {
    let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
    match &hubs[id as usize] {
        Some(inbox) => inbox.send(message),
        None => Err(InboxClosed(message)),
    }
}
