//! The faults that users of eventlet have lived with, each as a test that it is not ours.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::queue::{LightQueue, Queue, Reason};
use greenloom::select::Select;
use greenloom::sync::{CappedSemaphore, Condvar, Event, EventError, Mutex, RwLock, Semaphore};
use greenloom::testing::Simulation;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

const SECOND: Duration = Duration::from_secs(1);

fn simulate<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    Simulation::new().run(body).unwrap_or_else(|deadlock| panic!("{deadlock}"))
}

#[test]
fn a_wait_that_was_interrupted_leaves_no_timer_for_the_next_one() {
    simulate(|| {
        let event = Event::<()>::new();
        assert!(timeout(SECOND / 10, || event.wait_timeout(SECOND)).is_err());
        assert_eq!(get_hub().timers_count(), 0);
        let began = now();
        assert!(matches!(event.wait_timeout(2 * SECOND), Err(EventError::TimedOut)));
        assert_eq!(now() - began, 2 * SECOND);
    });
}

#[test]
fn waiters_are_woken_in_the_order_in_which_they_came() {
    simulate(|| {
        let (event, queue) = (Rc::new(Event::new()), Rc::new(LightQueue::new(1)));
        let order: Rc<RefCell<Vec<u32>>> = Rc::default();
        queue.put(99).unwrap();
        for number in 0..6 {
            let (event, order) = (event.clone(), order.clone());
            drop(spawn(move || {
                event.wait().unwrap();
                order.borrow_mut().push(number);
            }));
            let queue = queue.clone();
            drop(spawn(move || queue.put(number).unwrap()));
        }
        yield_now();
        event.send(()).unwrap();
        let got: Vec<u32> = (0..7).map(|_| queue.get().unwrap()).collect();
        yield_now();
        assert_eq!(got, [99, 0, 1, 2, 3, 4, 5]);
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn killing_an_unstarted_one_gives_its_place_in_the_pool_back() {
    simulate(|| {
        let pool = GreenPool::new(2);
        let threads: Vec<_> = (0..2).map(|_| pool.spawn(|| ())).collect();
        assert_eq!(pool.free(), 0);
        threads.iter().for_each(|thread| thread.kill());
        assert_eq!((pool.free(), pool.running()), (2, 0));
        pool.waitall();
    });
}

#[test]
fn making_a_pool_larger_lets_those_who_wait_in() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let ran = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let (pool, ran) = (pool.clone(), ran.clone());
            drop(spawn(move || {
                pool.spawn_n(move || {
                    ran.set(ran.get() + 1);
                    sleep(60 * SECOND);
                });
            }));
        }
        sleep(SECOND);
        assert_eq!((ran.get(), pool.waiting()), (1, 2));
        pool.resize(3);
        sleep(SECOND);
        assert_eq!((ran.get(), pool.waiting(), pool.free()), (3, 0, 0));
        pool.resize(1);
        sleep(60 * SECOND);
        assert_eq!((pool.running(), pool.free(), pool.size()), (0, 1, 1));
    });
}

#[test]
fn everything_wakes_across_os_threads() {
    let event = Arc::new(Event::new());
    let queue = Arc::new(Queue::new(1));
    let semaphore = Arc::new(Semaphore::new(0));
    let mutex = Arc::new(Mutex::new(0));
    let changed = Arc::new(Condvar::new());
    let capped = Arc::new(CappedSemaphore::new(0, 1));
    let (send, put, release, lock, notify, cap) =
        (event.clone(), queue.clone(), semaphore.clone(), mutex.clone(), changed.clone(), capped.clone());
    let other = std::thread::spawn(move || {
        let pause = || std::thread::sleep(Duration::from_millis(5));
        pause();
        send.send(1).unwrap();
        pause();
        (0..3).for_each(|number| put.put(number).unwrap());
        pause();
        release.release();
        pause();
        *lock.lock() = 7;
        notify.notify_all();
        pause();
        cap.release();
        cap.release();
    });
    assert_eq!(event.wait().unwrap(), 1);
    assert_eq!([queue.get(), queue.get(), queue.get()], [Ok(0), Ok(1), Ok(2)]);
    semaphore.acquire().forget();
    let mut value = mutex.lock();
    while *value != 7 {
        value = changed.wait(value);
    }
    drop(value);
    capped.acquire();
    capped.acquire();
    other.join().unwrap();
}

