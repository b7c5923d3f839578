//! A line of waiters, first come first served.
//!
//! Two ways to let a waiter go on are in use, and a line serves both, for its owner knows which one is right:
//!
//! - **grant**: the waiter is given something (a permit, an item) before it is woken, and finds it when it goes on.
//!   What was granted cannot be taken by anybody faster; one that is killed between the two has to give it back
//!   ([`Left::Granted`]).
//! - **call, then take**: the waiter is *called* when there is something and takes it when it goes on, if it is still
//!   there; else it [rejoins](Line::rejoin) at its old place. What is there is never in the hands of one that is
//!   killed; one that leaves after a call ([`Left::Called`]) only has to see to it that the next one is called.
//!
//! Whichever is used, waking is the caller's: `W` is whatever it wakes with, handed out by [`Line::grant`] and
//! [`Line::call`] and to be used once the lock around the line is released. A waiter may stand in several lines at
//! once. Its places then share a
//! [`Claim`]: the first line to take it may let it go on, and the others pass it over.
//!
//! The line knows no lock, no park and no greenlet; it calls no code but the closures it is given, and drops nothing
//! that it was given: it hands everything back, so that destructors run after the lock is released.

use std::fmt;

#[cfg(loom)]
use loom::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// What the places of one waiter in several lines share.
#[derive(Clone)]
pub struct Claim(Arc<AtomicBool>);

impl Claim {
    /// One that nobody has taken.
    pub fn new() -> Claim {
        Claim(Arc::new(AtomicBool::new(false)))
    }

    /// Takes it; returns whether nobody had. From now on nobody else can.
    pub fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether somebody else than `taker` could take it at this moment, and `taker` is not the waiter itself.
    fn is_open_to(&self, taker: &Claim) -> bool {
        !Arc::ptr_eq(&self.0, &taker.0) && !self.0.load(Ordering::Acquire)
    }
}

impl Default for Claim {
    fn default() -> Claim {
        Claim::new()
    }
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").finish_non_exhaustive()
    }
}

/// A place in a [`Line`]. Places are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    index: usize,
    number: u64,
}

/// How a waiter stood in the line that it left, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left<B, G> {
    /// It waited, or was passed over because another line had claimed it. Here is what it brought.
    Waiting(B),
    /// It was called. Here is what it brought.
    Called(B),
    /// It was granted this.
    Granted(G),
}

/// Waiters in the order in which they came. Each is woken with a `W`, brings a `B`, and may be granted a `G`.
///
/// The nodes are kept and used again in place, field by field: to build one and move it in, and to move it out, took as
/// long as the rest of a queue's hop.
pub struct Line<W, B = (), G = ()> {
    nodes: Vec<Node<W, B, G>>,
    waiting: Chain,
    called: Chain,
    free: usize,
    last_number: u64,
}

/// The ends of a chain of nodes, by their indices.
#[derive(Clone, Copy)]
struct Chain {
    first: usize,
    last: usize,
    len: usize,
}

const NONE: usize = usize::MAX;

impl Chain {
    const EMPTY: Chain = Chain { first: NONE, last: NONE, len: 0 };
}

struct Node<W, B, G> {
    /// Of the place that the node is used for; 0 while it is free.
    number: u64,
    waker: Option<W>,
    claim: Option<Claim>,
    /// Until it is granted something.
    brings: Option<B>,
    granted: Option<G>,
    stands: Stands,
    before: usize,
    /// The next in its chain, or among the free nodes.
    after: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Waiting,
    Called,
    /// In no chain: it was granted something, or another line has claimed it.
    Apart,
}

impl<W: Clone, B, G> Line<W, B, G> {
    /// An empty line.
    pub const fn new() -> Line<W, B, G> {
        Line { nodes: Vec::new(), waiting: Chain::EMPTY, called: Chain::EMPTY, free: NONE, last_number: 0 }
    }

    /// How many stand in it, called or not.
    #[inline]
    pub fn len(&self) -> usize {
        self.waiting.len + self.called.len
    }

