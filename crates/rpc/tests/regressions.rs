//! What was once wrong and belongs to no other file of these tests.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::simulate;
use greenloom::{hub::now, sleep};
use greenloom_rpc::memory::Bus;
use greenloom_rpc::{Client, Connection, Endpoint, Error, Fanout, Options, Target};
use serde::{Deserialize, Serialize};

fn server(bus: &Bus) -> Connection {
    let connection = Options::new().connect_over(bus.connect());
    let adder = Endpoint::builder().method("add", |_, _, Add { left, right }| Ok(left + right)).build();
    connection.create_consumer("math", [adder], Fanout::Ignore).unwrap();
    connection.consume_in_threads().unwrap();
    connection
}

fn client(bus: &Bus, limit: Duration) -> Client {
    Client::new(&Options::new().connect_over(bus.connect()), Target::topic("math")).timeout(limit)
}

#[derive(Serialize, Deserialize)]
struct Add {
    left: i64,
    right: i64,
}

// The clock that a limit was measured with began anew at each step: a full queue, then the answer.
#[test]
fn a_full_queue_costs_a_caller_no_more_than_its_limit() {
    simulate(|| {
        let bus = Bus::with_limit(1);
        assert!(server(&bus).stop_consuming(Duration::from_secs(1)));
        let client = client(&bus, Duration::from_secs(1));
        client.cast("add", &()).unwrap();
        let began = now();
        assert!(matches!(client.cast("add", &()), Err(Error::Timeout { .. })));
        assert_eq!(now() - began, Duration::from_secs(1));
        assert!(matches!(client.call::<()>("add", &()), Err(Error::Timeout { .. })));
        assert_eq!(now() - began, Duration::from_secs(2));
    });
}

// A time was added to the clock's and overflowed.
#[test]
fn limits_longer_than_any_clock_are_none() {
    simulate(|| {
        // At the very beginning of time even those can be added.
        sleep(Duration::from_secs(1));
        for limit in [Duration::MAX, Duration::from_millis(u64::MAX)] {
            let bus = Bus::new();
            let server = server(&bus);
            let client = client(&bus, limit).monitor(limit);
            assert_eq!(client.call::<i64>("add", &Add { left: 2, right: 3 }).unwrap(), 5);
            client.cast("add", &Add { left: 2, right: 3 }).unwrap();
            assert!(server.stop_consuming(limit));
        }
    });
}
