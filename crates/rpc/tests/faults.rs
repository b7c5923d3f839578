//! Lost connections, lost messages, reordering, poison, floods, kills: under seeds where order matters.

#[path = "../../greenloom/tests/common/mod.rs"]
mod common;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::simulate;
use greenloom::testing::explore;
use greenloom::{hub::now, sleep, spawn};
use greenloom_rpc::memory::{Bus, Faults};
use greenloom_rpc::transport::{Address, Outgoing, TransportError};
use greenloom_rpc::{Client, Connection, Endpoint, EndpointBuilder, Error, Failure, Fanout, Options, Target};
use serde::{Deserialize, Serialize};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Serialize, Deserialize)]
struct Work {
    number: u32,
}

type Seen = Rc<RefCell<BTreeMap<u32, u32>>>;

/// A server that notes how often it worked on what, and takes a while for it.
fn server(bus: &Bus, workers: usize, seen: &Seen) -> Connection {
    let seen = seen.clone();
    let endpoint = Endpoint::builder().method("work", move |_, _, Work { number }| {
        sleep(Duration::from_millis(u64::from(number % 4)));
        *seen.borrow_mut().entry(number).or_default() += 1;
        Ok(number)
    });
    consume(bus, Options::new().workers(workers).tries(1000), endpoint)
}

/// Serves topic `t` with what the endpoint does.
fn consume(bus: &Bus, options: Options, endpoint: EndpointBuilder<()>) -> Connection {
    let connection = options.connect_over(bus.connect());
    connection.create_consumer("t", [endpoint.build()], Fanout::Ignore).unwrap();
    connection.consume_in_threads().unwrap();
    connection
}

fn client(bus: &Bus) -> Client {
    Client::new(&Options::new().connect_over(bus.connect()), Target::topic("t"))
}

#[test]
fn every_cast_that_was_taken_over_is_worked_on_once_whatever_is_cut() {
    explore(150, |seed| {
        let bus = Bus::with_faults(Faults { seed, cut: 0.15, reorder: 0.3, ..Faults::default() });
        let seen = Seen::default();
        let server = server(&bus, 1 + seed as usize % 5, &seen);
        let clients: Vec<_> = (0..4)
            .map(|part| {
                let client = client(&bus).resend(u32::MAX);
                spawn(move || (0..10).for_each(|n| client.cast("work", &Work { number: 10 * part + n }).unwrap()))
            })
            .collect();
        clients.into_iter().for_each(|client| client.wait().unwrap());
        sleep(60 * SECOND);
        let stats = server.stats().unwrap();
        assert_eq!(*seen.borrow(), (0..40).map(|number| (number, 1)).collect(), "{stats}");
        assert_eq!((stats.consumers[0].queues[0].ready, stats.consumers[0].queues[0].unsettled), (0, Some(0)));
    });
}

#[test]
fn every_call_that_is_resent_is_answered_though_connections_are_cut() {
    explore(100, |seed| {
        let bus = Bus::with_faults(Faults { seed, cut: 0.1, reorder: 0.3, ..Faults::default() });
        let seen = Seen::default();
        let _server = server(&bus, 3, &seen);
        let callers: Vec<_> = (0..12)
            .map(|number| {
                let client = client(&bus).resend(u32::MAX).timeout(600 * SECOND);
                spawn(move || client.call::<u32>("work", &Work { number }).unwrap())
            })
            .collect();
        let answers: Vec<u32> = callers.into_iter().map(|caller| caller.wait().unwrap()).collect();
        assert_eq!(answers, (0..12).collect::<Vec<_>>());
        assert!(seen.borrow().values().all(|times| *times == 1), "{:?}", seen.borrow());
    });
}

