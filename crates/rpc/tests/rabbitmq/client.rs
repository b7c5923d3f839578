//! Connections and channels.

use std::time::Duration;

use greenloom::{Chain, sleep, spawn};
use greenloom_rpc::amqp::{
    Channel, Connection, Error, ExchangeFlags, Link, Message, Options, Properties, QueueFlags, Table, Value,
};

use crate::broker::{
    PATIENCE, SECOND, channel, connect, connect_to, eventually, folder, name, options, port, script, url,
};
use crate::proxy::Proxy;

const EXCLUSIVE: QueueFlags = QueueFlags { durable: false, exclusive: true, auto_delete: false };

fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), Error> {
    let properties = Properties::default();
    let message = Message { exchange: "", routing_key: queue, mandatory: true, properties: &properties, body };
    channel.publish(message)?.wait(PATIENCE)
}

/// An open channel with confirms and a queue of its own.
fn with_queue(prefetch: u16) -> (Channel, String) {
    let (channel, queue) = (channel(), name("queue"));
    channel.confirm_select().unwrap();
    channel.set_prefetch(prefetch).unwrap();
    channel.declare_queue(&queue, EXCLUSIVE, &Table::new()).unwrap();
    (channel, queue)
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn messages_of_all_sizes_come_back_as_they_were_sent() {
    let (channel, queue) = with_queue(10);
    let consumer = channel.consume(&queue).unwrap();
    let frame = 128 * 1024 - 8;
    for size in [0, 1, 100, frame - 1, frame, frame + 1, 3 * frame + 17] {
        let body: Vec<u8> = (0..size).map(|n| (n * 31) as u8).collect();
        let properties = Properties {
            headers: Some(Table::new().with("size", size as i64).with("inner", Table::new().with("yes", true))),
            correlation_id: Some("ä".to_owned()),
            timestamp: Some(7),
            ..Properties::persistent()
        };
        let message =
            Message { exchange: "", routing_key: &queue, mandatory: true, properties: &properties, body: &body };
        channel.publish(message).unwrap().wait(PATIENCE).unwrap();
        let delivery = consumer.next(PATIENCE).unwrap();
        assert!(*delivery.body == *body, "{size}");
        assert_eq!(delivery.properties.headers, properties.headers);
        assert_eq!(delivery.properties.correlation_id.as_deref(), Some("ä"));
        assert_eq!((&*delivery.exchange, &*delivery.routing_key, delivery.redelivered), ("", queue.as_str(), false));
        delivery.ack().unwrap();
    }
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn thousands_of_messages_are_confirmed_and_arrive_in_order() {
    const COUNT: u32 = 5_000;
    let (channel, queue) = with_queue(100);
    let consumer = channel.consume(&queue).unwrap();
    let received = spawn(move || {
        (0..COUNT).all(|number| {
            let delivery = consumer.next(PATIENCE).unwrap();
            let fits = *delivery.body == number.to_be_bytes();
            delivery.ack().unwrap();
            fits
        })
    });
    let properties = Properties::default();
    let confirms: Vec<_> = (0..COUNT)
        .map(|number| {
            let body = number.to_be_bytes();
            let message =
                Message { exchange: "", routing_key: &queue, mandatory: false, properties: &properties, body: &body };
            channel.publish(message).unwrap()
        })
        .collect();
    confirms.iter().for_each(|confirm| confirm.wait(PATIENCE).unwrap());
    assert!(received.wait().unwrap());
    assert_eq!(channel.inspect_queue(&queue).unwrap().messages, 0);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_mandatory_message_without_a_queue_is_an_error_of_its_own() {
    let channel = channel();
    channel.confirm_select().unwrap();
    let queue = name("queue");
    channel.declare_queue(&queue, EXCLUSIVE, &Table::new()).unwrap();
    let properties = Properties::default();
    let to = |routing_key| {
        let message = Message { exchange: "", routing_key, mandatory: true, properties: &properties, body: b"x" };
        channel.publish(message).unwrap()
    };
    let confirms = [to(&queue), to("nobody"), to(&queue), to("nobody either")];
    let outcomes: Vec<_> = confirms.iter().map(|confirm| confirm.wait(PATIENCE)).collect();
    assert!(matches!(
        outcomes.as_slice(),
        [Ok(()), Err(Error::Unroutable { code: 312, .. }), Ok(()), Err(Error::Unroutable { .. })]
    ));
    assert_eq!(channel.inspect_queue(&queue).unwrap().messages, 2);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn prefetch_bounds_what_a_slow_consumer_holds() {
    let (channel, queue) = with_queue(3);
    let consumer = channel.consume(&queue).unwrap();
    for number in 0..10u8 {
        publish(&channel, &queue, &[number]).unwrap();
    }
    // An answer behind all deliveries that there are.
    assert_eq!(channel.inspect_queue(&queue).unwrap().messages, 7);
    assert_eq!(consumer.ready(), 3);
    for number in 0..10u8 {
        let delivery = consumer.next(PATIENCE).unwrap();
        assert_eq!(*delivery.body, [number]);
        assert!(consumer.ready() < 3);
        delivery.ack().unwrap();
    }
    assert!(matches!(consumer.next(Duration::from_millis(50)), Err(Error::TimedOut(_))));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn what_is_dropped_or_rejected_comes_again() {
    let (channel, queue) = with_queue(1);
    publish(&channel, &queue, b"x").unwrap();
    let consumer = channel.consume(&queue).unwrap();
    let next = |redelivered| {
        let delivery = consumer.next(PATIENCE).unwrap();
        assert_eq!(delivery.redelivered, redelivered);
        delivery
    };
    drop(next(false));
    next(true).requeue().unwrap();
    next(true).reject().unwrap();
    assert_eq!(channel.inspect_queue(&queue).unwrap().messages, 0);
    // What a consumer has fetched goes back with it.
    publish(&channel, &queue, b"y").unwrap();
    channel.inspect_queue(&queue).unwrap();
    assert_eq!(consumer.ready(), 1);
    drop(consumer);
    // The broker answers such questions ahead of other work.
    eventually(|| channel.inspect_queue(&queue).unwrap().messages == 1);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_rejected_message_goes_to_the_dead_letter_exchange() {
    let (channel, dead) = with_queue(1);
    let queue = name("queue");
    let arguments = Table::new().with("x-dead-letter-exchange", "").with("x-dead-letter-routing-key", &*dead);
    channel.declare_queue(&queue, EXCLUSIVE, &arguments).unwrap();
    publish(&channel, &queue, b"poison").unwrap();
    channel.consume(&queue).unwrap().next(PATIENCE).unwrap().reject().unwrap();
    let delivery = channel.consume(&dead).unwrap().next(PATIENCE).unwrap();
    let headers = delivery.properties.headers.as_ref().unwrap();
    assert_eq!(headers.get("x-first-death-reason").and_then(Value::as_str), Some("rejected"));
    assert_eq!(*delivery.body, *b"poison");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn an_error_ends_its_channel_and_not_the_connection() {
    let connection = connect();
    let (first, second) = (connection.open_channel().unwrap(), connection.open_channel().unwrap());
    let error = first.inspect_queue("no such queue").unwrap_err();
    assert!(matches!(error, Error::Channel { code: 404, .. }), "{error}");
    assert!(first.ended().is_some());
    let again = first.declare_queue("", EXCLUSIVE, &Table::new()).unwrap_err();
    assert!(matches!(again, Error::Channel { code: 404, .. }), "the reason stays: {again}");
    second.declare_queue("", EXCLUSIVE, &Table::new()).unwrap();
    // Its number is used again.
    connection.open_channel().unwrap().declare_queue("", EXCLUSIVE, &Table::new()).unwrap();
    assert!(connection.ended().is_none());
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn confirms_of_a_channel_that_the_broker_closes_fail_at_once() {
    let channel = channel();
    channel.confirm_select().unwrap();
    let properties = Properties::default();
    let message =
        Message { exchange: "no-such", routing_key: "", mandatory: false, properties: &properties, body: b"" };
    let confirm = channel.publish(message).unwrap();
    assert!(matches!(confirm.wait(PATIENCE), Err(Error::Channel { code: 404, .. })));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_consumer_ends_when_its_queue_is_deleted() {
    let (channel, queue) = with_queue(1);
    let consumer = channel.consume(&queue).unwrap();
    channel.delete_queue(&queue).unwrap();
    assert!(matches!(consumer.next(PATIENCE), Err(Error::Closed)));
    assert!(channel.ended().is_none());
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn thousands_of_channels_come_and_go() {
    let connection = connect();
    for _ in 0..3_000 {
        connection.open_channel().unwrap();
    }
    let many: Vec<_> = (0..200).map(|_| connection.open_channel().unwrap()).collect();
    let queue = many[199].declare_queue("", EXCLUSIVE, &Table::new()).unwrap().queue;
    assert!(queue.starts_with("amq.gen"));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_caller_that_is_killed_leaves_no_answer_behind_for_the_next() {
    let connection = connect();
    let channel = connection.open_channel().unwrap();
    let inner = channel.clone();
    let killed = spawn(move || inner.declare_queue("", EXCLUSIVE, &Table::new()));
    greenloom::yield_now();
    killed.kill();
    assert!(matches!(channel.declare_exchange(&name("x"), "fanout", ExchangeFlags::default()), Err(Error::Closed)));
    connection.open_channel().unwrap();
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_wrong_password_and_a_wrong_virtual_host_are_told() {
    let open = |url: String| {
        let options: Options = url.parse().unwrap();
        Connection::open(&options.brokers[0], &options).unwrap_err()
    };
    let port = port("AMQP");
    let error = open(format!("amqp://guest:wrong@127.0.0.1:{port}"));
    assert!(matches!(error, Error::Connection { code: 403, .. }), "{error}");
    let error = open(format!("amqp://127.0.0.1:{port}/nowhere"));
    assert!(matches!(error, Error::Connection { code: 530, .. }), "{error}");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_broker_that_does_not_speak_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options: Options = format!("amqp://127.0.0.1:{port}/?connection_timeout=0.2").parse().unwrap();
    let error = Connection::open(&options.brokers[0], &options).unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error}");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn heartbeats_keep_an_idle_connection_and_end_a_silent_one() {
    let proxy = Proxy::to(port("AMQP"));
    let options: Options = format!("amqp://127.0.0.1:{}/?heartbeat=1", proxy.port).parse().unwrap();
    let connection = connect_to(&options);
    // The broker would have hung up by now, and so would we.
    sleep(4 * SECOND);
    assert!(connection.ended().is_none());
    let channel = connection.open_channel().unwrap();
    proxy.stall(true);
    let stalled = greenloom::hub::now();
    let error = channel.declare_queue("", EXCLUSIVE, &Table::new()).unwrap_err();
    assert!(matches!(error, Error::Silent), "{error}");
    let took = greenloom::hub::now() - stalled;
    assert!(took < 4 * SECOND, "{took:?}");
    proxy.stall(false);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn publishers_wait_while_the_broker_blocks_them_and_time_out() {
    let mut hasty = options("");
    hasty.answer_timeout = SECOND;
    let (hasty, patient, queue) = (connect_to(&hasty), connect(), name("queue"));
    let open = |connection: &Connection| {
        let channel = connection.open_channel().unwrap();
        channel.confirm_select().unwrap();
        channel
    };
    let (hastily, patiently) = (open(&hasty), open(&patient));
    patiently.declare_queue(&queue, QueueFlags { auto_delete: true, ..QueueFlags::default() }, &Table::new()).unwrap();
    script(&["ctl", "set_vm_memory_high_watermark", "0.00000001"]);
    // The first message is what makes the broker say so. It reads no further until it is done.
    let waits = |channel: &Channel| {
        let (channel, queue) = (channel.clone(), queue.clone());
        spawn(move || publish(&channel, &queue, b"waits"))
    };
    let first = waits(&hastily);
    let outcome = spawn({
        let (hasty, hastily, queue) = (hasty.clone(), hastily.clone(), queue.clone());
        move || {
            eventually(|| hasty.blocked().is_some());
            (hasty.blocked(), publish(&hastily, &queue, b"too late"))
        }
    });
    let patient_one = waits(&patiently);
    let (reason, late) = outcome.wait().unwrap();
    let waited = !patient_one.dead() && !first.dead();
    script(&["ctl", "set_vm_memory_high_watermark", "0.4"]);
    assert!(reason.is_some_and(|reason| reason.contains("memory")));
    assert!(matches!(late, Err(Error::TimedOut(_))), "{late:?}");
    assert!(waited);
    first.wait().unwrap().unwrap();
    patient_one.wait().unwrap().unwrap();
    eventually(|| hasty.blocked().is_none());
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_connection_that_is_closed_fails_what_waits_on_it() {
    let connection = connect();
    let (channel, queue) = (connection.open_channel().unwrap(), name("queue"));
    channel.declare_queue(&queue, EXCLUSIVE, &Table::new()).unwrap();
    let consumer = channel.consume(&queue).unwrap();
    let waits = spawn(move || consumer.next(PATIENCE));
    greenloom::yield_now();
    connection.close();
    assert!(matches!(waits.wait().unwrap(), Err(Error::Closed)));
    assert!(matches!(connection.ended(), Some(Error::Closed)));
    assert!(matches!(connection.open_channel(), Err(Error::Closed)));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn the_next_host_serves_when_the_first_is_down() {
    // Nobody listens on port 1. Whichever is tried first, the other one is tried, too.
    for _ in 0..4 {
        let options: Options = format!("amqp://127.0.0.1:1,127.0.0.1:{}/", port("AMQP")).parse().unwrap();
        let link = Link::new(options).unwrap();
        link.connection(PATIENCE).unwrap().open_channel().unwrap();
        link.close();
        assert!(matches!(link.connection(PATIENCE), Err(Error::Closed)));
    }
    let link = Link::new("amqp://127.0.0.1:1".parse().unwrap()).unwrap();
    let error = link.connection(SECOND / 2).unwrap_err();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_link_and_a_connection_end_when_they_are_dropped() {
    let proxy = Proxy::to(port("AMQP"));
    let options: Options = format!("amqp://127.0.0.1:{}", proxy.port).parse().unwrap();
    let link = Link::new(options.clone()).unwrap();
    let channel = link.connection(PATIENCE).unwrap().open_channel().unwrap();
    let alone = connect_to(&options);
    assert_eq!(proxy.open(), 2);
    drop((link, alone));
    eventually(|| proxy.open() == 0);
    assert!(matches!(channel.ended(), Some(Error::Closed)));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_wrong_password_is_told_at_once_by_a_link() {
    let link = Link::new(url("").replace("guest:guest", "guest:wrong").parse().unwrap()).unwrap();
    assert!(matches!(link.connection(PATIENCE), Err(Error::Connection { code: 403, .. })));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn tls_carries_large_messages_both_ways_and_checks_the_certificate() {
    let url = format!("amqps://localhost:{}/?ssl_ca_file={}", port("AMQPS"), folder().join("ca.pem").display());
    let connection = connect_to(&url.parse().unwrap());
    let channel = connection.open_channel().unwrap();
    channel.confirm_select().unwrap();
    channel.set_prefetch(8).unwrap();
    let queue = channel.declare_queue("", EXCLUSIVE, &Table::new()).unwrap().queue;
    let consumer = channel.consume(&queue).unwrap();
    let body: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
    let sender = {
        let (channel, body) = (channel.clone(), body.clone());
        spawn(move || (0..8).try_for_each(|_| publish(&channel, &queue, &body)))
    };
    for _ in 0..8 {
        let delivery = consumer.next(PATIENCE).unwrap();
        assert!(*delivery.body == *body);
        delivery.ack().unwrap();
    }
    sender.wait().unwrap().unwrap();

    // Another authority, and another name than the certificate's.
    let other: Options = format!("amqps://localhost:{}/", port("AMQPS")).parse().unwrap();
    let error = Connection::open(&other.brokers[0], &other).unwrap_err();
    let said = Chain(&error).to_string();
    assert!(said.contains("UnknownIssuer") || said.contains("No such file"), "{said}");
    let other: Options = url.replace("localhost", "0.0.0.0").parse().unwrap();
    let error = Connection::open(&other.brokers[0], &other).unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}
