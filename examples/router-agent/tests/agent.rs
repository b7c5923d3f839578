//! The agent's logic on virtual time, against a device of the test's own in the same hub.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::{self, TcpStream};
use greenloom::testing::Simulation;
use greenloom::{sleep, spawn};
use router_agent::agent::{Agent, Counts};

type Log = Rc<RefCell<Vec<String>>>;

/// Runs an agent on `feed` and returns what it counted and what the device was asked, in order.
fn work(feed: &str, workers: usize) -> (Counts, Vec<String>) {
    work_with_seed(feed, workers, 5)
}

fn work_with_seed(feed: &str, workers: usize, seed: u64) -> (Counts, Vec<String>) {
    Simulation::new()
        .seed(seed)
        .run(|| {
            let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
            let address = listener.local_addr().unwrap();
            let asked: Log = Rc::default();
            let (log, serving) = (asked.clone(), listener.clone());
            let busy: Rc<RefCell<HashSet<String>>> = Rc::default();
            drop(spawn(move || {
                net::serve(&*serving, 100, move |stream, _| answer(&stream, &log, &busy)).unwrap();
            }));
            let agent = Agent::new(address, workers);
            for (line, update) in router_agent::feed::parse(feed).map(Result::unwrap) {
                drop(agent.update(line, update));
            }
            let worker = agent.clone();
            let working = spawn(move || worker.process_routers());
            agent.wait_until_done();
            agent.stop();
            working.wait().unwrap();
            (agent.counts(), asked.take())
        })
        .unwrap()
}

/// Refuses what says `fails=always`, and fails the test when a router is worked on twice at a time.
fn answer(stream: &TcpStream, log: &Log, busy: &RefCell<HashSet<String>>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(busy.borrow_mut().insert(words[2].into()), "two workers at {}", words[2]);
        sleep(Duration::from_secs(1));
        busy.borrow_mut().remove(words[2]);
        log.borrow_mut().push(format!("{} {}", words[2], words[4..].join(" ")));
        let mut stream = stream;
        stream.write_all(if words[3] == "always" { b"error busy\n" } else { b"ok\n" }).unwrap();
    }
}

#[test]
fn one_router_is_never_worked_on_twice_at_a_time() {
    let feed: String = (0..60).map(|number| format!("r{} normal set-gateway {number}\n", number % 3)).collect();
    let (counts, asked) = work(&feed, 8);
    assert_eq!((counts.applied, asked.len()), (60, 60));
    for router in ["r0", "r1", "r2"] {
        let order: Vec<usize> = asked
            .iter()
            .filter_map(|line| line.strip_prefix(&format!("{router} set-gateway ")))
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(order.is_sorted(), "{router}: {order:?}");
    }
}

#[test]
fn urgent_updates_go_first() {
    let (_, asked) = work("a low sync\nb normal sync\nc high sync\na high delete\n", 1);
    assert_eq!(asked, ["c sync", "a delete", "a sync", "b sync"]);
}

#[test]
fn a_repeat_of_a_waiting_update_is_merged() {
    let (counts, asked) = work("a low sync\na low sync\na low delete\n", 1);
    assert_eq!((counts.merged, counts.applied, asked.len()), (1, 2, 2));
}

#[test]
fn a_repeat_is_not_merged_across_another_change() {
    let (counts, asked) = work("a low set-gateway 1\na low clear-gateway\na low set-gateway 1\n", 1);
    assert_eq!(counts.merged, 0);
    assert_eq!(asked, ["a set-gateway 1", "a clear-gateway", "a set-gateway 1"]);
}

/// Feeds of a seed each, with few routers and changes, so that repeats and routers in work are common.
fn random_feed(seed: u64) -> String {
    let mut state = seed;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % limit
    };
    let lines = (0..40).map(|_| {
        let priority = ["high", "normal", "low"][below(3) as usize];
        let fails = ["", "", "", " fails=always"][below(4) as usize];
        format!("r{} {priority} set-gateway {}{fails}\n", below(4), below(3))
    });
    lines.collect()
}

#[test]
fn every_update_ends_in_one_way_under_any_schedule() {
    for seed in 0..60 {
        let feed = random_feed(seed);
        let (counts, asked) = work_with_seed(&feed, 1 + seed as usize % 5, seed);
        assert_eq!(counts.received, 40, "seed {seed}");
        assert_eq!(counts.applied + counts.merged + counts.given_up.len(), 40, "seed {seed}: {counts:?}");
        assert_eq!(asked.len(), counts.applied + counts.retried + counts.given_up.len(), "seed {seed}: {counts:?}");
        assert_eq!(counts.waiting, 0, "seed {seed}");
        assert!(counts.given_up.iter().all(|job| job.problem == "the device says: busy"), "seed {seed}: {counts:?}");
    }
}

#[test]
fn what_never_goes_through_is_given_up_and_does_not_hold_up_the_others() {
    let (counts, asked) = work("a high sync fails=always\na low delete\n", 1);
    assert_eq!((counts.given_up.len(), counts.retried, counts.applied), (1, 3, 1));
    assert_eq!(counts.given_up[0].line, 1);
    assert_eq!(asked, ["a sync", "a delete", "a sync", "a sync", "a sync"]);
}