#[test]
fn callers_always_hear_something_though_messages_are_lost() {
    let outcomes = Arc::new(Mutex::new([0; 3]));
    explore(100, |seed| {
        let bus = Bus::with_faults(Faults { seed, cut: 0.05, lose: 0.1, reorder: 0.2 });
        let _server = server(&bus, 3, &Seen::default());
        let callers: Vec<_> = (0..12)
            .map(|number| {
                let client = client(&bus).timeout(5 * SECOND);
                spawn(move || client.call::<u32>("work", &Work { number }))
            })
            .collect();
        for (number, caller) in (0..).zip(callers) {
            let outcome = match caller.wait().unwrap() {
                Ok(answer) => {
                    assert_eq!(answer, number);
                    0
                }
                Err(Error::Timeout { .. }) => 1,
                Err(Error::Transport(TransportError::Disconnected(_))) => 2,
                Err(error) => panic!("{error}"),
            };
            outcomes.lock().unwrap()[outcome] += 1;
        }
        assert!(now() < 40 * SECOND, "{:?}", now());
    });
    let outcomes = outcomes.lock().unwrap();
    assert!(outcomes.iter().all(|count| *count > 10), "answered, timed out, cut: {outcomes:?}");
}

#[test]
fn a_call_under_way_fails_when_the_connection_is_lost_and_is_made_again_if_that_was_chosen() {
    simulate(|| {
        let bus = Bus::new();
        let worked = Rc::new(Cell::new(0));
        let counted = worked.clone();
        let endpoint = Endpoint::builder().method("work", move |_, _, ()| {
            counted.set(counted.get() + 1);
            sleep(10 * SECOND);
            Ok("done")
        });
        let server = Options::new().connect_over(bus.connect());
        server.create_consumer("t", [endpoint.build()], Fanout::Ignore).unwrap();
        server.consume_in_threads().unwrap();
        let call = |client: Client| spawn(move || (client.call::<String>("work", &()), now()));
        let (plain, resent) = (call(client(&bus)), call(client(&bus).resend(3)));
        sleep(SECOND);
        bus.cut(2 * SECOND);
        let (outcome, at) = plain.wait().unwrap();
        assert!(matches!(outcome, Err(Error::Transport(TransportError::Disconnected(_)))));
        assert_eq!(at, SECOND);
        let (outcome, at) = resent.wait().unwrap();
        // The work of the first try went on, and its answer found the caller.
        assert_eq!((outcome.unwrap().as_str(), at), ("done", 10 * SECOND));
        sleep(60 * SECOND);
        assert_eq!(worked.get(), 2);
        assert_eq!(server.stats().unwrap().consumers[0].queues[0].ready, 0);
    });
}

#[test]
fn a_request_that_comes_again_is_answered_again_and_not_worked_on() {
    simulate(|| {
        let bus = Bus::new();
        let seen = Seen::default();
        let server = server(&bus, 1, &seen);
        let transport = bus.connect();
        let replies = transport.listen(&[Address::Reply { queue: "reply_1".into() }], 0).unwrap();
        let topic = Address::Topic { exchange: "openstack".into(), topic: "t".into() };
        let body =
            br#"{"method": "work", "args": {"number": 7}, "_unique_id": "u", "_msg_id": "m", "_reply_q": "reply_1"}"#;
        for round in 0..2 {
            transport.send(&topic, Outgoing { body: body[..].into(), ..Outgoing::default() }).unwrap();
            let incoming = greenloom::timeout(SECOND, || replies.next().unwrap()).unwrap();
            let body = incoming.body.clone();
            incoming.settle.ack().unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&answer["result"], &answer["_msg_id"]), (&7.into(), &"m".into()), "round {round}");
        }
        assert_eq!(seen.borrow()[&7], 1);
        assert_eq!(server.stats().unwrap().consumers[0].duplicates, 1);
    });
}

#[test]
fn copies_of_a_request_in_work_wait_for_its_end() {
    simulate(|| {
        let bus = Bus::new();
        let worked = Rc::new(Cell::new(0));
        let counted = worked.clone();
        let endpoint = Endpoint::builder().method("work", move |_, _, ()| {
            counted.set(counted.get() + 1);
            sleep(10 * SECOND);
            Ok(())
        });
        let server = consume(&bus, Options::new().tries(2), endpoint);
        let topic = Address::Topic { exchange: "openstack".into(), topic: "t".into() };
        let body = br#"{"method": "work", "_unique_id": "u"}"#;
        let send = || bus.connect().send(&topic, Outgoing { body: body[..].into(), ..Outgoing::default() }).unwrap();
        (0..3).for_each(|_| send());
        sleep(SECOND);
        let consumer = || server.stats().unwrap().consumers.remove(0);
        assert_eq!((consumer().duplicates, consumer().queues[0].unsettled), (2, Some(3)));
        sleep(10 * SECOND);
        send();
        sleep(SECOND);
        let consumer = consumer();
        assert_eq!((worked.get(), consumer.received, consumer.buried), (1, 4, 0));
        assert_eq!((consumer.queues[0].ready, consumer.queues[0].unsettled), (0, Some(0)));
    });
}

