//! Parking: how a green thread waits, and how it is woken.
//!
//! A park is prepared, announced and entered:
//!
//! 1. [`prepare`] gives the running green thread a [`Ticket`] with a number that is used once;
//! 2. the ticket's [`Waker`] is put where its waker finds it, which may be on another OS thread;
//! 3. [`Ticket::park`] suspends until the waker is used, the deadline passes, or the green thread is interrupted.
//!
//! A waker used between 2 and 3 makes 3 return at once; one used after the park has ended, however it ended, finds
//! another number and does nothing. So nobody is woken twice or for something old, and a waker may be left behind.
//!
//! Being killed, and a timeout that expires, unwind from here. Whoever announced a waker has a guard that takes it
//! back.

use std::mem::ManuallyDrop;

use greenloom_hub::Time;

use super::error::Refused;
use super::node::Wake;
use super::registry::{self, Message};
use super::state::Runtime;
use super::{here, try_here};

/// Wakes one park of one green thread, from any OS thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waker {
    pub hub: u32,
    pub slot: u32,
    pub ticket: u64,
}

impl Waker {
    /// Ends the park, if it has not ended yet. Never switches. Returns `false` if the hub is gone, and its green
    /// threads with it.
    #[inline]
    pub fn wake(self) -> bool {
        self.wake_as(Wake::Woken)
    }

    #[inline]
    pub fn wake_as(self, cause: Wake) -> bool {
        match try_here() {
            Some(runtime) if runtime.id() == self.hub => {
                runtime.wake(self.slot, self.ticket, cause);
                true
            }
            _ => self.send(cause),
        }
    }

    /// Wakes on another OS thread; returns `false` if its hub has ended.
    #[cold]
    fn send(self, cause: Wake) -> bool {
        registry::send(self.hub, Message::Wake { slot: self.slot, ticket: self.ticket, cause }).is_ok()
    }
}

/// A park that was prepared. Dropping it unused forgets it.
pub(crate) struct Ticket {
    waker: Waker,
    shielded: bool,
}

/// Prepares the running greenlet for a park. Unwinds if it was interrupted meanwhile.
#[inline]
pub(crate) fn prepare() -> Result<Ticket, Refused> {
    here().prepare(false)
}

/// As [`prepare`], for a park that must not unwind; interrupts wait for the next one.
pub(crate) fn prepare_shielded() -> Result<Ticket, Refused> {
    here().prepare(true)
}

/// Prepares, announces with `announce`, and parks.
pub(crate) fn park(waits_for: &'static str, announce: impl FnOnce(Waker)) -> Result<Wake, Refused> {
    let ticket = prepare()?;
    announce(ticket.waker());
    Ok(ticket.park(waits_for, None))
}

impl Runtime {
    #[inline]
    fn prepare(&self, shielded: bool) -> Result<Ticket, Refused> {
        if std::thread::panicking() {
            return Err(Refused::Panicking);
        }
        if !shielded {
            self.check_interrupts()?;
        }
        self.with_current(|me| {
            let node = me.node();
            if let Some(refused) = self.refuses(node.kind.get()) {
                return Err(refused);
            }
            let slot = self.slot_of(me);
            let ticket = self.next_ticket();
            node.ticket.set(ticket);
            Ok(Ticket { waker: Waker { hub: self.id(), slot, ticket }, shielded })
        })
    }

    /// Whether nothing of the runtime is in use: what runs now is not called from the middle of it.
    pub fn is_at_rest(&self) -> bool {
        self.current.try_borrow_mut().is_ok()
            && self.core.try_borrow_mut().is_ok_and(|core| core.is_some())
            && self.threads.try_borrow_mut().is_ok()
            && self.ready.try_borrow_mut().is_ok()
    }

    /// Whether what runs now may park, in a process that is not the child of a fork that the hub has yet to notice.
    pub fn can_park(&self) -> bool {
        self.forks.get() == greenloom_fiber::fork_generation()
            && !std::thread::panicking()
            && self.is_at_rest()
            && self.with_current(|me| self.refuses(me.node().kind.get()).is_none())
    }

    /// Puts the current greenlet at the end of the run queue.
    #[inline]
    pub fn make_current_ready(&self) -> Option<Refused> {
        if std::thread::panicking() {
            return Some(Refused::Panicking);
        }
        self.with_current(|me| {
            let refused = self.refuses(me.node().kind.get());
            if refused.is_none() {
                self.make_ready(self.slot_of(me));
            }
            refused
        })
    }

    /// Marks the current greenlet as parked, unless the park has been ended already.
    #[inline]
    fn begin_park(&self, ticket: u64, waits_for: &'static str) -> bool {
        self.with_current(|me| {
            let node = me.node();
            let must_wait = node.ticket.get() == ticket;
            if must_wait {
                node.waits_for.set(waits_for);
                node.parked.set(true);
            }
            must_wait
        })
    }
}

impl Ticket {
    pub fn waker(&self) -> Waker {
        self.waker
    }

    /// Suspends the green thread until it is woken, or until `deadline`. `waits_for` is shown to people.
    ///
    /// Unwinds if it was killed or if a timeout around it expired.
    #[inline(always)]
    pub fn park(self, waits_for: &'static str, deadline: Option<Time>) -> Wake {
        let shielded = self.shielded;
        let wake = self.park_quietly(waits_for, deadline);
        if !shielded {
            let _ = here().check_interrupts();
        }
        wake
    }

    /// As [`Ticket::park`], without unwinding: the caller has something to see to first.
    #[inline(always)]
    pub fn park_quietly(self, waits_for: &'static str, deadline: Option<Time>) -> Wake {
        // Whatever ends the park takes the number back, so there will be nothing to forget.
        let waker = ManuallyDrop::new(self).waker;
        let runtime = here();
        if runtime.begin_park(waker.ticket, waits_for) {
            match deadline {
                None => runtime.switch_to_next(),
                Some(deadline) => {
                    let timer = runtime.add_wake_timer(deadline, waker.slot, waker.ticket);
                    runtime.switch_to_next();
                    if let Some(timer) = timer {
                        runtime.cancel_timer(timer);
                    }
                }
            }
        }
        runtime.with_current(|me| me.node().cause.get())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(runtime) = try_here() {
            runtime.forget(self.waker.slot, self.waker.ticket);
        }
    }
}
