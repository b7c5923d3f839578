//! The descriptor of a green object, and the wait for it.

use std::cell::{Cell, RefCell};
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;

use greenloom_hub::{Direction, SourceKey, Time};
use greenloom_inspect::descriptor;

use super::hub::Hub;
use super::hub_ref;
use super::pair::End;
use super::park::park_until;
use super::polling::{checked, may_be_closed};
use super::ticket::{Outcome, Ticket};
use super::work::Work;
use crate::greenlet::wait::{At, Awaited, Wait};
use crate::greenlet::{Here, Thread};
use crate::py::ffi::PyObject;
use crate::py::{Gil, Owned, Result, Slot, This};

/// What came of the last try before a wait.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum LastTry {
    /// There was none, so what the poller has said counts.
    #[default]
    NotMade,
    /// It would have blocked, whatever the poller has said before.
    WouldBlock,
}

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
    /// Which end of a connection it is, if both are green objects of this process.
    end: RefCell<Option<End>>,
}

impl Source {
    /// Of a descriptor that is not registered yet.
    pub fn new() -> Source {
        Source { key: Cell::new(None), hub: Slot::empty(), others: RefCell::new(Vec::new()), end: RefCell::new(None) }
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
        if let Some(end) = &*self.end.borrow() {
            end.note(Some(key));
        }
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

    /// Whether an operation is worth a try, as far as the thread's hub knows.
    #[inline]
    pub fn is_ready(&self, thread: Here<'_>, hub: &Hub, direction: Direction) -> bool {
        let Some(key) = self.key(&thread) else { return true };
        // SAFETY: used at once.
        unsafe { hub.polling(thread) }.map_or(true, |polling| polling.sources().borrow_mut().is_ready(key, direction))
    }

    /// Notes that an operation took all there was.
    #[inline]
    pub fn clear_ready(&self, thread: Here<'_>, hub: &Hub, direction: Direction) {
        if let Some(key) = self.key(&thread)
            // SAFETY: used at once.
            && let Ok(polling) = unsafe { hub.polling(thread) }
        {
            polling.sources().borrow_mut().clear_ready(key, direction);
        }
    }

    /// Makes two descriptors, which nobody has waited on yet, the ends of one connection.
    pub fn join(&self, other: &Source) {
        for (source, end) in [self, other].into_iter().zip(End::pair()) {
            source.end.replace(Some(end));
        }
    }

    /// After a write: the hub goes on with who waits to read from the other end, if that waits in the same hub.
    #[inline]
    pub fn hand_over(&self, thread: Here<'_>, hub: &Hub) {
        if let Some(key) = self.end.borrow().as_ref().and_then(End::other)
            && hub.may_hand_over()
            // SAFETY: used at once.
            && let Ok(polling) = unsafe { hub.polling(thread) }
            && let Some(work) = polling.sources().borrow_mut().expect(key, Direction::Read)
        {
            hub.come_next(work);
        }
    }

    /// After a direction was shut down: who waits there tries again. Of a Unix socket whose buffer is full, no event
    /// tells that nothing can be written any more.
    pub fn rouse(&self, thread: Here<'_>, hub: &Hub) {
        // SAFETY: used at once.
        let (Some(key), Ok(polling)) = (self.key(&thread), (unsafe { hub.polling(thread) })) else { return };
        for direction in [Direction::Read, Direction::Write] {
            if let Some(work) = polling.sources().borrow_mut().expect(key, direction) {
                hub.come_next(work);
            }
        }
    }

    /// Parks the running greenlet until the descriptor is ready; does not park if it is, unless the last try says
    /// otherwise. `hub` is the thread's, and plain; `fd` is always the same number.
    ///
    /// # Errors
    /// What is thrown in; OSError if it cannot be registered.
    pub fn wait(
        &self,
        thread: Here<'_>,
        hub: &Hub,
        fd: RawFd,
        direction: Direction,
        last_try: LastTry,
        deadline: Option<Time>,
    ) -> Result<Ready> {
        let Some(key) = self.register(thread, hub, fd)? else { return Ok(Ready::Yes) };
        wait_for(thread, hub, key, Descriptor { fd, direction }, last_try, deadline)
    }

    /// The key in the thread's hub, where it is registered if it was not. `None`: the hub's poller had been closed and
    /// was renewed.
    #[inline]
    fn register(&self, thread: Here<'_>, hub: &Hub, fd: RawFd) -> Result<Option<SourceKey>> {
        // SAFETY: used at once.
        let polling = unsafe { hub.polling(thread)? };
        if let Some(key) = self.key(&thread)
            && polling.sources().borrow_mut().contains(key)
        {
            return Ok(Some(key));
        }
        self.register_now(thread, hub, fd)
    }

    /// A call of its own: what it needs of the stack is not kept while the greenlet waits.
    #[inline(never)]
    fn register_now(&self, thread: Here<'_>, hub: &Hub, fd: RawFd) -> Result<Option<SourceKey>> {
        // SAFETY: not used any more when the poller is renewed.
        let polling = unsafe { hub.polling(thread)? };
        let registered = polling.register(&mut polling.sources().borrow_mut(), fd);
        if let Err(error) = &registered
            && may_be_closed(error)
            && hub.renew_if_closed(thread)?
        {
            return Ok(None);
        }
        let key = checked(thread.gil(), registered)?;
        self.set_key(&thread, key);
        Ok(Some(key))
    }

    /// Forgets the descriptor, which the caller is about to close, and makes those that wait on it try again.
    pub fn detach(&self, gil: Gil<'_>, fd: RawFd) {
        if let Some(end) = self.end.take() {
            end.note(None);
        }
        let Some(key) = self.key.take() else { return };
        let first = self.hub.take().map(|hub| (hub, key));
        let others = self.others.take();
        for (owner, key) in first.into_iter().chain(others) {
            // SAFETY: a live object, which is kept.
            let Some(hub) = (unsafe { This::<Hub>::try_of(owner.as_ptr()) }) else { continue };
            // SAFETY: used at once.
            let Some(polling) = (unsafe { hub.polling_if_any() }) else { continue };
            for work in polling.remove(key, fd) {
                if let Work::Wake(ticket, outcome) = work {
                    ticket.wake(gil, outcome);
                }
            }
        }
    }

    /// For the garbage collector.
    pub fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.hub.get());
    }
}

