//! Parking: how a green thread waits, and how it is woken.
//!
//! A park is prepared, announced and entered:
//!
//! 1. [`prepare`] gives the running green thread a [`Ticket`] with a number that is used once;
//! 2. the ticket's [`Waker`] is put where the one who wakes finds it, which may be on another OS thread;
//! 3. [`Ticket::park`] suspends until the waker is used, the deadline passes, or the green thread is interrupted.
//!
//! A waker used between 2 and 3 makes 3 return at once; one used after the park has ended, however it ended, finds
//! another number and does nothing. So nobody is woken twice or for something old, and a waker may be left behind.
//!
//! Being killed, and a timeout that expires, unwind from here. Whoever announced a waker has a guard that takes it back.

use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::resume_unwind;

use hub::Time;

use crate::greenlet::GreenletExit;
use crate::hub::{State, here, send_wake, with_hub};
use crate::node::{Kind, Wake};
use crate::timeout::Expired;

/// Wakes one park of one green thread, from any OS thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waker {
    pub hub: u32,
    pub slot: u32,
    pub ticket: u64,
}

impl Waker {
    /// Ends the park, if it has not ended yet. Never switches. Returns `false` if the hub is gone, and its green threads with it.
    #[inline]
    pub fn wake(self) -> bool {
        self.wake_as(Wake::Woken)
    }

    #[inline]
    pub fn wake_as(self, cause: Wake) -> bool {
        let here = State::try_with(|hub| {
            let here = hub.id() == self.hub;
            if here {
                hub.wake(self.slot, self.ticket, cause);
            }
            here
        });
        here == Some(true) || send_wake(self, cause)
    }
}

/// Why something cannot wait here and now.
///
/// A word wide, so that the errors that hold it are moved in whole words (a byte at an odd place makes the compiler
/// copy them in overlapping pieces, which stalls the processor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Refused {
    /// A function that the hub calls (a timer, a listener, a link) wants to block; nobody would be left to wake it.
    InHub,
    /// A destructor wants to block while its green thread unwinds, from a panic, a kill or a timeout. Others would see the panic as
    /// theirs.
    Panicking,
}

impl Refused {
    /// For calls that have no error to return.
    pub(crate) fn raise(self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::InHub => {
                "cannot block in a function that the hub calls (a timer, a listener, a link): spawn a green thread for it"
            }
            Refused::Panicking => "cannot block while this green thread unwinds (a panic, a kill, a timeout): a destructor must not wait",
        })
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, refused)
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
    with_hub(|hub| hub.prepare(false))
}

/// As [`prepare`], for a park that must not unwind; interrupts wait for the next one.
pub(crate) fn prepare_shielded() -> Result<Ticket, Refused> {
    with_hub(|hub| hub.prepare(true))
}

/// Prepares, announces with `announce`, and parks.
pub(crate) fn park(waits_for: &'static str, announce: impl FnOnce(Waker)) -> Result<Wake, Refused> {
    let ticket = prepare()?;
    announce(ticket.waker());
    Ok(ticket.park(waits_for, None))
}

impl State {
    #[inline]
    fn prepare(&self, shielded: bool) -> Result<Ticket, Refused> {
        if std::thread::panicking() {
            return Err(Refused::Panicking);
        }
        if !shielded {
            check_interrupts(self)?;
        }
        self.with_current(|me| {
            let node = me.node();
            if node.kind == Kind::Hub {
                return Err(Refused::InHub);
            }
            let slot = self.slot_of(me);
            let ticket = self.next_ticket();
            node.ticket.set(ticket);
            Ok(Ticket { waker: Waker { hub: self.id(), slot, ticket }, shielded })
        })
    }
}

impl State {
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
            let _ = check_interrupts(here());
        }
        wake
    }

    /// As [`Ticket::park`], without unwinding: the caller has something to see to first.
    #[inline(always)]
    pub fn park_quietly(self, waits_for: &'static str, deadline: Option<Time>) -> Wake {
        // Whatever ends the park takes the number back, so there will be nothing to forget.
        let waker = ManuallyDrop::new(self).waker;
        let hub = here();
        if hub.begin_park(waker.ticket, waits_for) {
            match deadline {
                None => hub.switch_to_next(),
                Some(deadline) => {
                    let timer = hub.add_wake_timer(deadline, waker.slot, waker.ticket);
                    hub.switch_to_next();
                    hub.cancel_timer(timer);
                }
            }
        }
        hub.with_current(|me| me.node().cause.get())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        State::try_with(|hub| hub.forget(self.waker.slot, self.waker.ticket));
    }
}

/// Unwinds if the running green thread was killed or is in a timeout scope that expired. One that swallowed the unwind
/// meets it here again.
#[inline]
pub(crate) fn check_interrupts(hub: &State) -> Result<(), Refused> {
    if hub.is_current_interrupted() { raise_interrupt(hub) } else { Ok(()) }
}

#[cold]
fn raise_interrupt(hub: &State) -> Result<(), Refused> {
    if std::thread::panicking() {
        return Err(Refused::Panicking);
    }
    let me = hub.current();
    if me.node().interrupts.get().killed {
        drop(me);
        resume_unwind(Box::new(GreenletExit));
    }
    let extra = me.node().extra.borrow();
    let outermost = extra.iter().flat_map(|extra| &extra.timeouts).find(|scope| scope.expired).map(|scope| scope.id);
    drop(extra);
    drop(me);
    match outermost {
        Some(scope) => resume_unwind(Box::new(Expired { scope })),
        None => Ok(()),
    }
}
