//! Queues: order, waiting at both ends, what a kill and a timeout leave behind, closing, and use from other OS threads.
//!
//! Over 500 lines: one subject, and the tests of its parts use the same helpers.

mod common;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Log, Random, millis, on_os_threads, settle, simulate};
use greenloom::hub::now;
use greenloom::queue::{
    Fifo, Lifo, LifoQueue, LightQueue, Order, Priority, PriorityQueue, PutError, Queue, QueueOf, Reason,
};
use greenloom::testing::explore;
use greenloom::{GreenThread, get_hub, sleep, spawn, spawn_n, timeout, yield_now};

type Shared<T> = Rc<Queue<T>>;

/// Spawns one that puts each of the numbers from 0 and then logs it.
fn putters(count: usize, queue: &Shared<usize>, log: &Log<usize>) -> Vec<GreenThread<()>> {
    (0..count)
        .map(|number| {
            let (queue, log) = (queue.clone(), log.clone());
            spawn(move || {
                queue.put(number).unwrap();
                log.push(number);
            })
        })
        .collect()
}

/// Spawns so many that get an item each and log their number and the item.
fn getters<T: 'static>(count: usize, queue: &Shared<T>, log: &Log<(usize, T)>) -> Vec<GreenThread<()>> {
    (0..count)
        .map(|number| {
            let (queue, log) = (queue.clone(), log.clone());
            spawn(move || log.push((number, queue.get().unwrap())))
        })
        .collect()
}

fn drain<O: Order>(queue: &QueueOf<O>) -> Vec<O::Item> {
    std::iter::from_fn(|| queue.try_get().ok()).collect()
}

fn full<T>(item: T) -> Result<(), PutError<T>> {
    Err(PutError { item, reason: Reason::Full })
}

fn closed<T>(item: T) -> Result<(), PutError<T>> {
    Err(PutError { item, reason: Reason::Closed })
}

#[test]
fn items_leave_in_the_order_of_the_queue() {
    let items = [3, 1, 2, 1];
    let (fifo, lifo) = (Queue::unbounded(), LifoQueue::unbounded());
    items.iter().for_each(|item| fifo.put(*item).unwrap());
    items.iter().for_each(|item| lifo.put(*item).unwrap());
    assert_eq!(drain(&fifo), [3, 1, 2, 1]);
    assert_eq!(drain(&lifo), [1, 2, 1, 3]);

    /// Ordered by the number alone.
    #[derive(Debug)]
    struct Job(u32, &'static str);
    impl Ord for Job {
        fn cmp(&self, other: &Job) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Job) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl PartialEq for Job {
        fn eq(&self, other: &Job) -> bool {
            self.cmp(other).is_eq()
        }
    }
    impl Eq for Job {}

    let jobs = PriorityQueue::unbounded();
    [Job(2, "a"), Job(1, "b"), Job(2, "c"), Job(1, "d")].into_iter().for_each(|job| jobs.put(job).unwrap());
    let names: Vec<_> = drain(&jobs).into_iter().map(|job| job.1).collect();
    assert_eq!(names, ["b", "d", "a", "c"], "equal ones leave in the order in which they came");
}

#[test]
fn putters_are_served_first_come_first_served() {
    simulate(|| {
        for capacity in [0, 1, 2] {
            let (queue, log) = (Rc::new(Queue::new(capacity)), Log::new());
            let _threads = putters(6, &queue, &log);
            settle();
            assert_eq!(queue.waiting(), (6 - capacity, 0));
            let got: Vec<_> = (0..6).map(|_| queue.get().unwrap()).collect();
            assert_eq!(got, [0, 1, 2, 3, 4, 5]);
            settle();
            assert_eq!(log.take(), [0, 1, 2, 3, 4, 5]);
        }
    });
}

#[test]
fn getters_are_served_first_come_first_served() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(1)), Log::new());
        let _threads = getters(4, &queue, &log);
        settle();
        "abcd".chars().for_each(|letter| queue.try_put(letter).unwrap());
        assert_eq!(log.take(), [], "a put that need not wait does not switch");
        assert_eq!(queue.try_get(), Err(Reason::Empty), "what was handed over is not in the queue");
        settle();
        assert_eq!(log.take(), [(0, 'a'), (1, 'b'), (2, 'c'), (3, 'd')]);
    });
}

