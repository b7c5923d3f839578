//! Queues, semaphores and pools against simple models, under random operations and random schedules from seeds. A
//! failing seed is printed; `GREENLOOM_SEED` replays it.

#[path = "support/seeds.rs"]
mod seeds;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use greenloom::pool::GreenPool;
use greenloom::queue::{LifoQueue, Order, PriorityQueue, Queue, QueueOf, Reason};
use greenloom::select::Select;
use greenloom::sync::{Event, Mutex, RwLock, Semaphore};
use greenloom::testing::Simulation;
use greenloom::{sleep, spawn, timeout, yield_now};
use seeds::{MILLI, for_seeds, harass};

/// Every item that was put comes out once, is left in the queue, or comes back with an error.
fn nothing_is_lost<O: Order<Item = u64> + 'static>(capacity: usize) {
    for_seeds(|random| {
        let queue = Rc::new(QueueOf::<O>::new(capacity));
        let accepted: Rc<RefCell<BTreeMap<u64, u32>>> = Rc::default();
        let got: Rc<RefCell<BTreeMap<u64, u32>>> = Rc::default();
        // An item whose put was killed may or may not have been taken.
        let unsure: Rc<RefCell<BTreeMap<u64, u32>>> = Rc::default();
        let mut threads = Vec::new();
        for number in 0..6u64 {
            let (putting, chance, accepted, unsure) = (queue.clone(), random.clone(), accepted.clone(), unsure.clone());
            threads.push(spawn(move || {
                for turn in 0..8 {
                    let item = number * 100 + turn;
                    unsure.borrow_mut().insert(item, 1);
                    let put = match chance.below(3) {
                        0 => putting.put_timeout(item, MILLI * 50),
                        1 => putting.put_timeout(item, MILLI * chance.below(4) as u32),
                        _ => putting.try_put(item),
                    };
                    unsure.borrow_mut().remove(&item);
                    if put.is_ok() {
                        accepted.borrow_mut().insert(item, 1);
                    }
                    if chance.below(3) == 0 {
                        sleep(MILLI * chance.below(3) as u32);
                    }
                }
            }));
            let (queue, random, got) = (queue.clone(), random.clone(), got.clone());
            threads.push(spawn(move || {
                for _ in 0..8 {
                    let item = match random.below(4) {
                        0 => queue.get_timeout(MILLI * 9),
                        1 => timeout(MILLI * random.below(4) as u32, || queue.get_timeout(MILLI * 9))
                            .unwrap_or(Err(Reason::Empty)),
                        2 => queue.try_get(),
                        _ => {
                            let never = Event::<()>::new();
                            Select::new()
                                .event(&never, |_| Err(Reason::Empty))
                                .get(&queue, |item| item)
                                .timeout(MILLI * 5, || Err(Reason::Empty))
                                .wait()
                        }
                    };
                    if let Ok(item) = item {
                        *got.borrow_mut().entry(item).or_default() += 1;
                    }
                    if random.below(3) == 0 {
                        yield_now();
                    }
                }
            }));
        }
        harass(&random, threads);
        while let Ok(item) = queue.try_get() {
            *got.borrow_mut().entry(item).or_default() += 1;
        }
        assert_eq!(queue.waiting(), (0, 0));
        for (item, times) in got.borrow().iter() {
            assert_eq!(*times, 1, "{item} came out {times} times");
            assert!(accepted.borrow().contains_key(item) || unsure.borrow().contains_key(item), "{item} was never put");
        }
        for item in accepted.borrow().keys() {
            assert!(got.borrow().contains_key(item), "{item} was put and is lost");
        }
    });
}

#[test]
fn a_queue_loses_and_doubles_nothing() {
    for capacity in [0, 1, 3, usize::MAX] {
        nothing_is_lost::<greenloom::queue::Fifo<u64>>(capacity);
    }
}

