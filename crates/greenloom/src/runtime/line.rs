//! How green threads stand in line for something, under its owner's lock.
//!
//! One kind of line serves all of [`sync`](crate::sync) and [`queue`](crate::queue): [`greenloom_hub::line::Line`],
//! whose waiters are *granted* what they wait for. The waker does not take effect by waking: it grants, under
//! the lock, and wakes afterwards. A waiter that was interrupted meanwhile looks under the lock whether it was granted
//! something. If it timed out, it keeps that; if it was killed, it gives that back. So nothing is lost between the two.
//!
//! A waiter whose hub has ended never comes to look: its OS thread is gone. Its waker learns that, and takes the
//! grant back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greenloom_hub::Time;
use greenloom_hub::line::Left;

use super::error::Refused;
use super::here;
use super::park::{Waker, prepare};

pub(crate) use greenloom_hub::line::{Claim, Place};

/// Green threads in line, each with what it brings, `B`, until it is granted a `G`.
pub(crate) type Line<B, G> = greenloom_hub::line::Line<Waker, B, G>;

/// One that was granted something, to be [woken](wake) once the lock is released.
pub(crate) type Granted = (Place, Waker);

/// How one fares that joins several lines.
pub(crate) enum Registered<T> {
    /// It need not wait: it has this, and the claim.
    Now(T),
    Waits(Place),
    /// Another line has granted something meanwhile.
    Claimed,
}

/// Grants everybody in the line something, under one lock, so that one that comes back at once is not taken for one of
/// them.
pub(crate) fn grant_all<B, G>(line: &mut Line<B, G>, mut grant: impl FnMut(B) -> G) -> Vec<Granted> {
    std::iter::from_fn(|| line.grant(&mut grant)).collect()
}

/// Takes a waiter out of its line, by its own hand: what it was granted, or else what it brought.
#[inline(always)]
pub(crate) fn take_out<B, G>(line: &mut Line<B, G>, place: Place) -> Result<G, B> {
    match line.leave(place) {
        Some((_, Left::Granted(granted))) => Ok(granted),
        Some((_, Left::Waiting(brings) | Left::Called(brings))) => Err(brings),
        None => unreachable!("a waiter leaves its line once, by its own hand"),
    }
}

/// Locks. A panic under these locks leaves nothing half changed: what is done there is moves and counts.
#[inline]
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a wait has granted nothing; what was brought comes back.
pub(crate) enum Ungranted<B> {
    TimedOut(B),
    Refused(Refused, B),
}

/// One of the lines at something that is waited for: where its line is, and what leaving it means.
pub(crate) trait LineRules {
    /// What the lock protects.
    type State;
    /// What a waiter brings.
    type Brings;
    /// What it is granted.
    type Grant;
    /// For people to read.
    const WAITS_FOR: &'static str;

    fn line(state: &mut Self::State) -> &mut Line<Self::Brings, Self::Grant>;

    /// Takes a grant back from a waiter that was interrupted before it could use it; returns whom to wake instead.
    fn take_back(state: &mut Self::State, grant: Self::Grant) -> Option<Granted>;

    /// A waiter has left without a grant; returns whom to wake, if that lets somebody else in.
    fn left(state: &mut Self::State) -> Option<Granted> {
        let _ = state;
        None
    }
}

/// Queues with `brings` under the lock that `state` holds, and parks until something is granted.
#[inline(always)]
pub(crate) fn wait<L: LineRules>(
    mutex: &Mutex<L::State>,
    brings: L::Brings,
    // After what is brought, so that it is released before that is dropped, should this unwind.
    mut state: MutexGuard<'_, L::State>,
    deadline: Option<Time>,
) -> Result<L::Grant, Ungranted<L::Brings>> {
    let ticket = match prepare() {
        Ok(ticket) => ticket,
        Err(refused) => return Err(Ungranted::Refused(refused, brings)),
    };
    let place = L::line(&mut state).join(ticket.waker(), brings);
    drop(state);
    ticket.park_quietly(L::WAITS_FOR, deadline);
    let runtime = here();
    if runtime.is_current_killed() {
        leave::<L>(mutex, place);
        let _ = runtime.check_interrupts();
        unreachable!("one that is killed unwinds: it could not have parked while a panic unwinds");
    }
    let mut state = lock(mutex);
    match take_out(L::line(&mut state), place) {
        // A timeout that expires after the grant comes too late for this wait; it comes at the next one.
        Ok(granted) => Ok(granted),
        Err(brings) => {
            let next = L::left(&mut state);
            drop(state);
            wake::<L>(mutex, next);
            let _ = runtime.check_interrupts();
            Err(Ungranted::TimedOut(brings))
        }
    }
}

/// Leaves the line, whether something was granted or not; a grant is taken back.
#[cold]
pub(crate) fn leave<L: LineRules>(mutex: &Mutex<L::State>, place: Place) {
    let mut leaving = place;
    loop {
        let mut state = lock(mutex);
        let (next, brought) = match take_out(L::line(&mut state), leaving) {
            Ok(granted) => (L::take_back(&mut state, granted), None),
            Err(brings) => (L::left(&mut state), Some(brings)),
        };
        drop(state);
        drop(brought);
        match next {
            Some((next, waker)) if !waker.wake() => leaving = next,
            _ => return,
        }
    }
}

/// Wakes one that was granted something at the line `L`, with the lock released.
#[inline]
pub(crate) fn wake<L: LineRules>(mutex: &Mutex<L::State>, granted: Option<Granted>) {
    if let Some((place, waker)) = granted
        && !waker.wake()
    {
        // It is gone with its hub.
        leave::<L>(mutex, place);
    }
}

/// Wakes many, none of whom has anything that another could use.
pub(crate) fn wake_all(granted: Vec<Granted>) {
    for (_, waker) in granted {
        waker.wake();
    }
}

/// The point on the hub's clock that lies `timeout` from now.
pub(crate) fn deadline(timeout: Duration) -> Option<Time> {
    Some(here().now() + timeout)
}
