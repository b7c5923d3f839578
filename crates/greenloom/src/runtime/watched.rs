//! State that green threads wait on until it suits them: the ground of what is told to many, or to any that look.
//!
//! Nothing is granted here but a second look: every change lets all waiters go on, and each looks under the lock
//! whether the state gives it something now; else it waits again. So what the state holds stays there until somebody
//! takes it with its own hand, and one that is killed or timed out in between takes nothing with it.
//!
//! It stands on [`line`](super::line), as all that waits.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

use greenloom_hub::Time;

use super::line::{
    Claim, Granted, Line, LineRules, Place, Registered, Ungranted, grant_all, leave, lock, take_out, wait, wake_all,
};
use super::park::Waker;

/// What can be watched.
pub(crate) trait State {
    /// What its waiters wait for, for people to read.
    const WAITS_FOR: &'static str;
}

/// What a `select` can look at, for the one green thread that may take what is there.
pub(crate) trait Await {
    /// What is taken.
    type Got;

    fn register(&mut self, waker: Waker, claim: &Claim) -> Registered<()>;

    /// Leaves the line; whether it was told to look, and something is there.
    fn leave(&mut self, place: Place) -> bool;

    /// Leaves the line, whatever is there.
    fn forget(&mut self, place: Place);

    /// Takes what is there.
    fn take(&mut self) -> Self::Got;
}

/// State that has senders, whose end is told to all that wait.
pub(crate) trait Sent: State {
    /// How many senders there are. The first is counted by the maker of the state.
    fn senders(&mut self) -> &mut usize;
}

/// A sender's share of the state: the clones are counted, and the last to go lets all that wait look.
pub(crate) struct Senders<S: Sent>(Arc<Watched<S>>);

impl<S: Sent> Senders<S> {
    /// That of the first sender.
    pub fn first(shared: &Arc<Watched<S>>) -> Senders<S> {
        Senders(Arc::clone(shared))
    }
}

impl<S: Sent> Deref for Senders<S> {
    type Target = Arc<Watched<S>>;

    fn deref(&self) -> &Arc<Watched<S>> {
        &self.0
    }
}

impl<S: Sent> Clone for Senders<S> {
    fn clone(&self) -> Senders<S> {
        self.look(|state| *state.senders() += 1);
        Senders(Arc::clone(&self.0))
    }
}

impl<S: Sent> Drop for Senders<S> {
    fn drop(&mut self) {
        let last = self.look(|state| {
            *state.senders() -= 1;
            *state.senders() == 0
        });
        if last {
            self.change(|_| ());
        }
    }
}

pub(crate) struct Watched<S> {
    inner: Mutex<Inner<S>>,
}

struct Inner<S> {
    state: S,
    waiters: Line<(), ()>,
}

struct Waiters<S>(PhantomData<S>);

impl<S: State> LineRules for Waiters<S> {
    type State = Inner<S>;
    type Brings = ();
    type Grant = ();
    const WAITS_FOR: &'static str = S::WAITS_FOR;

    fn line(inner: &mut Inner<S>) -> &mut Line<(), ()> {
        &mut inner.waiters
    }

    fn take_back(_: &mut Inner<S>, (): ()) -> Option<Granted> {
        // All the others were told as well.
        None
    }
}

impl<S: State> Watched<S> {
    pub const fn new(state: S) -> Watched<S> {
        Watched { inner: Mutex::new(Inner { state, waiters: Line::new() }) }
    }

    /// Looks, and takes what is its own. `f` runs under the lock: it must neither wait nor run a user's code, not even
    /// a destructor.
    pub fn look<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut lock(&self.inner).state)
    }

    /// Changes the state, and lets all that wait look at it. As for [`Watched::look`] otherwise.
    pub fn change<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let mut inner = lock(&self.inner);
        let value = f(&mut inner.state);
        let waiters = grant_all(&mut inner.waiters, |()| ());
        drop(inner);
        wake_all(waiters);
        value
    }

    /// Parks until `look` finds something.
    pub fn wait<R>(
        &self,
        deadline: impl FnOnce() -> Option<Time>,
        mut look: impl FnMut(&mut S) -> Option<R>,
    ) -> Result<R, Ungranted<()>> {
        let mut deadline = Some(deadline);
        let mut until = None;
        loop {
            let mut inner = lock(&self.inner);
            if let Some(found) = look(&mut inner.state) {
                return Ok(found);
            }
            if let Some(deadline) = deadline.take() {
                until = deadline();
            }
            wait::<Waiters<S>>(&self.inner, (), inner, until)?;
        }
    }

    /// For `select`: a place in the line, unless what is waited for is there, and nothing else was got.
    pub fn register(&self, waker: Waker, claim: &Claim, is_there: impl FnOnce(&S) -> bool) -> Registered<()> {
        let mut inner = lock(&self.inner);
        if !is_there(&inner.state) {
            return Registered::Waits(inner.waiters.join_with(waker, Some(claim.clone()), ()));
        }
        if claim.take() { Registered::Now(()) } else { Registered::Claimed }
    }

    /// For `select`: leaves the line; whether it was told to look, and what is waited for is there.
    pub fn leave(&self, place: Place, is_there: impl FnOnce(&S) -> bool) -> bool {
        let mut inner = lock(&self.inner);
        take_out(&mut inner.waiters, place).is_ok() && is_there(&inner.state)
    }

    /// For `select`, when it is unwound or has something else: leaves the line.
    pub fn forget(&self, place: Place) {
        leave::<Waiters<S>>(&self.inner, place);
    }
}
