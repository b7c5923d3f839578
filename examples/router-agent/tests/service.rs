//! A server and its agents on a bus in memory, on virtual time, with a device of the test's own.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::{self, TcpStream};
use greenloom::testing::Simulation;
use greenloom::{hub::now, sleep, spawn};
use greenloom_rpc::Service;
use router_agent::agent::{Agent, Counts};
use router_agent::feed::{self, Update};
use router_agent::manager;
use router_agent::server::Server;

const BUS: &str = "memory://";

/// Every change that the device was asked for, in order.
type Asked = Rc<RefCell<Vec<String>>>;

fn simulate<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    Simulation::new().run(body).unwrap_or_else(|deadlock| panic!("{deadlock}"))
}

fn device() -> (SocketAddr, Asked) {
    let listener = Rc::new(net::listen("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let log = asked.clone();
    drop(spawn(move || net::serve(&*listener, 100, move |stream, _| answer(&stream, &log))));
    (address, asked)
}

fn answer(stream: &TcpStream, asked: &Asked) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        asked.borrow_mut().push(format!("{} {}", words[2], words[4..].join(" ")));
        sleep(Duration::from_millis(100));
        let mut stream = stream;
        stream.write_all(if words[3] == "always" { b"error busy\n" } else { b"ok\n" }).unwrap();
    }
}

fn agent(device: SocketAddr, name: &str) -> Service {
    let service = manager::service(Agent::new(device, 4), BUS, name);
    service.start().unwrap();
    service
}

fn updates(count: usize) -> Vec<(usize, Update)> {
    let text: String = (0..count).map(|number| format!("r{number} normal set-gateway {number}\n")).collect();
    feed::parse(&text).map(Result::unwrap).collect()
}

/// Feeds the agents and waits for the end.
fn work_through(server: &Server, updates: Vec<(usize, Update)>) -> Counts {
    server.feed(updates, |error| panic!("{error}")).unwrap();
    greenloom::timeout(Duration::from_secs(3600), || server.wait_until_done()).expect("every update ends");
    server.counts()
}

#[test]
fn agents_share_the_updates_of_a_topic() {
    simulate(|| {
        let (device, asked) = device();
        let updates = updates(300);
        let server = Server::start(BUS, &updates).unwrap();
        let _agents = ["a", "b", "c"].map(|name| agent(device, name));
        let counts = work_through(&server, updates);
        assert_eq!((counts.received, counts.applied, asked.borrow().len()), (300, 300, 300));
        let shares: Vec<_> = server.agents().into_iter().collect();
        assert_eq!(shares, [("a".into(), 100), ("b".into(), 100), ("c".into(), 100)]);
        // Twelve at a time, each for a tenth of a second; one agent would take three times as long.
        assert!(now() < Duration::from_secs(4), "{:?}", now());
    });
}

#[test]
fn an_agent_that_is_stopped_leaves_to_the_others_what_it_has_not_begun() {
    simulate(|| {
        let (device, asked) = device();
        let updates = updates(200);
        let server = Server::start(BUS, &updates).unwrap();
        let (leaving, _staying) = (agent(device, "leaving"), agent(device, "staying"));
        drop(spawn(move || {
            sleep(Duration::from_secs(1));
            leaving.stop();
        }));
        let counts = work_through(&server, updates);
        assert_eq!((counts.applied, asked.borrow().len()), (200, 200));
        let shares = server.agents();
        assert!((30..=60).contains(&shares["leaving"]), "{shares:?}");
    });
}

#[test]
fn an_agent_that_is_lost_leaves_all_it_had_in_hand() {
    simulate(|| {
        let (device, asked) = device();
        let updates = updates(200);
        let server = Server::start(BUS, &updates).unwrap();
        let (lost, _staying) = (agent(device, "lost"), agent(device, "staying"));
        drop(spawn(move || {
            sleep(Duration::from_secs(1));
            // As if the process had died.
            lost.connection().unwrap().close();
        }));
        let counts = work_through(&server, updates);
        assert_eq!(counts.applied, 200);
        // What it had begun, or not told of, is done twice.
        assert!(asked.borrow().len() >= 200, "{}", asked.borrow().len());
        let shares = server.agents();
        assert_eq!(shares.values().sum::<usize>(), 200, "{shares:?}");
    });
}

#[test]
fn an_agent_that_restarts_goes_on() {
    simulate(|| {
        let (device, _) = device();
        let updates = updates(100);
        let server = Server::start(BUS, &updates).unwrap();
        let service = agent(device, "a");
        drop(spawn(move || {
            sleep(Duration::from_secs(1));
            service.restart().unwrap();
        }));
        assert_eq!(work_through(&server, updates).applied, 100);
    });
}

#[test]
fn a_server_waits_for_the_first_agent() {
    simulate(|| {
        let (device, _) = device();
        let updates = updates(10);
        let server = Server::start(BUS, &updates).unwrap();
        let _agent = greenloom::spawn_after(Duration::from_secs(5), move || agent(device, "late"));
        let waited = RefCell::new(0);
        server.feed(updates, |_| *waited.borrow_mut() += 1).unwrap();
        server.wait_until_done();
        assert_eq!((*waited.borrow(), server.counts().applied), (10, 10));
    });
}

#[test]
fn what_never_goes_through_is_told_with_the_reason() {
    simulate(|| {
        let (device, _) = device();
        let updates: Vec<_> = feed::parse("r1 high sync fails=always\nr1 low sync\n").map(Result::unwrap).collect();
        let server = Server::start(BUS, &updates).unwrap();
        let _agent = agent(device, "a");
        let counts = work_through(&server, updates);
        assert_eq!((counts.applied, counts.retried, counts.given_up.len()), (1, 3, 1));
        assert_eq!(counts.given_up[0].problem, "the device says: busy");
    });
}
