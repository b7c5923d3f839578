//! What a green thread leaves behind, and who is to be told.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::runtime::error::JoinError;
use crate::runtime::park::{Waker, park};
use crate::runtime::spare::Spare;

/// What a green thread leaves behind, and who is to be told.
pub(crate) struct Packet<T> {
    pub result: Cell<Option<Result<T, JoinError>>>,
    finished: Cell<bool>,
    pub waiter: Cell<Option<Waker>>,
    pub has_links: Cell<bool>,
    pub links: RefCell<Vec<(u64, Link<T>)>>,
    /// Keeps the packet for others, if it can be kept: `T` may borrow.
    keep: Option<fn(Rc<Packet<T>>)>,
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
            keep: None,
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
    #[inline]
    fn clear(&self) {
        self.result.set(None);
        self.finished.set(false);
        self.waiter.set(None);
        if self.has_links.replace(false) {
            self.links.take();
        }
    }

    #[cold]
    fn call_links(&self, result: &Result<T, JoinError>) {
        for (_, link) in self.links.take() {
            // One that panics does not keep the others from being called.
            let _ = catch_unwind(AssertUnwindSafe(|| link(result)));
        }
    }
}

thread_local! {
    /// Empty packets of whatever type: mostly of the one that is asked for.
    static SPARE: Spare<dyn Any> = const { Spare::new() };
}

/// A packet of more bytes than this is not kept.
const LARGEST_KEPT: usize = 256;

/// A packet, shared by the green thread and its handle. When the last of them lets it go, it is kept for others.
pub(crate) struct PacketRef<T>(Rc<Packet<T>>);

impl<T> PacketRef<T> {
    /// One that is new for every green thread.
    pub fn unkept() -> PacketRef<T> {
        PacketRef(Rc::default())
    }
}

impl<T: 'static> PacketRef<T> {
    /// One that another green thread may have had.
    #[inline]
    pub fn new() -> PacketRef<T> {
        let spare = SPARE.try_with(Spare::take).ok().flatten();
        PacketRef(spare.and_then(|spare| spare.downcast().ok()).unwrap_or_else(|| {
            let keep: fn(Rc<Packet<T>>) = |packet| {
                // When the OS thread is ending it is freed.
                let _ = SPARE.try_with(|spare| spare.keep(packet));
            };
            let keep = (size_of::<Packet<T>>() <= LARGEST_KEPT).then_some(keep);
            Rc::new(Packet { keep, ..Packet::default() })
        }))
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
        if let Some(keep) = self.0.keep
            && Rc::strong_count(&self.0) == 1
        {
            self.0.clear();
            keep(Rc::clone(&self.0));
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
