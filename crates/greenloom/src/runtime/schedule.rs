//! What timers and sources hold: how it gets there, how it is taken back, and what is done with it.

use std::os::fd::BorrowedFd;

use greenloom_hub::{Direction, SourceKey, Time, TimerKey};

use super::node::Wake;
use super::state::Runtime;
use super::work::Work;

impl Runtime {
    /// None when the hub has ended.
    #[inline]
    pub fn add_wake_timer(&self, at: Time, slot: u32, ticket: u64) -> Option<TimerKey> {
        self.with_core(|core| core.add_timer(at, Work::Wake { slot, ticket }))
    }

    /// None when the hub has ended; `call` is dropped then.
    pub fn add_call_timer(&self, at: Time, call: Box<dyn FnOnce()>) -> Option<TimerKey> {
        self.with_core(|core| core.add_timer(at, Work::Call(call)))
    }

    #[inline]
    pub fn cancel_timer(&self, key: TimerKey) -> bool {
        let work = self.with_core(|core| core.timers.cancel(key)).flatten();
        // What it captured is dropped outside of the borrow: a destructor may use the hub.
        work.is_some()
    }

    /// Forgets a source and tells its waiters that it was closed.
    pub fn remove_source(&self, key: SourceKey, fd: Option<BorrowedFd<'_>>) {
        let Some(told) = self.with_core(|core| core.remove_source(key, fd)) else { return };
        for work in told.into_iter().flatten() {
            self.perform(work, Wake::Closed);
        }
    }

    /// Lets who waits at a source try again, without an event.
    pub fn rouse_source(&self, key: SourceKey, direction: Direction) {
        if let Some(work) = self.with_core(|core| core.sources().expect(key, direction)).flatten() {
            self.perform(work, Wake::Woken);
        }
    }

    /// Does what a timer or a source held.
    pub fn perform(&self, work: Work, cause: Wake) {
        match work {
            Work::Wake { slot, ticket } => {
                self.wake(slot, ticket, cause);
            }
            Work::Choice { slot, ticket, claim, told } => {
                if claim.take() {
                    told.set(true);
                    self.wake(slot, ticket, cause);
                }
            }
            Work::Call(call) => self.call_soon(call),
        }
    }
}
