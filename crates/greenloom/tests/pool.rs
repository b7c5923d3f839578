//! GreenPool and GreenPile, and green-thread locals.

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use common::{Log, Random, millis, settle, simulate};
use greenloom::hub::now;
use greenloom::local::Local;
use greenloom::pool::{GreenPile, GreenPool};
use greenloom::testing::explore;
use greenloom::{Chain, GreenThread, JoinError, getcurrent, sleep, spawn, timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);

/// Spawns green threads, numbered from 0, that spawn in the pool one that sleeps a second, and log when they have.
fn spawners(count: usize, pool: &GreenPool, log: &Log<usize>) -> Vec<GreenThread<()>> {
    (0..count)
        .map(|number| {
            let (pool, log) = (pool.clone(), log.clone());
            spawn(move || {
                pool.spawn_n(|| sleep(SECOND));
                log.push(number);
            })
        })
        .collect()
}

#[test]
fn a_full_pool_makes_the_spawner_wait_first_come_first_served() {
    simulate(|| {
        let (pool, log) = (GreenPool::new(2), Log::new());
        let _threads = spawners(6, &pool, &log);
        settle();
        assert_eq!((pool.running(), pool.free(), pool.waiting(), pool.size()), (2, 0, 4, 2));
        assert_eq!(log.take(), [0, 1]);
        sleep(SECOND);
        assert_eq!(log.take(), [2, 3]);
        sleep(SECOND);
        assert_eq!(log.take(), [4, 5]);
        pool.waitall();
        assert_eq!((pool.running(), pool.free(), pool.waiting()), (0, 2, 0));
    });
}

#[test]
fn a_pool_returns_values_panics_and_kills() {
    simulate(|| {
        let pool = GreenPool::new(3);
        assert_eq!(pool.spawn(|| 5).wait().unwrap(), 5);
        assert!(matches!(pool.spawn(|| panic!("in the pool")).wait(), Err(JoinError::Panicked(_))));
        pool.spawn_n(|| panic!("in the pool"));
        let sleeper = pool.spawn(|| sleep(SECOND));
        settle();
        sleeper.kill();
        assert!(matches!(sleeper.wait(), Err(JoinError::Killed)));
        pool.waitall();
        assert_eq!(pool.free(), 3);
    });
}

#[test]
fn a_place_comes_back_from_one_that_is_killed_before_it_began() {
    simulate(|| {
        let pool = GreenPool::new(1);
        for cancel in [true, false] {
            let thread = pool.spawn(|| unreachable!("it never begins"));
            assert_eq!((pool.free(), pool.running()), (0, 1));
            if cancel {
                assert!(thread.cancel());
            } else {
                thread.kill();
            }
            assert_eq!((pool.free(), pool.running()), (1, 0));
            pool.waitall();
        }
    });
}

#[test]
fn a_spawner_that_is_killed_while_it_waits_takes_no_place() {
    simulate(|| {
        let (pool, log) = (GreenPool::new(1), Log::new());
        let threads = spawners(3, &pool, &log);
        settle();
        threads[1].kill();
        assert_eq!(pool.waiting(), 1);
        sleep(SECOND);
        assert_eq!(log.take(), [0, 2]);
        pool.waitall();
        assert_eq!((pool.free(), pool.running()), (1, 0));
        assert!(
            timeout(millis(1), || {
                pool.spawn_n(|| sleep(SECOND));
                pool.spawn_n(|| ())
            })
            .is_err()
        );
        pool.waitall();
        assert_eq!((pool.free(), pool.waiting()), (1, 0));
    });
}

#[test]
fn growing_wakes_those_who_wait_and_shrinking_lets_what_runs_end() {
    simulate(|| {
        let (pool, log) = (GreenPool::new(1), Log::new());
        let _threads = spawners(5, &pool, &log);
        settle();
        pool.resize(3);
        settle();
        assert_eq!((log.take(), pool.running(), pool.waiting()), (vec![0, 1, 2], 3, 2));
        pool.resize(1);
        assert_eq!((pool.running(), pool.free()), (3, 0));
        sleep(SECOND);
        assert_eq!((log.take(), pool.running()), (vec![3], 1), "two places are gone");
        pool.resize(0);
        pool.resize(2);
        settle();
        assert_eq!((log.take(), pool.running()), (vec![4], 2));
        pool.waitall();
        assert_eq!((pool.free(), pool.size()), (2, 2));
    });
}

