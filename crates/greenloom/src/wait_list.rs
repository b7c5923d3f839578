//! Who waits, first come first served, with removal from the middle.
//!
//! One list serves all of [`sync`](crate::sync) and [`queue`](crate::queue). It lives under its owner's lock. The
//! one who wakes does not take effect by waking: it marks the waiter as *granted*, under the lock, with what it grants
//! (a permit, an item), and wakes it afterwards. A waiter that was interrupted meanwhile looks under the lock whether it was
//! granted something. If it timed out, it keeps that; if it was killed, it gives that back. So nothing is lost between the two.
//!
//! A waiter whose hub has ended never comes to look: its OS thread is gone. Who wakes it learns that, and takes the grant back.
//!
//! A waiter may stand in several lists at once, for [`select`](crate::select). Its entries then share a [`Claim`], which the
//! first one to grant something takes; the others pass it over.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hub::Time;

use crate::hub::here;
use crate::park::{Refused, Waker, check_interrupts, prepare};

/// Names a waiter in its list.
pub(crate) type WaiterKey = usize;

/// What the entries of one waiter in several lists share.
#[derive(Clone, Default)]
pub(crate) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// Whether nobody else has granted the waiter anything; from now on, nobody else will.
    pub fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A waiter that was granted something, to be [woken](wake) once the lock is released.
#[must_use = "it waits until it is woken"]
pub(crate) struct Granted {
    waker: Waker,
    key: WaiterKey,
}

/// How one fares that joins several lines.
pub(crate) enum Registered<T> {
    /// It need not wait: it has this, and the claim.
    Now(T),
    Waits(WaiterKey),
    /// Another line has granted something meanwhile.
    Claimed,
}

/// Waiters in the order in which they came, each with what it brings, `B`, until it is granted a `G`.
///
/// The nodes are kept and used again in place, field by field: to build one and move it in, and to move it out, took as long
/// as the rest of a queue's hop.
pub(crate) struct WaitList<B, G> {
    nodes: Vec<Node<B, G>>,
    first: Link,
    last: Link,
    free: Link,
}

/// A node's index, or [`NONE`].
type Link = usize;
const NONE: Link = usize::MAX;

struct Node<B, G> {
    waker: Waker,
    claim: Option<Claim>,
    /// While it waits.
    brings: Option<B>,
    /// Once it was granted something.
    granted: Option<G>,
    /// Whether it stands in the line: not once it was granted something, here or elsewhere.
    linked: bool,
    before: Link,
    /// The next in the line, or in the list of free nodes.
    after: Link,
}

impl<B, G> WaitList<B, G> {
    pub const fn new() -> WaitList<B, G> {
        WaitList { nodes: Vec::new(), first: NONE, last: NONE, free: NONE }
    }

