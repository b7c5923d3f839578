//! Events, semaphores and locks: who is served when, what a kill and a timeout leave behind, and use from other OS
//! threads.
//!
//! Over 500 lines: the primitives share their promises, which are tested for each in turn.

mod common;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Log, Random, millis, on_os_threads, settle, simulate};
use greenloom::hub::now;
use greenloom::sync::{
    AlreadySent, Barrier, BoundedSemaphore, CappedSemaphore, Condvar, Event, EventError, Mutex, RwLock, Semaphore,
    WaitGroup,
};
use greenloom::{GreenThread, JoinError, Refused, get_hub, sleep, spawn, spawn_n, timeout, yield_now};

/// Spawns green threads numbered from 0 that wait with `wait` and then log their numbers.
fn waiters<S: 'static>(count: usize, shared: &Rc<S>, log: &Log<usize>, wait: fn(&S)) -> Vec<GreenThread<()>> {
    (0..count)
        .map(|number| {
            let (shared, log) = (shared.clone(), log.clone());
            spawn(move || {
                wait(&shared);
                log.push(number);
            })
        })
        .collect()
}

/// Calls `call` in the hub and returns what it says; what it panics with is returned as text.
fn in_the_hub<R: 'static>(call: impl FnOnce() -> R + 'static) -> Result<R, String> {
    let said = Rc::new(Cell::new(None));
    let says = said.clone();
    get_hub().schedule_call_global(Duration::ZERO, move || {
        let outcome = catch_unwind(AssertUnwindSafe(call));
        says.set(Some(outcome.map_err(|payload| *payload.downcast::<String>().unwrap())));
    });
    settle();
    said.take().expect("the hub has called it")
}

// Event.

#[test]
fn an_event_wakes_its_waiters_first_come_first_served_without_switching() {
    simulate(|| {
        let (event, log) = (Rc::new(Event::new()), Log::new());
        let threads = waiters(6, &event, &log, |event| assert_eq!(event.wait().unwrap(), "value"));
        settle();
        event.send("value").unwrap();
        assert_eq!(log.take(), [0; 0], "a send does not switch");
        settle();
        assert_eq!(log.take(), [0, 1, 2, 3, 4, 5]);
        assert!(threads.iter().all(GreenThread::dead));
        assert_eq!(event.wait().unwrap(), "value", "a late one gets it, too");
    });
}

#[test]
fn an_event_is_sent_once_until_it_is_reset() {
    let event = Event::new();
    assert!(!event.ready() && event.poll().is_none());
    event.reset();
    event.send(1).unwrap();
    assert_eq!(event.send(2), Err(AlreadySent(2)));
    assert_eq!(event.send_error("late"), Err(AlreadySent(())));
    assert_eq!(event.wait().unwrap(), 1);
    event.reset();
    assert!(!event.ready());
    event.send_error("broken").unwrap();
    assert!(matches!(event.poll(), Some(Err(EventError::Failed(error))) if error.to_string() == "broken"));
    assert_eq!(event.wait().unwrap_err().to_string(), "broken");
}

#[test]
fn what_was_sent_before_a_reset_still_reaches_those_who_waited() {
    simulate(|| {
        let event = Rc::new(Event::new());
        let waiter = spawn({
            let event = event.clone();
            move || event.wait().unwrap()
        });
        settle();
        event.send(1).unwrap();
        event.reset();
        event.send(2).unwrap();
        assert_eq!(waiter.wait().unwrap(), 1);
    });
}

#[test]
fn an_interrupted_event_wait_leaves_no_timer_that_fires_into_the_next() {
    simulate(|| {
        let event = Event::<()>::new();
        let interrupted = timeout(millis(40), || event.wait_timeout(millis(50)));
        assert!(interrupted.is_err());
        assert_eq!(get_hub().timers_count(), 0);
        let before = now();
        assert!(matches!(event.wait_timeout(millis(1000)), Err(EventError::TimedOut)));
        assert_eq!(now() - before, millis(1000));
    });
}

#[test]
fn a_waiter_that_is_killed_after_the_send_is_skipped() {
    simulate(|| {
        let (event, log) = (Rc::new(Event::new()), Log::new());
        let threads = waiters(3, &event, &log, |event| event.wait().unwrap());
        settle();
        event.send(()).unwrap();
        threads[1].kill();
        settle();
        assert_eq!(log.take(), [0, 2]);
    });
}

