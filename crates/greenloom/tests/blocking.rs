//! Calls that block an OS thread.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use common::{in_a_process_of_its_own, millis};
use greenloom::blocking::{self, Error};
use greenloom::testing::Simulation;
use greenloom::{Chain, Refused, get_hub, sleep, spawn, timeout, yield_now};

#[test]
fn its_value_comes_back_and_others_run_meanwhile() {
    // All four are on OS threads at once, and none ends before green threads have run.
    let (meeting, over) = (Arc::new(Barrier::new(4)), Arc::new(AtomicBool::new(false)));
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (meeting, over) = (meeting.clone(), over.clone());
            spawn(move || {
                blocking::run(move || {
                    meeting.wait();
                    while !over.load(Ordering::SeqCst) {
                        std::thread::sleep(millis(1));
                    }
                    number
                })
                .unwrap()
            })
        })
        .collect();
    for _ in 0..5 {
        sleep(millis(2));
        assert!(threads.iter().all(|thread| !thread.is_dead()));
    }
    over.store(true, Ordering::SeqCst);
    let values: Vec<i32> = threads.into_iter().map(|thread| thread.wait().unwrap()).collect();
    assert_eq!(values, [0, 1, 2, 3]);
}

#[test]
fn its_panic_is_an_error() {
    let error = blocking::run(|| -> () { panic!("too bad") }).unwrap_err();
    assert_eq!(error.to_string(), "the blocking call panicked");
    let Error::Panicked(panic) = error else { panic!("{error}") };
    assert!(panic.into_payload().is::<&str>());
}

#[test]
fn killed_meanwhile_the_job_goes_on_and_its_value_is_dropped() {
    let ends = Arc::new(AtomicUsize::new(0));
    struct Value(Arc<AtomicUsize>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let value = Value(ends.clone());
    let (end, ended) = std::sync::mpsc::channel();
    let thread = spawn(move || {
        blocking::run(move || {
            ended.recv().unwrap();
            value
        })
        .is_ok()
    });
    yield_now();
    thread.kill();
    assert!(thread.is_dead());
    assert_eq!(ends.load(Ordering::SeqCst), 0);
    end.send(()).unwrap();
    while ends.load(Ordering::SeqCst) == 0 {
        sleep(millis(1));
    }
    assert!(timeout(millis(5), || blocking::run(|| std::thread::sleep(millis(30)))).is_err());
    sleep(millis(40));
}

#[test]
fn in_the_hub_it_is_refused() {
    let (sender, receiver) = std::sync::mpsc::channel();
    get_hub().schedule_call_global(Duration::ZERO, move || {
        sender.send(matches!(blocking::run(|| ()), Err(Error::Refused(Refused::InHub)))).unwrap();
    });
    sleep(millis(2));
    assert!(receiver.recv().unwrap());
}

#[test]
fn virtual_time_stands_still_meanwhile() {
    let order = Simulation::new().run(|| {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let (slept, called) = (order.clone(), order.clone());
        let sleeper = spawn(move || {
            sleep(Duration::from_secs(3_600));
            slept.borrow_mut().push("an hour");
        });
        let caller = spawn(move || {
            blocking::run(|| std::thread::sleep(millis(30))).unwrap();
            called.borrow_mut().push("the call");
        });
        sleeper.wait().unwrap();
        caller.wait().unwrap();
        order.take()
    });
    assert_eq!(order.unwrap(), ["the call", "an hour"]);
}

#[test]
fn the_size_is_set_by_the_environment_and_by_a_call() {
    let output = in_a_process_of_its_own("helper_one_thread").env("GREENLOOM_BLOCKING_THREADS", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let output =
        in_a_process_of_its_own("helper_one_thread").env("GREENLOOM_BLOCKING_THREADS", "none").output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("GREENLOOM_BLOCKING_THREADS=\"none\" is no number above 0")
    );
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_nested() {
    assert_eq!(blocking::size(), 1);
    let nested = timeout(Duration::from_secs(20), || {
        blocking::run(|| {
            let name = std::thread::current().name().map(String::from);
            let inner = blocking::run(move || std::thread::current().name().map(String::from) == name);
            let panicked = blocking::run(|| -> () { panic!("too deep") });
            (inner.unwrap(), Chain(&panicked.unwrap_err()).to_string(), greenloom::net::resolve("localhost").is_ok())
        })
    });
    let (same_os_thread, panicked, resolved) = nested.expect("a job waits for its own OS thread").unwrap();
    assert!(same_os_thread && resolved);
    assert_eq!(panicked, "the blocking call panicked: too deep");
    // In a function that the hub calls it is refused there too.
    let refused = blocking::run(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        get_hub().schedule_call_global(Duration::ZERO, move || sender.send(blocking::run(|| ()).is_err()).unwrap());
        sleep(millis(1));
        receiver.recv().unwrap()
    });
    assert!(refused.unwrap());
}

#[test]
fn a_job_that_calls_for_another_runs_it_where_it_is() {
    let output = in_a_process_of_its_own("helper_nested").env("GREENLOOM_BLOCKING_THREADS", "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "a helper of another test, in a process of its own"]
fn helper_one_thread() {
    assert_eq!(blocking::size(), 1);
    let most_at_once = || {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..4)
            .map(|_| {
                let (running, most) = (running.clone(), most.clone());
                spawn(move || {
                    blocking::run(move || {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(millis(50));
                        running.fetch_sub(1, Ordering::SeqCst);
                    })
                    .unwrap()
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.wait().unwrap());
        most.load(Ordering::SeqCst)
    };
    assert_eq!(most_at_once(), 1);
    blocking::set_size(4.try_into().unwrap());
    assert_eq!(most_at_once(), 4);
}