    /// How many stand in the line. Counts them.
    pub fn len(&self) -> usize {
        std::iter::successors(self.nodes.get(self.first), |node| self.nodes.get(node.after)).count()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Queues at the end.
    #[inline(always)]
    pub fn push(&mut self, waker: Waker, claim: Option<Claim>, brings: B) -> WaiterKey {
        if self.free == NONE {
            self.grow();
        }
        let (key, before) = (self.free, self.last);
        let node = &mut self.nodes[key];
        self.free = node.after;
        node.waker = waker;
        node.claim = claim;
        node.brings = Some(brings);
        node.linked = true;
        node.before = before;
        node.after = NONE;
        self.last = key;
        match self.nodes.get_mut(before) {
            Some(before) => before.after = key,
            None => self.first = key,
        }
        key
    }

    #[cold]
    fn grow(&mut self) {
        let waker = Waker { hub: 0, slot: 0, ticket: 0 };
        let node =
            Node { waker, claim: None, brings: None, granted: None, linked: false, before: NONE, after: self.free };
        self.free = self.nodes.len();
        self.nodes.push(node);
    }

    /// What the first in line brought.
    pub fn front(&self) -> Option<&B> {
        self.nodes.get(self.first)?.brings.as_ref()
    }

    /// Grants the first in line that can be what `grant` makes of what it brought, and returns whom to wake once the lock is
    /// released. If nobody can be granted anything, `grant` is not called.
    #[inline]
    pub fn grant(&mut self, grant: impl FnOnce(B) -> G) -> Option<Granted> {
        while self.first != NONE {
            let key = self.first;
            self.unlink(key);
            let node = &mut self.nodes[key];
            if node.claim.as_ref().is_none_or(Claim::take) {
                node.granted = node.brings.take().map(grant);
                return Some(Granted { waker: node.waker, key });
            }
        }
        None
    }

    /// Grants everybody in the line something, under one lock, so that who comes back at once is not taken for one of them.
    pub fn grant_all(&mut self, mut grant: impl FnMut(B) -> G) -> Vec<Granted> {
        std::iter::from_fn(|| self.grant(&mut grant)).collect()
    }

    /// Takes a waiter out, by its own hand: what it was granted, or else what it brought.
    #[inline]
    pub fn leave(&mut self, key: WaiterKey) -> Result<G, B> {
        if self.nodes[key].linked {
            self.unlink(key);
        }
        let node = &mut self.nodes[key];
        node.claim = None;
        node.after = self.free;
        self.free = key;
        match node.granted.take() {
            Some(granted) => Ok(granted),
            None => match node.brings.take() {
                Some(brings) => Err(brings),
                None => unreachable!("a waiter waits or was granted something"),
            },
        }
    }

    #[inline]
    fn unlink(&mut self, key: WaiterKey) {
        let node = &mut self.nodes[key];
        node.linked = false;
        let (before, after) = (node.before, node.after);
        match self.nodes.get_mut(before) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        match self.nodes.get_mut(after) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
    }
}

impl<B, G> fmt::Debug for WaitList<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList").field("len", &self.len()).finish()
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

/// One of the lines at something that is waited for: where its list is, and what leaving it means.
pub(crate) trait Line {
    /// What the lock protects.
    type State;
    /// What a waiter brings.
    type Brings;
    /// What it is granted.
    type Grant;
    /// For people to read.
    const WAITS_FOR: &'static str;

    fn list(state: &mut Self::State) -> &mut WaitList<Self::Brings, Self::Grant>;

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
pub(crate) fn wait<L: Line>(
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
    let key = L::list(&mut state).push(ticket.waker(), None, brings);
    drop(state);
    ticket.park_quietly(L::WAITS_FOR, deadline);
    let hub = here();
    if hub.is_current_killed() {
        leave::<L>(mutex, key);
        let _ = check_interrupts(hub);
        unreachable!("one that is killed unwinds: it could not have parked while a panic unwinds");
    }
    let mut state = lock(mutex);
    match L::list(&mut state).leave(key) {
        // A timeout that expires after the grant comes too late for this wait; it comes at the next one.
        Ok(granted) => Ok(granted),
        Err(brings) => {
            let next = L::left(&mut state);
            drop(state);
            wake::<L>(mutex, next);
            let _ = check_interrupts(hub);
            Err(Ungranted::TimedOut(brings))
        }
    }
}

/// Leaves the line, whether something was granted or not; a grant is taken back.
#[cold]
pub(crate) fn leave<L: Line>(mutex: &Mutex<L::State>, key: WaiterKey) {
    let mut leaving = key;
    loop {
        let mut state = lock(mutex);
        let (next, brought) = match L::list(&mut state).leave(leaving) {
            Ok(granted) => (L::take_back(&mut state, granted), None),
            Err(brings) => (L::left(&mut state), Some(brings)),
        };
        drop(state);
        drop(brought);
        match next {
            Some(next) if !next.waker.wake() => leaving = next.key,
            _ => return,
        }
    }
}

/// Wakes one that was granted something at the line `L`, with the lock released.
#[inline]
pub(crate) fn wake<L: Line>(mutex: &Mutex<L::State>, granted: Option<Granted>) {
    if let Some(granted) = granted
        && !granted.waker.wake()
    {
        // It is gone with its hub.
        leave::<L>(mutex, granted.key);
    }
}

/// Wakes many, none of whom has anything that another could use.
pub(crate) fn wake_all(granted: Vec<Granted>) {
    for granted in granted {
        granted.waker.wake();
    }
}

/// The point on the hub's clock that lies `timeout` from now.
pub(crate) fn deadline(timeout: std::time::Duration) -> Option<Time> {
    Some(crate::hub::with_hub(|hub| hub.now()) + timeout)
}
