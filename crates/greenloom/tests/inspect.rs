//! What is told of the hubs of all OS threads.

mod common;

use std::rc::Rc;
use std::time::Duration;

use common::{millis, simulate};
use greenloom::inspect::{HubInfo, hubs};
use greenloom::sync::Event;
use greenloom::{Hubs, get_hub, sleep, spawn, yield_now};

/// The hub of an OS thread that no other test has.
fn on_a_thread_of_its_own(body: impl FnOnce() + Send) {
    std::thread::scope(|threads| {
        let thread = std::thread::Builder::new().name(format!("inspected {:?}", std::thread::current().id()));
        thread.spawn_scoped(threads, body).unwrap();
    });
}

fn mine() -> HubInfo {
    let name = std::thread::current().name().map(String::from);
    hubs().into_iter().find(|hub| hub.os_thread == name).expect("the hub of this OS thread")
}

#[test]
fn switches_turns_and_green_threads_are_counted() {
    on_a_thread_of_its_own(|| {
        get_hub();
        assert_eq!((mine().switches, mine().turns, mine().green_threads), (0, 0, 0));
        let threads: Vec<_> = (0..3).map(|_| spawn(|| (0..10).for_each(|_| yield_now()))).collect();
        yield_now();
        assert_eq!(mine().green_threads, 3);
        threads.into_iter().for_each(|thread| thread.wait().unwrap());
        let info = mine();
        assert!(info.switches >= 30, "{info:?}");
        assert_eq!(info.green_threads, 0);
        sleep(millis(1));
        assert!(mine().turns > 0);
    });
}

#[test]
fn what_blocks_the_os_thread_is_the_longest_block_and_makes_timers_late() {
    on_a_thread_of_its_own(|| {
        let fired = Rc::new(Event::new());
        let fires = Rc::clone(&fired);
        // Nothing lets the hub look at its timers before the block, however long this OS thread gets no processor.
        get_hub().schedule_call_global(millis(5), move || assert!(fires.send(()).is_ok()));
        std::thread::sleep(millis(60));
        fired.wait().unwrap();
        let info = mine();
        assert!(info.longest_block >= millis(60) && info.longest_timer_lag >= millis(55), "{info:?}");
        // Waiting is no blocking, however long. What passes until the OS thread gets a processor is, so once will do.
        let is_no_block = |_| {
            let waited = mine().longest_block + millis(500);
            sleep(waited);
            mine().longest_block < waited
        };
        assert!((0..10).any(is_no_block), "{:?}", mine());
        // And one late timer is not the last one for ever.
        let is_less_late = |_| {
            sleep(millis(1));
            mine().timer_lag < info.longest_timer_lag
        };
        assert!((0..1000).any(is_less_late), "{:?}", mine());
    });
}

#[test]
fn all_hubs_are_told_of_and_ended_ones_are_not() {
    let hubs_of_mine = Hubs::new(2).unwrap();
    let ids = || hubs().iter().map(|hub| hub.id).collect::<Vec<_>>();
    hubs_of_mine.spawn(|| ()).wait().unwrap();
    let before = ids();
    let named = hubs().into_iter().filter(|hub| hub.os_thread.as_deref().is_some_and(|name| name.starts_with("hub-")));
    assert_eq!(named.count(), 2);
    hubs_of_mine.stop();
    let after = ids();
    assert!(before.iter().filter(|id| !after.contains(id)).count() >= 2);
}

#[test]
fn on_virtual_time_nothing_is_late() {
    let (block, lag) = simulate(|| {
        (0..100).for_each(|_| sleep(Duration::from_secs(9)));
        let hubs = hubs();
        let hub = hubs.iter().rfind(|hub| hub.os_thread.as_deref() == Some("simulation")).unwrap();
        (hub.longest_block, hub.longest_timer_lag)
    });
    assert!(block < millis(1) && lag == Duration::ZERO, "{block:?} {lag:?}");
}
