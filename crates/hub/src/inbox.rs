//! How other OS threads reach a hub.
//!
//! Senders put messages under a lock and ring the poller's bell only if the hub sleeps or is about to. The hub says
//! that it is about to sleep *before* it looks a last time whether the inbox is empty, and senders look at that flag
//! *after* they have put their message in. With a fence between the two on either side, either the hub sees the message
//! or the sender sees the flag: no message is left to lie while the hub sleeps. `tests/inbox_loom.rs` checks all
//! interleavings.

use std::collections::VecDeque;
use std::fmt;

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering, fence},
};

/// Messages from other OS threads to one hub. `bell` wakes the hub from its wait; ringing it twice, or for nothing, is
/// harmless.
pub struct Inbox<M> {
    queue: Mutex<Queue<M>>,
    /// Whether the queue may hold something; a hint that saves the hub the lock.
    waiting: AtomicBool,
    sleeping: AtomicBool,
    bell: Box<dyn Fn() + Send + Sync>,
}

struct Queue<M> {
    messages: VecDeque<M>,
    open: bool,
}

/// The hub is gone; the message is handed back.
pub struct InboxClosed<M>(pub M);

impl<M> fmt::Debug for InboxClosed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InboxClosed")
    }
}

impl<M> fmt::Display for InboxClosed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub has ended: its OS thread is gone")
    }
}

impl<M> std::error::Error for InboxClosed<M> {}

impl<M> Inbox<M> {
    /// An empty inbox.
    pub fn new(bell: impl Fn() + Send + Sync + 'static) -> Inbox<M> {
        Inbox {
            queue: Mutex::new(Queue { messages: VecDeque::new(), open: true }),
            waiting: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            bell: Box::new(bell),
        }
    }

    /// Sends a message, from any OS thread.
    ///
    /// # Errors
    /// [`InboxClosed`], with the message, when the hub has ended.
    pub fn send(&self, message: M) -> Result<(), InboxClosed<M>> {
        {
            let mut queue = self.lock();
            if !queue.open {
                return Err(InboxClosed(message));
            }
            queue.messages.push_back(message);
            self.waiting.store(true, Ordering::Release);
        }
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::AcqRel) {
            (self.bell)();
        }
        Ok(())
    }

    /// Whether there may be messages. Costs one load.
    #[inline]
    pub fn has_messages(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Takes all messages, oldest first. Costs one load when there are none.
    pub fn take(&self) -> VecDeque<M> {
        if !self.has_messages() {
            return VecDeque::new();
        }
        let mut queue = self.lock();
        self.waiting.store(false, Ordering::Release);
        std::mem::take(&mut queue.messages)
    }

    /// Says that the hub is about to sleep. It may do so if this returns `true`; else there are messages.
    pub fn fall_asleep(&self) -> bool {
        self.sleeping.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Acquire) {
            self.sleeping.store(false, Ordering::Release);
            return false;
        }
        true
    }

    /// Says that the hub is awake, so that senders need not ring.
    pub fn wake_up(&self) {
        self.sleeping.store(false, Ordering::Release);
    }

    /// Refuses further messages and returns those that were not taken.
    pub fn close(&self) -> VecDeque<M> {
        let mut queue = self.lock();
        queue.open = false;
        self.waiting.store(false, Ordering::Release);
        std::mem::take(&mut queue.messages)
    }

    #[cfg(not(loom))]
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue<M>> {
        // A panic under the lock leaves the queue whole.
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[cfg(loom)]
    fn lock(&self) -> loom::sync::MutexGuard<'_, Queue<M>> {
        self.queue.lock().expect("no panic under the lock")
    }
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