#[test]
fn a_value_is_cloned_with_no_lock_held() {
    struct Curious(Rc<Event<Curious>>);
    impl Clone for Curious {
        fn clone(&self) -> Curious {
            assert!(self.0.ready());
            Curious(self.0.clone())
        }
    }
    let event = Rc::new(Event::new());
    assert!(event.send(Curious(event.clone())).is_ok());
    assert!(event.wait().is_ok() && event.poll().is_some());
    event.reset();
}

#[test]
fn an_event_is_sent_from_another_os_thread() {
    let event = Arc::new(Event::new());
    let sender = {
        let event = event.clone();
        std::thread::spawn(move || {
            std::thread::sleep(millis(20));
            event.send("from afar").unwrap();
        })
    };
    // With a timer far away, to see that the send and not the timer ends the wait.
    assert_eq!(event.wait_timeout(Duration::from_secs(30)).unwrap(), "from afar");
    sender.join().unwrap();
}

#[test]
fn events_between_os_threads_lose_no_send() {
    const ROUNDS: usize = 300;
    let events: Vec<[Event<usize>; 2]> = (0..ROUNDS).map(|_| [Event::new(), Event::new()]).collect();
    on_os_threads(4, |number| {
        for (round, [there, back]) in events.iter().enumerate() {
            if number == 0 {
                there.send(round).unwrap();
                assert_eq!(back.wait().unwrap(), round);
            } else {
                assert_eq!(there.wait().unwrap(), round);
                let _ = back.send(round);
            }
        }
    });
}

// Semaphores.

#[test]
fn a_semaphore_serves_its_waiters_first_come_first_served() {
    simulate(|| {
        let (semaphore, log) = (Rc::new(Semaphore::new(0)), Log::new());
        let _threads = waiters(5, &semaphore, &log, |semaphore| semaphore.acquire().forget());
        settle();
        assert_eq!(semaphore.waiting(), 5);
        (0..5).for_each(|_| semaphore.release());
        settle();
        assert_eq!(log.take(), [0, 1, 2, 3, 4]);
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
    });
}

#[test]
fn who_releases_and_acquires_again_queues_behind_the_waiters() {
    simulate(|| {
        let (semaphore, log) = (Rc::new(Semaphore::new(1)), Log::new());
        let permit = semaphore.acquire();
        let _threads = waiters(1, &semaphore, &log, |semaphore| drop(semaphore.acquire()));
        settle();
        drop(permit);
        assert!(semaphore.try_acquire().is_none(), "it is on its way to the waiter");
        let _permit = semaphore.acquire();
        assert_eq!(log.take(), [0]);
    });
}

#[test]
fn a_timed_acquire_waits_exactly_so_long_and_leaves_the_line() {
    simulate(|| {
        let semaphore = Semaphore::new(0);
        assert!(semaphore.acquire_timeout(millis(7)).is_none());
        assert_eq!((now(), semaphore.waiting(), get_hub().timers_count()), (millis(7), 0, 0));
        semaphore.release();
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.acquire_timeout(millis(7)).is_some());
        assert_eq!(now(), millis(7));
    });
}

#[test]
fn a_permit_on_its_way_to_one_who_is_killed_goes_to_the_next() {
    simulate(|| {
        let (semaphore, log) = (Rc::new(Semaphore::new(0)), Log::new());
        let threads = waiters(3, &semaphore, &log, |semaphore| semaphore.acquire().forget());
        settle();
        threads[1].kill();
        assert_eq!(semaphore.waiting(), 2);
        semaphore.release();
        threads[0].kill();
        settle();
        assert_eq!(log.take(), [2]);
        assert_eq!((semaphore.available(), semaphore.waiting()), (0, 0));
    });
}

#[test]
fn a_permit_that_comes_as_the_time_ends_is_not_lost() {
    simulate(|| {
        let semaphore = Rc::new(Semaphore::new(0));
        // Both timers are due at once; the release comes first.
        let releaser = semaphore.clone();
        get_hub().schedule_call_global(millis(5), move || releaser.release());
        let permit = semaphore.acquire_timeout(millis(5));
        assert_eq!(usize::from(permit.is_some()) + semaphore.available(), 1);
    });
}

#[test]
fn a_timeout_scope_around_an_acquire_leaves_the_line() {
    simulate(|| {
        let semaphore = Semaphore::new(0);
        assert!(timeout(millis(3), || semaphore.acquire().forget()).is_err());
        assert_eq!((semaphore.waiting(), get_hub().timers_count()), (0, 0));
    });
}

