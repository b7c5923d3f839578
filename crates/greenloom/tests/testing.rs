//! The deterministic mode itself.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::hub::now;
use greenloom::sync::Event;
use greenloom::testing::{Simulation, explore};
use greenloom::{Builder, get_hub, sleep, spawn, yield_now};

fn schedule(seed: Option<u64>) -> Vec<u32> {
    let simulation = seed.map_or(Simulation::new(), |seed| Simulation::new().seed(seed));
    simulation
        .run(|| {
            let log: Rc<RefCell<Vec<u32>>> = Rc::default();
            let threads: Vec<_> = (0..6)
                .map(|number| {
                    let log = log.clone();
                    spawn(move || {
                        for _ in 0..3 {
                            log.borrow_mut().push(number);
                            yield_now();
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.wait().unwrap());
            log.take()
        })
        .unwrap()
}

#[test]
fn without_a_seed_the_order_is_fifo() {
    assert_eq!(schedule(None), [0, 1, 2, 3, 4, 5].repeat(3));
}

#[test]
fn a_seed_replays_and_seeds_differ() {
    let schedules: HashSet<Vec<u32>> = (0..20).map(|seed| schedule(Some(seed))).collect();
    assert!(schedules.len() > 15, "{} schedules of 20 seeds", schedules.len());
    for seed in 0..20 {
        assert_eq!(schedule(Some(seed)), schedule(Some(seed)));
    }
}

#[test]
fn hours_pass_in_no_time() {
    let began = Instant::now();
    let day = Duration::from_secs(86_400);
    let slept = Simulation::new().run(move || {
        for _ in 0..365 {
            sleep(day);
        }
        now()
    });
    assert_eq!(slept.unwrap(), 365 * day);
    assert!(began.elapsed() < Duration::from_secs(30), "a year took {:?}", began.elapsed());
}

#[test]
fn a_deadlock_names_who_waits_for_what() {
    let second = Duration::from_secs(1);
    let deadlock = Simulation::new()
        .seed(3)
        .run(move || {
            let never = Rc::new(Event::<()>::new());
            for name in ["one", "two"] {
                let never = never.clone();
                drop(Builder::new().name(name).spawn(move || never.wait()).unwrap());
            }
            sleep(second);
            let three = Builder::new().name("three").spawn(move || never.wait());
            three.unwrap().wait().unwrap().unwrap();
        })
        .unwrap_err();
    assert_eq!((deadlock.after, deadlock.seed, deadlock.waiting.len()), (second, Some(3), 4));
    let text = deadlock.to_string();
    for waits in [r#""one" waits for: event"#, r#""three" waits for: event"#, r#""main" waits for: green thread"#] {
        assert!(text.contains(waits), "{waits} is not in:\n{text}");
    }
}

#[test]
#[should_panic(expected = "the third came first")]
fn explore_finds_a_schedule_that_fails() {
    explore(200, |_| {
        let log: Rc<RefCell<Vec<u32>>> = Rc::default();
        let threads: Vec<_> = (1..=3)
            .map(|number| {
                let log = log.clone();
                spawn(move || log.borrow_mut().push(number))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.wait().unwrap());
        assert_ne!(log.borrow()[0], 3, "the third came first");
    });
}

#[test]
#[should_panic(expected = "payload")]
fn a_panic_of_the_body_is_the_simulations() {
    let _ = Simulation::new().run(|| panic!("payload"));
}

#[test]
fn green_threads_that_are_left_are_unwound() {
    struct Sends(std::sync::mpsc::Sender<()>);
    impl Drop for Sends {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    Simulation::new()
        .run(move || {
            let sends = Sends(sender);
            drop(spawn(move || {
                let _sends = sends;
                sleep(Duration::from_secs(60));
            }));
            yield_now();
            assert_eq!(get_hub().timers_count(), 1);
        })
        .unwrap();
    receiver.recv_timeout(Duration::from_secs(5)).unwrap();
}
