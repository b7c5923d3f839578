//! Greenlets: switch, throw, parent, death, dropping, tracing.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use greenloom::greenlet::{Current, Error, Greenlet, TraceEvent, settrace};
use greenloom::{getcurrent, sleep, spawn};
use std::time::Duration;

/// Counts its drops.
#[derive(Clone, Default)]
struct Drops(Rc<Cell<usize>>);

struct Guard(Drops);

impl Drops {
    fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    fn count(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.set(self.0.count() + 1);
    }
}

#[test]
fn values_go_both_ways_and_the_result_goes_to_the_parent() {
    let main = Current::<String>::here();
    let back = main.receiver();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, first| {
        let second = me.switch(&back, format!("first {first}"))?;
        Ok(format!("second {second}"))
    });
    assert!(!greenlet.is_started() && !greenlet.is_dead());
    assert_eq!(main.switch(&greenlet, 1).unwrap(), "first 1");
    assert!(greenlet.is_started() && !greenlet.is_dead());
    assert_eq!(main.switch(&greenlet, 2).unwrap(), "second 2");
    assert!(greenlet.is_dead());
    assert!(matches!(main.switch(&greenlet, 3), Err(Error::Dead)));
}

#[test]
fn any_greenlet_may_switch_to_any_other() {
    let main = Current::<Vec<u32>>::here();
    let home = main.receiver();
    type Slot = Rc<RefCell<Option<Greenlet<Vec<u32>, Vec<u32>>>>>;
    let pong: Slot = Rc::default();
    let ping = {
        let pong = pong.clone();
        Greenlet::new(&main, move |me: &Current<Vec<u32>>, mut seen| {
            for number in 0..5 {
                seen.push(number);
                let pong = pong.borrow().clone().unwrap();
                seen = me.switch(&pong, seen)?;
            }
            me.switch(&home, seen)?;
            Ok(vec![])
        })
    };
    *pong.borrow_mut() = Some({
        let ping = ping.clone();
        Greenlet::new(&main, move |me: &Current<Vec<u32>>, mut seen| {
            loop {
                seen.push(100);
                seen = me.switch(&ping, seen)?;
            }
        })
    });
    assert_eq!(main.switch(&ping, vec![]).unwrap(), [0, 100, 1, 100, 2, 100, 3, 100, 4, 100]);
    pong.take();
}

#[test]
fn a_switch_to_oneself_returns_the_value() {
    let main = Current::<u32>::here();
    assert_eq!(main.switch(&main.receiver(), 5).unwrap(), 5);
}

#[test]
fn an_error_goes_to_the_parent_and_a_panic_too() {
    let main = Current::<u32>::here();
    let fails = Greenlet::new(&main, |_: &Current<u32>, _| Err(Error::thrown("out of paint")));
    assert_eq!(main.switch(&fails, 0).unwrap_err().to_string(), "out of paint");
    let panics = Greenlet::new(&main, |_: &Current<u32>, _| -> Result<u32, Error> { panic!("boom") });
    match main.switch(&panics, 0) {
        Err(Error::Panicked(panic)) => {
            assert_eq!(panic.message(), "boom");
            assert_eq!(panic.into_payload().downcast_ref::<&str>(), Some(&"boom"));
        }
        other => panic!("{other:?}"),
    }
    assert!(fails.is_dead() && panics.is_dead());
}

#[test]
fn an_error_passes_over_parents_that_cannot_take_it() {
    let main = Current::<u32>::here();
    // The grandparent receives; the parent is dead by the time the child fails.
    let parent = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value));
    let child = Greenlet::new(&parent, |_: &Current<u32>, _| Err(Error::thrown("lost")));
    assert_eq!(main.switch(&parent, 1).unwrap(), 1);
    assert!(parent.is_dead());
    assert_eq!(main.switch(&child, 0).unwrap_err().to_string(), "lost");
    // An unstarted parent dies of it.
    let parent = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value));
    let child = Greenlet::new(&parent, |_: &Current<u32>, _| Err(Error::thrown("again")));
    assert_eq!(main.switch(&child, 0).unwrap_err().to_string(), "again");
    assert!(parent.is_dead());
}

#[test]
fn an_unstarted_parent_begins_with_its_childs_result() {
    let main = Current::<u32>::here();
    let parent = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value + 1));
    let child = Greenlet::new(&parent, |_: &Current<u32>, value| Ok(value * 10));
    assert_eq!(main.switch(&child, 4).unwrap(), 41);
}

#[test]
fn a_result_for_a_parent_that_is_dead_is_reported_up_the_chain() {
    let main = Current::<u32>::here();
    let parent = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value));
    let child = Greenlet::new(&parent, |_: &Current<u32>, value| Ok(value));
    main.switch(&parent, 1).unwrap();
    assert!(matches!(main.switch(&child, 0), Err(Error::Unreceived)));
}

