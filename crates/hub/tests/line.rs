//! The line of waiters beside the plainest model of one: a sorted list.

use greenloom_hub::line::{Claim, Left, Line, Place};
use proptest::prelude::*;

type TestLine = Line<u32, u32, u32>;

#[test]
fn a_grant_goes_to_the_first_and_is_found_when_it_leaves() {
    let mut line = TestLine::new();
    let (first, second) = (line.join(1, 10), line.join(2, 20));
    assert_eq!(line.front(), Some(&10));
    assert_eq!(line.grant(|brought| brought + 1), Some((first, 1)));
    assert_eq!((line.len(), line.front()), (1, Some(&20)));
    assert_eq!(line.leave(first), Some((1, Left::Granted(11))));
    assert_eq!(line.leave(second), Some((2, Left::Waiting(20))));
    assert_eq!(line.grant(|_| unreachable!("nobody is there")), None);
}

#[test]
fn one_that_was_called_in_vain_goes_back_to_its_old_place() {
    let mut line = TestLine::new();
    let (first, second, third) = (line.join(1, 10), line.join(2, 20), line.join(3, 30));
    assert_eq!(line.call(), Some((first, 1)));
    assert_eq!(line.call(), Some((second, 2)));
    assert_eq!((line.called(), line.has_waiting()), (2, true));
    assert_eq!(line.leave(second), Some((2, Left::Called(20))));
    let second = line.rejoin(second, 4, 20);
    assert_eq!(line.iter().map(|(waker, _)| *waker).collect::<Vec<_>>(), [1, 4, 3]);
    assert_eq!(line.call(), Some((second, 4)), "ahead of the third, which came later");
    assert_eq!(line.take_first(), Some((1, Left::Called(10))));
    assert_eq!(line.leave(first), None, "somebody has taken its place out");
    assert_eq!(line.leave(third), Some((3, Left::Waiting(30))));
}

#[test]
fn one_that_another_line_has_claimed_is_passed_over() {
    let (mut here, mut there) = (TestLine::new(), TestLine::new());
    let claim = Claim::new();
    let (mine, other) = (here.join_with(1, Some(claim.clone()), 10), there.join_with(1, Some(claim), 10));
    let behind = here.join(2, 20);
    assert_eq!(there.grant(|_| 7), Some((other, 1)));
    assert_eq!(here.grant(|_| 8), Some((behind, 2)));
    assert!(here.is_empty(), "the one that is claimed stands in no line any more");
    assert_eq!(here.leave(mine), Some((1, Left::Waiting(10))));
}

#[test]
fn a_place_is_not_confused_with_a_later_one() {
    let mut line = TestLine::new();
    let old = line.join(1, 10);
    assert!(line.leave(old).is_some());
    let new = line.join(2, 20);
    assert_eq!(line.leave(old), None);
    assert_eq!(line.leave(new), Some((2, Left::Waiting(20))));
}

#[test]
fn one_that_was_called_and_is_gone_makes_room_for_the_next_call() {
    let mut line = TestLine::new();
    let (first, second, third) = (line.join(1, 10), line.join(2, 20), line.join(3, 30));
    assert_eq!(line.take_called_if(|_| true), None, "nobody was called");
    assert_eq!((line.call(), line.call()), (Some((first, 1)), Some((second, 2))));
    assert_eq!(line.take_called_if(|waker| *waker == 2), None, "the first of them may still go on");
    assert_eq!(line.take_called_if(|waker| *waker == 1), Some((1, Left::Called(10))));
    assert_eq!((line.called(), line.len(), line.leave(first)), (1, 2, None));
    assert_eq!(line.call(), Some((third, 3)));
}

/// What the line must do, said as plainly as possible: everybody in one list, sorted by age.
#[derive(Default)]
struct Model(Vec<Waiter>);

#[derive(Clone, Copy)]
struct Waiter {
    age: u64,
    id: u32,
    state: State,
    claimed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Called,
    Granted,
    PassedOver,
}