#[test]
fn with_capacity_0_it_is_a_channel() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(0)), Log::new());
        assert_eq!(queue.try_put(9), full(9), "nobody gets");
        let _threads = putters(1, &queue, &log);
        settle();
        assert_eq!((log.take().len(), queue.len(), queue.is_full()), (0, 0, true));
        assert_eq!(queue.try_get(), Ok(0), "the item of a waiting putter");
        settle();
        assert_eq!(log.take(), [0]);
        let got = Log::new();
        let _threads = getters(1, &queue, &got);
        settle();
        assert!(!queue.is_full());
        queue.try_put(7).unwrap();
        assert_eq!(queue.try_put(8), full(8));
        settle();
        assert_eq!(got.take(), [(0, 7)]);
    });
}

#[test]
fn timed_puts_and_gets_wait_exactly_so_long_and_leave_the_line() {
    simulate(|| {
        let queue = Queue::new(1);
        queue.put('a').unwrap();
        assert_eq!(queue.put_timeout('b', millis(5)), full('b'));
        assert_eq!(now(), millis(5));
        assert_eq!(queue.get_timeout(millis(5)), Ok('a'));
        assert_eq!(queue.get_timeout(millis(5)), Err(Reason::Empty));
        assert_eq!(now(), millis(10));
        assert!(timeout(millis(5), || queue.get()).is_err());
        assert_eq!((queue.waiting(), get_hub().timers_count()), ((0, 0), 0));
        queue.put('c').unwrap();
        assert!(timeout(millis(5), || queue.put('d')).is_err());
        assert_eq!((queue.waiting(), drain(&queue)), ((0, 0), vec!['c']));
    });
}

#[test]
fn an_interrupted_get_leaves_no_timer_that_fires_into_the_next() {
    simulate(|| {
        let queue = Queue::<()>::unbounded();
        assert!(timeout(millis(40), || queue.get_timeout(millis(50))).is_err());
        let before = now();
        assert_eq!(queue.get_timeout(millis(1000)), Err(Reason::Empty));
        assert_eq!(now() - before, millis(1000));
    });
}

#[test]
fn an_item_on_its_way_to_one_who_is_killed_goes_to_the_next() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(2)), Log::new());
        let threads = getters(3, &queue, &log);
        settle();
        threads[1].kill();
        assert_eq!(queue.waiting(), (0, 2));
        queue.put('a').unwrap();
        threads[0].kill();
        settle();
        assert_eq!(log.take(), [(2, 'a')]);
    });
}

#[test]
fn an_item_that_nobody_else_waits_for_is_the_next_again() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(0)), Log::new());
        let threads = getters(2, &queue, &log);
        settle();
        queue.put('a').unwrap();
        queue.put('b').unwrap();
        // Both were handed over; the channel holds them for want of anybody else.
        threads[1].kill();
        threads[0].kill();
        assert_eq!(log.take(), [(0, 'a')], "it ran while the other was killed");
        assert_eq!(drain(&queue), ['b']);

        let (queue, log) = (Rc::new(PriorityQueue::unbounded()), Log::<(u32, &str)>::new());
        let getter = {
            let (queue, log) = (queue.clone(), log.clone());
            spawn(move || log.push(queue.get().unwrap()))
        };
        settle();
        [(1, "first"), (1, "second"), (0, "least")].into_iter().for_each(|item| queue.put(item).unwrap());
        getter.kill();
        assert_eq!(drain(&queue), [(0, "least"), (1, "first"), (1, "second")]);
    });
}

#[test]
fn a_killed_putter_takes_its_item_with_it_unless_it_was_accepted() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(1)), Log::new());
        let threads = putters(4, &queue, &log);
        settle();
        threads[1].kill();
        assert_eq!(queue.get(), Ok(0));
        threads[2].kill();
        assert_eq!(queue.get(), Ok(2), "it was in the queue");
        assert_eq!(queue.get(), Ok(3));
        assert_eq!((drain(&queue), queue.waiting()), (vec![], (0, 0)));
        assert_eq!(queue.unfinished_tasks(), 3);
    });
}