#[test]
fn what_comes_again_over_a_new_connection_while_it_is_in_work_is_no_poison() {
    simulate(|| {
        let bus = Bus::new();
        let worked = Rc::new(Cell::new(0));
        let counted = worked.clone();
        let endpoint = Endpoint::builder().method("work", move |_, _, ()| {
            counted.set(counted.get() + 1);
            sleep(10 * SECOND);
            Ok("done")
        });
        let server = consume(&bus, Options::new().tries(1), endpoint);
        client(&bus).cast("work", &()).unwrap();
        for _ in 0..3 {
            sleep(SECOND);
            bus.cut(Duration::ZERO);
        }
        sleep(20 * SECOND);
        let consumer = server.stats().unwrap().consumers.remove(0);
        assert_eq!((worked.get(), consumer.duplicates, consumer.buried), (1, 3, 0));
        assert_eq!((consumer.queues[0].ready, consumer.queues[0].unsettled), (0, Some(0)));
    });
}

#[test]
fn poison_is_tried_so_many_times_and_kept() {
    simulate(|| {
        let bus = Bus::new();
        let tried = Rc::new(Cell::new(0));
        let counted = tried.clone();
        let endpoint = Endpoint::builder()
            .method("poison", move |_, _, ()| -> Result<(), Failure> {
                counted.set(counted.get() + 1);
                panic!("it hurts");
            })
            .method("fine", |_, _, ()| Ok("fine"))
            .method("refuses", |_, _, ()| Err::<(), _>(Failure::new("ValueError", "no")));
        let server = consume(&bus, Options::new().tries(3), endpoint);
        let client = client(&bus);
        client.cast("poison", &()).unwrap();
        // An error is an answer, not poison.
        client.cast("refuses", &()).unwrap();
        assert_eq!(client.call::<String>("fine", &()).unwrap(), "fine");
        sleep(SECOND);
        assert_eq!(tried.get(), 3);
        let topic = Address::Topic { exchange: "openstack".into(), topic: "t".into() };
        for garbage in [&b"garbage"[..], b"\xff\xfe", b"{}", b"[1, 2]"] {
            bus.connect().send(&topic, Outgoing { body: garbage.into(), ..Outgoing::default() }).unwrap();
        }
        sleep(SECOND);
        let stats = server.stats().unwrap();
        let consumer = &stats.consumers[0];
        assert_eq!((consumer.buried, consumer.retried, consumer.methods["poison"].panicked), (5, 2, 3));
        let depths: Vec<_> = consumer.queues.iter().map(|depth| (depth.queue.as_str(), depth.ready)).collect();
        assert!(depths.contains(&("t", 0)) && depths.contains(&("t.dead", 5)), "{depths:?}");
        let transport = bus.connect();
        let dead = transport.listen(&[Address::Dead { topic: "t".into() }], 0).unwrap();
        let first = dead.next().unwrap();
        assert_eq!(first.reason.as_deref(), Some("tried 3 times: RuntimeError: poison panicked: it hurts"));
        assert!(String::from_utf8_lossy(&first.body).contains("\"method\":\"poison\""));
    });
}

#[test]
fn what_ends_its_server_again_and_again_is_given_up() {
    simulate(|| {
        let bus = Bus::new();
        let sender = client(&bus);
        for round in 0..4 {
            let endpoint = Endpoint::builder().method("hang", |_, _, ()| {
                sleep(3600 * SECOND);
                Ok(())
            });
            let server = consume(&bus, Options::new().tries(3), endpoint);
            if round == 0 {
                sender.cast("hang", &()).unwrap();
            }
            sleep(SECOND);
            assert_eq!(server.stats().unwrap().consumers[0].buried, u64::from(round == 3), "round {round}");
            // As if the process had died.
            server.close();
        }
    });
}

