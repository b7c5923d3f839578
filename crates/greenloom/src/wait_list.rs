//! Who waits, first come first served, with removal from the middle.
//!
//! One list serves all of [`sync`](crate::sync) and [`queue`](crate::queue). It lives under its owner's lock. The
//! one who wakes does not take effect by waking: it marks the waiter as *granted*, under the lock, with what it grants
//! (a permit, an item), and wakes it afterwards. A waiter that is interrupted looks under the lock whether it was granted
//! something; if so it gives that back, else it removes itself. So nothing is lost between the two.

use std::fmt;

use slab::Slab;

use crate::park::Waker;

/// Names a waiter in its list.
pub(crate) type WaiterKey = usize;

/// Waiters in the order in which they came, each with what it brings, `B`, until it is granted a `G`.
pub(crate) struct WaitList<B, G> {
    nodes: Slab<Node<B, G>>,
    first: Option<WaiterKey>,
    last: Option<WaiterKey>,
    waiting: usize,
}

struct Node<B, G> {
    waker: Waker,
    /// While it waits.
    brings: Option<B>,
    /// Once it was granted something; it is not linked any more then.
    granted: Option<G>,
    before: Option<WaiterKey>,
    after: Option<WaiterKey>,
}

/// What became of a waiter that leaves.
pub(crate) enum Left<B, G> {
    /// It was granted this.
    Granted(G),
    /// It was still waiting, with this.
    Waiting(B),
}

impl<B, G> WaitList<B, G> {
    pub const fn new() -> WaitList<B, G> {
        WaitList { nodes: Slab::new(), first: None, last: None, waiting: 0 }
    }

    /// How many wait that were not granted anything.
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Queues at the end.
    pub fn push(&mut self, waker: Waker, brings: B) -> WaiterKey {
        let node = Node { waker, brings: Some(brings), granted: None, before: self.last, after: None };
        let key = self.nodes.insert(node);
        match self.last {
            Some(last) => self.nodes[last].after = Some(key),
            None => self.first = Some(key),
        }
        self.last = Some(key);
        self.waiting += 1;
        key
    }

    /// What the first in line brought.
    pub fn front(&self) -> Option<&B> {
        self.nodes[self.first?].brings.as_ref()
    }

    /// Grants the first in line what `grant` makes of what it brought, and returns whom to wake once the lock is released.
    pub fn grant(&mut self, grant: impl FnOnce(B) -> G) -> Option<Waker> {
        let key = self.first?;
        self.unlink(key);
        let node = &mut self.nodes[key];
        node.granted = node.brings.take().map(grant);
        Some(node.waker)
    }

    /// Takes a waiter out, by its own hand.
    pub fn leave(&mut self, key: WaiterKey) -> Left<B, G> {
        if !self.is_granted(key) {
            self.unlink(key);
        }
        let node = self.nodes.remove(key);
        match (node.granted, node.brings) {
            (Some(granted), _) => Left::Granted(granted),
            (None, Some(brings)) => Left::Waiting(brings),
            (None, None) => unreachable!("a waiter waits or was granted something"),
        }
    }

    /// Whether a waiter was granted something.
    pub fn is_granted(&self, key: WaiterKey) -> bool {
        self.nodes[key].granted.is_some()
    }

    fn unlink(&mut self, key: WaiterKey) {
        let (before, after) = (self.nodes[key].before, self.nodes[key].after);
        match before {
            Some(before) => self.nodes[before].after = after,
            None => self.first = after,
        }
        match after {
            Some(after) => self.nodes[after].before = before,
            None => self.last = before,
        }
        self.waiting -= 1;
    }
}

impl<B, G> fmt::Debug for WaitList<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList").field("waiting", &self.waiting).finish()
    }
}
