//! Green threads: order, results, links, kill, cancel, timeouts, scopes.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::testing::Simulation;
use greenloom::{
    Builder, Chain, JoinError, get_hub, getcurrent, scope, sleep, spawn, spawn_after, spawn_after_local, spawn_n,
    timeout, yield_now,
};

const SECOND: Duration = Duration::from_secs(1);

/// Runs a test on virtual time.
fn simulate<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    Simulation::new().run(body).unwrap_or_else(|deadlock| panic!("{deadlock}"))
}

type Log<T> = Rc<RefCell<Vec<T>>>;

#[test]
fn everything_without_delay_runs_in_call_order() {
    simulate(|| {
        let log: Log<u32> = Rc::default();
        let push = |number| {
            let log = log.clone();
            move || log.borrow_mut().push(number)
        };
        spawn_n(push(0));
        let first = spawn(push(1));
        get_hub().schedule_call_global(Duration::ZERO, push(2));
        let second = spawn_after(Duration::ZERO, push(3));
        spawn_n(push(4));
        first.wait().unwrap();
        second.wait().unwrap();
        sleep(Duration::ZERO);
        assert_eq!(*log.borrow(), [0, 1, 2, 3, 4]);
    });
}

#[test]
fn timers_fire_by_time_and_then_by_age() {
    simulate(|| {
        let log: Log<u32> = Rc::default();
        for (number, seconds) in [(0, 3), (1, 1), (2, 2), (3, 1), (4, 1)] {
            let log = log.clone();
            spawn_after(seconds * SECOND, move || log.borrow_mut().push(number));
        }
        sleep(10 * SECOND);
        assert_eq!(*log.borrow(), [1, 3, 4, 2, 0]);
        assert_eq!(now(), 10 * SECOND);
    });
}

#[test]
fn ready_work_that_rearms_itself_starves_neither_timers_nor_others() {
    let stop = Rc::new(Cell::new(false));
    let busy = {
        let stop = stop.clone();
        spawn(move || {
            while !stop.get() {
                yield_now();
            }
        })
    };
    sleep(Duration::from_millis(5));
    stop.set(true);
    busy.wait().unwrap();
}

#[test]
fn a_timer_that_rearms_itself_lets_others_run() {
    fn rearm(left: Rc<Cell<u32>>) {
        if left.get() > 0 {
            left.set(left.get() - 1);
            get_hub().schedule_call_global(Duration::from_nanos(1), move || rearm(left));
        }
    }
    let left = Rc::new(Cell::new(10_000));
    rearm(left.clone());
    sleep(Duration::from_millis(1));
    assert!(left.get() < 10_000);
    left.set(0);
}

#[test]
fn wait_returns_the_value_the_panic_or_the_kill() {
    simulate(|| {
        assert_eq!(spawn(|| 5).wait().unwrap(), 5);
        let error = spawn(|| -> u32 { panic!("boom {}", 1) }).wait().unwrap_err();
        assert_eq!(Chain(&error).to_string(), "the green thread panicked: boom 1");
        let sleeper = spawn(|| sleep(SECOND));
        yield_now();
        sleeper.kill();
        assert!(matches!(sleeper.wait(), Err(JoinError::Killed)));
        assert_eq!(now(), Duration::ZERO);
    });
}

#[test]
fn wait_timeout_gives_the_handle_back() {
    simulate(|| {
        let slow = spawn(|| {
            sleep(3 * SECOND);
            7
        });
        let slow = slow.wait_timeout(SECOND).unwrap_err();
        assert_eq!(now(), SECOND);
        assert_eq!(slow.wait_timeout(60 * SECOND).unwrap().unwrap(), 7);
        assert_eq!(now(), 3 * SECOND);
    });
}

#[test]
fn links_run_in_order_and_one_that_panics_does_not_drop_the_others() {
    simulate(|| {
        let log: Log<&str> = Rc::default();
        let thread = spawn(|| 3);
        for name in ["first", "panics", "removed", "last"] {
            let log = log.clone();
            let id = thread.link(move |outcome| {
                assert_eq!(*outcome.as_ref().unwrap(), 3);
                log.borrow_mut().push(name);
                assert_ne!(name, "panics");
            });
            if name == "removed" {
                assert!(thread.unlink(id));
                assert!(!thread.unlink(id));
            }
        }
        yield_now();
        assert_eq!(*log.borrow(), ["first", "panics", "last"]);
        let late = log.clone();
        thread.link(move |_| late.borrow_mut().push("late"));
        assert_eq!(log.borrow().last(), Some(&"late"));
        assert_eq!(thread.wait().unwrap(), 3);
    });
}