#[test]
fn where_parking_is_refused_tries_work_and_waits_say_why() {
    simulate(|| {
        let semaphore = Rc::new(Semaphore::new(1));
        let (tries, waits) = (semaphore.clone(), semaphore.clone());
        assert!(in_the_hub(move || tries.try_acquire().is_some()).unwrap());
        assert!(in_the_hub(move || waits.acquire().forget()).is_ok(), "there is one, so it does not wait");
        let waits = semaphore.clone();
        let refused = in_the_hub(move || waits.acquire().forget()).unwrap_err();
        assert_eq!(refused, Refused::InHub.to_string());
        assert_eq!(semaphore.waiting(), 0);

        let event = Rc::new(Event::<()>::new());
        let waits = event.clone();
        let said = in_the_hub(move || waits.wait()).unwrap();
        assert!(matches!(said, Err(EventError::Refused(Refused::InHub))));
        let sends = event.clone();
        in_the_hub(move || sends.send(()).unwrap()).unwrap();
        event.wait().unwrap();
    });
}

#[test]
fn a_permit_is_released_by_a_panic() {
    simulate(|| {
        let semaphore = Rc::new(Semaphore::new(1));
        let holder = semaphore.clone();
        let thread = spawn(move || {
            let _permit = holder.acquire();
            panic!("with a permit");
        });
        assert!(matches!(thread.wait(), Err(JoinError::Panicked(_))));
        assert_eq!(semaphore.available(), 1);
    });
}

#[test]
fn a_bounded_semaphore_refuses_a_permit_too_many_also_while_nobody_waits_for_it() {
    simulate(|| {
        let semaphore = Rc::new(BoundedSemaphore::new(2));
        assert!(semaphore.release().is_err());
        let permit = semaphore.acquire();
        semaphore.try_acquire().unwrap().forget();
        let waiter = spawn({
            let semaphore = semaphore.clone();
            move || semaphore.acquire().forget()
        });
        settle();
        semaphore.release().unwrap();
        waiter.wait().unwrap();
        drop(permit);
        semaphore.release().unwrap();
        assert!(semaphore.release().is_err());
        assert_eq!(semaphore.available(), 2);
    });
}

#[test]
fn a_capped_semaphore_waits_at_both_ends_and_keeps_count_of_the_killed() {
    simulate(|| {
        let (semaphore, log) = (Rc::new(CappedSemaphore::new(0, 1)), Log::new());
        let takers = waiters(3, &semaphore, &log, CappedSemaphore::acquire);
        settle();
        takers[0].kill();
        semaphore.release();
        takers[1].kill();
        settle();
        assert_eq!(log.take(), [2]);
        semaphore.release();
        assert_eq!(semaphore.available(), 1);
        let givers = waiters(3, &semaphore, &log, CappedSemaphore::release);
        settle();
        givers[0].kill();
        semaphore.acquire();
        givers[1].kill();
        settle();
        assert_eq!(log.take(), [2]);
        assert_eq!(semaphore.available(), 1);
        assert!(!semaphore.release_timeout(millis(1)));
        assert!(semaphore.acquire_timeout(millis(1)) && !semaphore.acquire_timeout(millis(1)));
    });
}

/// Counts one down, however it is left.
struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn permits_stay_constant_while_many_os_threads_take_kill_and_time_out() {
    const PERMITS: usize = 3;
    let semaphore = Arc::new(Semaphore::new(PERMITS));
    let inside = Arc::new(AtomicUsize::new(0));
    on_os_threads(4, |number| {
        let mut random = Random::new(number as u64);
        let threads: Vec<_> = (0..40)
            .map(|_| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                let patience = Duration::from_micros(random.below(400));
                spawn(move || {
                    for turn in 0..25 {
                        let permit =
                            if turn % 2 == 0 { Some(semaphore.acquire()) } else { semaphore.acquire_timeout(patience) };
                        let Some(_permit) = permit else { continue };
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < PERMITS);
                        let _leave = Leave(&inside);
                        yield_now();
                    }
                })
            })
            .collect();
        for thread in threads {
            if random.below(3) == 0 {
                sleep(Duration::from_micros(random.below(100)));
                thread.kill();
            }
            let _ = thread.wait();
        }
    });
    assert_eq!((semaphore.available(), semaphore.waiting()), (PERMITS, 0));
}

#[test]
fn a_permit_that_was_granted_to_an_os_thread_that_has_ended_is_taken_back() {
    let semaphore = Arc::new(Semaphore::new(0));
    let gone = semaphore.clone();
    std::thread::spawn(move || {
        for _ in 0..3 {
            let semaphore = gone.clone();
            spawn_n(move || semaphore.acquire().forget());
        }
        yield_now();
    })
    .join()
    .unwrap();
    assert_eq!(semaphore.waiting(), 3);
    semaphore.release();
    assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
}

// Mutex and RwLock.