impl Model {
    fn next(&mut self, to: State) -> Option<u32> {
        self.0.sort_by_key(|waiter| waiter.age);
        for waiter in self.0.iter_mut().filter(|waiter| waiter.state == State::Waiting) {
            if waiter.claimed {
                waiter.state = State::PassedOver;
                continue;
            }
            waiter.state = to;
            return Some(waiter.id);
        }
        None
    }

    fn count(&self, state: State) -> usize {
        self.0.iter().filter(|waiter| waiter.state == state).count()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join { claimed: bool },
    Grant,
    Call,
    Leave(usize),
    Rejoin(usize),
    TakeFirst,
    TakeCalledIf(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|claimed| Step::Join { claimed }),
        2 => Just(Step::Grant),
        3 => Just(Step::Call),
        3 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::Rejoin),
        1 => Just(Step::TakeFirst),
        1 => any::<bool>().prop_map(Step::TakeCalledIf),
    ]
}

fn left(waiter: Waiter) -> (u32, Left<u32, u32>) {
    let brought = waiter.id * 10;
    let left = match waiter.state {
        State::Waiting | State::PassedOver => Left::Waiting(brought),
        State::Called => Left::Called(brought),
        State::Granted => Left::Granted(brought + 1),
    };
    (waiter.id, left)
}

proptest! {
    #[test]
    fn a_line_behaves_as_a_sorted_list(steps in proptest::collection::vec(step(), 0..200)) {
        let mut line = TestLine::new();
        let mut model = Model::default();
        let mut places: Vec<(u32, Place)> = Vec::new();
        // Those that were called and left: they may come back.
        let mut away: Vec<(Waiter, Place)> = Vec::new();
        let place_of = |places: &[(u32, Place)], id| places.iter().find(|(other, _)| *other == id).unwrap().1;
        for (number, step) in steps.into_iter().enumerate() {
            let id = number as u32;
            match step {
                Step::Join { claimed } => {
                    let claim = Claim::new();
                    prop_assert!(!claimed || claim.take());
                    places.push((id, line.join_with(id, Some(claim), id * 10)));
                    model.0.push(Waiter { age: number as u64, id, state: State::Waiting, claimed });
                }
                Step::Grant => {
                    let expected = model.next(State::Granted).map(|id| (place_of(&places, id), id));
                    prop_assert_eq!(line.grant(|brought| brought + 1), expected);
                }
                Step::Call => {
                    let expected = model.next(State::Called).map(|id| (place_of(&places, id), id));
                    prop_assert_eq!(line.call(), expected);
                }
                Step::Leave(which) if !model.0.is_empty() => {
                    let index = which % model.0.len();
                    let waiter = model.0.remove(index);
                    let place = place_of(&places, waiter.id);
                    prop_assert_eq!(line.leave(place), Some(left(waiter)));
                    prop_assert_eq!(line.leave(place), None);
                    if waiter.state == State::Called {
                        away.push((waiter, place));
                    }
                }
                Step::Rejoin(which) if !away.is_empty() => {
                    let (waiter, place) = away.swap_remove(which % away.len());
                    places.retain(|(id, _)| *id != waiter.id);
                    places.push((waiter.id, line.rejoin(place, waiter.id, waiter.id * 10)));
                    model.0.push(Waiter { state: State::Waiting, claimed: false, ..waiter });
                }
                Step::TakeFirst => {
                    model.0.sort_by_key(|waiter| waiter.age);
                    let stands = |waiter: &Waiter| matches!(waiter.state, State::Waiting | State::Called);
                    let first = model.0.iter().position(stands).map(|index| model.0.remove(index));
                    prop_assert_eq!(line.take_first(), first.map(left));
                }
                Step::TakeCalledIf(gone) => {
                    model.0.sort_by_key(|waiter| waiter.age);
                    let first = model.0.iter().position(|waiter| waiter.state == State::Called && gone);
                    let first = first.map(|index| model.0.remove(index));
                    prop_assert_eq!(line.take_called_if(|_| gone), first.map(left));
                }
                Step::Leave(_) | Step::Rejoin(_) => {}
            }
            prop_assert_eq!(line.called(), model.count(State::Called));
            prop_assert_eq!(line.len(), model.count(State::Waiting) + model.count(State::Called));
            prop_assert_eq!(line.iter().count(), line.len());
        }
    }
}