#[test]
fn throw_makes_a_suspended_switch_fail() {
    let main = Current::<String>::here();
    let back = main.receiver();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| match me.switch(&back, "ready".into()) {
        Err(Error::Thrown(error)) => Ok(format!("caught {error}")),
        other => panic!("{other:?}"),
    });
    main.switch(&greenlet, 0).unwrap();
    assert_eq!(main.throw(&greenlet, Error::thrown("x")).unwrap(), "caught x");
}

#[test]
fn throw_into_an_unstarted_greenlet_kills_it_and_goes_to_the_parent() {
    let main = Current::<u32>::here();
    let drops = Drops::default();
    let guard = drops.guard();
    let greenlet = Greenlet::new(&main, move |_: &Current<u32>, _| {
        let _guard = guard;
        Ok(1)
    });
    assert_eq!(main.throw(&greenlet, Error::thrown("early")).unwrap_err().to_string(), "early");
    assert!(greenlet.is_dead());
    assert_eq!(drops.count(), 1, "what it captured is dropped");
}

#[test]
fn throw_into_a_dead_greenlet_goes_to_the_parent_but_an_exit_comes_back() {
    let main = Current::<u32>::here();
    let greenlet = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value));
    main.switch(&greenlet, 1).unwrap();
    assert!(matches!(main.throw(&greenlet, Error::Exit), Err(Error::Exit)));
    assert_eq!(main.throw(&greenlet, Error::thrown("late")).unwrap_err().to_string(), "late");
}

#[test]
fn exit_unwinds_and_is_no_fault() {
    let main = Current::<u32>::here();
    let back = main.receiver();
    let drops = Drops::default();
    let guard = drops.guard();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| {
        let _guard = guard;
        me.switch(&back, 1)?;
        panic!("not reached");
    });
    main.switch(&greenlet, 0).unwrap();
    assert!(matches!(main.throw(&greenlet, Error::Exit), Err(Error::Exit)));
    assert!(greenlet.is_dead());
    assert_eq!(drops.count(), 1);
}

#[test]
fn one_that_swallows_the_exit_meets_it_again() {
    let main = Current::<u32>::here();
    let back = main.receiver();
    let caught = Rc::new(Cell::new(0));
    let count = caught.clone();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| {
        for _ in 0..3 {
            if catch_unwind(AssertUnwindSafe(|| me.switch(&back, 1))).is_err() {
                count.set(count.get() + 1);
            }
        }
        Ok(7)
    });
    main.switch(&greenlet, 0).unwrap();
    assert_eq!(main.throw(&greenlet, Error::Exit).unwrap(), 7);
    assert_eq!(caught.get(), 3);
}

#[test]
fn dropping_the_last_handle_unwinds() {
    let main = Current::<u32>::here();
    let drops = Drops::default();
    let make = || {
        let (back, guard) = (main.receiver(), drops.guard());
        Greenlet::new(&main, move |me: &Current<u32>, _| {
            let _guard = guard;
            me.switch(&back, 1)?;
            Ok(2)
        })
    };
    let before = greenloom_fiber::pool_stats().in_use;
    let greenlet = make();
    main.switch(&greenlet, 0).unwrap();
    let other = greenlet.clone();
    drop(greenlet);
    assert_eq!(drops.count(), 0, "there is another handle");
    drop(other);
    assert_eq!(drops.count(), 1);
    // One that has not begun just drops what it captured.
    drop(make());
    assert_eq!(drops.count(), 2);
    assert_eq!((greenloom_fiber::pool_stats().in_use, greenloom_fiber::leaked_stacks()), (before, 0));
}

#[test]
fn dropping_the_last_handle_while_a_panic_unwinds_waits_for_the_next_switch() {
    let main = Current::<u32>::here();
    let drops = Drops::default();
    let (back, guard) = (main.receiver(), drops.guard());
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| {
        let _guard = guard;
        me.switch(&back, 1)?;
        Ok(2)
    });
    main.switch(&greenlet, 0).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let _greenlet = greenlet;
        panic!("on purpose");
    }));
    assert!(outcome.is_err());
    sleep(Duration::from_millis(1));
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_greenlet_that_drops_its_own_last_handle_is_unwound_when_it_switches_away() {
    let main = Current::<u32>::here();
    let drops = Drops::default();
    let own: Rc<RefCell<Option<Greenlet<u32, u32>>>> = Rc::default();
    let (back, guard, handle) = (main.receiver(), drops.guard(), own.clone());
    let child = Greenlet::new(&main, move |me: &Current<u32>, _| {
        let _guard = guard;
        handle.take();
        me.switch(&back, 1)?;
        Ok(2)
    });
    // It begins because another one ended, so nobody's frame holds it.
    let starter = {
        let own = own.clone();
        Greenlet::new(&child, move |_: &Current<u32>, value| {
            drop(own);
            Ok(value)
        })
    };
    *own.borrow_mut() = Some(child);
    assert_eq!(main.switch(&starter, 0).unwrap(), 1);
    drop(starter);
    assert_eq!(drops.count(), 1);
    assert_eq!(greenloom_fiber::leaked_stacks(), 0);
}

