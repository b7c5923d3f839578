//! What the broker refuses is the matter of the one call that it belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use greenloom::{GreenThread, spawn};
use greenloom_rpc::amqp::{Bit, Connection, Error as AmqpError, Message, Method, NackBits, Options, Properties};
use greenloom_rpc::transport::{Cause, TransportError};
use greenloom_rpc::{Client, Error, Target, create_connection};
use serde_json::json;

use crate::fake::{Broker, Peer, Published, Script, Then, method};

const PATIENCE: Duration = Duration::from_secs(20);

/// A broker that refuses large messages with this code, and counts how often.
fn refuses_large(code: u16, text: &'static str) -> (Broker, Arc<AtomicUsize>) {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let publish = move |peer: &mut Peer, published: &Published| {
        if published.body.len() < 2_000 {
            return Then::Usual;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        peer.close_channel(published.channel, code, text);
        Then::Nothing
    };
    (Broker::start(Script { publish: Box::new(publish), ..Script::default() }), refusals)
}

fn cast(client: &Client, size: usize) -> GreenThread<Result<(), Error>> {
    let client = client.clone();
    spawn(move || client.cast("f", &json!({ "x": "x".repeat(size) })))
}

#[test]
fn a_refused_message_fails_alone_and_is_not_sent_again_and_again() {
    for (code, text) in [
        (403, "ACCESS_REFUSED - write access to exchange 'openstack' in vhost '/' refused for user 'guest'"),
        (404, "NOT_FOUND - no exchange 'openstack' in vhost '/'"),
        (406, "PRECONDITION_FAILED - message size 5000 is larger than configured max size 2000"),
        (311, "CONTENT_TOO_LARGE"),
    ] {
        let (broker, refusals) = refuses_large(code, text);
        let connection = create_connection(&broker.url("")).unwrap();
        let client = Client::new(&connection, Target::topic("topic")).resend(20).timeout(PATIENCE);
        cast(&client, 10).wait().unwrap().unwrap();
        for round in 0..3 {
            // All of them are on their way when the broker meets the large one.
            let before: Vec<_> = (0..20).map(|_| cast(&client, 10)).collect();
            let large = cast(&client, 5_000);
            let after: Vec<_> = (0..20).map(|_| cast(&client, 10)).collect();
            for small in before.into_iter().chain(after) {
                small.wait().unwrap().unwrap_or_else(|error| panic!("{code}, round {round}: {error}"));
            }
            let error = large.wait().unwrap().unwrap_err();
            let said = |cause: &Cause| match cause.downcast_ref() {
                Some(AmqpError::Channel { code: its, text: words }) => *its == code && words.contains(text),
                _ => false,
            };
            assert!(
                matches!(&error, Error::Transport(TransportError::Failed(reason)) if said(reason)),
                "{code}: {error:?}"
            );
        }
        let refusals = refusals.load(Ordering::SeqCst);
        assert!(refusals <= 3 * 4, "{code}: {refusals} refusals of three messages");
        assert_eq!(broker.connections(), 2, "{code}");
    }
}

/// A broker that cannot take what comes over a channel on which it could not take the first message.
fn nacks_on(is_bad: impl Fn(usize) -> bool + Send + Sync + 'static) -> (Broker, Arc<AtomicUsize>) {
    let nacks = Arc::new(AtomicUsize::new(0));
    let (counted, channels) = (Arc::clone(&nacks), std::sync::Mutex::new(Vec::new()));
    let publish = move |peer: &mut Peer, published: &Published| {
        let mut channels = channels.lock().unwrap();
        let known = channels.iter().position(|channel| *channel == published.channel);
        let order = known.unwrap_or_else(|| {
            channels.push(published.channel);
            channels.len() - 1
        });
        if !is_bad(order) {
            return Then::Usual;
        }
        counted.fetch_add(1, Ordering::SeqCst);
        let nack = Method::BasicNack { delivery: published.tag, bits: NackBits::default() };
        peer.say(&method(published.channel, nack));
        Then::Nothing
    };
    (Broker::start(Script { publish: Box::new(publish), ..Script::default() }), nacks)
}

#[test]
fn a_message_that_the_broker_could_not_take_is_sent_again_on_another_channel() {
    let (broker, nacks) = nacks_on(|channel| channel == 0);
    let connection = create_connection(&broker.url("")).unwrap();
    let client = Client::new(&connection, Target::topic("topic")).timeout(PATIENCE);
    let casts: Vec<_> = (0..20).map(|_| cast(&client, 10)).collect();
    casts.into_iter().for_each(|cast| cast.wait().unwrap().unwrap());
    assert!(nacks.load(Ordering::SeqCst) >= 1);
    assert!(broker.channels() < 10, "{} channels", broker.channels());
}

#[test]
fn a_message_that_the_broker_never_takes_fails_in_its_time_and_is_not_sent_in_a_loop() {
    let (broker, nacks) = nacks_on(|_| true);
    let connection = create_connection(&broker.url("connection_timeout=1")).unwrap();
    let client = Client::new(&connection, Target::topic("topic"));
    for (limit, longest) in [(PATIENCE, Duration::from_secs(3)), (Duration::from_millis(300), Duration::from_secs(1))] {
        nacks.store(0, Ordering::SeqCst);
        let began = Instant::now();
        let error = cast(&client.prepare().timeout(limit), 10).wait().unwrap().unwrap_err();
        assert!(matches!(&error, Error::Transport(TransportError::Failed(_)) | Error::Timeout { .. }), "{error:?}");
        assert!(began.elapsed() < longest, "{:?}", began.elapsed());
        assert!((2..10).contains(&nacks.load(Ordering::SeqCst)), "{nacks:?}");
    }
}

