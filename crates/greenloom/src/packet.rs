//! What a green thread leaves behind, and who is to be told.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::runtime::error::JoinError;
use crate::runtime::node::Node;
use crate::runtime::park::{Waker, park};

/// What a green thread leaves behind, and who is to be told.
pub(crate) struct Packet<T> {
    pub result: Cell<Option<Result<T, JoinError>>>,
    finished: Cell<bool>,
    pub waiter: Cell<Option<Waker>>,
    pub has_links: Cell<bool>,
    pub links: RefCell<Vec<(u64, Link<T>)>>,
    /// Whether a record has it, for the green thread that comes next.
    is_kept: Cell<bool>,
}

type Link<T> = Box<dyn FnOnce(&Result<T, JoinError>)>;

impl<T> Default for Packet<T> {
    fn default() -> Packet<T> {
        Packet {
            result: Cell::new(None),
            finished: Cell::new(false),
            waiter: Cell::new(None),
            has_links: Cell::new(false),
            links: RefCell::new(Vec::new()),
            is_kept: Cell::new(false),
        }
    }
}

impl<T> Packet<T> {
    /// Parks until the green thread that leaves its outcome here has ended.
    #[inline]
    pub fn wait(&self) -> Result<T, JoinError> {
        loop {
            if let Some(result) = self.result.take() {
                return result;
            }
            park("green thread", |waker| self.waiter.set(Some(waker)))?;
        }
    }

    /// Whether the green thread has ended, but for its links.
    pub fn is_finished(&self) -> bool {
        self.finished.get()
    }

    /// Inlined, so that the result is stored where it stays: built on the stack in words and copied from there in pairs
    /// of them, it keeps the processor waiting.
    #[inline(always)]
    pub fn finish(&self, result: Result<T, JoinError>) {
        self.finished.set(true);
        if self.has_links.get() {
            self.call_links(&result);
        }
        self.result.set(Some(result));
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    /// Makes it as a new one. Its value is dropped here.
    fn clear(&self) {
        self.finished.set(false);
        self.waiter.set(None);
        if self.has_links.replace(false) {
            self.links.take();
        }
        self.result.set(None);
    }

    #[cold]
    fn call_links(&self, result: &Result<T, JoinError>) {
        for (_, link) in self.links.take() {
            // One that panics does not keep the others from being called.
            let _ = catch_unwind(AssertUnwindSafe(|| link(result)));
        }
    }
}

/// A packet of more bytes than this is not kept.
const LARGEST_KEPT: usize = 256;

/// A packet, as the green thread and its handle share it. When both have let it go it is empty.
pub(crate) struct PacketRef<T>(Rc<Packet<T>>);

impl<T> PacketRef<T> {
    /// One that nobody had before.
    pub fn new() -> PacketRef<T> {
        PacketRef(Rc::default())
    }
}

impl<T: 'static> PacketRef<T> {
    /// That of the one who had this record before, if it is of the same type and nobody else has it.
    #[inline]
    pub fn kept_by(node: &Node) -> PacketRef<T> {
        let kept = node.packet.take().filter(|kept| Rc::strong_count(kept) == 1);
        let packet = kept.and_then(|kept| kept.downcast::<Packet<T>>().ok()).unwrap_or_default();
        if size_of::<Packet<T>>() <= LARGEST_KEPT {
            packet.is_kept.set(true);
            node.packet.set(Some(packet.clone()));
        }
        PacketRef(packet)
    }
}

impl<T> Clone for PacketRef<T> {
    #[inline]
    fn clone(&self) -> PacketRef<T> {
        PacketRef(Rc::clone(&self.0))
    }
}

impl<T> Deref for PacketRef<T> {
    type Target = Packet<T>;

    #[inline]
    fn deref(&self) -> &Packet<T> {
        &self.0
    }
}

impl<T> Drop for PacketRef<T> {
    #[inline]
    fn drop(&mut self) {
        // This one and the record's. Where the record is gone already, what is left is dropped with the packet.
        if Rc::strong_count(&self.0) == 2 && self.is_kept.get() {
            self.clear();
        }
    }
}

/// A function that runs `f` and leaves in `packet` what it came to; also if it is dropped unrun.
#[inline]
pub(crate) fn run_into<T, F: FnOnce() -> T>(packet: PacketRef<T>, f: F) -> impl FnOnce() + use<T, F> {
    struct Outcome<T>(PacketRef<T>);
    impl<T> Drop for Outcome<T> {
        fn drop(&mut self) {
            if !self.0.finished.get() {
                self.0.finish(Err(JoinError::Killed));
            }
        }
    }
    let outcome = Outcome(packet);
    move || match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => outcome.0.finish(Ok(value)),
        Err(payload) => outcome.0.finish(Err(JoinError::from_payload(payload))),
    }
}