#[test]
fn a_killed_green_thread_unwinds_at_once_and_the_killer_goes_on_behind_ready_work() {
    simulate(|| {
        let log: Log<&str> = Rc::default();
        struct Says(Log<&'static str>);
        impl Drop for Says {
            fn drop(&mut self) {
                self.0.borrow_mut().push("unwound");
            }
        }
        let says = Says(log.clone());
        let victim = spawn(move || {
            let _says = says;
            sleep(SECOND);
        });
        yield_now();
        let ready = log.clone();
        spawn_n(move || ready.borrow_mut().push("ready"));
        victim.kill();
        log.borrow_mut().push("killer");
        assert_eq!(*log.borrow(), ["unwound", "ready", "killer"]);
        assert!(victim.is_dead());
        victim.kill();
    });
}

#[test]
fn killing_an_unstarted_one_means_it_never_runs_and_its_links_do() {
    simulate(|| {
        let told = Rc::new(Cell::new(false));
        let thread = spawn(|| -> u32 { panic!("must not run") });
        let seen = told.clone();
        thread.link(move |outcome| seen.set(matches!(outcome, Err(JoinError::Killed))));
        thread.kill();
        assert!(told.get() && thread.is_dead());
        assert!(matches!(thread.wait(), Err(JoinError::Killed)));
        // Its slot in the run queue is passed over.
        yield_now();
        let after = spawn(|| 1);
        assert_eq!(after.wait().unwrap(), 1);
    });
}

#[test]
fn cancel_stops_what_has_not_begun() {
    simulate(|| {
        let later = spawn_after(SECOND, || panic!("must not run"));
        assert_eq!(get_hub().timers_count(), 1);
        assert!(later.cancel());
        assert_eq!(get_hub().timers_count(), 0);
        assert!(!later.cancel());
        let started = spawn(|| sleep(SECOND));
        yield_now();
        assert!(!started.cancel());
        started.wait().unwrap();
    });
}

#[test]
fn spawn_after_local_dies_with_its_greenlet() {
    simulate(|| {
        let ran = Rc::new(Cell::new(0));
        let count = ran.clone();
        spawn(move || {
            let first = count.clone();
            drop(spawn_after_local(SECOND, move || first.set(first.get() + 1)));
            drop(spawn_after(SECOND, move || count.set(count.get() + 10)));
        })
        .wait()
        .unwrap();
        sleep(5 * SECOND);
        assert_eq!(ran.get(), 10);
    });
}

#[test]
fn schedule_call_local_dies_with_its_greenlet_and_a_cancelled_call_never_comes() {
    simulate(|| {
        let calls: Log<&str> = Rc::default();
        let log = |name| {
            let calls = calls.clone();
            move || calls.borrow_mut().push(name)
        };
        let (local, global) = (log("local"), log("global"));
        spawn(move || {
            get_hub().schedule_call_local(SECOND, local);
            get_hub().schedule_call_global(SECOND, global);
        })
        .wait()
        .unwrap();
        for delay in [Duration::ZERO, SECOND] {
            let timer = get_hub().schedule_call_global(delay, log("cancelled"));
            assert!(get_hub().cancel(&timer));
            assert!(!get_hub().cancel(&timer));
        }
        sleep(3 * SECOND);
        assert_eq!(*calls.borrow(), ["global"]);
    });
}

#[test]
fn killing_oneself_unwinds() {
    simulate(|| {
        let handle: Rc<RefCell<Option<greenloom::GreenThread<u32>>>> = Rc::default();
        let own = handle.clone();
        *handle.borrow_mut() = Some(spawn(move || {
            own.borrow().as_ref().unwrap().kill();
            unreachable!()
        }));
        yield_now();
        assert!(matches!(handle.take().unwrap().wait(), Err(JoinError::Killed)));
    });
}

#[test]
fn a_panic_in_a_timer_or_a_listener_does_not_stop_the_hub() {
    simulate(|| {
        get_hub().schedule_call_global(SECOND, || panic!("in a timer"));
        get_hub().schedule_call_global(Duration::ZERO, || panic!("in a call"));
        sleep(2 * SECOND);
        assert_eq!(spawn(|| 1).wait().unwrap(), 1);
    });
}

#[test]
fn blocking_in_a_function_that_the_hub_calls_is_a_panic_with_advice() {
    simulate(|| {
        let message = Rc::new(RefCell::new(String::new()));
        let seen = message.clone();
        get_hub().schedule_call_global(Duration::ZERO, move || {
            let payload = catch_unwind(|| sleep(SECOND)).unwrap_err();
            *seen.borrow_mut() = payload.downcast_ref::<String>().unwrap().clone();
        });
        yield_now();
        assert!(message.borrow().contains("spawn a green thread"), "{}", message.borrow());
    });
}

#[test]
fn timeouts_interrupt_any_park_and_nest() {
    simulate(|| {
        assert_eq!(timeout(SECOND, || sleep(60 * SECOND)).unwrap_err().after, SECOND);
        assert_eq!(now(), SECOND);
        // The inner one ends first and is caught by its own scope.
        let result = timeout(9 * SECOND, || {
            let inner = timeout(SECOND, || sleep(60 * SECOND));
            assert!(inner.is_err());
            "outer goes on"
        });
        assert_eq!(result, Ok("outer goes on"));
        // The outer one ends first and unwinds the inner.
        let result = timeout(SECOND, || {
            let _ = timeout(9 * SECOND, || sleep(60 * SECOND));
            unreachable!()
        });
        assert_eq!(result.unwrap_err().after, SECOND);
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn a_swallowed_timeout_comes_again_and_a_result_counts_even_if_late() {
    simulate(|| {
        let mut swallowed = 0;
        let result = timeout(SECOND, || {
            for _ in 0..3 {
                swallowed += usize::from(catch_unwind(|| sleep(60 * SECOND)).is_err());
            }
            "done all the same"
        });
        assert_eq!((result, swallowed), (Ok("done all the same"), 3));
        // Outside of the scope it is over.
        sleep(SECOND);
    });
}

#[test]
fn a_kill_passes_through_timeouts() {
    simulate(|| {
        let thread = spawn(|| timeout(9 * SECOND, || sleep(60 * SECOND)));
        yield_now();
        thread.kill();
        assert!(matches!(thread.wait(), Err(JoinError::Killed)));
        assert_eq!(get_hub().timers_count(), 0);
    });
}

#[test]
fn names_ids_and_parents() {
    simulate(|| {
        let thread = Builder::new().name("worker").spawn(|| getcurrent().name().map(String::from)).unwrap();
        assert_eq!(thread.name(), Some("worker"));
        assert_eq!(thread.greenlet().parent(), Some(get_hub().greenlet()));
        assert_eq!(format!("{thread:?}"), format!("GreenThread {} \"worker\" (not started)", thread.greenlet().id()));
        assert_eq!(thread.wait().unwrap().as_deref(), Some("worker"));
    });
}

#[test]
fn scoped_green_threads_borrow_and_are_waited_for() {
    simulate(|| {
        let mut numbers = vec![0; 8];
        scope(|scope| {
            for (index, number) in numbers.iter_mut().enumerate() {
                scope.spawn(move || {
                    sleep(SECOND);
                    *number = index * index;
                });
            }
        });
        assert_eq!(numbers, [0, 1, 4, 9, 16, 25, 36, 49]);
        assert_eq!(now(), SECOND);
    });
}

#[test]
fn a_scope_whose_body_panics_or_is_killed_takes_its_threads_with_it() {
    simulate(|| {
        struct Counts<'a>(&'a Cell<u32>);
        impl Drop for Counts<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let unwound = Cell::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let _counts = Counts(&unwound);
                        sleep(60 * SECOND);
                    });
                }
                yield_now();
                panic!("body");
            })
        }));
        assert!(outcome.is_err());
        assert_eq!((unwound.get(), now()), (3, Duration::ZERO));
        // A timeout around the wait at the end, too.
        let result = timeout(SECOND, || {
            scope(|scope| {
                scope.spawn(|| {
                    let _counts = Counts(&unwound);
                    sleep(60 * SECOND);
                });
            })
        });
        assert!(result.is_err());
        assert_eq!((unwound.get(), now()), (4, SECOND));
    });
}

