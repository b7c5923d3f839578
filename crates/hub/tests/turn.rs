//! The order of the loop and its fairness, with a loop that only logs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use greenloom_hub::{Budget, Due, Loop, TURN_EVERY, Time, Timers, run_turn};
use proptest::prelude::*;

/// Each piece of work makes some more, as often as it says.
#[derive(Default)]
struct Logged {
    budget: Budget,
    ready: RefCell<VecDeque<u32>>,
    messages: RefCell<Vec<u32>>,
    due: RefCell<Vec<u32>>,
    log: RefCell<Vec<String>>,
    batch: Option<u32>,
    ending: Cell<bool>,
    /// The work that gives up the rest of the budget, and the one that ends the loop.
    gives_up: Option<u32>,
    ends: Option<u32>,
}

impl Logged {
    fn with(ready: impl IntoIterator<Item = u32>) -> Logged {
        Logged { ready: RefCell::new(ready.into_iter().collect()), ..Logged::default() }
    }

    fn note(&self, what: impl Into<String>) -> Result<(), Infallible> {
        self.log.borrow_mut().push(what.into());
        Ok(())
    }

    fn turn(&self) -> Vec<String> {
        let Ok(()) = run_turn(self);
        self.log.take()
    }
}

impl Loop for Logged {
    type Error = Infallible;

    fn budget(&self) -> &Budget {
        &self.budget
    }

    fn batch(&self) -> u32 {
        self.batch.unwrap_or(TURN_EVERY)
    }

    fn is_ending(&self) -> bool {
        self.ending.get()
    }

    fn renew(&self) -> Result<(), Infallible> {
        self.note("renew")
    }

    fn receive(&self) -> Result<(), Infallible> {
        self.ready.borrow_mut().extend(self.messages.take());
        self.note("receive")
    }

    fn run_due(&self) -> Result<bool, Infallible> {
        let Some(due) = self.due.borrow_mut().pop() else { return Ok(false) };
        self.note(format!("due {due}"))?;
        Ok(true)
    }

    fn run_next(&self) -> Result<bool, Infallible> {
        let Some(work) = self.ready.borrow_mut().pop_front() else { return Ok(false) };
        self.note(work.to_string())?;
        if self.gives_up == Some(work) {
            self.budget.give_up();
        }
        self.ending.set(self.ends == Some(work));
        if work > 0 {
            self.ready.borrow_mut().push_back(work);
        }
        Ok(true)
    }

    fn look(&self) -> Result<(), Infallible> {
        self.note("look")
    }
}

#[test]
fn messages_then_ready_work_then_a_look_and_never_at_the_parents_poller() {
    let logged = Logged::with([0]);
    logged.messages.borrow_mut().push(0);
    // Work may fork: it is renewed before the look, too.
    assert_eq!(logged.turn(), ["renew", "receive", "0", "0", "renew", "look"]);
}

#[test]
fn what_is_due_runs_in_between_and_also_when_no_ready_work_may_run_any_more() {
    let logged = Logged { batch: Some(1), ..Logged::with([1, 2]) };
    logged.due.borrow_mut().extend([7, 8]);
    assert_eq!(logged.turn(), ["renew", "receive", "due 8", "due 7", "1", "renew", "look"]);
    let logged = Logged { batch: Some(0), ..Logged::with([1]) };
    logged.due.borrow_mut().push(7);
    assert_eq!(logged.turn(), ["renew", "receive", "due 7", "renew", "look"]);
}

#[test]
fn a_loop_that_ends_does_not_look_any_more() {
    let logged = Logged { ends: Some(0), ..Logged::with([0]) };
    assert_eq!(logged.turn(), ["renew", "receive", "0"]);
}

#[test]
fn a_budget_that_is_given_up_makes_the_loop_look() {
    let logged = Logged { gives_up: Some(2), ..Logged::with([1, 2, 3]) };
    assert_eq!(logged.turn(), ["renew", "receive", "1", "2", "renew", "look"]);
}

proptest! {
    #[test]
    fn ready_work_is_first_in_first_out_and_never_keeps_a_look_waiting(
        ready in proptest::collection::vec(0..3u32, 0..200),
        batch in proptest::option::of(0..100u32),
    ) {
        let logged = Logged { batch, ..Logged::with(ready.iter().copied()) };
        let log = logged.turn();
        let ran: Vec<u32> = log.iter().filter_map(|entry| entry.parse().ok()).collect();
        prop_assert!(ran.len() <= batch.unwrap_or(TURN_EVERY) as usize);
        prop_assert_eq!(log.last().map(String::as_str), Some("look"));
        prop_assert_eq!(&ran[..ran.len().min(ready.len())], &ready[..ran.len().min(ready.len())]);
        let makes_more = ready.iter().any(|work| *work > 0);
        let limit = batch.unwrap_or(TURN_EVERY) as usize;
        prop_assert_eq!(ran.len(), if makes_more { limit } else { limit.min(ready.len()) });
    }

    #[test]
    fn due_timers_come_by_time_and_age_and_only_those_that_existed(
        times in proptest::collection::vec(0..20u64, 0..60),
        now in 0..20u64,
    ) {
        let mut timers = Timers::new();
        for (number, at) in times.iter().enumerate() {
            timers.add(Time::from_nanos(*at), number);
        }
        let due = Due::at(Time::from_nanos(now), &timers);
        let mut fired = Vec::new();
        while let Some(number) = due.pop(&mut timers) {
            fired.push(number);
            // It sets itself again with no delay.
            timers.add(Time::from_nanos(now), usize::MAX);
        }
        let mut expected: Vec<usize> = (0..times.len()).filter(|number| times[*number] <= now).collect();
        expected.sort_by_key(|number| (times[*number], *number));
        prop_assert_eq!(fired, expected);
    }
}

#[test]
fn a_timer_comes_before_ready_work_only_if_it_was_due_first() {
    let at = |nanos| Time::ZERO + Duration::from_nanos(nanos);
    let mut timers = Timers::new();
    timers.add(at(5), "timer");
    let due = Due::at(at(10), &timers);
    assert_eq!(due.pop_before(&mut timers, Some(at(5))), None);
    assert_eq!(due.pop_before(&mut timers, Some(at(6))), Some("timer"));
    timers.add(at(5), "young");
    assert_eq!(due.pop_before(&mut timers, None), None, "it did not exist when the turn began");
}
