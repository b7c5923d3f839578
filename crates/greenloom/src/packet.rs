//! What a green thread leaves behind, and who is to be told.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::runtime::error::JoinError;
use crate::runtime::park::{Waker, park};

/// What a green thread leaves behind, and who is to be told.
pub(crate) struct Packet<T> {
    pub result: Cell<Option<Result<T, JoinError>>>,
    finished: Cell<bool>,
    pub waiter: Cell<Option<Waker>>,
    pub has_links: Cell<bool>,
    pub links: RefCell<Vec<(u64, Link<T>)>>,
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

    #[cold]
    fn call_links(&self, result: &Result<T, JoinError>) {
        for (_, link) in self.links.take() {
            // One that panics does not keep the others from being called.
            let _ = catch_unwind(AssertUnwindSafe(|| link(result)));
        }
    }
}

/// A function that runs `f` and leaves in `packet` what it came to; also if it is dropped unrun.
#[inline]
pub(crate) fn run_into<T, F: FnOnce() -> T>(packet: Rc<Packet<T>>, f: F) -> impl FnOnce() + use<T, F> {
    struct Outcome<T>(Rc<Packet<T>>);
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