#[test]
fn an_item_dropped_by_a_kill_may_use_the_queue() {
    struct Looks(std::rc::Weak<Queue<Looks>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            if let Some(queue) = self.0.upgrade() {
                assert!(queue.is_full());
            }
        }
    }
    simulate(|| {
        let queue = Rc::new(Queue::new(0));
        let putter = {
            let queue = queue.clone();
            spawn(move || {
                let item = Looks(Rc::downgrade(&queue));
                let killed = timeout(millis(1), || sleep(millis(2)));
                assert!(killed.is_err());
                queue.put(item)
            })
        };
        sleep(millis(5));
        assert_eq!(queue.waiting(), (1, 0));
        putter.kill();
        // And one that is killed before it waits.
        let putter = {
            let queue = queue.clone();
            spawn(move || {
                let item = Looks(Rc::downgrade(&queue));
                let _ = std::panic::catch_unwind(|| sleep(millis(1)));
                queue.put(item)
            })
        };
        settle();
        putter.kill();
        assert_eq!(queue.waiting(), (0, 0));
    });
}

#[test]
fn a_closed_queue_gives_what_it_has_and_takes_no_more() {
    simulate(|| {
        let queue = Rc::new(Queue::new(1));
        queue.put(1).unwrap();
        let putter = spawn({
            let queue = queue.clone();
            move || queue.put(2)
        });
        settle();
        queue.close();
        queue.close();
        assert!(queue.is_closed());
        assert_eq!(putter.wait().unwrap(), closed(2));
        assert_eq!(queue.put(3), closed(3));
        assert_eq!(queue.try_put(3), closed(3));
        assert_eq!(queue.get(), Ok(1));
        assert_eq!(queue.get(), Err(Reason::Closed));
        assert_eq!(queue.try_get(), Err(Reason::Closed));
        assert_eq!(queue.get_timeout(millis(1)), Err(Reason::Closed));
    });
}

#[test]
fn closing_tells_those_who_wait_to_get() {
    simulate(|| {
        let queue = Rc::new(Queue::<u8>::new(0));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                spawn(move || queue.get())
            })
            .collect();
        settle();
        queue.close();
        assert!(waiting.into_iter().all(|thread| thread.wait().unwrap() == Err(Reason::Closed)));
    });
}

#[test]
fn an_item_handed_over_before_the_close_arrives() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(0)), Log::new());
        let threads = getters(1, &queue, &log);
        settle();
        queue.put('a').unwrap();
        queue.close();
        settle();
        assert_eq!(log.take(), [(0, 'a')]);
        drop(threads);
    });
}

#[test]
fn iterating_ends_with_the_close() {
    simulate(|| {
        let queue = Rc::new(Queue::new(1));
        let sum = spawn({
            let queue = queue.clone();
            move || queue.iter().sum::<i32>()
        });
        for number in &[1, 2, 3] {
            queue.put(*number).unwrap();
        }
        queue.close();
        assert_eq!(sum.wait().unwrap(), 6);
    });
}

#[test]
fn more_capacity_admits_those_who_wait() {
    simulate(|| {
        let (queue, log) = (Rc::new(Queue::new(0)), Log::new());
        let _threads = putters(4, &queue, &log);
        settle();
        queue.resize(3);
        settle();
        assert_eq!((log.take(), queue.len(), queue.capacity()), (vec![0, 1, 2], 3, 3));
        queue.resize(1);
        assert_eq!((queue.get(), queue.get()), (Ok(0), Ok(1)));
        assert_eq!((queue.len(), queue.waiting()), (1, (1, 0)), "it shrinks as items leave");
        assert_eq!((queue.get(), queue.get()), (Ok(2), Ok(3)));
    });
}

#[test]
fn join_waits_until_every_item_is_done() {
    simulate(|| {
        let queue = Rc::new(Queue::new(1));
        queue.join().unwrap();
        queue.put(millis(1)).unwrap();
        let worker = queue.clone();
        spawn_n(move || {
            for work in &*worker {
                sleep(work);
                worker.task_done();
            }
        });
        queue.put(millis(2)).unwrap();
        queue.put(millis(3)).unwrap();
        assert_eq!(queue.join_timeout(millis(2)), Err(Reason::Unfinished));
        queue.join().unwrap();
        assert_eq!(now(), millis(6));
        queue.close();
    });
}

#[test]
#[should_panic = "task_done was called more often than items were put"]
fn task_done_without_a_task_is_a_panic() {
    let queue = Queue::<u8>::unbounded();
    assert_eq!(queue.unfinished_tasks(), 0);
    queue.task_done();
}