    /// Whether nobody stands in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody is to be called or granted something.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        self.waiting.len > 0
    }

    /// How many were called and have not left yet.
    #[inline]
    pub fn called(&self) -> usize {
        self.called.len
    }

    /// Whether somebody waits that can be granted something, as far as can be seen, other than the one with this claim.
    pub fn has_waiting_for(&self, claim: &Claim) -> bool {
        let mut waiting = std::iter::successors(self.nodes.get(self.waiting.first), |node| self.nodes.get(node.after));
        waiting.any(|node| node.claim.as_ref().is_none_or(|other| other.is_open_to(claim)))
    }

    /// What the first of those that wait brings.
    pub fn front(&self) -> Option<&B> {
        self.nodes.get(self.waiting.first)?.brings.as_ref()
    }

    /// Those that stand in it, the called ones first: what wakes each, and what it brings.
    pub fn iter(&self) -> impl Iterator<Item = (&W, &B)> {
        let chain = |first: usize| {
            std::iter::successors(self.nodes.get(first), |node: &&Node<W, B, G>| self.nodes.get(node.after))
        };
        let all = chain(self.called.first).chain(chain(self.waiting.first));
        all.filter_map(|node| node.waker.as_ref().zip(node.brings.as_ref()))
    }

    /// Joins at the end.
    #[inline(always)]
    pub fn join(&mut self, waker: W, brings: B) -> Place {
        self.join_with(waker, None, brings)
    }

    /// Joins at the end with a claim that places in other lines share.
    #[inline(always)]
    pub fn join_with(&mut self, waker: W, claim: Option<Claim>, brings: B) -> Place {
        self.last_number += 1;
        let place = self.occupy(self.last_number, waker, claim, brings);
        append(&mut self.nodes, &mut self.waiting, place.index, Stands::Waiting);
        place
    }

    /// Joins at a place that was left.
    pub fn rejoin(&mut self, left: Place, waker: W, brings: B) -> Place {
        let place = self.occupy(left.number, waker, None, brings);
        self.link_in_order(place.index, Stands::Waiting);
        place
    }

    /// Grants the first that can be granted something what `grant` makes of what it brings; returns it, to be woken. If
    /// nobody can, `grant` is not called.
    #[inline]
    pub fn grant(&mut self, grant: impl FnOnce(B) -> G) -> Option<(Place, W)> {
        let index = self.take_out_first()?;
        let node = &mut self.nodes[index];
        node.granted = node.brings.take().map(grant);
        Some((Place { index, number: node.number }, node.waker.clone()?))
    }

    /// Calls the first that can be called; returns it, to be woken.
    #[inline]
    pub fn call(&mut self) -> Option<(Place, W)> {
        let index = self.take_out_first()?;
        let number = self.nodes[index].number;
        if self.nodes.get(self.called.last).is_none_or(|last| last.number < number) {
            append(&mut self.nodes, &mut self.called, index, Stands::Called);
        } else {
            self.link_in_order(index, Stands::Called);
        }
        let node = &self.nodes[index];
        Some((Place { index, number: node.number }, node.waker.clone()?))
    }

    /// Leaves the line; `None` if the place was left already.
    #[inline(always)]
    pub fn leave(&mut self, place: Place) -> Option<(W, Left<B, G>)> {
        let node = self.nodes.get(place.index).filter(|node| node.number == place.number)?;
        let stood = node.stands;
        if stood != Stands::Apart {
            self.unlink(place.index);
        }
        let node = &mut self.nodes[place.index];
        node.number = 0;
        node.claim = None;
        node.after = self.free;
        self.free = place.index;
        let waker = node.waker.take()?;
        if let Some(granted) = node.granted.take() {
            return Some((waker, Left::Granted(granted)));
        }
        let brings = node.brings.take()?;
        Some((waker, if stood == Stands::Called { Left::Called(brings) } else { Left::Waiting(brings) }))
    }

    /// Takes the first out, called or not.
    pub fn take_first(&mut self) -> Option<(W, Left<B, G>)> {
        let (called, waiting) = (self.nodes.get(self.called.first), self.nodes.get(self.waiting.first));
        let (index, number) = match (called, waiting) {
            (Some(called), Some(waiting)) if called.number < waiting.number => (self.called.first, called.number),
            (_, Some(waiting)) => (self.waiting.first, waiting.number),
            (called, None) => (self.called.first, called?.number),
        };
        self.leave(Place { index, number })
    }

    /// Takes the first of those that were called out if `is_gone` says of its waker that it will never go on, and so
    /// never leave: its OS thread has ended.
    #[inline]
    pub fn take_called_if(&mut self, is_gone: impl FnOnce(&W) -> bool) -> Option<(W, Left<B, G>)> {
        let index = self.called.first;
        let node = self.nodes.get(index)?;
        let number = node.number;
        if !node.waker.as_ref().is_some_and(is_gone) {
            return None;
        }
        self.leave(Place { index, number })
    }

    /// A node for a waiter, in no chain yet.
    #[inline(always)]
    fn occupy(&mut self, number: u64, waker: W, claim: Option<Claim>, brings: B) -> Place {
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let node = &mut self.nodes[index];
        self.free = node.after;
        node.number = number;
        node.waker = Some(waker);
        node.claim = claim;
        node.brings = Some(brings);
        Place { index, number }
    }

    #[cold]
    fn grow(&mut self) {
        self.nodes.push(Node {
            number: 0,
            waker: None,
            claim: None,
            brings: None,
            granted: None,
            stands: Stands::Apart,
            before: NONE,
            after: NONE,
        });
        self.free = self.nodes.len() - 1;
    }

    /// Takes the first that waits and is not claimed elsewhere out of its chain.
    #[inline]
    fn take_out_first(&mut self) -> Option<usize> {
        while let Some(node) = self.nodes.get_mut(self.waiting.first) {
            node.stands = Stands::Apart;
            let may_go_on = node.claim.as_ref().is_none_or(Claim::take);
            let index = std::mem::replace(&mut self.waiting.first, node.after);
            self.waiting.len -= 1;
            match self.nodes.get_mut(self.waiting.first) {
                Some(next) => next.before = NONE,
                None => self.waiting.last = NONE,
            }
            if may_go_on {
                return Some(index);
            }
        }
        None
    }

    #[inline]
    fn chain(&mut self, stands: Stands) -> Option<&mut Chain> {
        match stands {
            Stands::Waiting => Some(&mut self.waiting),
            Stands::Called => Some(&mut self.called),
            Stands::Apart => None,
        }
    }

    /// Puts a node where its number belongs.
    #[cold]
    fn link_in_order(&mut self, index: usize, stands: Stands) {
        let number = self.nodes[index].number;
        let mut before = self.chain(stands).map_or(NONE, |chain| chain.last);
        while self.nodes.get(before).is_some_and(|node| node.number > number) {
            before = self.nodes[before].before;
        }
        self.link(index, before, stands);
    }

    /// Puts a node behind `before`.
    fn link(&mut self, index: usize, before: usize, stands: Stands) {
        let first = self.chain(stands).map_or(NONE, |chain| chain.first);
        let after = self.nodes.get(before).map_or(first, |before| before.after);
        let node = &mut self.nodes[index];
        node.stands = stands;
        node.before = before;
        node.after = after;
        if let Some(before) = self.nodes.get_mut(before) {
            before.after = index;
        }
        if let Some(after) = self.nodes.get_mut(after) {
            after.before = index;
        }
        if let Some(chain) = self.chain(stands) {
            chain.len += 1;
            if before == NONE {
                chain.first = index;
            }
            if after == NONE {
                chain.last = index;
            }
        }
    }

    #[inline]
    fn unlink(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let (stands, before, after) = (node.stands, node.before, node.after);
        node.stands = Stands::Apart;
        let Some(chain) = self.chain(stands) else { return };
        chain.len -= 1;
        if before == NONE {
            chain.first = after;
        }
        if after == NONE {
            chain.last = before;
        }
        if let Some(before) = self.nodes.get_mut(before) {
            before.after = after;
        }
        if let Some(after) = self.nodes.get_mut(after) {
            after.before = before;
        }
    }
}

/// Puts a node at the end of a chain.
#[inline(always)]
fn append<W, B, G>(nodes: &mut [Node<W, B, G>], chain: &mut Chain, index: usize, stands: Stands) {
    let last = std::mem::replace(&mut chain.last, index);
    chain.len += 1;
    let node = &mut nodes[index];
    node.stands = stands;
    node.before = last;
    node.after = NONE;
    match nodes.get_mut(last) {
        Some(last) => last.after = index,
        None => chain.first = index,
    }
}

impl<W: Clone, B, G> Default for Line<W, B, G> {
    fn default() -> Line<W, B, G> {
        Line::new()
    }
}

impl<W, B, G> fmt::Debug for Line<W, B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("waiting", &self.waiting.len).field("called", &self.called.len).finish()
    }
}
