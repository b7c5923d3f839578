//! The arms of a select: how each kind of thing is waited for together with others.
//!
//! All of them share a claim. Whoever would let one go on has to take it, so one alone does; a line that grants, a
//! state that is looked at, an edge of a descriptor and the end of a green thread all ask the same claim.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use greenloom_hub::Direction;

use crate::green_thread::{GreenThread, LinkId};
use crate::net::Waitable;
use crate::net::waitable::Choice;
use crate::queue::{Order, QueueOf, Reason};
use crate::runtime::line::{Claim, Place, Registered};
use crate::runtime::park::Waker;
use crate::runtime::watched::Await;
use crate::runtime::work::Work;
use crate::signal::{Signal, Signals};
use crate::sync::{Event, EventError};

/// One of the things that are waited for. What it gets it keeps until it is concluded, when all lines were left: what
/// is made of it may take its time.
pub(super) trait Arm<R> {
    /// Takes what is there, or queues for it.
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing;

    /// Leaves the line; returns whether something was granted.
    fn leave(&mut self) -> bool;

    /// Leaves the line, if it was not left, and gives back what was granted.
    fn give_back(&mut self);

    /// Makes a result of what it got.
    fn conclude(&mut self) -> R;
}

/// How an arm fares when it registers.
pub(super) enum Standing {
    /// It need not wait.
    Has,
    Waits,
    /// Another arm has got something, or this one has just missed it: all are to be looked at.
    Claimed,
}

/// What makes a result of what an arm gets.
pub(super) struct Then<T, F> {
    got: Option<T>,
    then: Option<F>,
    key: Option<Place>,
}

impl<T, R, F: FnOnce(T) -> R> Then<T, F> {
    pub fn new(then: F) -> Then<T, F> {
        Then { got: None, then: Some(then), key: None }
    }

    fn registered(&mut self, outcome: Registered<T>) -> Standing {
        match outcome {
            Registered::Now(got) => {
                self.got = Some(got);
                Standing::Has
            }
            Registered::Waits(key) => {
                self.key = Some(key);
                Standing::Waits
            }
            Registered::Claimed => Standing::Claimed,
        }
    }

    fn conclude(&mut self) -> R {
        let (then, got) = self.then.take().zip(self.got.take()).expect("one arm is concluded, once, with what it got");
        then(got)
    }
}

pub(super) struct Get<'a, O: Order, F> {
    pub queue: &'a QueueOf<O>,
    pub then: Then<Result<O::Item, Reason>, F>,
}

impl<R, O: Order, F: FnOnce(Result<O::Item, Reason>) -> R> Arm<R> for Get<'_, O, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        let outcome = self.queue.register(waker, claim);
        self.then.registered(outcome)
    }

    fn leave(&mut self) -> bool {
        self.then.got = self.then.key.take().and_then(|key| self.queue.leave(key));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(key) = self.then.key.take() {
            self.queue.give_back(key);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}

pub(super) struct Put<'a, O: Order, F> {
    pub queue: &'a QueueOf<O>,
    pub item: &'a mut Option<O::Item>,
    pub then: Then<Result<(), Reason>, F>,
}

impl<R, O: Order, F: FnOnce(Result<(), Reason>) -> R> Arm<R> for Put<'_, O, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        let outcome = self.queue.register_put(waker, claim, self.item);
        self.then.registered(outcome)
    }

    fn leave(&mut self) -> bool {
        self.then.got = self.then.key.take().and_then(|key| self.queue.leave_put(key, self.item));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(key) = self.then.key.take() {
            // An item that went in stays there, as that of a put that is killed does.
            self.queue.leave_put(key, self.item);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}

pub(super) struct OnEvent<'a, T, F> {
    pub event: &'a Event<T>,
    pub then: Then<Result<T, EventError>, F>,
}

impl<R, T: Clone, F: FnOnce(Result<T, EventError>) -> R> Arm<R> for OnEvent<'_, T, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        let outcome = self.event.register(waker, claim);
        self.then.registered(outcome)
    }

    fn leave(&mut self) -> bool {
        self.then.got = self.then.key.take().and_then(|key| self.event.leave(key));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(key) = self.then.key.take() {
            self.event.forget(key);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}

/// Something whose state is looked at when it has changed; what is there is taken when it is concluded.
pub(super) struct LookAt<A, F> {
    source: A,
    then: Then<(), F>,
}

impl<A, F> LookAt<A, F> {
    pub fn new(source: A, then: F) -> LookAt<A, F> {
        LookAt { source, then: Then { got: None, then: Some(then), key: None } }
    }
}

impl<R, A: Await, F: FnOnce(A::Got) -> R> Arm<R> for LookAt<A, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        match self.source.register(waker, claim) {
            Registered::Now(()) => Standing::Has,
            Registered::Waits(place) => {
                self.then.key = Some(place);
                Standing::Waits
            }
            Registered::Claimed => Standing::Claimed,
        }
    }

    fn leave(&mut self) -> bool {
        self.then.key.take().is_some_and(|place| self.source.leave(place))
    }

    fn give_back(&mut self) {
        if let Some(place) = self.then.key.take() {
            self.source.forget(place);
        }
    }

    fn conclude(&mut self) -> R {
        let then = self.then.then.take().expect("one arm is concluded, once");
        then(self.source.take())
    }
}

