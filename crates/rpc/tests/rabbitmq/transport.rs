//! The transport: addresses, settling, listeners.

use std::rc::Rc;
use std::time::Duration;

use greenloom::{hub::now, sleep, spawn, yield_now};
use greenloom_rpc::amqp::{ExchangeFlags, QueueFlags, Table};
use greenloom_rpc::open_transport;
use greenloom_rpc::transport::{Address, Incoming, Listener, Outgoing, State, Transport, TransportError};

use crate::broker::{PATIENCE, SECOND, channel, eventually, name, script, url};

fn transport(query: &str) -> Rc<dyn Transport> {
    open_transport(&url(query)).unwrap()
}

fn topic_of(topic: &str) -> Address {
    Address::Topic { exchange: "openstack".into(), topic: topic.into() }
}

fn server_of(topic: &str, server: &str) -> Address {
    Address::Server { exchange: "openstack".into(), topic: topic.into(), server: server.into() }
}

fn fanout_of(topic: &str) -> Address {
    Address::Fanout { topic: topic.into() }
}

fn send(bus: &Rc<dyn Transport>, to: &Address, body: &str) -> Result<(), TransportError> {
    bus.send(to, Outgoing { body: body.as_bytes().into(), mandatory: true, ..Outgoing::default() })
}

/// The next message, which has to come soon.
fn next(listener: &Rc<dyn Listener>) -> Incoming {
    greenloom::timeout(PATIENCE, || listener.next()).expect("a message comes").unwrap()
}

fn text(incoming: &Incoming) -> String {
    String::from_utf8(incoming.body.to_vec()).unwrap()
}

