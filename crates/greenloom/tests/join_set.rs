//! Sets of green threads and unordered results: in the order of their ends, with nothing lost, doubled or left running.

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use common::{Random, millis, settle, simulate};
use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::testing::explore;
use greenloom::{Builder, JoinError, JoinSet, get_hub, sleep, spawn, timeout, yield_now};

/// Counts how many of it live.
struct Alive(Rc<Cell<usize>>);

impl Alive {
    fn new(count: &Rc<Cell<usize>>) -> Alive {
        count.set(count.get() + 1);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[test]
fn outcomes_come_in_the_order_of_the_ends_panics_and_kills_included() {
    simulate(|| {
        let mut set = JoinSet::new();
        assert!(set.join_next().is_none() && set.try_join_next().is_none());
        set.spawn(|| {
            sleep(millis(3));
            3
        });
        set.spawn(|| {
            sleep(millis(1));
            panic!("one")
        });
        let victim = Rc::new(spawn(|| sleep(millis(9))));
        let handle = Builder::new().spawn({
            let victim = victim.clone();
            move || {
                sleep(millis(2));
                victim.kill();
                2
            }
        });
        set.insert(handle.unwrap());
        assert!(set.try_join_next().is_none());
        assert_eq!(set.len(), 3);
        assert!(matches!(set.join_next(), Some(Err(JoinError::Panicked(_)))));
        assert_eq!(set.join_next().unwrap().unwrap(), 2);
        assert_eq!(set.join_next().unwrap().unwrap(), 3);
        assert!(set.join_next().is_none());
        assert_eq!(now(), millis(3));
    });
}

#[test]
fn dropping_a_set_kills_what_is_left_and_detaching_lets_it_run() {
    simulate(|| {
        let count = Rc::new(Cell::new(0));
        let fill = || {
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let alive = Alive::new(&count);
                set.spawn(move || {
                    let _alive = alive;
                    sleep(millis(5));
                });
            }
            set
        };
        let set = fill();
        drop(fill());
        assert_eq!(count.get(), 3, "those that had not begun are gone");
        settle();
        drop(set);
        assert_eq!((count.get(), get_hub().timers_count()), (0, 0), "and those that had");

        let mut set = fill();
        settle();
        set.kill_all();
        assert_eq!((count.get(), set.len()), (0, 3));
        assert!(matches!(set.join_next(), Some(Err(JoinError::Killed))));
        set.shutdown();
        assert!(set.is_empty());

        let mut set = fill();
        set.detach_all();
        drop(set);
        settle();
        assert_eq!(count.get(), 3);
        sleep(millis(6));
        assert_eq!(count.get(), 0);
    });
}

#[test]
fn a_set_whose_owner_is_killed_ends_with_it() {
    simulate(|| {
        let count = Rc::new(Cell::new(0));
        let alive = count.clone();
        let owner = spawn(move || {
            let mut set = JoinSet::new();
            for _ in 0..4 {
                let alive = Alive::new(&alive);
                set.spawn(move || {
                    let _alive = alive;
                    sleep(Duration::from_secs(9));
                });
            }
            while set.join_next().is_some() {}
        });
        settle();
        assert_eq!(count.get(), 4);
        owner.kill();
        settle();
        assert_eq!((count.get(), get_hub().timers_count()), (0, 0));
    });
}

#[test]
fn no_outcome_is_lost_to_a_timeout_of_the_wait_for_it() {
    explore(150, |seed| {
        let mut random = Random::new(seed);
        let mut set = JoinSet::new();
        for number in 0..8u32 {
            let delay = millis(random.below(5));
            set.spawn(move || {
                sleep(delay);
                number
            });
        }
        let mut got = Vec::new();
        while !set.is_empty() {
            match timeout(millis(1), || set.join_next()) {
                Ok(Some(outcome)) => got.push(outcome.unwrap()),
                Ok(None) => unreachable!("it is not empty"),
                Err(_) => got.extend(set.try_join_next().map(Result::unwrap)),
            }
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn unordered_results_come_as_they_are_there_with_no_more_at_once_than_the_pool_has() {
    simulate(|| {
        let (pool, running, most) = (GreenPool::new(2), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let (inside, peak) = (running.clone(), most.clone());
        let waits = move |time: u64| {
            let _alive = Alive::new(&inside);
            peak.set(peak.get().max(inside.get()));
            sleep(millis(time));
            assert!(time != 4, "four");
            time
        };
        let results: Vec<_> = pool.imap_unordered(waits, [9, 1, 2, 4, 1]).map(Result::ok).collect();
        assert_eq!(results, [Some(1), Some(2), None, Some(1), Some(9)]);
        assert_eq!((most.get(), running.get(), pool.free()), (2, 0, 2));
        // Inside of a full pool, it runs where it is.
        let inner = pool.clone();
        let one = GreenPool::new(1);
        let nested = one.clone();
        let sum = one.spawn(move || nested.imap_unordered(|n: u32| n, [1, 2, 3]).map(Result::unwrap).sum::<u32>());
        assert_eq!(sum.wait().unwrap(), 6);
        drop(inner);
    });
}

#[test]
fn unordered_results_that_nobody_wants_any_more_leave_the_pool_whole() {
    simulate(|| {
        let pool = GreenPool::new(3);
        let mut results = pool.imap_unordered(|time: u64| sleep(millis(time)), 1..100);
        results.next().unwrap().unwrap();
        drop(results);
        pool.waitall();
        assert_eq!((pool.free(), pool.running(), get_hub().timers_count()), (3, 0, 0));
    });
}

#[test]
fn a_set_that_is_shut_down_by_a_destructor_of_a_panic_is_empty_and_its_threads_end_later() {
    struct Owner(JoinSet<()>, Rc<Cell<bool>>);
    impl Drop for Owner {
        fn drop(&mut self) {
            self.0.shutdown();
            self.1.set(self.0.is_empty());
        }
    }
    simulate(|| {
        let (is_empty, ended) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (told, telling) = (Rc::clone(&is_empty), Rc::clone(&ended));
        let panics = spawn(move || {
            let mut owner = Owner(JoinSet::new(), told);
            owner.0.spawn(move || {
                struct Tells(Rc<Cell<bool>>);
                impl Drop for Tells {
                    fn drop(&mut self) {
                        self.0.set(true);
                    }
                }
                let _tells = Tells(telling);
                sleep(millis(1000));
            });
            yield_now();
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(matches!(panics.wait(), Err(JoinError::Panicked(_))));
        assert!(is_empty.get());
        sleep(millis(1));
        assert!(ended.get());
    });
}