#[test]
fn a_topic_that_is_refused_disturbs_no_other() {
    let publish = |peer: &mut Peer, published: &Published| {
        if published.exchange != "secret" {
            return Then::Usual;
        }
        peer.close_channel(published.channel, 403, "ACCESS_REFUSED");
        Then::Nothing
    };
    let broker = Broker::start(Script { publish: Box::new(publish), ..Script::default() });
    let connection = create_connection(&broker.url("")).unwrap();
    let open = Client::new(&connection, Target::topic("topic")).timeout(PATIENCE);
    let secret = open.prepare().target(Target::topic("topic").exchange("secret"));
    for _ in 0..10 {
        let (refused, taken) = (cast(&secret, 10), cast(&open, 10));
        assert!(matches!(refused.wait().unwrap(), Err(Error::Transport(TransportError::Failed(_)))));
        taken.wait().unwrap().unwrap();
    }
}

#[test]
fn an_answer_that_the_broker_refuses_is_an_error_for_the_caller_at_once() {
    let (broker, _) =
        refuses_large(406, "PRECONDITION_FAILED - message size 5000 is larger than configured max size 2000");
    let server = create_connection(&broker.url("")).unwrap();
    let endpoint = greenloom_rpc::Endpoint::builder().method("large", |_, _, ()| Ok("x".repeat(5_000))).build();
    server.create_consumer("topic", [endpoint], greenloom_rpc::Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let request = json!({"method": "large", "args": {}, "_msg_id": "m1", "_reply_q": "reply_1", "_unique_id": "u1"});
    assert!(broker.deliver("topic", &[0, 0], request.to_string().as_bytes()));
    let answered = greenloom::timeout(PATIENCE, || {
        loop {
            let answers = broker.published("reply_1");
            if let Some(answer) = answers.iter().find(|answer| answer.body.len() < 2_000) {
                return String::from_utf8(answer.body.clone()).unwrap();
            }
            greenloom::sleep(Duration::from_millis(5));
        }
    });
    let answered = answered.unwrap();
    assert!(answered.contains("larger than configured"), "{answered}");
}

#[test]
fn a_consuming_channel_that_the_broker_closes_is_made_again_with_all_its_consumers() {
    for code in [404, 406] {
        let broker = Broker::start(Script::default());
        let server = create_connection(&broker.url("")).unwrap();
        let endpoint = greenloom_rpc::Endpoint::builder().method("ping", |_, _, ()| Ok("pong")).build();
        server.create_consumer("topic", [endpoint], greenloom_rpc::Fanout::Listen).unwrap();
        server.consume_in_threads().unwrap();
        let ask = |id: &str| {
            let request = json!({"method": "ping", "args": {}, "_msg_id": id, "_reply_q": "reply_1", "_unique_id": id});
            greenloom::timeout(PATIENCE, || {
                while !broker.deliver("topic", &[0, 0], request.to_string().as_bytes()) {
                    greenloom::sleep(Duration::from_millis(5));
                }
                while !broker.published("reply_1").iter().any(|it| String::from_utf8_lossy(&it.body).contains(id)) {
                    greenloom::sleep(Duration::from_millis(5));
                }
            })
            .unwrap();
        };
        ask("first");
        assert!(broker.close_consuming_channel("topic", code, "closed by the broker"));
        ask("second");
        let host = server.options().host.clone();
        assert!(broker.is_consumed("topic") && broker.is_consumed(&format!("topic.{host}")));
        assert_eq!(broker.connections(), 2);
    }
}

#[test]
fn a_message_that_comes_back_is_told_by_its_confirm_whatever_its_id() {
    // The first is in a queue and confirmed late; the second, of the same id, has no queue.
    let publish = |peer: &mut Peer, published: &Published| {
        if published.tag == 2 {
            let returned = Method::BasicReturn {
                code: 312,
                text: "NO_ROUTE".into(),
                exchange: published.exchange.as_str().into(),
                routing_key: published.routing_key.as_str().into(),
            };
            peer.say(&method(published.channel, returned));
            let header = greenloom_rpc::amqp::Header { body_size: 0, properties: published.properties.clone() };
            let payload = greenloom_rpc::amqp::frame::FramePayload::Header(header);
            peer.say(&crate::fake::bytes(greenloom_rpc::amqp::frame::Frame { channel: published.channel, payload }));
            let ack = |delivery| method(published.channel, Method::BasicAck { delivery, multiple: Bit::default() });
            peer.say(&[ack(2), ack(1)].concat());
        }
        Then::Nothing
    };
    let broker = Broker::start(Script { publish: Box::new(publish), ..Script::default() });
    let options: Options = broker.url("").parse().unwrap();
    let channel = Connection::open(&options.brokers[0], &options).unwrap().open_channel().unwrap();
    channel.confirm_select().unwrap();
    let properties = Properties { message_id: Some("the same".into()), ..Properties::default() };
    let message = Message { exchange: "", routing_key: "q", mandatory: true, properties: &properties, body: b"" };
    let (first, second) = (channel.publish(message).unwrap(), channel.publish(message).unwrap());
    assert!(matches!(second.wait(PATIENCE), Err(AmqpError::Unroutable { code: 312, .. })));
    first.wait(PATIENCE).unwrap();
}