#[test]
fn where_parking_is_refused_tries_work_and_waits_say_why() {
    simulate(|| {
        let queue = Rc::new(Queue::new(1));
        let (log, inside, inside_log) = (Log::new(), queue.clone(), Log::new());
        let says = inside_log.clone();
        let _threads = getters(1, &queue, &log);
        settle();
        get_hub().schedule_call_global(Duration::ZERO, move || {
            says.push(inside.get().map(|_| ()));
            says.push(inside.try_put('a').map_err(|error| error.reason));
            says.push(inside.put('b').map_err(|error| error.reason));
            says.push(inside.put('c').map_err(|error| error.reason));
            says.push(inside.try_put('d').map_err(|error| error.reason));
            says.push(inside.join());
        });
        settle();
        let (refused, ok) = (Err(Reason::InHub), Ok(()));
        assert_eq!(inside_log.take(), [refused, ok, ok, refused, Err(Reason::Full), refused]);
        assert_eq!((log.take(), drain(&queue)), (vec![(0, 'a')], vec!['b']));
    });
}

#[test]
fn an_item_is_put_from_another_os_thread_that_has_no_hub() {
    let queue = Arc::new(LightQueue::new(1));
    let putter = {
        let queue = queue.clone();
        std::thread::spawn(move || {
            std::thread::sleep(millis(20));
            queue.try_put("from afar").unwrap();
        })
    };
    assert_eq!(queue.get_timeout(Duration::from_secs(30)), Ok("from afar"));
    putter.join().unwrap();
}

#[test]
fn an_item_for_a_green_thread_of_an_os_thread_that_has_ended_stays() {
    let queue = Arc::new(Queue::new(1));
    let gone = queue.clone();
    std::thread::spawn(move || {
        spawn_n({
            let queue = gone.clone();
            move || _ = queue.get()
        });
        yield_now();
    })
    .join()
    .unwrap();
    assert_eq!(queue.waiting(), (0, 1));
    queue.put('a').unwrap();
    assert_eq!(queue.get(), Ok('a'));
}

/// How many items were put and got, each counted once a put or get has returned.
#[derive(Default)]
struct Account {
    put: HashMap<u64, i64>,
    /// Puts that were killed: the item may be in or not.
    unknown: HashMap<u64, i64>,
    got: HashMap<u64, i64>,
}

impl Account {
    /// Everything that was put was got once, and nothing else.
    fn balance(&self) {
        for (item, times) in &self.got {
            assert_eq!(*times, 1, "item {item} was got {times} times");
            assert!(self.put.contains_key(item) || self.unknown.contains_key(item), "item {item} came from nowhere");
        }
        for item in self.put.keys() {
            assert!(self.got.contains_key(item), "item {item} was lost");
        }
    }
}

/// One that puts its item with some patience; notes what became of it.
fn put_and_note<O: Order<Item = u64>>(
    queue: &QueueOf<O>,
    item: u64,
    patience: Option<Duration>,
    note: impl Fn(&mut dyn FnMut(&mut Account)),
) {
    note(&mut |account| *account.unknown.entry(item).or_default() += 1);
    let outcome = match patience {
        None => queue.put(item),
        Some(patience) => queue.put_timeout(item, patience),
    };
    note(&mut |account| {
        account.unknown.remove(&item);
        if outcome.is_ok() {
            *account.put.entry(item).or_default() += 1;
        }
    });
}

fn get_and_note<O: Order<Item = u64>>(
    queue: &QueueOf<O>,
    patience: Option<Duration>,
    note: impl Fn(&mut dyn FnMut(&mut Account)),
) {
    let outcome = match patience {
        None => queue.get(),
        Some(patience) => queue.get_timeout(patience),
    };
    if let Ok(item) = outcome {
        note(&mut |account| *account.got.entry(item).or_default() += 1);
    }
}