#[test]
fn what_was_handed_to_one_that_is_killed_goes_to_the_next() {
    simulate(|| {
        let (queue, semaphore, condvar, mutex) =
            (Rc::new(Queue::new(0)), Rc::new(Semaphore::new(0)), Rc::new(Condvar::new()), Rc::new(Mutex::new(())));
        let got: Rc<RefCell<Vec<&str>>> = Rc::default();
        let start = |name: &'static str| {
            let (queue, semaphore, condvar, mutex, got) =
                (queue.clone(), semaphore.clone(), condvar.clone(), mutex.clone(), got.clone());
            let say = move |what: &'static str| got.borrow_mut().push(if name == "first" { "wrong" } else { what });
            let (one, two, three) = (say.clone(), say.clone(), say);
            [
                spawn(move || queue.get().map(|()| one("item")).unwrap()),
                spawn(move || {
                    semaphore.acquire().forget();
                    two("permit");
                }),
                spawn(move || {
                    drop(condvar.wait(mutex.lock()));
                    three("notification");
                }),
            ]
        };
        let first = start("first");
        yield_now();
        drop(start("second"));
        yield_now();
        // Each is granted something, but has not run yet, when it is killed.
        queue.put(()).unwrap();
        first[0].kill();
        semaphore.release();
        first[1].kill();
        condvar.notify_one();
        first[2].kill();
        sleep(SECOND);
        got.borrow_mut().sort_unstable();
        assert_eq!(*got.borrow(), ["item", "notification", "permit"]);
        assert_eq!((queue.waiting(), semaphore.waiting(), semaphore.available()), ((0, 0), 0, 0));
    });
}

#[test]
fn a_select_takes_one_thing_and_leaves_the_others() {
    simulate(|| {
        let (left, right, stop) = (Rc::new(Queue::new(0)), Rc::new(Queue::new(5)), Rc::new(Event::<u32>::new()));
        let select = || {
            Select::new()
                .get(&left, |item| ("left", item))
                .get(&right, |item| ("right", item))
                .event(&stop, |value| ("stop", Ok(value.unwrap())))
                .timeout(SECOND, || ("late", Err(Reason::Empty)))
                .wait()
        };
        assert_eq!(select(), ("late", Err(Reason::Empty)));
        assert_eq!(now(), SECOND);
        let (put_left, put_right) = (left.clone(), right.clone());
        let putting = spawn(move || {
            put_right.put(2).unwrap();
            put_left.put(1).unwrap();
        });
        assert_eq!(select(), ("right", Ok(2)));
        assert_eq!(select(), ("left", Ok(1)));
        putting.wait().unwrap();
        stop.send(9).unwrap();
        assert_eq!(select(), ("stop", Ok(9)));
        stop.reset();
        // One that is killed with an item in hand gives it back.
        let queue = right.clone();
        let waits = spawn(move || {
            let (a, b) = (Queue::<u32>::new(1), Event::<u32>::new());
            Select::new().get(&a, |_| ()).get(&queue, |_| ()).event(&b, |_| ()).wait();
        });
        yield_now();
        right.put(7).unwrap();
        waits.kill();
        assert_eq!((right.try_get(), right.waiting()), (Ok(7), (0, 0)));
        left.close();
        assert_eq!(select(), ("left", Err(Reason::Closed)));
    });
}

#[test]
fn a_reader_behind_a_writer_that_is_killed_goes_on() {
    simulate(|| {
        let value = Rc::new(RwLock::new(1));
        let held = value.read();
        let write = value.clone();
        let writer = spawn(move || *write.write() = 2);
        yield_now();
        let read = value.clone();
        let reader = spawn(move || *read.read());
        yield_now();
        assert!(value.try_read().is_none(), "the writer waits before us");
        writer.kill();
        assert_eq!(reader.wait().unwrap(), 1);
        drop(held);
        assert!(value.try_write().is_some());
    });
}

#[test]
fn a_full_pool_runs_what_its_own_threads_spawn_at_once() {
    simulate(|| {
        let pool = GreenPool::new(1);
        let inner = pool.clone();
        let outer = pool.spawn(move || inner.spawn(|| 5).wait().unwrap() + 1);
        assert_eq!(outer.wait().unwrap(), 6);
        let inner = pool.clone();
        let error = pool.spawn(move || inner.waitall()).wait().unwrap_err().to_string();
        assert!(error.contains("wait for itself"), "{error}");
    });
}
