//! What happens when connections are cut and brokers die.

use std::collections::HashMap;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::{sleep, spawn};
use greenloom_rpc::transport::TransportError;
use greenloom_rpc::{Client, Context, Endpoint, Error, Fanout, Options, Target, create_connection};

use crate::broker::{PATIENCE, SECOND, eventually, name, port, script, url};
use crate::ledger::{Job, Ledger};
use crate::proxy::Proxy;

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_broker_that_is_killed_ten_times_loses_nothing_that_it_took_and_hangs_nobody() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let (ledger, topic, url) = (Ledger::default(), name("topic"), url("amqp_durable_queues=true"));
    let options = Options::new().exchange("durable");
    let _server = ledger.serve(&options, &url, &topic);
    let connection = options.connect(&url).unwrap();
    let client = Client::new(&connection, Target::topic(&topic));
    let casts: Vec<_> = (0..20).map(|_| ledger.cast(client.prepare().resend(1_000).timeout(TIMEOUT))).collect();
    let calls: Vec<_> = (0..10).map(|_| ledger.call(client.prepare().timeout(TIMEOUT))).collect();
    for _ in 0..10 {
        sleep(SECOND);
        script(&["kill"]);
        script(&["start"]);
    }
    eventually(|| client.call::<u64>("work", &Job { id: 0 }).is_ok());
    sleep(SECOND);
    ledger.stop.set(true);
    let calls: Vec<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
    let slowest_cast = casts.into_iter().map(|cast| cast.wait().unwrap()).max().unwrap();
    eventually(|| ledger.lost().is_empty());

    let taken = ledger.taken.borrow().len();
    let twice = ledger.done.borrow().values().filter(|&&times| times > 1).count();
    let answered: u32 = calls.iter().map(|(_, answered, _)| answered).sum();
    let failed: u32 = calls.iter().map(|(_, _, failed)| failed).sum();
    let longest = calls.iter().map(|(longest, ..)| *longest).max().unwrap();
    println!(
        "{taken} casts taken, {twice} worked on twice, longest {slowest_cast:?}; {answered} calls answered, {failed} \
         failed, longest {longest:?}"
    );
    assert!(taken > 500 && answered > 200, "there was load: {taken}, {answered}");
    assert!(failed > 0, "the broker was gone meanwhile");
    // A server knows what it has done, so what comes again is not worked on again.
    assert_eq!(twice, 0);
    // By the clocks of the callers, on a machine that is busy with much else.
    assert!(longest.max(slowest_cast) < TIMEOUT + SECOND, "{longest:?}, {slowest_cast:?}");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn connections_that_are_cut_anywhere_in_a_frame_lose_nothing() {
    let (ledger, topic) = (Ledger::default(), name("topic"));
    let proxy = Proxy::to(port("AMQP"));
    let url = format!("amqp://127.0.0.1:{}/", proxy.port);
    let _server = ledger.serve(&Options::default(), &url, &topic);
    let connection = create_connection(&url).unwrap();
    let client = Client::new(&connection, Target::topic(&topic)).resend(1_000).timeout(PATIENCE);
    let casts: Vec<_> = (0..8).map(|_| ledger.cast(client.clone())).collect();
    let calls: Vec<_> = (0..8).map(|_| ledger.call(client.clone())).collect();
    // In handshakes, and then among messages, at ever another place of a frame.
    let places = (0..10).map(|round| 1 + round * 97).chain((0..12).map(|round| 10_000 + round * 523));
    for bytes in places {
        proxy.cut_after(bytes);
        eventually(|| proxy.has_cut());
    }
    sleep(SECOND / 2);
    ledger.stop.set(true);
    casts.into_iter().for_each(|cast| {
        cast.wait().unwrap();
    });
    let failed: u32 = calls.into_iter().map(|call| call.wait().unwrap().2).sum();
    eventually(|| ledger.lost().is_empty());
    assert!(proxy.connections() > 20, "{} connections", proxy.connections());
    assert!(ledger.taken.borrow().len() > 100);
    assert_eq!(failed, 0, "a call that is sent again is answered");
    assert!(ledger.done.borrow().values().all(|&times| times == 1));
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_first_call_is_tried_again_when_there_is_no_connection_in_time_for_its_reply_queue() {
    let topic = name("topic");
    let server = create_connection(&url("")).unwrap();
    let endpoint = Endpoint::builder().method("ping", |_: &(), _: &Context, (): ()| Ok("pong")).build();
    server.create_consumer(&topic, [endpoint], Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let proxy = Proxy::to(port("AMQP"));
    proxy.stall(true);
    let connection = create_connection(&format!("amqp://127.0.0.1:{}/?connection_timeout=0.2", proxy.port)).unwrap();
    let client = Client::new(&connection, Target::topic(&topic)).timeout(PATIENCE);
    let lost = client.call::<String>("ping", &());
    assert!(matches!(lost, Err(Error::Transport(TransportError::Disconnected(_)))), "{lost:?}");
    let caller = spawn(move || client.resend(1).call::<String>("ping", &()));
    // Several times as long as it waits for a connection.
    sleep(SECOND);
    proxy.stall(false);
    assert_eq!(caller.wait().unwrap().unwrap(), "pong");
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn callers_are_told_when_the_broker_stops_and_served_when_it_is_back() {
    let (topic, url) = (name("topic"), url(""));
    let server = create_connection(&url).unwrap();
    let slow = |_: &(), _: &Context, (): ()| {
        sleep(60 * SECOND);
        Ok(())
    };
    let quick = |_: &(), _: &Context, (): ()| Ok("here");
    let endpoint = Endpoint::builder().method("slow", slow).method("quick", quick).build();
    server.create_consumer(&topic, [endpoint], Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let client = Client::new(&create_connection(&url).unwrap(), Target::topic(&topic));
    assert_eq!(client.call::<String>("quick", &()).unwrap(), "here");
    let caller = {
        let client = client.clone();
        spawn(move || client.call::<()>("slow", &()))
    };
    sleep(SECOND / 5);
    let began = now();
    script(&["stop"]);
    let outcome = caller.wait().unwrap();
    assert!(matches!(outcome, Err(Error::Transport(TransportError::Disconnected(_)))), "{outcome:?}");
    assert!(now() - began < 30 * SECOND);
    script(&["start"]);
    // The queue was not durable, and is declared again.
    eventually(|| client.call::<String>("quick", &()).is_ok());
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_message_above_the_broker_s_limit_fails_alone() {
    let (topic, url) = (name("topic"), url(""));
    let server = create_connection(&url).unwrap();
    let size = |_: &(), _: &Context, text: HashMap<String, String>| Ok(text["x"].len());
    let large = |_: &(), _: &Context, (): ()| Ok("x".repeat(5_000_000));
    let endpoint = Endpoint::builder().method("size", size).method("large", large).build();
    server.create_consumer(&topic, [endpoint], Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let connection = create_connection(&url).unwrap();
    let client = Client::new(&connection, Target::topic(&topic)).timeout(PATIENCE).resend(20);
    let call = |size: usize| {
        let client = client.clone();
        spawn(move || client.call::<usize>("size", &HashMap::from([("x", "x".repeat(size))])))
    };
    for _ in 0..3 {
        let before: Vec<_> = (0..10).map(|_| call(10)).collect();
        let too_large = call(5_000_000);
        let after: Vec<_> = (0..10).map(|_| call(10)).collect();
        for small in before.into_iter().chain(after) {
            assert_eq!(small.wait().unwrap().unwrap(), 10);
        }
        let error = too_large.wait().unwrap().unwrap_err();
        assert!(matches!(error, Error::Transport(TransportError::Failed(_))), "{error}");
        let began = now();
        let error = client.call::<String>("large", &()).unwrap_err();
        assert!(error.remote().is_some_and(|error| error.message().contains("could not be sent")), "{error}");
        assert!(now() - began < 20 * SECOND);
    }
    assert_eq!(connection.stats().unwrap().client.resent, 0);
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn ten_thousand_first_callers_are_all_answered_also_after_the_connection_was_cut() {
    let topic = name("topic");
    let server = Options::new().workers(100).connect(&url("")).unwrap();
    let endpoint = Endpoint::builder().method("ping", |_: &(), _: &Context, (): ()| Ok("pong")).build();
    server.create_consumer(&topic, [endpoint], Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let proxy = Proxy::to(port("AMQP"));
    let connection = create_connection(&format!("amqp://127.0.0.1:{}/", proxy.port)).unwrap();
    let client = Client::new(&connection, Target::topic(&topic)).timeout(PATIENCE);
    for _ in 0..2 {
        let callers: Vec<_> = (0..10_000)
            .map(|_| {
                let client = client.clone();
                spawn(move || client.call::<String>("ping", &()))
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.wait().unwrap().unwrap(), "pong");
        }
        proxy.cut_after(1);
        let _ = client.cast("ping", &());
        eventually(|| proxy.has_cut());
        let transport = connection.transport();
        eventually(|| transport.state() == greenloom_rpc::transport::State::Reconnecting);
        assert!(transport.wait_connected(PATIENCE));
    }
}