#[test]
fn a_mutex_is_held_across_parks_and_released_by_a_kill() {
    simulate(|| {
        let mutex = Rc::new(Mutex::new(0));
        let holder = spawn({
            let mutex = mutex.clone();
            move || {
                let mut value = mutex.lock();
                *value = 1;
                sleep(millis(1000));
                *value = 2;
            }
        });
        settle();
        assert!(mutex.try_lock().is_none());
        assert!(mutex.lock_timeout(millis(1)).is_none());
        holder.kill();
        assert_eq!(*mutex.lock(), 1, "it is not poisoned");
    });
}

#[test]
fn a_mutex_serves_first_come_first_served() {
    simulate(|| {
        let (mutex, log) = (Rc::new(Mutex::new(())), Log::new());
        let guard = mutex.lock();
        let _threads = waiters(5, &mutex, &log, |mutex| drop(mutex.lock()));
        settle();
        drop(guard);
        settle();
        assert_eq!(log.take(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_mutex_and_a_rwlock_exclude_across_os_threads() {
    let (mutex, rwlock) = (Arc::new(Mutex::new(0)), Arc::new(RwLock::new((0, 0))));
    on_os_threads(4, |_| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (mutex, rwlock) = (mutex.clone(), rwlock.clone());
                spawn(move || {
                    for turn in 0..100 {
                        *mutex.lock() += 1;
                        if turn % 4 == 0 {
                            let mut both = rwlock.write();
                            both.0 += 1;
                            yield_now();
                            both.1 += 1;
                        } else {
                            let both = rwlock.read();
                            yield_now();
                            assert_eq!(both.0, both.1);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.wait().unwrap());
    });
    assert_eq!(*mutex.lock(), 3200);
    assert_eq!(*rwlock.read(), (800, 800));
}

/// Spawns one that takes `lock` for reading (r) or writing (w), logs its letter and number, and holds it for a second.
fn access(lock: &Rc<RwLock<()>>, log: &Log<String>, name: &'static str) -> GreenThread<()> {
    let (lock, log) = (lock.clone(), log.clone());
    spawn(move || {
        if name.starts_with('r') {
            let _guard = lock.read();
            log.push(name.to_owned());
            sleep(millis(1000));
        } else {
            let _guard = lock.write();
            log.push(name.to_owned());
            sleep(millis(1000));
        }
    })
}

#[test]
fn a_reader_behind_a_waiting_writer_waits_and_those_between_writers_go_together() {
    simulate(|| {
        let (lock, log) = (Rc::new(RwLock::new(())), Log::new());
        let _threads = ["r0", "r1", "w0", "r2", "r3", "w1", "r4"].map(|name| access(&lock, &log, name));
        settle();
        assert!(lock.try_read().is_none(), "a writer waits");
        for expected in [&["r0", "r1"][..], &["w0"], &["r2", "r3"], &["w1"], &["r4"]] {
            assert_eq!(log.take(), expected);
            sleep(millis(1000));
        }
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    simulate(|| {
        for killed in [true, false] {
            let (lock, log) = (Rc::new(RwLock::new(())), Log::new());
            let reader = lock.read();
            let writer = spawn({
                let lock = lock.clone();
                move || assert!(lock.write_timeout(millis(10)).is_none())
            });
            settle();
            let _threads = ["r0", "r1"].map(|name| access(&lock, &log, name));
            settle();
            assert_eq!(log.take(), [""; 0]);
            if killed {
                writer.kill();
            } else {
                sleep(millis(10));
            }
            settle();
            assert_eq!(log.take(), ["r0", "r1"]);
            drop(reader);
            sleep(millis(1000));
            assert!(lock.try_write().is_some());
        }
    });
}

#[test]
fn a_turn_that_was_granted_to_one_who_is_killed_goes_on() {
    simulate(|| {
        for first in ["r0", "w0"] {
            let (lock, log) = (Rc::new(RwLock::new(())), Log::new());
            let guard = lock.write();
            let threads = [first, "r1", "r2"].map(|name| access(&lock, &log, name));
            settle();
            drop(guard);
            threads[0].kill();
            settle();
            assert_eq!(log.take(), ["r1", "r2"]);
            sleep(millis(1000));
            assert!(lock.try_write().is_some());
        }
    });
}

// Condvar, Barrier, WaitGroup.

/// A condition variable with its mutex.
type Watched = (Mutex<()>, Condvar);

fn wait_for_notice(watched: &Watched) {
    drop(watched.1.wait(watched.0.lock()));
}

#[test]
fn a_notification_goes_to_the_first_and_from_a_killed_one_to_the_next() {
    simulate(|| {
        let (watched, log) = (Rc::new(Watched::default()), Log::new());
        let threads = waiters(4, &watched, &log, wait_for_notice);
        settle();
        watched.1.notify_one();
        settle();
        assert_eq!(log.take(), [0]);
        watched.1.notify_one();
        threads[1].kill();
        settle();
        assert_eq!(log.take(), [2]);
        threads[3].kill();
        watched.1.notify_one();
        let waits = watched.1.wait_timeout(watched.0.lock(), millis(5));
        assert!(!waits.1, "a notification is for the waiters of the moment");
    });
}

#[test]
fn notify_all_wakes_those_who_wait_now_and_they_take_the_lock_in_turn() {
    simulate(|| {
        let (watched, log) = (Rc::new(Watched::default()), Log::new());
        let _threads = waiters(4, &watched, &log, |watched| {
            wait_for_notice(watched);
            // Comes back at once; that is another wait.
            watched.1.wait_timeout(watched.0.lock(), millis(1)).1.then(|| panic!("notified twice"));
        });
        settle();
        let guard = watched.0.lock();
        watched.1.notify_all();
        settle();
        drop(guard);
        sleep(millis(10));
        assert_eq!(log.take(), [0, 1, 2, 3]);
    });
}

#[test]
fn one_killed_in_a_condvar_does_not_hold_the_lock() {
    simulate(|| {
        let (watched, log) = (Rc::new(Watched::default()), Log::new());
        let threads = waiters(1, &watched, &log, wait_for_notice);
        settle();
        threads[0].kill();
        assert!(watched.0.try_lock().is_some());
    });
}

#[test]
fn a_condvar_hands_items_between_os_threads() {
    const ITEMS: usize = 500;
    let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
    let taken = AtomicUsize::new(0);
    on_os_threads(4, |number| {
        let (items, changed) = &*shared;
        for item in 0..ITEMS {
            if number % 2 == 0 {
                items.lock().push(item);
                changed.notify_one();
            } else {
                let mut items = items.lock();
                while items.is_empty() {
                    items = changed.wait(items);
                }
                items.pop();
                taken.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert_eq!((taken.into_inner(), shared.0.lock().len()), (2 * ITEMS, 0));
}

#[test]
fn a_barrier_lets_go_when_all_have_come_and_does_not_count_the_killed() {
    simulate(|| {
        let (barrier, log) = (Rc::new(Barrier::new(3)), Log::new());
        let threads = waiters(2, &barrier, &log, |barrier| assert!(!barrier.wait()));
        settle();
        threads[1].kill();
        let _more = waiters(1, &barrier, &log, |barrier| assert!(!barrier.wait()));
        settle();
        assert_eq!(log.take(), [0; 0]);
        assert!(barrier.wait(), "the last one leads");
        settle();
        assert_eq!(log.take(), [0, 0]);
    });
}

#[test]
fn a_barrier_between_os_threads_has_one_leader_a_round() {
    let (barrier, leaders) = (Barrier::new(4), AtomicUsize::new(0));
    on_os_threads(4, |_| {
        for round in 1..=200 {
            if barrier.wait() {
                leaders.fetch_add(1, Ordering::SeqCst);
            }
            // The waits after the first of a round have leaders, too, which are not counted.
            barrier.wait();
            assert_eq!(leaders.load(Ordering::SeqCst), round);
            barrier.wait();
        }
    });
}

#[test]
fn a_wait_group_waits_for_all_and_for_nobody() {
    simulate(|| {
        let (group, log) = (Rc::new(WaitGroup::new()), Log::new());
        group.wait();
        group.add(2);
        let threads = waiters(3, &group, &log, WaitGroup::wait);
        settle();
        assert!(!group.wait_timeout(millis(1)));
        threads[1].kill();
        group.done();
        settle();
        assert_eq!(log.take(), [0; 0]);
        group.done();
        group.add(1);
        settle();
        assert_eq!(log.take(), [0, 2], "they waited for the work before");
        group.done();
        assert!(catch_unwind(AssertUnwindSafe(|| group.done())).is_err());
    });
}

#[test]
fn a_wait_group_is_done_from_other_os_threads() {
    let group = WaitGroup::new();
    group.add(8);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| group.done());
        }
        group.wait();
    });
    assert_eq!(group.pending(), 0);
}

#[test]
fn all_of_them_can_be_used_from_any_os_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<(Event<String>, Semaphore, BoundedSemaphore, CappedSemaphore)>();
    shared::<(Mutex<Cell<u8>>, RwLock<u8>, Condvar, Barrier, WaitGroup)>();
}
