//! The descriptor of a green object, and the wait for it.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::ptr;

use greenloom_hub::{Direction, SourceKey, Time};

use super::hub::Hub;
use super::hub_ref;
use super::park::park_until;
use super::polling::{checked, may_be_closed};
use super::ticket::{Outcome, Ticket};
use super::work::Work;
use crate::greenlet::Thread;
use crate::py::ffi::PyObject;
use crate::py::{Owned, Result, Slot, This};

/// How a wait for a descriptor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Worth another try: it is ready, or was closed.
    Yes,
    /// The time is up.
    TimedOut,
    /// Somebody else waits there.
    Busy,
}

/// The descriptor of a green object, registered with the hub of whichever thread waits on it.
pub struct Source {
    key: Cell<Option<SourceKey>>,
    /// The hub it is registered with.
    hub: Slot,
    /// Further hubs: of other OS threads that have used it.
    others: RefCell<Vec<(Owned, SourceKey)>>,
}

impl Source {
    /// Of a descriptor that is not registered yet.
    pub fn new() -> Source {
        Source { key: Cell::new(None), hub: Slot::empty(), others: RefCell::new(Vec::new()) }
    }

    /// The key in the thread's hub, if it was registered there.
    #[inline]
    fn key(&self, thread: &Thread) -> Option<SourceKey> {
        if ptr::eq(self.hub.get(), hub_ref::object_of(thread)) { self.key.get() } else { self.other_key(thread) }
    }

    #[cold]
    fn other_key(&self, thread: &Thread) -> Option<SourceKey> {
        self.others
            .borrow()
            .iter()
            .find(|(hub, _)| ptr::eq(hub.as_ptr(), hub_ref::object_of(thread)))
            .map(|(_, key)| *key)
    }

    fn set_key(&self, thread: &Thread, key: SourceKey) {
        // SAFETY: the thread keeps its hub.
        let hub = unsafe { Owned::borrow(hub_ref::object_of(thread)) };
        if self.key.get().is_none() || ptr::eq(self.hub.get(), hub.as_ptr()) {
            self.key.set(Some(key));
            self.hub.set(Some(hub));
            return;
        }
        let mut others = self.others.borrow_mut();
        match others.iter_mut().find(|(other, _)| ptr::eq(other.as_ptr(), hub.as_ptr())) {
            Some(other) => other.1 = key,
            None => others.push((hub, key)),
        }
    }

    /// Whether an operation is worth a try, as far as this hub knows.
    ///
    /// # Safety
    /// The interpreter's lock is held, in the hub's thread.
    #[inline]
    pub unsafe fn is_ready(&self, thread: &Thread, hub: &Hub, direction: Direction) -> bool {
        let Some(key) = self.key(thread) else { return true };
        // SAFETY: the caller's word.
        unsafe { hub.polling() }.map_or(true, |polling| polling.sources().borrow_mut().is_ready(key, direction))
    }

    /// Notes that an operation took all there was.
    ///
    /// # Safety
    /// As [`is_ready`](Self::is_ready).
    #[inline]
    pub unsafe fn clear_ready(&self, thread: &Thread, hub: &Hub, direction: Direction) {
        if let Some(key) = self.key(thread)
            // SAFETY: the caller's word.
            && let Ok(polling) = unsafe { hub.polling() }
        {
            polling.sources().borrow_mut().clear_ready(key, direction);
        }
    }

    /// Parks the running greenlet until the descriptor is ready; does not park if it is, but for what was `refused`: an
    /// operation has just said that it would block.
    ///
    /// # Errors
    /// What is thrown in; OSError if it cannot be registered.
    ///
    /// # Safety
    /// The interpreter's lock is held; `hub` is the thread's plain hub; `fd` is always the same number.
    pub unsafe fn wait(
        &self,
        thread: &Thread,
        hub: &Hub,
        fd: RawFd,
        direction: Direction,
        refused: bool,
        deadline: Option<Time>,
    ) -> Result<Ready> {
        // SAFETY: the caller's word.
        unsafe {
            let polling = hub.polling()?;
            let (key, waits) = {
                let mut sources = polling.sources().borrow_mut();
                let known = self.key(thread).filter(|key| sources.contains(*key));
                let key = match known {
                    Some(key) => key,
                    None => {
                        let key = match polling.register(&mut sources, fd) {
                            Err(error) if may_be_closed(&error) => {
                                drop(sources);
                                if hub.renew_if_closed()? {
                                    return Ok(Ready::Yes);
                                }
                                return checked(Err(error));
                            }
                            key => checked(key)?,
                        };
                        self.set_key(thread, key);
                        key
                    }
                };
                if refused {
                    sources.would_block(key, direction);
                }
                let ticket = Ticket::take(thread);
                (
                    key,
                    sources
                        .wait(key, direction, Work::Wake(ticket.clone(), Outcome::none()))
                        .map(|waits| waits.then_some(ticket)),
                )
            };
            let ticket = match waits {
                Ok(Some(ticket)) => ticket,
                Ok(None) => return Ok(Ready::Yes),
                Err(_) => return Ok(Ready::Busy),
            };
            let value = park_until(thread, &ticket, deadline);
            if let Ok(polling) = hub.polling() {
                let mine = |work: &Work| matches!(work, Work::Wake(other, _) if other.is_same(&ticket));
                let work = polling.sources().borrow_mut().stop_waiting(key, direction, mine);
                drop(work);
            }
            Ok(if value?.is_some() { Ready::Yes } else { Ready::TimedOut })
        }
    }

    /// Forgets the descriptor, which the caller is about to close, and makes who waits on it try again.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn detach(&self, fd: RawFd) {
        let Some(key) = self.key.take() else { return };
        let first = self.hub.take().map(|hub| (hub, key));
        let others = self.others.take();
        for (owner, key) in first.into_iter().chain(others) {
            // SAFETY: guarded by the lock, as all of a hub's state is.
            unsafe {
                let Some(hub) = This::<Hub>::try_of(owner.as_ptr()) else { continue };
                let Some(polling) = hub.polling_if_any() else { continue };
                for work in polling.remove(key, fd) {
                    if let Work::Wake(ticket, outcome) = work {
                        ticket.wake(outcome);
                    }
                }
            }
        }
    }

    /// For the garbage collector.
    pub fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.hub.get());
    }
}
