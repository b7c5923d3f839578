//! A caller's limit covers every step, wherever the broker falls silent.

use std::net::TcpListener;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::spawn;
use greenloom_rpc::amqp::{Connection, Link, Method, Options};
use greenloom_rpc::{Client, Error, Target, create_connection};

use crate::fake::{Broker, Script, Then, method};

const LIMIT: Duration = Duration::from_millis(300);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(3);

/// A call and a cast with a limit both end with a timeout, and in time.
#[track_caller]
fn times_out(url: &str) {
    let client = Client::new(&create_connection(url).unwrap(), Target::topic("topic")).timeout(LIMIT);
    let began = now();
    let cast = client.cast("f", &()).unwrap_err();
    assert!(matches!(&cast, Error::Timeout { after, .. } if *after == LIMIT), "cast: {cast:?}");
    assert!(now() - began < LIMIT + SLACK, "cast: {:?}", now() - began);
    let began = now();
    let call = client.call::<()>("f", &()).unwrap_err();
    assert!(matches!(&call, Error::Timeout { after, .. } if *after == LIMIT), "call: {call:?}");
    assert!(now() - began < LIMIT + SLACK, "call: {:?}", now() - began);
}

/// A broker that does not answer some methods.
fn silent_on(which: fn(&Method<'_>) -> bool) -> Broker {
    let silent = move |_: &mut _, _, said: &Method<'_>| if which(said) { Then::Nothing } else { Then::Usual };
    Broker::start(Script { method: Box::new(silent), ..Script::default() })
}

#[test]
fn a_host_that_never_speaks_costs_a_caller_no_more_than_its_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    times_out(&format!("amqp://127.0.0.1:{}/", listener.local_addr().unwrap().port()));
}

#[test]
fn no_broker_costs_a_caller_no_more_than_its_limit() {
    times_out("amqp://127.0.0.1:1/");
}

#[test]
fn a_broker_that_is_silent_after_the_handshake_costs_a_caller_no_more_than_its_limit() {
    times_out(&silent_on(|said| matches!(said, Method::ChannelOpen { .. })).url(""));
}

#[test]
fn a_broker_that_does_not_answer_declarations_costs_a_caller_no_more_than_its_limit() {
    times_out(&silent_on(|said| matches!(said, Method::ExchangeDeclare { .. })).url(""));
    times_out(&silent_on(|said| matches!(said, Method::ConfirmSelect { .. })).url(""));
    times_out(&silent_on(|said| matches!(said, Method::QueueDeclare { .. } | Method::ExchangeDeclare { .. })).url(""));
}

#[test]
fn a_broker_that_confirms_nothing_costs_a_caller_no_more_than_its_limit() {
    let broker = Broker::start(Script { publish: Box::new(|_, _| Then::Nothing), ..Script::default() });
    times_out(&broker.url(""));
}

#[test]
fn a_broker_that_blocks_publishers_costs_a_caller_no_more_than_its_limit() {
    let blocks = |peer: &mut crate::fake::Peer, channel: u16, said: &Method<'_>| {
        if let Method::ConnectionOpen { .. } = said {
            peer.say(&method(channel, Method::ConnectionOpenOk { reserved: "" }));
            peer.say(&method(0, Method::ConnectionBlocked { reason: "low on memory".into() }));
            return Then::Nothing;
        }
        Then::Usual
    };
    times_out(&Broker::start(Script { method: Box::new(blocks), ..Script::default() }).url(""));
}

#[test]
fn a_limit_longer_than_any_clock_is_no_limit() {
    let broker = Broker::start(Script::default());
    for limit in [Duration::MAX, Duration::from_millis(u64::MAX)] {
        let client = Client::new(&create_connection(&broker.url("")).unwrap(), Target::topic("topic")).timeout(limit);
        client.cast("f", &()).unwrap();
        let waits = client.clone();
        let call = spawn(move || waits.call::<()>("f", &()));
        while broker.published("topic").iter().filter(|seen| seen.body.windows(6).any(|w| w == b"reply_")).count() == 0
        {
            greenloom::sleep(Duration::from_millis(5));
        }
        assert!(!call.dead());
        call.kill();
    }
    // RabbitMQ takes no expiration of more than 32 bits.
    for published in broker.published("topic") {
        let expiration = published.properties.expiration;
        assert!(expiration.as_deref().is_none_or(|millis| millis.parse::<u32>().is_ok()), "{expiration:?}");
    }
}

#[test]
fn heartbeat_zero_turns_heartbeats_off() {
    let broker = Broker::start(Script { heartbeat: 1, ..Script::default() });
    let options: Options = broker.url("heartbeat=0").parse().unwrap();
    let connection = Connection::open(&options.brokers[0], &options).unwrap();
    assert_eq!(*broker.seen.tuned.lock().unwrap(), [0]);
    // The broker says nothing for longer than its own heartbeat would allow.
    greenloom::sleep(Duration::from_secs(4));
    assert!(connection.ended().is_none());
}

#[test]
fn a_connection_that_ends_soon_after_a_good_connect_backs_off() {
    let hangs_up = |peer: &mut crate::fake::Peer, channel: u16, said: &Method<'_>| {
        if let Method::ConnectionOpen { .. } = said {
            peer.say(&method(channel, Method::ConnectionOpenOk { reserved: "" }));
            peer.hang_up();
            return Then::Nothing;
        }
        Then::Usual
    };
    let broker = Broker::start(Script { method: Box::new(hangs_up), ..Script::default() });
    let link = Link::new(broker.url("").parse().unwrap()).unwrap();
    greenloom::sleep(Duration::from_secs(3));
    let connections = broker.connections();
    link.close();
    assert!((2..=8).contains(&connections), "{connections} connections in three seconds");
}
