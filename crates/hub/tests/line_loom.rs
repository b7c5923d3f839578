//! All interleavings of OS threads that let one waiter go on from several lines, each under a lock of its own.
#![cfg(loom)]

use greenloom_hub::line::{Claim, Left, Line};
use loom::sync::{Arc, Mutex};
use loom::thread;

#[test]
fn a_waiter_in_two_lines_is_granted_something_by_one() {
    loom::model(|| {
        let lines = [(); 2].map(|()| Arc::new(Mutex::new(Line::<u32, (), u32>::new())));
        let claim = Claim::new();
        let places = [0, 1].map(|n: usize| lines[n].lock().unwrap().join_with(7, Some(claim.clone()), ()));
        let granting: Vec<_> = lines
            .iter()
            .cloned()
            .map(|line| thread::spawn(move || line.lock().unwrap().grant(|()| 1).is_some()))
            .collect();
        let granted = granting.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count();
        let left = [0, 1].map(|n: usize| lines[n].lock().unwrap().leave(places[n]));
        let got = left.iter().filter(|left| matches!(left, Some((7, Left::Granted(1))))).count();
        assert_eq!((granted, got), (1, 1), "{left:?}");
    });
}

#[test]
fn a_waiter_that_leaves_has_what_it_was_granted_or_is_granted_nothing() {
    loom::model(|| {
        let line = Arc::new(Mutex::new(Line::<u32, (), u32>::new()));
        let place = line.lock().unwrap().join(7, ());
        let other = line.clone();
        let granting = thread::spawn(move || other.lock().unwrap().grant(|()| 1).is_some());
        let left = line.lock().unwrap().leave(place);
        let granted = granting.join().unwrap();
        assert_eq!(granted, left == Some((7, Left::Granted(1))));
    });
}
