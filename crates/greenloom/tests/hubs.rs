//! Hubs on several OS threads, and reaching a hub from outside.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use greenloom::{Chain, Hubs, JoinError, get_hub, sleep, spawn, yield_now};

#[test]
fn work_is_handed_to_hubs_in_turn() {
    let hubs = Hubs::new(2).unwrap();
    let names: Vec<String> =
        (0..4).map(|_| hubs.spawn(|| thread::current().name().unwrap().to_string()).wait().unwrap()).collect();
    assert_eq!(names, ["hub-0", "hub-1", "hub-0", "hub-1"]);
    hubs.stop();
}

#[test]
fn a_hub_that_sleeps_is_woken_by_other_os_threads() {
    let handle = get_hub().handle();
    let (sender, receiver) = mpsc::channel();
    let outside = thread::spawn(move || {
        for number in 0..100 {
            let sender = sender.clone();
            handle.schedule(move || sender.send(number).unwrap()).unwrap();
            if number % 10 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        handle.spawn(|| 7).wait().unwrap()
    });
    let mut seen = Vec::new();
    while seen.len() < 100 {
        sleep(Duration::from_millis(1));
        seen.extend(receiver.try_iter());
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    while !outside.is_finished() {
        sleep(Duration::from_millis(1));
    }
    assert_eq!(outside.join().unwrap(), 7);
}

#[test]
fn a_busy_hub_takes_messages_too() {
    let handle = get_hub().handle();
    let outside = thread::spawn(move || handle.spawn(|| 1).wait().unwrap());
    while !outside.is_finished() {
        yield_now();
    }
    assert_eq!(outside.join().unwrap(), 1);
}

#[test]
fn a_panic_in_another_hub_is_an_error_here() {
    let hubs = Hubs::new(1).unwrap();
    let outcome = hubs.spawn(|| -> u32 { panic!("far away") }).wait();
    assert_eq!(Chain(&outcome.unwrap_err()).to_string(), "the green thread panicked: far away");
    assert_eq!(hubs.spawn(|| 1).wait().unwrap(), 1);
}

#[test]
fn stopping_unwinds_what_runs_and_refuses_what_comes() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let hubs = Hubs::new(2).unwrap();
    let unwound = Arc::new(AtomicUsize::new(0));
    let (sender, started) = mpsc::channel();
    let sleepers: Vec<_> = (0..10)
        .map(|_| {
            let (counts, sender) = (Counts(unwound.clone()), sender.clone());
            hubs.spawn(move || {
                let _counts = counts;
                sender.send(()).unwrap();
                sleep(Duration::from_secs(600));
            })
        })
        .collect();
    for _ in 0..10 {
        started.recv().unwrap();
    }
    let handle = hubs.handle(0).clone();
    hubs.stop();
    assert_eq!(unwound.load(Ordering::SeqCst), 10);
    for sleeper in sleepers {
        assert!(matches!(sleeper.wait(), Err(JoinError::Killed)));
    }
    assert!(handle.schedule(|| ()).is_err());
    assert!(matches!(handle.spawn(|| 1).wait(), Err(JoinError::Killed)));
}

#[test]
fn hubs_stopped_in_one_of_them_end_all_the_same() {
    struct Sends(mpsc::Sender<&'static str>, &'static str);
    impl Drop for Sends {
        fn drop(&mut self) {
            self.0.send(self.1).unwrap();
        }
    }
    let (sender, events) = mpsc::channel();
    let hubs = Hubs::new(2).unwrap();
    let first = hubs.handle(0).clone();
    let (running, started) = mpsc::channel();
    for (number, name) in ["beside", "elsewhere"].into_iter().enumerate() {
        let (guard, running) = (Sends(sender.clone(), name), running.clone());
        hubs.handle(number).spawn(move || {
            let _guard = guard;
            running.send(()).unwrap();
            sleep(Duration::from_secs(600));
        });
    }
    (0..2).for_each(|_| started.recv().unwrap());
    let stopping = first.spawn(move || {
        hubs.stop();
        sender.send("stopped").unwrap();
        // It is killed with the others of its hub.
        sleep(Duration::from_secs(600));
    });
    assert!(matches!(stopping.wait(), Err(JoinError::Killed)));
    assert_eq!(events.recv().unwrap(), "elsewhere", "the other hub has ended when stop returns");
    assert_eq!(events.recv().unwrap(), "stopped");
    assert_eq!(events.recv().unwrap(), "beside");
    // The channel is at its end when the hub's OS thread is.
    assert!(events.recv().is_err());
    while first.schedule(|| ()).is_ok() {
        thread::yield_now();
    }
}

#[test]
fn hubs_dropped_in_one_of_them_end_all_the_same() {
    let hubs = Hubs::new(1).unwrap();
    let handle = hubs.handle(0).clone();
    assert_eq!(handle.spawn(move || drop(hubs)).wait().unwrap(), ());
    while handle.schedule(|| ()).is_ok() {
        thread::yield_now();
    }
}

#[test]
fn hubs_wait_for_one_another_without_loss() {
    let hubs = Arc::new(Hubs::new(2).unwrap());
    let rounds: Vec<_> = (0..200u64)
        .map(|number| {
            let inner = hubs.clone();
            hubs.spawn(move || {
                let there = inner.spawn(move || number + 1).wait().unwrap();
                inner.spawn(move || there * 2).wait().unwrap()
            })
        })
        .collect();
    for (number, round) in rounds.into_iter().enumerate() {
        assert_eq!(round.wait().unwrap(), (number as u64 + 1) * 2);
    }
}

#[test]
fn os_threads_with_hubs_come_and_go() {
    let before = greenloom_fiber::leaked_stacks();
    for _ in 0..500 {
        thread::spawn(|| spawn(|| sleep(Duration::from_micros(10))).wait().unwrap()).join().unwrap();
    }
    assert_eq!(greenloom_fiber::leaked_stacks(), before);
    // Each had an epoll instance and an eventfd of its own.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 200, "{open} file descriptors are open");
}
