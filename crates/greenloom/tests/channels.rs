//! Cancellation, oneshot, watch and broadcast: what is told to whom, and that kills and timeouts lose and leak nothing.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Log, Random, millis, on_os_threads, settle, simulate};
use greenloom::hub::now;
use greenloom::sync::{Barrier, CancellationToken, broadcast, oneshot, watch};
use greenloom::testing::explore;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};
use proptest::prelude::*;

/// Counts how many of it live.
struct Counted(Arc<AtomicUsize>, u32);

impl Counted {
    fn new(live: &Arc<AtomicUsize>, number: u32) -> Counted {
        live.fetch_add(1, Ordering::SeqCst);
        Counted(live.clone(), number)
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        Counted::new(&self.0, self.1)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// Cancellation.

#[test]
fn a_cancellation_reaches_all_below_and_none_above_or_beside() {
    let root = CancellationToken::new();
    let (left, right) = (root.child_token(), root.child_token());
    let leaf = left.child_token();
    left.cancel();
    assert!(left.is_cancelled() && leaf.is_cancelled() && !root.is_cancelled() && !right.is_cancelled());
    assert!(left.child_token().is_cancelled(), "a child of a cancelled token is");
    let late = root.child_token().child_token();
    root.cancel();
    assert!(right.is_cancelled() && late.is_cancelled(), "the token between is gone, and still passes it down");
}

#[test]
fn waiters_of_a_token_go_on_in_their_order() {
    simulate(|| {
        let (token, log) = (CancellationToken::new(), Log::new());
        for number in 0..3 {
            let (token, log) = (token.child_token(), log.clone());
            let direct = number == 1;
            spawn(move || {
                if direct {
                    assert!(token.wait_timeout(millis(500)))
                } else {
                    token.wait()
                }
                log.push(number);
            });
        }
        settle();
        assert!(log.take().is_empty());
        assert!(!token.wait_timeout(millis(5)));
        token.cancel();
        token.cancel();
        settle();
        assert_eq!(log.take(), [0, 1, 2]);
        token.wait();
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn a_guard_cancels_when_its_green_thread_is_killed() {
    simulate(|| {
        let token = CancellationToken::new();
        let guard = token.clone().drop_guard();
        let holder = spawn(move || {
            let _guard = guard;
            sleep(Duration::from_secs(9));
        });
        settle();
        assert!(!token.is_cancelled());
        holder.kill();
        assert!(token.is_cancelled());
    });
}

#[test]
fn a_tree_of_a_hundred_thousand_levels_needs_no_deep_stack() {
    let (root, mut last) = (CancellationToken::new(), CancellationToken::new());
    last = {
        drop(last);
        root.child_token()
    };
    for _ in 0..100_000 {
        last = last.child_token();
    }
    // On a small stack of its own.
    spawn(move || {
        root.cancel();
        assert!(last.is_cancelled());
        drop((root, last));
    })
    .wait()
    .unwrap();
}

#[test]
fn children_that_come_and_go_leave_nothing_with_their_parent() {
    let parent = CancellationToken::new();
    let child = parent.child_token();
    for _ in 0..1000 {
        drop(parent.child_token().child_token());
    }
    parent.cancel();
    assert!(child.is_cancelled());
}

#[test]
fn tokens_made_and_cancelled_on_several_os_threads_miss_nothing() {
    for _ in 0..20 {
        let root = CancellationToken::new();
        on_os_threads(3, |number| {
            if number == 0 {
                return root.cancel();
            }
            let child = root.child_token().child_token();
            assert!(child.wait_timeout(Duration::from_secs(20)), "a child was not told");
        });
    }
}

// Oneshot.

#[test]
fn a_oneshot_value_is_received_once_or_comes_back() {
    simulate(|| {
        let (sender, mut receiver) = oneshot::channel();
        assert_eq!(receiver.try_recv(), Err(oneshot::RecvError::Empty));
        sender.send(1).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(oneshot::RecvError::Closed));

        let (sender, receiver) = oneshot::channel();
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send(2), Err(2));

        let (sender, mut receiver) = oneshot::channel();
        sender.send(3).unwrap();
        receiver.close();
        assert_eq!(receiver.recv(), Ok(3), "what was sent before the close is received");

        let (sender, receiver) = oneshot::channel::<u32>();
        let waits = spawn(move || receiver.recv());
        settle();
        drop(sender);
        assert_eq!(waits.wait().unwrap(), Err(oneshot::RecvError::Closed));
    });
}

#[test]
fn a_oneshot_value_is_never_lost_between_a_timeout_and_the_next_try() {
    explore(200, |seed| {
        let mut random = Random::new(seed);
        let live = Arc::new(AtomicUsize::new(0));
        let (sender, mut receiver) = oneshot::channel();
        let value = Counted::new(&live, 7);
        let delay = millis(random.below(4));
        let sends = spawn(move || {
            sleep(delay);
            assert!(sender.send(value).is_ok());
        });
        let mut got = None;
        while got.is_none() {
            let own = millis(1 + random.below(3));
            got = match random.below(2) {
                0 => receiver.recv_timeout(own).ok(),
                _ => timeout(own, || receiver.recv_timeout(Duration::from_secs(9))).ok().and_then(Result::ok),
            };
        }
        assert_eq!(got.unwrap().1, 7);
        sends.wait().unwrap();
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_oneshot_value_whose_receiver_is_killed_is_dropped() {
    explore(100, |seed| {
        let mut random = Random::new(seed);
        let live = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = oneshot::channel();
        let receives = spawn(move || receiver.recv().map(|value: Counted| value.1));
        let value = Counted::new(&live, 1);
        let sends = spawn(move || drop(sender.send(value)));
        if random.below(2) == 0 {
            yield_now();
        }
        receives.kill();
        sends.wait().unwrap();
        drop(receives.wait());
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

// Watch.

#[test]
fn a_watcher_sees_the_newest_value_and_each_change_once() {
    simulate(|| {
        let (sender, mut receiver) = watch::channel(0);
        assert!(!receiver.has_changed());
        assert_eq!(receiver.changed_timeout(millis(1)), Err(watch::RecvError::TimedOut));
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        receiver.changed().unwrap();
        assert_eq!((*receiver.borrow(), receiver.has_changed()), (2, false));
        let mut late = sender.subscribe();
        assert!(!late.has_changed());
        assert_eq!(*sender.send_replace(3), 2);
        drop(sender);
        assert_eq!(late.changed(), Ok(()), "the last value is seen before the end");
        assert_eq!(late.changed(), Err(watch::RecvError::Closed));
        assert_eq!(*late.borrow(), 3);
    });
}

#[test]
fn a_watch_without_receivers_refuses_and_tells_its_sender() {
    simulate(|| {
        let (sender, receiver) = watch::channel(0);
        let gone = Rc::new(Cell::new(false));
        let (told, watching) = (gone.clone(), sender.clone());
        spawn(move || {
            watching.closed();
            told.set(true);
        });
        settle();
        let second = receiver.clone();
        drop(receiver);
        settle();
        assert!(!gone.get());
        drop(second);
        settle();
        assert!(gone.get() && sender.is_closed());
        assert_eq!(sender.send(1), Err(watch::SendError(1)));
        assert_eq!(*sender.borrow(), 0);
    });
}

#[test]
fn changes_of_a_watched_value_by_several_os_threads_all_count() {
    let (sender, receiver) = watch::channel(0);
    on_os_threads(4, |_| (0..500).for_each(|_| sender.send_modify(|count| *count += 1)));
    assert_eq!(*receiver.borrow(), 2_000);
}

#[test]
fn watchers_that_are_killed_or_timed_out_keep_nobody_from_the_last_value() {
    explore(100, |seed| {
        let mut random = Random::new(seed);
        let (sender, receiver) = watch::channel(0);
        let watchers: Vec<_> = (0..4)
            .map(|_| {
                let (mut receiver, limit) = (receiver.clone(), millis(1 + random.below(3)));
                spawn(move || {
                    loop {
                        match timeout(limit, || receiver.wait_for(|value| *value == 5)) {
                            Ok(seen) => return *seen.unwrap(),
                            Err(_) => continue,
                        }
                    }
                })
            })
            .collect();
        let victim = usize::try_from(random.below(4)).unwrap();
        for value in 1..=5 {
            sleep(millis(random.below(2)));
            sender.send(value).unwrap();
            if value == 3 {
                watchers[victim].kill();
            }
        }
        for (number, watcher) in watchers.into_iter().enumerate() {
            assert!(number == victim || watcher.wait().unwrap() == 5);
        }
        assert_eq!(sender.receiver_count(), 1);
    });
}

// Broadcast.

#[test]
fn each_receiver_gets_every_value_and_the_slow_one_learns_how_many_it_missed() {
    simulate(|| {
        let (sender, mut slow) = broadcast::channel(3);
        let mut quick = slow.resubscribe();
        for value in 0..5 {
            assert_eq!(sender.send(value).unwrap(), 2);
            assert_eq!(quick.recv(), Ok(value));
        }
        assert_eq!(slow.len(), 5);
        assert_eq!(slow.recv(), Err(broadcast::RecvError::Lagged(2)));
        let mut late = sender.subscribe();
        assert_eq!((0..3).map(|_| slow.recv().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(slow.try_recv(), Err(broadcast::RecvError::Empty));
        assert_eq!(late.recv_timeout(millis(1)), Err(broadcast::RecvError::Empty));
        drop(sender);
        assert_eq!(slow.recv(), Err(broadcast::RecvError::Closed));
        assert_eq!(late.recv(), Err(broadcast::RecvError::Closed));
    });
}

#[test]
fn a_broadcast_value_goes_when_all_have_it_and_the_last_one_gets_it_uncloned() {
    let live = Arc::new(AtomicUsize::new(0));
    let (sender, mut first) = broadcast::channel(8);
    let (mut second, third) = (sender.subscribe(), sender.subscribe());
    for number in 0..3 {
        assert!(sender.send(Counted::new(&live, number)).is_ok());
    }
    (0..3).for_each(|number| assert_eq!(first.recv().unwrap().1, number));
    assert_eq!(live.load(Ordering::SeqCst), 3, "clones are gone, and the others have not got them");
    assert_eq!(second.recv().unwrap().1, 0);
    drop(third);
    assert_eq!(live.load(Ordering::SeqCst), 2, "a receiver that is gone is owed nothing");
    let last = second.recv().unwrap();
    assert_eq!((last.1, live.load(Ordering::SeqCst)), (1, 2), "the last receiver gets the value itself");
    drop((last, second));
    assert_eq!((live.load(Ordering::SeqCst), sender.len()), (0, 0));
    drop(first);
    let refused = sender.send(Counted::new(&live, 9)).err().unwrap();
    assert_eq!(refused.0.1, 9);
}

#[test]
fn broadcast_values_are_neither_lost_nor_doubled_under_kills_and_timeouts() {
    explore(150, |seed| {
        let mut random = Random::new(seed);
        let live = Arc::new(AtomicUsize::new(0));
        let capacity = 1 + usize::try_from(random.below(6)).unwrap();
        let (sender, receiver) = broadcast::channel(capacity);
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (mut receiver, limit) = (receiver.resubscribe(), millis(1 + random.below(3)));
                spawn(move || {
                    let mut next = 0;
                    loop {
                        match timeout(limit, || receiver.recv()) {
                            Ok(Ok(value)) => {
                                let value: Counted = value;
                                assert_eq!(u64::from(value.1), next, "in order, none twice, none left out untold");
                                next += 1;
                            }
                            Ok(Err(broadcast::RecvError::Lagged(missed))) => next += missed,
                            Ok(Err(_)) => return next,
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        drop(receiver);
        let victim = usize::try_from(random.below(4)).unwrap();
        for number in 0..20 {
            sleep(millis(random.below(2)));
            let _ = sender.send(Counted::new(&live, number));
            if number == 9 {
                readers[victim].kill();
            }
        }
        drop(sender);
        for (number, reader) in readers.into_iter().enumerate() {
            assert!(number == victim || reader.wait().unwrap() == 20);
        }
        assert_eq!(live.load(Ordering::SeqCst), 0);
    });
}

#[derive(Clone, Debug)]
enum Op {
    Send,
    Receive(usize),
    Subscribe,
    Leave(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Send),
        5 => (0..4usize).prop_map(Op::Receive),
        1 => Just(Op::Subscribe),
        1 => (0..4usize).prop_map(Op::Leave),
    ]
}

proptest! {
    #[test]
    fn a_broadcast_channel_does_what_its_model_does(capacity in 1..5usize, ops in prop::collection::vec(op(), 0..80)) {
        let live = Arc::new(AtomicUsize::new(0));
        let (sender, first) = broadcast::channel(capacity);
        // Each receiver with the number of the value it gets next.
        let (mut receivers, mut sent) = (vec![(first, 0u64)], 0u64);
        for op in ops {
            match op {
                Op::Send => {
                    let outcome = sender.send(Counted::new(&live, u32::try_from(sent).unwrap()));
                    prop_assert_eq!(outcome.is_ok(), !receivers.is_empty());
                    sent += u64::from(outcome.is_ok());
                }
                Op::Receive(number) => {
                    let count = receivers.len();
                    let Some((receiver, next)) = receivers.get_mut(number % count.max(1)) else { continue };
                    let oldest = sent.saturating_sub(capacity as u64);
                    match receiver.try_recv() {
                        Ok(value) => {
                            prop_assert!(*next >= oldest && *next < sent);
                            prop_assert_eq!(u64::from(value.1), *next);
                            *next += 1;
                        }
                        Err(broadcast::RecvError::Lagged(missed)) => {
                            prop_assert_eq!(*next + missed, oldest);
                            *next = oldest;
                        }
                        Err(error) => {
                            prop_assert_eq!(error, broadcast::RecvError::Empty);
                            prop_assert_eq!(*next, sent);
                        }
                    }
                }
                Op::Subscribe => receivers.push((sender.subscribe(), sent)),
                Op::Leave(number) => {
                    let count = receivers.len();
                    if count > 0 {
                        receivers.swap_remove(number % count);
                    }
                }
            }
            // What is kept is what somebody has still to get.
            let oldest = sent.saturating_sub(capacity as u64);
            let wanted = receivers.iter().map(|(_, next)| (*next).max(oldest)).min().unwrap_or(sent);
            prop_assert_eq!(live.load(Ordering::SeqCst) as u64, sent - wanted);
        }
        drop((sender, receivers));
        prop_assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}

// The barrier's limit.

#[test]
fn one_that_gives_up_at_a_barrier_does_not_count() {
    simulate(|| {
        let barrier = Rc::new(Barrier::new(3));
        let early = {
            let barrier = barrier.clone();
            spawn(move || barrier.wait_timeout(millis(5)))
        };
        let second = {
            let barrier = barrier.clone();
            spawn(move || barrier.wait())
        };
        assert_eq!(early.wait().unwrap(), None);
        assert_eq!(now(), millis(5));
        let third = {
            let barrier = barrier.clone();
            spawn(move || barrier.wait_timeout(Duration::from_secs(9)))
        };
        settle();
        assert!(!second.is_dead() && !third.is_dead(), "two of three");
        assert_eq!(barrier.wait_timeout(millis(1)), Some(true));
        assert_eq!((second.wait().unwrap(), third.wait().unwrap()), (false, Some(false)));
        assert_eq!(get_hub().timers_count(), 0);
    });
}