/// What a wait for a descriptor is about.
pub struct Descriptor {
    pub fd: RawFd,
    pub direction: Direction,
}

impl Awaited for Descriptor {
    fn at(&self) -> At {
        At { waiters: 1, ..At::default() }
    }

    fn detail(&self) -> String {
        let verb = if self.direction == Direction::Read { "read" } else { "write" };
        // SAFETY: somebody waits for it; if it was closed without a word, the number is another file's or nobody's, of
        // which the system tells then.
        let fd = unsafe { BorrowedFd::borrow_raw(self.fd) };
        format!("fd {} to {verb}, {}", self.fd, descriptor::words(fd))
    }
}

/// Parks the running greenlet until a registered descriptor is ready: the wait of [`Source::wait`].
///
/// # Errors
/// What is thrown in.
pub fn wait_for(
    thread: Here<'_>,
    hub: &Hub,
    key: SourceKey,
    descriptor: Descriptor,
    last_try: LastTry,
    deadline: Option<Time>,
) -> Result<Ready> {
    let direction = descriptor.direction;
    let ticket = Ticket::take(thread);
    let waits = {
        // SAFETY: used at once; no code of others runs while the sources are borrowed.
        let mut sources = unsafe { hub.polling(thread)? }.sources().borrow_mut();
        if last_try == LastTry::WouldBlock {
            sources.would_block(key, direction);
        }
        sources.wait(key, direction, Work::Wake(ticket.clone(), Outcome::none(thread.gil())))
    };
    match waits {
        Ok(true) => {}
        Ok(false) => return Ok(Ready::Yes),
        Err(_) => return Ok(Ready::Busy),
    }
    let value = park_until(thread, &ticket, &Wait { what: "I/O", at: Some(&descriptor), until: deadline });
    // SAFETY: looked up anew after the park, and used at once.
    if let Ok(polling) = unsafe { hub.polling(thread) } {
        let mine = |work: &Work| matches!(work, Work::Wake(other, _) if other.is_same(&ticket));
        let work = polling.sources().borrow_mut().stop_waiting(key, direction, mine);
        drop(work);
    }
    Ok(if value?.is_some() { Ready::Yes } else { Ready::TimedOut })
}