fn ready(bus: &Rc<dyn Transport>, of: &Address) -> Option<usize> {
    bus.depth(of).unwrap().map(|depth| depth.ready)
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn topics_are_shared_servers_are_addressed_and_fanouts_reach_all() {
    let (bus, topic) = (transport(""), name("topic"));
    let listen =
        |server: &str| bus.listen(&[topic_of(&topic), server_of(&topic, server), fanout_of(&topic)], 10).unwrap();
    let (one, two) = (listen("one"), listen("two"));
    send(&bus, &server_of(&topic, "two"), "to two").unwrap();
    let incoming = next(&two);
    assert_eq!((text(&incoming), &*incoming.queue), ("to two".into(), format!("{topic}.two").as_str()));
    incoming.settle.ack().unwrap();

    bus.send(&fanout_of(&topic), Outgoing { body: b"to all".as_slice().into(), ..Outgoing::default() }).unwrap();
    for listener in [&one, &two] {
        let incoming = next(listener);
        assert!(incoming.queue.starts_with(&format!("{topic}_fanout_")), "{}", incoming.queue);
        assert_eq!(text(&incoming), "to all");
        incoming.settle.ack().unwrap();
    }

    let bodies: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    bodies.iter().for_each(|body| send(&bus, &topic_of(&topic), body).unwrap());
    let mut got = Vec::new();
    for listener in [&one, &two, &one, &two, &one, &two] {
        let incoming = next(listener);
        got.push(text(&incoming));
        incoming.settle.ack().unwrap();
    }
    assert_eq!(got, bodies, "they take turns");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn what_a_listener_has_not_settled_comes_back_in_order() {
    let (bus, topic) = (transport(""), topic_of(&name("topic")));
    let first = bus.listen(std::slice::from_ref(&topic), 3).unwrap();
    (0..5).for_each(|number: u8| send(&bus, &topic, &number.to_string()).unwrap());
    next(&first).settle.ack().unwrap();
    let (handed, dropped) = (next(&first), next(&first));
    assert_eq!((text(&handed), handed.tries), ("1".into(), 0));
    drop(dropped);
    first.stop();
    assert!(matches!(first.next(), Err(TransportError::Closed)));
    let second = bus.listen(std::slice::from_ref(&topic), 10).unwrap();
    for number in 2..5 {
        let incoming = next(&second);
        assert_eq!(text(&incoming), number.to_string());
        assert_eq!(incoming.tries, u32::from(number < 4), "3 was fetched ahead, 4 was never out");
        incoming.settle.ack().unwrap();
    }
    handed.settle.ack().expect("what was handed out can still be settled");
    assert_eq!(ready(&bus, &topic), Some(0));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_listener_hands_out_no_more_than_its_prefetch_over_all_its_queues() {
    let (bus, topic) = (transport(""), name("topic"));
    let (shared, own) = (topic_of(&topic), server_of(&topic, "a"));
    let listener = bus.listen(&[shared.clone(), own.clone()], 2).unwrap();
    for _ in 0..3 {
        send(&bus, &shared, "shared").unwrap();
        send(&bus, &own, "own").unwrap();
    }
    let held = [next(&listener), next(&listener)];
    let waits = {
        let listener = Rc::clone(&listener);
        spawn(move || listener.next().map(|third| text(&third)))
    };
    sleep(SECOND / 10);
    assert!(!waits.dead());
    let [first, _second] = held;
    first.settle.ack().unwrap();
    waits.wait().unwrap().unwrap();
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_poison_message_is_counted_and_ends_among_the_dead_with_its_reason() {
    let (bus, name) = (transport("amqp_durable_queues=true"), name("topic"));
    let bus_after = transport("");
    let topic = Address::Topic { exchange: "durable".into(), topic: name.clone() };
    let listener = bus.listen(std::slice::from_ref(&topic), 1).unwrap();
    send(&bus, &topic, "poison").unwrap();
    for tries in 0..3 {
        let incoming = next(&listener);
        assert_eq!(incoming.tries, tries);
        incoming.settle.retry().unwrap();
    }
    let incoming = next(&listener);
    assert_eq!(incoming.tries, 3);
    let reason = format!("tried 4 times: {}", "ä".repeat(200_000));
    incoming.settle.bury(&name, &reason, None).unwrap();
    assert_eq!(ready(&bus, &topic), Some(0));

    let dead = Address::Dead { topic: name };
    assert_eq!(ready(&bus, &dead), Some(1));
    let incoming = next(&bus_after.listen(&[dead], 1).unwrap());
    assert_eq!(text(&incoming), "poison");
    assert!(incoming.reason.as_deref().is_some_and(|reason| reason.starts_with("tried 4 times: ä")));
    incoming.settle.ack().unwrap();
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_quorum_queue_counts_tries_by_itself() {
    let bus = transport("rabbit_quorum_queue=true");
    let topic = Address::Topic { exchange: "quorum".into(), topic: name("topic") };
    let listener = bus.listen(std::slice::from_ref(&topic), 1).unwrap();
    send(&bus, &topic, "x").unwrap();
    for tries in 0..3 {
        let incoming = next(&listener);
        assert_eq!((text(&incoming), incoming.tries), ("x".into(), tries));
        incoming.settle.retry().unwrap();
    }
    next(&listener).settle.ack().unwrap();
    assert_eq!(ready(&bus, &topic), Some(0));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn what_nobody_can_get_is_unroutable() {
    let bus = transport("");
    let nowhere = topic_of(&name("topic"));
    assert!(matches!(send(&bus, &nowhere, "x"), Err(TransportError::Unroutable(at)) if at == nowhere));
    let optional = Outgoing { body: b"x".as_slice().into(), ..Outgoing::default() };
    bus.send(&nowhere, optional.clone()).unwrap();
    bus.send(&fanout_of(&name("topic")), optional.clone()).unwrap();
    let gone = Address::Reply { queue: name("reply") };
    assert!(matches!(bus.send(&gone, optional), Err(TransportError::Unroutable(_))));
    assert_eq!(ready(&bus, &nowhere), None);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_fanout_is_sent_after_its_exchange_was_gone() {
    let (bus, topic) = (transport(""), name("topic"));
    let fanout = fanout_of(&topic);
    let message = || Outgoing { body: b"x".as_slice().into(), ..Outgoing::default() };
    for _ in 0..2 {
        let listener = bus.listen(std::slice::from_ref(&fanout), 1).unwrap();
        bus.send(&fanout, message()).unwrap();
        next(&listener).settle.ack().unwrap();
        listener.stop();
        // With its last queue the exchange goes; the channel that sends does not know.
        eventually(|| !script(&["ctl", "list_exchanges", "name"]).contains(&format!("{topic}_fanout")));
        assert!(!script(&["ctl", "list_queues", "name"]).contains(&topic));
        bus.send(&fanout, message()).unwrap();
    }
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_message_whose_time_is_over_is_not_handed_out() {
    let (bus, topic) = (transport(""), topic_of(&name("topic")));
    bus.listen(std::slice::from_ref(&topic), 1).unwrap().stop();
    let expires_at = Some(now() + Duration::from_millis(50));
    bus.send(&topic, Outgoing { body: b"late".as_slice().into(), expires_at, mandatory: true, ..Outgoing::default() })
        .unwrap();
    sleep(SECOND / 5);
    send(&bus, &topic, "in time").unwrap();
    assert_eq!(text(&next(&bus.listen(&[topic], 1).unwrap())), "in time");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn what_exists_with_other_flags_is_used_as_it_is() {
    let (bus, topic, exchange) = (transport(""), name("topic"), name("exchange"));
    let durable = ExchangeFlags { durable: true, auto_delete: false };
    channel().declare_exchange(&exchange, "topic", durable).unwrap();
    channel().declare_queue(&topic, QueueFlags { durable: true, ..QueueFlags::default() }, &Table::new()).unwrap();
    let address = Address::Topic { exchange: exchange.clone(), topic: topic.clone() };
    let listener = bus.listen(std::slice::from_ref(&address), 1).unwrap();
    send(&bus, &address, "x").unwrap();
    next(&listener).settle.ack().unwrap();
    channel().delete_queue(&topic).unwrap();
    channel().delete_exchange(&exchange).unwrap();
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn no_queue_is_of_a_kind_that_rabbitmq_4_has_deprecated_unless_asked_for() {
    let deprecates = script(&["ctl", "version"]).trim().split('.').next().unwrap().parse::<u32>().unwrap() >= 4;
    for (query, durable) in [("", deprecates), ("amqp_durable_queues=false", false), ("amqp_durable_queues=true", true)]
    {
        let (bus, topic) = (transport(query), name("topic"));
        let reply = Address::Reply { queue: format!("{topic}_reply") };
        // Exchanges of another kind are used as they are, so each has one of its own.
        let exchange = format!("{topic}_exchange");
        let shared = Address::Topic { exchange: exchange.clone(), topic: topic.clone() };
        let one = Address::Server { exchange, topic: topic.clone(), server: "one".into() };
        let _listener = bus.listen(&[shared, one, fanout_of(&topic), reply], 1).unwrap();
        let listed = script(&["ctl", "list_queues", "name", "durable", "exclusive"]);
        let queues: Vec<&str> = listed.lines().filter(|line| line.starts_with(&topic)).collect();
        assert_eq!(queues.len(), 4, "{listed}");
        for queue in queues {
            let own = queue.contains("_fanout_") || queue.contains("_reply");
            let durable = if own && query.ends_with("true") { deprecates } else { durable };
            assert!(queue.ends_with(&format!("\t{durable}\tfalse")), "{query}: {queue}");
        }
    }
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_queue_that_somebody_deletes_is_declared_again() {
    let (bus, topic) = (transport(""), topic_of(&name("topic")));
    let listener = bus.listen(std::slice::from_ref(&topic), 1).unwrap();
    channel().delete_queue(&topic.to_string()).unwrap();
    assert!(matches!(listener.next(), Err(TransportError::Disconnected(_))));
    eventually(|| send(&bus, &topic, "x").is_ok());
    next(&listener).settle.ack().unwrap();
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_slow_consumer_is_sent_no_more_than_it_wants() {
    const COUNT: usize = 3_000;
    let (bus, topic) = (transport(""), topic_of(&name("topic")));
    let listener = bus.listen(std::slice::from_ref(&topic), 5).unwrap();
    let (sender, to) = (Rc::clone(&bus), topic.clone());
    let senders: Vec<_> = (0..30)
        .map(|_| {
            let (bus, to) = (Rc::clone(&sender), to.clone());
            spawn(move || (0..COUNT / 30).try_for_each(|_| send(&bus, &to, "x")))
        })
        .collect();
    let slow = next(&listener);
    senders.into_iter().for_each(|sender| sender.wait().unwrap().unwrap());
    assert_eq!(ready(&bus, &topic), Some(COUNT - 5));
    slow.settle.ack().unwrap();
    for _ in 1..COUNT {
        next(&listener).settle.ack().unwrap();
    }
    assert_eq!(ready(&bus, &topic), Some(0));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_closed_transport_says_so_to_all_who_use_it() {
    let (bus, topic) = (transport(""), topic_of(&name("topic")));
    let listener = bus.listen(std::slice::from_ref(&topic), 1).unwrap();
    assert!(bus.wait_connected(PATIENCE));
    assert_eq!(bus.state(), State::Connected);
    send(&bus, &topic, "x").unwrap();
    let held = next(&listener);
    let waits: Vec<_> = (0..3)
        .map(|_| {
            let listener = Rc::clone(&listener);
            spawn(move || listener.next().map(drop))
        })
        .collect();
    yield_now();
    bus.close();
    waits.into_iter().for_each(|waits| assert!(matches!(waits.wait().unwrap(), Err(TransportError::Closed))));
    assert_eq!(bus.state(), State::Closed);
    assert!(matches!(send(&bus, &topic, "x"), Err(TransportError::Closed)));
    assert!(matches!(bus.listen(&[topic], 1), Err(TransportError::Closed)));
    assert!(matches!(held.settle.ack(), Err(TransportError::Closed)));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn without_a_broker_there_is_an_error_in_time() {
    let bus = open_transport("amqp://127.0.0.1:1/?connection_timeout=0.3").unwrap();
    let error = send(&bus, &topic_of("topic"), "x").unwrap_err();
    assert!(
        matches!(&error, TransportError::Disconnected(reason) if reason.to_string().contains("refused")),
        "{error}"
    );
    assert!(bus.listen(&[topic_of("topic")], 1).is_err());
    assert!(!bus.wait_connected(SECOND / 10));
    assert_eq!(bus.state(), State::Reconnecting);
    let wrong = open_transport(&url("").replace("guest:guest", "guest:wrong")).unwrap();
    assert!(matches!(send(&wrong, &topic_of("topic"), "x"), Err(TransportError::Failed(_))));
}
