//! Asking others to stop.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use greenloom_hub::Time;
use slab::Slab;

use super::{granted_in_time, must_be_granted};
use crate::runtime::line::{Claim, Place, Registered, Ungranted, deadline};
use crate::runtime::park::Waker;
use crate::runtime::watched::{Await, State, Watched};

/// Asks green threads to stop, from any OS thread; those that are asked look at it, wait for it, or have it in a
/// [`Select`](crate::select::Select). Clones are the same token. It says so once and for good.
///
/// Tokens are a tree: cancelling one cancels all that were made of it by
/// [`child_token`](CancellationToken::child_token), and theirs, but none above it or beside it. Unlike a
/// [kill](crate::GreenThread::kill), it interrupts nobody: work that is asked to stop does so where it suits it.
///
/// Semantics: `tokio_util::sync::CancellationToken`, with [`wait`](CancellationToken::wait) for its `cancelled`.
///
/// ```
/// use greenloom::{queue::Queue, select::Select, spawn, sync::CancellationToken};
/// use std::rc::Rc;
///
/// let (stop, jobs) = (CancellationToken::new(), Rc::new(Queue::<u32>::unbounded()));
/// let worker = {
///     let (stop, jobs) = (stop.child_token(), jobs.clone());
///     spawn(move || {
///         let mut done = 0;
///         let next = || Select::new().get(&jobs, |job| job.ok()).cancelled(&stop, || None).wait();
///         while next().is_some() {
///             done += 1;
///         }
///         done
///     })
/// };
/// jobs.put(1)?;
/// greenloom::yield_now();
/// stop.cancel();
/// assert_eq!(worker.wait().unwrap(), 1);
/// # Ok::<(), greenloom::queue::PutError<u32>>(())
/// ```
#[derive(Clone, Default)]
pub struct CancellationToken {
    node: Arc<Node>,
}

struct Node {
    state: Watched<Cancellation>,
    /// The token it is a child of, which lives as long: a cancellation must find its way down. Gone only in the drop.
    parent: Option<Parent>,
}

struct Parent {
    node: Arc<Node>,
    /// Where the parent holds it; none of a parent that was cancelled already.
    place: Option<usize>,
}

#[derive(Default)]
struct Cancellation {
    cancelled: bool,
    children: Slab<Weak<Node>>,
}

impl State for Cancellation {
    const WAITS_FOR: &'static str = "cancellation";
}

impl Default for Node {
    fn default() -> Node {
        Node { state: Watched::new(Cancellation::default()), parent: None }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Tokens that die with their last child do so here, one after another: a long chain must not need a deep stack.
        let mut parent = self.parent.take();
        while let Some(Parent { node, place }) = parent {
            if let Some(place) = place {
                node.state.look(|state| state.children.try_remove(place));
            }
            parent = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl CancellationToken {
    /// A token that nobody has cancelled.
    pub fn new() -> CancellationToken {
        CancellationToken::default()
    }

    /// A token that is cancelled with this one, and can be by itself.
    ///
    /// ```
    /// use greenloom::sync::CancellationToken;
    ///
    /// let parent = CancellationToken::new();
    /// let (first, second) = (parent.child_token(), parent.child_token());
    /// first.cancel();
    /// assert!(!parent.is_cancelled() && !second.is_cancelled());
    /// parent.cancel();
    /// assert!(second.is_cancelled());
    /// ```
    pub fn child_token(&self) -> CancellationToken {
        let node = Arc::new_cyclic(|child| {
            let (cancelled, place) = self
                .node
                .state
                .look(|state| (state.cancelled, (!state.cancelled).then(|| state.children.insert(child.clone()))));
            Node {
                state: Watched::new(Cancellation { cancelled, children: Slab::new() }),
                parent: Some(Parent { node: Arc::clone(&self.node), place }),
            }
        });
        // While it was made it could not be reached from above.
        if self.is_cancelled() {
            cancel(&node);
        }
        CancellationToken { node }
    }

    /// Cancels it and all tokens below it; the waiters for them go on. Never switches. Does nothing the second time.
    pub fn cancel(&self) {
        cancel(&self.node);
    }

    /// Whether it was cancelled, itself or from above.
    pub fn is_cancelled(&self) -> bool {
        self.node.state.look(|state| state.cancelled)
    }

    /// Parks until it is cancelled; returns at once if it is.
    ///
    /// # Panics
    /// Where waiting is not possible; see the [module](super).
    pub fn wait(&self) {
        must_be_granted(self.wait_until(|| None));
    }

    /// As [`CancellationToken::wait`], at most for `timeout`; returns whether it was cancelled.
    ///
    /// # Panics
    /// As there.
    ///
    /// ```
    /// let stop = greenloom::sync::CancellationToken::new();
    /// assert!(!stop.wait_timeout(std::time::Duration::from_millis(1)));
    /// stop.cancel();
    /// assert!(stop.wait_timeout(std::time::Duration::from_millis(1)));
    /// ```
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        granted_in_time(self.wait_until(|| deadline(timeout))).is_some()
    }

    fn wait_until(&self, deadline: impl FnOnce() -> Option<Time>) -> Result<(), Ungranted<()>> {
        self.node.state.wait(deadline, |state| state.cancelled.then_some(()))
    }

    /// A guard that cancels it when it is dropped.
    ///
    /// ```
    /// let stop = greenloom::sync::CancellationToken::new();
    /// drop(stop.clone().drop_guard().disarm());
    /// assert!(!stop.is_cancelled());
    /// drop(stop.clone().drop_guard());
    /// assert!(stop.is_cancelled());
    /// ```
    pub fn drop_guard(self) -> DropGuard {
        DropGuard { token: Some(self) }
    }
}

/// Cancels a node and all below it, without recursion: the tree may be deep.
fn cancel(node: &Arc<Node>) {
    let cancel_one = |node: &Node| {
        if node.state.look(|state| state.cancelled) {
            return Slab::new();
        }
        node.state.change(|state| {
            state.cancelled = true;
            std::mem::take(&mut state.children)
        })
    };
    let mut below = vec![cancel_one(node)];
    while let Some(children) = below.pop() {
        for (_, child) in children {
            if let Some(child) = child.upgrade() {
                below.push(cancel_one(&child));
            }
        }
    }
}

impl Await for &CancellationToken {
    type Got = ();

    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()> {
        self.node.state.register(waker, claim, |state| state.cancelled)
    }

    fn leave(&mut self, place: Place) -> bool {
        self.node.state.leave(place, |state| state.cancelled)
    }

    fn forget(&mut self, place: Place) {
        self.node.state.forget(place);
    }

    fn take(&mut self) {}
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancellationToken").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Cancels its token when it is dropped; see [`CancellationToken::drop_guard`].
#[derive(Debug)]
#[must_use = "it cancels the token when it is dropped, which is at once"]
pub struct DropGuard {
    /// Until it is disarmed.
    token: Option<CancellationToken>,
}

impl DropGuard {
    /// Gives the token back, uncancelled.
    pub fn disarm(mut self) -> CancellationToken {
        self.token.take().expect("only this takes it, and consumes the guard")
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            token.cancel();
        }
    }
}