#[test]
fn lifo_and_priority_queues_lose_and_double_nothing() {
    for capacity in [0, 2] {
        nothing_is_lost::<greenloom::queue::Lifo<u64>>(capacity);
        nothing_is_lost::<greenloom::queue::Priority<u64>>(capacity);
    }
}

#[test]
fn the_order_is_that_of_a_simple_model() {
    let mut state = 7u64;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    let (fifo, lifo, priority) = (Queue::unbounded(), LifoQueue::unbounded(), PriorityQueue::unbounded());
    let (mut first, mut last, mut least) = (VecDeque::new(), Vec::new(), Vec::new());
    for _ in 0..5_000 {
        if next(2) == 0 {
            let item = next(50);
            fifo.put(item).unwrap();
            lifo.put(item).unwrap();
            priority.put(item).unwrap();
            first.push_back(item);
            last.push(item);
            least.push(item);
            least.sort_unstable_by(|a, b| b.cmp(a));
        } else {
            assert_eq!(fifo.try_get().ok(), first.pop_front());
            assert_eq!(lifo.try_get().ok(), last.pop());
            assert_eq!(priority.try_get().ok(), least.pop());
        }
        assert_eq!([fifo.len(), lifo.len(), priority.len()], [first.len(), last.len(), least.len()]);
    }
}

#[test]
fn putters_and_getters_are_served_in_the_order_in_which_they_came() {
    for capacity in 0..4usize {
        let order = Simulation::new().run(move || {
            let queue = Rc::new(Queue::new(capacity));
            let got: Rc<RefCell<Vec<u32>>> = Rc::default();
            for number in 0..20 {
                let queue = queue.clone();
                drop(spawn(move || queue.put(number).unwrap()));
            }
            yield_now();
            for _ in 0..20 {
                let (queue, got) = (queue.clone(), got.clone());
                drop(spawn(move || got.borrow_mut().push(queue.get().unwrap())));
            }
            sleep(MILLI);
            got.take()
        });
        assert_eq!(order.unwrap(), (0..20).collect::<Vec<_>>(), "capacity {capacity}");
    }
}