#[test]
fn parents_make_no_cycles() {
    let main = Current::<u32>::here();
    let first = Greenlet::new(&main, |_: &Current<u32>, value| Ok(value));
    let second = Greenlet::new(&first, |_: &Current<u32>, value| Ok(value));
    assert!(matches!(first.set_parent(&second), Err(Error::CyclicParent)));
    assert!(matches!(first.set_parent(&first), Err(Error::CyclicParent)));
    assert_eq!(second.parent(), Some((**first).clone()));
    second.set_parent(&main).unwrap();
    assert_eq!(second.parent(), Some(getcurrent()));
    assert_eq!(main.switch(&second, 3).unwrap(), 3);
}

#[test]
fn misuse_is_an_error() {
    let main = Current::<u32>::here();
    // Another place of the same greenlet does not receive while this one does.
    let other = Current::<String>::here();
    let elsewhere = other.receiver();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| {
        assert!(matches!(me.switch(&elsewhere, "lost".into()), Err(Error::NotReceiving)));
        Ok(1)
    });
    assert_eq!(main.switch(&greenlet, 0).unwrap(), 1);
    // A Current is good on its own greenlet only.
    let main = Rc::new(main);
    let stolen = main.clone();
    let thief = Greenlet::new(&*main, move |me: &Current<u32>, _| {
        assert!(matches!(stolen.switch(&me.receiver(), 1), Err(Error::NotCurrent)));
        Ok(2)
    });
    assert_eq!(main.switch(&thief, 0).unwrap(), 2);
    // A green thread that waits in the hub receives no values.
    let place: Rc<RefCell<Option<_>>> = Rc::default();
    let seen = place.clone();
    let sleeper = spawn(move || {
        *seen.borrow_mut() = Some(Current::<u32>::here().receiver());
        sleep(Duration::from_secs(60));
    });
    sleep(Duration::ZERO);
    let receiver = place.take().unwrap();
    assert!(matches!(main.switch(&receiver, 1), Err(Error::NotReceiving)));
    sleeper.kill();
}

#[test]
fn switching_in_a_destructor_during_a_panic_is_refused() {
    struct Switches(Rc<Current<u32>>, Rc<Cell<bool>>);
    impl Drop for Switches {
        fn drop(&mut self) {
            let error = self.0.switch(&self.0.receiver(), 1).unwrap_err();
            assert!(matches!(error, Error::Refused(greenloom::Refused::Panicking)));
            self.1.set(true);
        }
    }
    let refused = Rc::new(Cell::new(false));
    let switches = Switches(Rc::new(Current::here()), refused.clone());
    let outcome = catch_unwind(AssertUnwindSafe(move || {
        let _switches = switches;
        panic!("on purpose");
    }));
    assert!(outcome.is_err() && refused.get());
}

#[test]
fn a_tracer_sees_every_switch_and_throw_in_the_target() {
    let main = Current::<u32>::here();
    let back = main.receiver();
    let greenlet = Greenlet::new(&main, move |me: &Current<u32>, _| {
        let _ = me.switch(&back, 1);
        Ok(2)
    });
    let events: Rc<RefCell<Vec<_>>> = Rc::default();
    let log = events.clone();
    let before = settrace(Some(Rc::new(move |event, origin, target| {
        assert_eq!(*target, getcurrent());
        log.borrow_mut().push((event, origin.id(), target.id()));
    })));
    assert!(before.is_none());
    main.switch(&greenlet, 0).unwrap();
    main.throw(&greenlet, Error::thrown("x")).unwrap();
    settrace(None);
    let (root, child) = (getcurrent().id(), greenlet.id());
    assert_eq!(
        *events.borrow(),
        [
            (TraceEvent::Switch, root, child),
            (TraceEvent::Switch, child, root),
            (TraceEvent::Throw, root, child),
            (TraceEvent::Switch, child, root)
        ]
    );
}

#[test]
fn green_threads_use_greenlets_too() {
    let doubled = spawn(|| {
        let me = Current::<u32>::here();
        let double = Greenlet::new(&me, |_: &Current<u32>, value| {
            sleep(Duration::from_millis(1)); // parks in the hub in the middle
            Ok(2 * value)
        });
        me.switch(&double, 21).unwrap()
    });
    assert_eq!(doubled.wait().unwrap(), 42);
}
