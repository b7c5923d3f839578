//! Try first, wait second: what is tried, what is waited for, and what a short transfer proves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use greenloom_hub::attempt::{Endpoint, HasSources, Transfer, Tried, attempt, park_at};
use greenloom_hub::poller::Poller;
use greenloom_hub::{Busy, Direction, SourceKey, Sources, Time};
use proptest::prelude::*;

/// An endpoint that logs what it is asked, and whose waits end as told.
struct Scripted {
    ready: Cell<bool>,
    /// How each wait ends; it is ready after one that does well.
    waits: RefCell<VecDeque<Result<(), &'static str>>>,
    deadlines: RefCell<Vec<Option<Time>>>,
}

impl Scripted {
    fn new(ready: bool, waits: &[Result<(), &'static str>]) -> Scripted {
        Scripted {
            ready: Cell::new(ready),
            waits: RefCell::new(waits.iter().copied().collect()),
            deadlines: RefCell::default(),
        }
    }
}

impl Endpoint for Scripted {
    type Error = &'static str;

    fn is_ready(&self) -> Result<bool, &'static str> {
        Ok(self.ready.get())
    }

    fn would_block(&self) {
        self.ready.set(false);
    }

    fn deadline(&self) -> Option<Time> {
        Some(Time::from_nanos(1 + self.deadlines.borrow().len() as u64))
    }

    fn wait(&self, deadline: Option<Time>) -> Result<(), &'static str> {
        self.deadlines.borrow_mut().push(deadline);
        let ended = self.waits.borrow_mut().pop_front().unwrap_or(Err("waited once too often"));
        self.ready.set(ended.is_ok());
        ended
    }
}

#[test]
fn what_is_known_not_to_be_ready_is_not_tried() {
    let endpoint = Scripted::new(false, &[Ok(())]);
    let tries = Cell::new(0);
    let done = attempt(&endpoint, || {
        tries.set(tries.get() + 1);
        Tried::Done("done")
    });
    assert_eq!((done, tries.get(), endpoint.deadlines.take().len()), (Ok("done"), 1, 1));
}

#[test]
fn one_deadline_covers_all_waits() {
    let endpoint = Scripted::new(true, &[Ok(()), Ok(()), Err("timed out")]);
    let outcome = attempt(&endpoint, || Tried::<()>::WouldBlock);
    assert_eq!(outcome, Err("timed out"));
    assert_eq!(endpoint.deadlines.take(), [Some(Time::from_nanos(1)); 3]);
}

#[test]
fn a_signal_is_no_reason_to_wait() {
    let endpoint = Scripted::new(true, &[]);
    let mut tries = [Tried::Interrupted, Tried::Interrupted, Tried::Done(3)].into_iter();
    assert_eq!(attempt(&endpoint, || tries.next().unwrap()), Ok(3));
}

proptest! {
    #[test]
    fn every_refusal_is_one_wait_and_nothing_else_is(script in proptest::collection::vec(0..3u8, 0..40)) {
        let refusals = script.iter().filter(|step| **step == 0).count();
        let endpoint = Scripted::new(true, &vec![Ok(()); refusals]);
        let mut steps = script.iter();
        let outcome = attempt(&endpoint, || match steps.next() {
            Some(0) => Tried::WouldBlock,
            Some(_) => Tried::Interrupted,
            None => Tried::Done(()),
        });
        prop_assert_eq!(outcome, Ok(()));
        prop_assert_eq!(endpoint.deadlines.take().len(), refusals);
    }

    #[test]
    fn a_short_transfer_proves_something_only_within_what_the_system_takes(
        lengths in proptest::collection::vec(0..4usize, 0..2000),
        done in 0..4000usize,
    ) {
        let asked: usize = lengths.iter().sum();
        let transfer = Transfer::of_all(lengths.iter().copied());
        let proves = 0 < done && done < asked && lengths.len() <= 1024;
        prop_assert_eq!(transfer.proves_blocking(done), proves);
        prop_assert_eq!(transfer.is_empty(), asked == 0);
    }
}

#[test]
fn a_transfer_beyond_two_gigabytes_proves_nothing() {
    assert!(Transfer::of(0x7fff_0000).proves_blocking(5));
    assert!(!Transfer::of(0x7fff_0001).proves_blocking(0x7fff_0000));
    assert!(!Transfer::of_all([usize::MAX, usize::MAX].into_iter()).proves_blocking(5));
}

#[derive(Default)]
struct OneHub(RefCell<Sources<u32>>);

impl HasSources<u32> for OneHub {
    fn with_sources<R>(&self, f: impl FnOnce(&mut Sources<u32>) -> R) -> Option<R> {
        Some(f(&mut self.0.borrow_mut()))
    }
}

fn registered() -> (OneHub, Poller, (std::io::PipeReader, std::io::PipeWriter), (SourceKey, Direction)) {
    let (hub, poller, pipe) = (OneHub::default(), Poller::new().unwrap(), std::io::pipe().unwrap());
    let key = hub.0.borrow_mut().add(&poller, pipe.0.as_fd()).unwrap();
    (hub, poller, pipe, (key, Direction::Read))
}

#[test]
fn a_park_takes_its_work_back_however_it_ends() {
    let (hub, _poller, _pipe, at) = registered();
    assert_eq!(park_at(&hub, at, 1, |work| *work == 1, || unreachable!("it is ready"), |()| true), Ok(None::<()>));
    hub.0.borrow_mut().would_block(at.0, at.1);
    let parked = park_at(&hub, at, 1, |work| *work == 1, || hub.0.borrow().waiting(), |_| false);
    assert_eq!((parked, hub.0.borrow().waiting()), (Ok(Some(1)), 0));
    let unwound =
        catch_unwind(AssertUnwindSafe(|| park_at(&hub, at, 1, |work| *work == 1, || panic!("killed"), |()| false)));
    assert_eq!((unwound.is_err(), hub.0.borrow().waiting()), (true, 0));
}

#[test]
fn a_park_that_was_told_leaves_the_next_ones_work_alone() {
    let (hub, _poller, _pipe, at) = registered();
    hub.0.borrow_mut().would_block(at.0, at.1);
    let parked = park_at(
        &hub,
        at,
        1,
        |work| *work == 1,
        || {
            // It is told, and another one waits before it has left.
            assert_eq!(hub.0.borrow_mut().stop_waiting(at.0, at.1, |_| true), Some(1));
            assert_eq!(hub.0.borrow_mut().wait(at.0, at.1, 2), Ok(true));
        },
        |()| false,
    );
    assert_eq!((parked, hub.0.borrow().waiting()), (Ok(Some(())), 1));
    assert_eq!(park_at(&hub, at, 3, |work| *work == 3, || (), |()| true), Err(Busy));
}