#[test]
fn a_spawn_from_inside_a_full_pool_runs_at_once() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let inner = pool.clone();
        let outer = pool.spawn(move || {
            let me = getcurrent();
            let thread = inner.spawn(move || (getcurrent().is(&me), 7));
            assert!(thread.is_dead());
            inner.spawn_n(|| panic!("this stays in the inner one"));
            assert!(matches!(inner.spawn(|| panic!("this, too")).wait(), Err(JoinError::Panicked(_))));
            thread.wait().unwrap()
        });
        assert_eq!(outer.wait().unwrap(), (true, 7));
        assert_eq!(pool.free(), 1);
    });
}

#[test]
fn a_kill_and_a_timeout_are_meant_for_who_runs_a_spawn_inline() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let inner = pool.clone();
        let timed = pool.spawn(move || timeout(millis(5), || drop(inner.spawn(|| sleep(SECOND)))).is_err());
        assert!(timed.wait().unwrap());
        let inner = pool.clone();
        let killed = pool.spawn(move || {
            inner.spawn_n(|| sleep(SECOND));
            unreachable!("it was killed");
        });
        settle();
        killed.kill();
        assert!(matches!(killed.wait(), Err(JoinError::Killed)));
        assert_eq!((pool.free(), pool.running()), (1, 0));
    });
}

#[test]
fn a_tree_of_spawns_deeper_than_the_pool_is_wide_ends() {
    fn grow(pool: &GreenPool, count: &Rc<Cell<u32>>, depth: u32) {
        count.set(count.get() + 1);
        if depth > 0 {
            for _ in 0..2 {
                let (inner, count) = (pool.clone(), count.clone());
                pool.spawn_n(move || grow(&inner, &count, depth - 1));
            }
            yield_now();
        }
    }
    simulate(|| {
        let (pool, count) = (GreenPool::new(3), Rc::new(Cell::new(0)));
        grow(&pool, &count, 7);
        pool.waitall();
        assert_eq!((count.get(), pool.free()), (255, 3));
    });
}

#[test]
fn waitall_waits_for_all_and_panics_from_inside() {
    simulate(|| {
        let pool = GreenPool::new(4);
        pool.waitall();
        (1..4).for_each(|seconds| pool.spawn_n(move || sleep(seconds * SECOND)));
        pool.waitall();
        assert_eq!(now(), 3 * SECOND);
        let inner = pool.clone();
        let error = pool.spawn(move || inner.waitall()).wait().unwrap_err();
        assert!(Chain(&error).to_string().contains("from a green thread of the pool"), "{error}");
    });
}

#[test]
fn imap_gives_results_and_errors_in_the_order_of_the_items() {
    simulate(|| {
        let pool = GreenPool::new(4);
        let most = Rc::new(Cell::new(0));
        let (seen, running) = (most.clone(), pool.clone());
        let results: Vec<_> = pool
            .imap(
                move |number: u32| {
                    seen.set(seen.get().max(running.running()));
                    sleep((10 - number) * SECOND);
                    assert_ne!(number, 3, "three");
                    number * number
                },
                0..6,
            )
            .collect();
        assert_eq!(most.get(), 4);
        let text = Chain(results[3].as_ref().unwrap_err()).to_string();
        assert!(text.contains("three"), "{text}");
        let values: Vec<_> = results.into_iter().filter_map(Result::ok).collect();
        assert_eq!(values, [0, 1, 4, 16, 25]);
        let products: Vec<_> = pool.starmap(|a, b| a * b, [(2, 3), (4, 5)]).map(Result::unwrap).collect();
        assert_eq!(products, [6, 20]);
    });
}

#[test]
fn imap_reads_no_further_than_it_must() {
    simulate(|| {
        let (pool, read) = (GreenPool::new(2), Rc::new(Cell::new(0)));
        let items = {
            let read = read.clone();
            (0..).inspect(move |_| read.set(read.get() + 1))
        };
        let mut results = pool.imap(|number: u32| number, items);
        assert_eq!(results.next().unwrap().unwrap(), 0);
        assert!(read.get() <= 3);
        drop(results);
        pool.waitall();
        assert!(read.get() <= 3);
    });
}

#[test]
fn imap_gives_what_it_has_while_others_fill_the_pool() {
    simulate(|| {
        let pool = GreenPool::new(2);
        pool.spawn_n(|| sleep(100 * SECOND));
        let results: Vec<_> = pool.imap(|number: u32| number, 0..5).map(Result::unwrap).collect();
        assert_eq!((results, now()), (vec![0, 1, 2, 3, 4], Duration::ZERO));
        pool.waitall();
    });
}