#[test]
fn a_hundred_thousand_sleepers_wake_in_order_and_give_everything_back() {
    simulate(|| {
        let before = greenloom_fiber::pool_stats().in_use;
        let last = Rc::new(Cell::new(0));
        for number in 0..100_000u32 {
            let last = last.clone();
            Builder::new()
                .stack_size(greenloom_fiber::MIN_STACK_SIZE)
                .spawn(move || {
                    sleep(SECOND + Duration::from_millis(number.into()));
                    assert!(last.replace(number) <= number);
                })
                .unwrap();
        }
        sleep(1000 * SECOND);
        assert_eq!(last.get(), 99_999);
        assert_eq!((greenloom_fiber::pool_stats().in_use, get_hub().timers_count()), (before, 0));
    });
}

#[test]
fn a_record_that_is_used_again_has_nothing_of_the_one_before() {
    simulate(|| {
        let first = spawn(|| sleep(SECOND));
        let (id, weak) = (first.greenlet().id(), first.greenlet().downgrade());
        yield_now();
        first.kill();
        drop(first);
        let named = Builder::new().name("named").spawn(|| ()).unwrap();
        named.wait().unwrap();
        // Whoever gets their records was neither killed nor named, waits for nothing, and is nobody's old greenlet.
        for _ in 0..4 {
            let next = spawn(|| sleep(SECOND));
            assert!(next.greenlet().id() > id && next.greenlet().name().is_none() && !next.is_started());
            assert!(weak.upgrade().is_none());
            yield_now();
            assert_eq!(next.greenlet().waits_for(), Some("sleep"));
            next.wait().unwrap();
        }
    });
}

#[test]
fn a_value_is_dropped_with_its_last_handle_or_with_its_green_thread() {
    simulate(|| {
        let value = Rc::new(());
        let counted = |value: &Rc<()>| {
            let value = Rc::clone(value);
            spawn(move || value)
        };
        let (kept, unheld) = (counted(&value), counted(&value));
        drop(unheld);
        yield_now();
        assert_eq!(Rc::strong_count(&value), 2, "the one that is still held");
        drop(kept);
        assert_eq!(Rc::strong_count(&value), 1);
        let linked = Rc::clone(&value);
        let cancelled = spawn(|| ());
        cancelled.link(move |_| drop(linked));
        cancelled.cancel();
        drop(cancelled);
        yield_now();
        assert_eq!(Rc::strong_count(&value), 1);
    });
}
