//! What services over a broker do, on the page of metrics.

use greenloom::inspect;
use greenloom_rpc::transport::{Address, TransportError};
use greenloom_rpc::{Client, Connection, Endpoint, Error, Failure, Fanout, Options, Target, create_connection};

use crate::broker::{PATIENCE, channel, eventually, name, script, url};

const UNDELIVERED: &str = r#"rpc_client_failures_total{error_type="undelivered"}"#;

fn serve(connection: &Connection, topic: &str) {
    let endpoint = Endpoint::builder()
        .method("ping", |_, _, ()| Ok("pong"))
        .method("fail", |_, _, ()| Err::<(), _>(Failure::new("ValueError", "no")))
        .build();
    connection.create_consumer(topic, [endpoint], Fanout::Listen).unwrap();
    connection.consume_in_threads().unwrap();
}

/// A value of now. Depths are those of the time before.
fn value(sample: &str) -> Option<f64> {
    let text = inspect::metrics();
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

fn counted(sample: &str) -> f64 {
    value(sample).unwrap_or_else(|| panic!("{sample}\n{}", inspect::metrics()))
}

fn ready(queue: &str) -> Option<f64> {
    value(&format!("messaging_queue_messages{{messaging_destination_name=\"{queue}\",state=\"ready\"}}"))
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn depths_are_those_that_the_broker_tells_and_are_told_no_longer() {
    let topic = name("topic");
    let server = Options::new().host("one").connect(&url("")).unwrap();
    serve(&server, &topic);
    let client = Client::new(&create_connection(&url("")).unwrap(), Target::topic(&topic)).timeout(PATIENCE);
    let calls = "rpc_client_call_duration_seconds_count";
    let before = value(calls).unwrap_or_default();
    (0..3).for_each(|_| assert_eq!(client.call::<String>("ping", &()).unwrap(), "pong"));
    assert!(matches!(client.call::<()>("fail", &()), Err(Error::Remote(_))));
    assert_eq!(counted(calls), before + 4.0);
    let of_topic = |metric: &str| counted(&format!("{metric}{{messaging_destination_name=\"{topic}\"}}"));
    assert_eq!(of_topic("messaging_client_consumed_messages_total"), 4.0);
    assert_eq!(of_topic("rpc_server_workers"), 64.0);
    let failed = "rpc_method=\"fail\",error_type=\"failure\"";
    assert_eq!(counted(&format!("rpc_server_failures_total{{messaging_destination_name=\"{topic}\",{failed}}}")), 1.0);

    // What nobody takes lies in the queue.
    eventually(|| ready(&topic) == Some(0.0));
    assert!(server.stop_consuming(PATIENCE));
    (0..3).for_each(|_| client.cast("ping", &()).unwrap());
    eventually(|| ready(&topic) == Some(3.0) && ready(&format!("{topic}.one")) == Some(0.0));
    // A queue that is gone has no depth, and the others still have theirs.
    channel().delete_queue(&topic).unwrap();
    eventually(|| ready(&topic).is_none() && ready(&format!("{topic}.one")) == Some(0.0));
    server.close();
    eventually(|| ready(&format!("{topic}.one")).is_none());
}

#[test]
#[ignore = "needs a broker: make test-rpc"]
fn a_broker_that_is_away_costs_nobody_time_and_is_counted_with_what_it_did_not_take() {
    let topic = name("topic");
    let server = create_connection(&url("")).unwrap();
    serve(&server, &topic);
    let client = Client::new(&create_connection(&url("")).unwrap(), Target::topic(&topic)).timeout(PATIENCE);
    assert_eq!(client.call::<String>("ping", &()).unwrap(), "pong");
    eventually(|| ready(&topic) == Some(0.0));
    let before = counted(UNDELIVERED);
    script(&["kill"]);
    let outcome = client.call::<String>("ping", &());
    assert!(matches!(outcome, Err(Error::Transport(TransportError::Disconnected(_)))), "{outcome:?}");
    let outcome = client.prepare().timeout(PATIENCE / 1000).cast("ping", &());
    assert!(outcome.is_err());
    assert_eq!(counted(UNDELIVERED), before + 2.0);
    // A depth of long ago is none.
    eventually(|| ready(&topic).is_none());
    script(&["start"]);
    eventually(|| client.call::<String>("ping", &()).is_ok());
    eventually(|| ready(&topic) == Some(0.0));
    // Nobody is there: the broker itself says so.
    let nobody = Client::new(&create_connection(&url("")).unwrap(), Target::topic(name("nobody")));
    let before = counted(UNDELIVERED);
    let outcome = nobody.call::<()>("ping", &());
    assert!(matches!(outcome, Err(Error::Transport(TransportError::Unroutable(_)))), "{outcome:?}");
    assert_eq!(counted(UNDELIVERED), before + 1.0);
    assert!(server.transport().depth(&Address::Dead { topic }).unwrap().is_none());
}