#[test]
fn permits_are_neither_lost_nor_made() {
    for_seeds(|random| {
        let semaphore = Rc::new(Semaphore::new(3));
        let inside = Rc::new(Cell::new(0u32));
        struct Inside(Rc<Cell<u32>>);
        impl Drop for Inside {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let threads = (0..12).map(|_| {
            let (semaphore, random, inside) = (semaphore.clone(), random.clone(), inside.clone());
            spawn(move || {
                for _ in 0..5 {
                    let permit = match random.below(3) {
                        0 => Some(semaphore.acquire()),
                        1 => semaphore.acquire_timeout(MILLI * random.below(5) as u32),
                        _ => semaphore.try_acquire(),
                    };
                    if permit.is_some() {
                        inside.set(inside.get() + 1);
                        let _inside = Inside(inside.clone());
                        assert!(inside.get() <= 3, "{} hold three permits", inside.get());
                        sleep(MILLI * random.below(3) as u32);
                    }
                }
            })
        });
        harass(&random, threads.collect());
        assert_eq!((semaphore.available(), semaphore.waiting(), inside.get()), (3, 0, 0));
    });
}

#[test]
fn a_rwlock_has_readers_or_one_writer_and_nobody_is_left_waiting() {
    for_seeds(|random| {
        let value = Rc::new(RwLock::new(0u32));
        let threads = (0..10).map(|_| {
            let (value, random) = (value.clone(), random.clone());
            spawn(move || {
                for _ in 0..5 {
                    if random.below(3) == 0 {
                        let mut value = value.write();
                        let before = *value;
                        sleep(MILLI * random.below(3) as u32);
                        assert_eq!(*value, before, "somebody wrote meanwhile");
                        *value += 1;
                    } else {
                        let value = value.read();
                        let before = *value;
                        sleep(MILLI * random.below(3) as u32);
                        assert_eq!(*value, before, "somebody wrote while we read");
                    }
                }
            })
        });
        harass(&random, threads.collect());
        assert!(value.try_write().is_some(), "it is free in the end");
    });
}

#[test]
fn a_pool_never_runs_more_than_its_size_and_keeps_its_places() {
    for_seeds(|random| {
        let pool = GreenPool::new(4);
        let (largest, running) = (Rc::new(Cell::new(4usize)), Rc::new(Cell::new(0usize)));
        struct Running(Rc<Cell<usize>>);
        impl Drop for Running {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        let mut threads = Vec::new();
        for _ in 0..30 {
            if random.below(6) == 0 {
                let size = 1 + random.below(6) as usize;
                pool.resize(size);
                largest.set(largest.get().max(size));
            }
            let (chance, running, largest) = (random.clone(), running.clone(), largest.clone());
            threads.push(pool.spawn(move || {
                running.set(running.get() + 1);
                let _running = Running(running.clone());
                assert!(running.get() <= largest.get());
                sleep(MILLI * chance.below(4) as u32);
            }));
            if random.below(5) == 0 {
                threads[random.below(threads.len() as u64) as usize].kill();
            }
        }
        harass(&random, threads);
        pool.waitall();
        assert_eq!((pool.running(), pool.waiting(), running.get()), (0, 0, 0));
        assert_eq!(pool.free(), pool.size());
    });
}

#[test]
fn a_mutex_has_one_holder_and_survives_kills_and_timeouts() {
    for_seeds(|random| {
        let (value, done) = (Rc::new(Mutex::new(0u32)), Rc::new(Cell::new(0u32)));
        let threads = (0..10).map(|_| {
            let (value, random, done) = (value.clone(), random.clone(), done.clone());
            spawn(move || {
                for _ in 0..5 {
                    let guard = match random.below(3) {
                        0 => Some(value.lock()),
                        1 => value.lock_timeout(MILLI * random.below(5) as u32),
                        _ => value.try_lock(),
                    };
                    if let Some(mut guard) = guard {
                        let before = *guard;
                        sleep(MILLI * random.below(3) as u32);
                        assert_eq!(*guard, before, "somebody else had it meanwhile");
                        *guard += 1;
                        done.set(done.get() + 1);
                    }
                }
            })
        });
        harass(&random, threads.collect());
        let value = value.try_lock().expect("it is free in the end");
        assert_eq!(*value, done.get(), "no addition is lost");
    });
}

#[test]
fn a_select_over_queues_and_an_event_takes_one_thing_and_loses_none() {
    for_seeds(|random| {
        let queues: Rc<[Queue<u64>; 2]> = Rc::new([Queue::new(0), Queue::new(2)]);
        let stop = Rc::new(Event::<()>::new());
        let (put, got) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let (queues, stop, got, random) = (queues.clone(), stop.clone(), got.clone(), random.clone());
                spawn(move || {
                    let mut stopped = false;
                    while !stopped {
                        let item = Select::new()
                            .get(&queues[0], Result::ok)
                            .get(&queues[1], Result::ok)
                            .event(&stop, |_| {
                                stopped = true;
                                None
                            })
                            .timeout(MILLI * (1 + random.below(3) as u32), || None)
                            .wait();
                        got.borrow_mut().extend(item);
                    }
                })
            })
            .collect();
        for item in 0..40u64 {
            let queue = &queues[random.below(2) as usize];
            if queue.put_timeout(item, MILLI * random.below(4) as u32).is_ok() {
                put.borrow_mut().push(item);
            }
            // One taker may be killed in the middle of its wait: what it had been granted goes to the others.
            if item == 20 && random.below(2) == 0 {
                takers[0].kill();
            }
        }
        sleep(MILLI * 5);
        stop.send(()).expect("it is sent once");
        for taker in takers {
            let _ = taker.wait();
        }
        queues.iter().for_each(|queue| got.borrow_mut().extend(std::iter::from_fn(|| queue.try_get().ok())));
        got.borrow_mut().sort_unstable();
        assert_eq!(*got.borrow(), *put.borrow(), "what went in came out once");
    });
}