/// The end of a green thread, which a link tells of.
pub(super) struct End<'a, T, F> {
    thread: &'a GreenThread<T>,
    link: Option<LinkId>,
    told: Rc<Cell<bool>>,
    then: Option<F>,
}

impl<'a, T, F> End<'a, T, F> {
    pub fn new(thread: &'a GreenThread<T>, then: F) -> End<'a, T, F> {
        End { thread, link: None, told: Rc::default(), then: Some(then) }
    }
}

impl<R, T: 'static, F: FnOnce() -> R> Arm<R> for End<'_, T, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        if self.thread.is_finished() {
            return if claim.take() { Standing::Has } else { Standing::Claimed };
        }
        let (claim, told) = (claim.clone(), Rc::clone(&self.told));
        self.link = Some(self.thread.link(move |_| {
            if claim.take() {
                told.set(true);
                waker.wake();
            }
        }));
        Standing::Waits
    }

    fn leave(&mut self) -> bool {
        self.give_back();
        self.told.take()
    }

    fn give_back(&mut self) {
        if let Some(link) = self.link.take() {
            self.thread.unlink(link);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.take().expect("one arm is concluded, once")()
    }
}

/// The readiness of a source, in one direction.
pub(super) struct Ready<'a, W, F> {
    source: &'a W,
    direction: Direction,
    waits: Option<u64>,
    told: Rc<Cell<bool>>,
    then: Then<io::Result<()>, F>,
}

impl<'a, W, R, F: FnOnce(io::Result<()>) -> R> Ready<'a, W, F>
where
    W: Waitable,
{
    pub fn new(source: &'a W, direction: Direction, then: F) -> Ready<'a, W, F> {
        Ready { source, direction, waits: None, told: Rc::default(), then: Then::new(then) }
    }
}

/// What the hub does when the edge comes.
fn choice(waker: Waker, claim: &Claim, told: &Rc<Cell<bool>>) -> Choice {
    let Waker { slot, ticket, .. } = waker;
    Choice(Work::Choice { slot, ticket, claim: claim.clone(), told: Rc::clone(told) })
}

impl<R, W: Waitable, F: FnOnce(io::Result<()>) -> R> Arm<R> for Ready<'_, W, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        let outcome = match self.source.begin_waiting(self.direction, choice(waker, claim, &self.told)) {
            Ok(false) => {
                self.waits = Some(waker.ticket);
                return Standing::Waits;
            }
            Ok(true) => Ok(()),
            Err(error) => Err(error),
        };
        if !claim.take() {
            return Standing::Claimed;
        }
        self.then.got = Some(outcome);
        Standing::Has
    }

    fn leave(&mut self) -> bool {
        self.give_back();
        self.then.got = self.told.take().then_some(Ok(()));
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(ticket) = self.waits.take() {
            self.source.stop_waiting(self.direction, ticket);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}

/// A signal, which the bell of those that are asked for tells of.
pub(super) struct OnSignal<'a, F> {
    signals: &'a Signals,
    waits: Option<u64>,
    told: Rc<Cell<bool>>,
    then: Then<io::Result<Signal>, F>,
}

impl<'a, R, F: FnOnce(io::Result<Signal>) -> R> OnSignal<'a, F> {
    pub fn new(signals: &'a Signals, then: F) -> OnSignal<'a, F> {
        OnSignal { signals, waits: None, told: Rc::default(), then: Then::new(then) }
    }
}

impl<R, F: FnOnce(io::Result<Signal>) -> R> Arm<R> for OnSignal<'_, F> {
    fn register(&mut self, waker: Waker, claim: &Claim) -> Standing {
        let outcome = match self.signals.begin_waiting(choice(waker, claim, &self.told)) {
            Ok(false) => {
                self.waits = Some(waker.ticket);
                return Standing::Waits;
            }
            Ok(true) => None,
            Err(error) => Some(Err(error)),
        };
        if !claim.take() {
            return Standing::Claimed;
        }
        self.then.got = outcome.or_else(|| self.signals.arrived().map(Ok));
        // If somebody else has taken the signal, all are to be looked at again.
        if self.then.got.is_some() { Standing::Has } else { Standing::Claimed }
    }

    fn leave(&mut self) -> bool {
        self.give_back();
        self.then.got = if self.told.take() { self.signals.arrived().map(Ok) } else { None };
        self.then.got.is_some()
    }

    fn give_back(&mut self) {
        if let Some(ticket) = self.waits.take() {
            self.signals.stop_waiting(ticket);
        }
    }

    fn conclude(&mut self) -> R {
        self.then.conclude()
    }
}