#[test]
fn a_pile_gives_results_in_the_order_of_spawning() {
    simulate(|| {
        let pool = GreenPool::new(3);
        let mut pile = GreenPile::on(&pool);
        for number in 0..6 {
            pile.spawn(move || {
                sleep((6 - number) * SECOND);
                number
            });
        }
        assert_eq!(pile.by_ref().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        pile.spawn(|| 9);
        assert_eq!(pile.next().unwrap().unwrap(), 9);
        assert!(pile.next().is_none());
    });
}

/// Spawns, kills and resizes at random: never more run than there are places, and in the end all places are free.
fn keeps_count(seed: u64) {
    let mut random = Random::new(seed);
    let (pool, most_allowed) = (GreenPool::new(3), Rc::new(Cell::new(3)));
    let active = Rc::new(Cell::new(0usize));
    let handles: Rc<RefCell<Vec<GreenThread<()>>>> = Rc::default();
    let spawners: Vec<_> = (0..10)
        .map(|_| {
            let (pool, active, handles) = (pool.clone(), active.clone(), handles.clone());
            let (most_allowed, naps) = (most_allowed.clone(), random.below(5));
            spawn(move || {
                for _ in 0..4 {
                    let (active, most_allowed) = (active.clone(), most_allowed.clone());
                    let thread = pool.spawn(move || {
                        struct Leave(Rc<Cell<usize>>);
                        impl Drop for Leave {
                            fn drop(&mut self) {
                                self.0.set(self.0.get() - 1);
                            }
                        }
                        active.set(active.get() + 1);
                        let active = Leave(active);
                        assert!(active.0.get() <= most_allowed.get());
                        sleep(Duration::from_micros(naps));
                    });
                    handles.borrow_mut().push(thread);
                }
            })
        })
        .collect();
    for _ in 0..60 {
        match random.below(6) {
            0 => {
                let size = random.below(5) as usize;
                most_allowed.set(most_allowed.get().max(size));
                pool.resize(size);
            }
            1 => spawners[random.below(10) as usize].kill(),
            2 => {
                let picked = handles.borrow_mut().pop();
                if let Some(thread) = picked {
                    thread.kill();
                    let _ = thread.wait_timeout(Duration::ZERO);
                }
            }
            3 => yield_now(),
            _ => sleep(Duration::from_micros(random.below(3))),
        }
    }
    pool.resize(2);
    for spawner in spawners {
        let _ = spawner.wait();
    }
    pool.waitall();
    assert_eq!((pool.running(), pool.waiting(), pool.free(), active.get()), (0, 0, 2, 0));
}

#[test]
fn a_pool_keeps_count_under_any_schedule() {
    explore(300, keeps_count);
}

// Green-thread locals.

thread_local! {
    static DROPPED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

struct Noted(Cell<u32>);

impl Drop for Noted {
    fn drop(&mut self) {
        DROPPED.with_borrow_mut(|dropped| dropped.push(self.0.get()));
    }
}

static NUMBER: Local<Noted> = Local::new(|| Noted(Cell::new(0)));
static TWICE: Local<Cell<u32>> = Local::new(|| Cell::new(NUMBER.with(|number| 2 * number.0.get())));

#[test]
fn every_green_thread_has_its_own_and_drops_it_at_its_end() {
    simulate(|| {
        let set = |number: u32| {
            NUMBER.with(|mine| {
                mine.0.set(number);
                yield_now();
                assert_eq!(mine.0.get(), number);
            });
            yield_now();
            TWICE.with(|twice| assert_eq!(twice.get(), 2 * number));
        };
        let threads: Vec<_> = (1..4).map(|number| spawn(move || set(number))).collect();
        threads.into_iter().for_each(|thread| thread.wait().unwrap());
        DROPPED.with_borrow_mut(|dropped| assert_eq!(std::mem::take(dropped), [1, 2, 3]));
        let killed = spawn(move || {
            NUMBER.with(|mine| mine.0.set(9));
            sleep(SECOND);
        });
        settle();
        killed.kill();
        DROPPED.with_borrow_mut(|dropped| assert_eq!(std::mem::take(dropped), [9]));
        NUMBER.with(|mine| assert_eq!(mine.0.get(), 0));
    });
}