/// Puts, gets, kills and timeouts under any schedule: what goes in comes out, once.
fn conserves<O: Order<Item = u64> + 'static>(seed: u64, capacity: usize) {
    let mut random = Random::new(seed);
    let (queue, account) = (Rc::new(QueueOf::<O>::new(capacity)), Rc::new(RefCell::new(Account::default())));
    let threads: Vec<_> = (0..60)
        .map(|item| {
            let (queue, account) = (queue.clone(), account.clone());
            let delay = Duration::from_micros(random.below(8));
            let patience = (random.below(2) == 0).then(|| Duration::from_micros(random.below(8)));
            let puts = random.below(2) == 0;
            spawn(move || {
                sleep(delay);
                let note = |change: &mut dyn FnMut(&mut Account)| change(&mut account.borrow_mut());
                if puts {
                    put_and_note(&queue, item, patience, note);
                } else {
                    get_and_note(&queue, patience, note);
                }
            })
        })
        .collect();
    for thread in &threads {
        match random.below(4) {
            0 => thread.kill(),
            1 => yield_now(),
            2 => sleep(Duration::from_micros(1)),
            _ => {}
        }
    }
    sleep(millis(1));
    let getting = spawn({
        let (queue, account) = (queue.clone(), account.clone());
        move || {
            // Waiting putters get rid of their items; waiting getters are then told.
            while queue.waiting().0 > 0 || !queue.is_empty() {
                get_and_note(&queue, None, |change| change(&mut account.borrow_mut()));
            }
            queue.close();
        }
    });
    getting.wait().unwrap();
    for thread in threads {
        let _ = thread.wait();
    }
    assert_eq!((queue.waiting(), queue.len(), get_hub().timers_count()), ((0, 0), 0, 0));
    let account = account.borrow();
    account.balance();
    assert!(queue.unfinished_tasks() == account.got.len());
}

#[test]
fn what_goes_in_comes_out_once_under_any_schedule() {
    for capacity in [0, 1, 3, usize::MAX] {
        explore(100, |seed| {
            conserves::<Fifo<u64>>(seed, capacity);
            conserves::<Lifo<u64>>(seed, capacity);
            conserves::<Priority<u64>>(seed, capacity);
        });
    }
}

#[test]
fn what_goes_in_comes_out_once_between_os_threads() {
    const OS_THREADS: usize = 4;
    for capacity in [0, 1, 5] {
        let queue = Arc::new(Queue::<u64>::new(capacity));
        let account = Mutex::new(Account::default());
        let account = Arc::new(account);
        on_os_threads(OS_THREADS, |number| {
            let mut random = Random::new(number as u64);
            let threads: Vec<_> = (0..60)
                .map(|index| {
                    let (queue, account) = (queue.clone(), account.clone());
                    let patience = (random.below(2) == 0).then(|| Duration::from_micros(random.below(200)));
                    let puts = (index + number) % 2 == 0;
                    let first = (number * 60 + index) as u64 * 10;
                    spawn(move || {
                        let note = |change: &mut dyn FnMut(&mut Account)| change(&mut account.lock().unwrap());
                        for item in first..first + 10 {
                            if puts {
                                put_and_note(&queue, item, patience, note);
                            } else {
                                get_and_note(&queue, patience, note);
                            }
                        }
                    })
                })
                .collect();
            for thread in &threads {
                sleep(Duration::from_micros(random.below(50)));
                if random.below(4) == 0 {
                    thread.kill();
                }
            }
            for thread in threads {
                while !thread.is_dead() {
                    // Some wait for ever, as the numbers of puts and gets differ.
                    let note = |change: &mut dyn FnMut(&mut Account)| change(&mut account.lock().unwrap());
                    get_and_note(&queue, Some(Duration::from_micros(100)), note);
                    if queue.waiting().1 > 0 {
                        let item = 1_000_000 + random.below(u64::MAX / 2);
                        put_and_note(&queue, item, Some(Duration::from_micros(100)), note);
                    }
                }
            }
        });
        while let Ok(item) = queue.try_get() {
            *account.lock().unwrap().got.entry(item).or_default() += 1;
        }
        assert_eq!(queue.waiting(), (0, 0));
        account.lock().unwrap().balance();
    }
}

#[test]
fn one_producer_and_one_consumer_on_two_os_threads_keep_the_order() {
    const ITEMS: u32 = 20_000;
    for capacity in [0, 1, 16] {
        let queue = Queue::new(capacity);
        on_os_threads(2, |number| {
            if number == 0 {
                (0..ITEMS).for_each(|item| queue.put(item).unwrap());
                queue.close();
            } else {
                assert!(queue.iter().eq(0..ITEMS));
            }
        });
    }
}

#[test]
fn queues_can_be_used_from_any_os_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<(Queue<std::cell::Cell<u8>>, LifoQueue<u8>, PriorityQueue<u8>)>();
}