#[test]
fn a_flood_fills_the_queue_and_no_more_and_starves_no_timer() {
    let bus = Bus::with_limit(200);
    let connection = Options::new().workers(4).connect_over(bus.connect());
    let worked = Rc::new(Cell::new(0u32));
    let counted = worked.clone();
    let endpoint = Endpoint::builder().method("work", move |_, _, Work { .. }| {
        counted.set(counted.get() + 1);
        if counted.get().is_multiple_of(100) {
            sleep(Duration::from_micros(100));
        }
        Ok(())
    });
    connection.create_consumer("t", [endpoint.build()], Fanout::Ignore).unwrap();
    connection.consume_in_threads().unwrap();
    let done = Rc::new(Cell::new(false));
    let (deepest, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let watch = {
        let (done, deepest, most, connection) = (done.clone(), deepest.clone(), most.clone(), connection.clone());
        spawn(move || {
            let mut ticks = 0;
            while !done.get() {
                sleep(Duration::from_millis(1));
                ticks += 1;
                let stats = connection.stats().unwrap();
                let topic = &stats.consumers[0];
                let depth = &topic.queues[0];
                deepest.set(deepest.get().max(depth.ready + depth.unsettled.unwrap()));
                most.set(most.get().max(topic.in_work));
            }
            ticks
        })
    };
    let began = now();
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let client = client(&bus);
            spawn(move || (0..10_000).for_each(|number| client.cast("work", &Work { number }).unwrap()))
        })
        .collect();
    floods.into_iter().for_each(|flood| flood.wait().unwrap());
    assert!(connection.stop_consuming(60 * SECOND));
    let took = now() - began;
    done.set(true);
    let ticks: u32 = watch.wait().unwrap();
    assert!(worked.get() >= 40_000 - 200, "{}", worked.get());
    assert!(deepest.get() <= 200 && most.get() <= 4, "{} in the queue, {} in work", deepest.get(), most.get());
    // A tick takes a millisecond, and may be late; had timers to wait for the flood, there would be a handful.
    assert!(f64::from(ticks) > took.as_secs_f64() * 1000.0 / 10.0, "{ticks} ticks in {took:?}");
}

#[test]
fn callers_that_are_killed_or_time_out_leave_nothing_behind() {
    simulate(|| {
        let bus = Bus::new();
        let endpoint = Endpoint::builder().method("work", |_, _, Work { number }| {
            sleep(5 * SECOND);
            Ok(number)
        });
        let server = consume(&bus, Options::new().workers(2), endpoint);
        let connection = Options::new().connect_over(bus.connect());
        let client = Client::new(&connection, Target::topic("t"));
        let calling = |number| {
            let client = client.clone();
            spawn(move || client.call::<u32>("work", &Work { number }))
        };
        let callers: Vec<_> = (0..4).map(calling).collect();
        let scoped = greenloom::timeout(SECOND, || client.call::<u32>("work", &Work { number: 9 }).unwrap());
        assert!(scoped.is_err());
        callers[0].kill();
        callers[2].kill();
        assert_eq!(connection.stats().unwrap().client.waiting, 2);
        let answers: Vec<_> = callers.into_iter().filter_map(|caller| caller.wait().ok()).map(Result::unwrap).collect();
        assert_eq!(answers, [1, 3]);
        sleep(60 * SECOND);
        let stats = connection.stats().unwrap().client;
        assert_eq!((stats.waiting, stats.late), (0, 3));
        assert_eq!(server.stats().unwrap().consumers[0].in_work, 0);
    });
}

#[test]
fn closing_fails_the_calls_under_way() {
    simulate(|| {
        let bus = Bus::new();
        let _server = server(&bus, 1, &Seen::default());
        let endpoint = Endpoint::builder().method("hang", |_, _, ()| {
            sleep(3600 * SECOND);
            Ok(())
        });
        let hanging = Options::new().connect_over(bus.connect());
        hanging.create_consumer("h", [endpoint.build()], Fanout::Ignore).unwrap();
        hanging.consume_in_threads().unwrap();
        let connection = Options::new().connect_over(bus.connect());
        let client = Client::new(&connection, Target::topic("h"));
        let caller = spawn(move || client.call::<()>("hang", &()).unwrap_err());
        sleep(SECOND);
        connection.close();
        assert!(matches!(caller.wait().unwrap(), Error::Transport(TransportError::Disconnected(_))));
        assert_eq!(now(), SECOND);
    });
}
