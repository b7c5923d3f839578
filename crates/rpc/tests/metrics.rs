//! What services do, on the page of metrics and on the example board.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use greenloom::{Hubs, inspect};
use greenloom_inspect::Client as Inspector;
use greenloom_inspect::protocol::Ask;
use greenloom_rpc::memory::Bus;
use greenloom_rpc::{Client, Connection, Endpoint, Error, Failure, Fanout, Options, Target, create_connection};

/// Makes a service on the bus, and asks it some things.
fn use_a_service(connection: Connection, topic: &str) {
    let endpoint = Endpoint::builder()
        .method("ping", |_, _, ()| Ok("pong"))
        .method("fail", |_, _, ()| Err::<(), _>(Failure::new("ValueError", "no")))
        .build();
    connection.create_consumer(topic, [endpoint], Fanout::Ignore).unwrap();
    connection.consume_in_threads().unwrap();
    let client = Client::new(&connection, Target::topic(topic)).timeout(Duration::from_secs(20));
    for _ in 0..3 {
        client.call::<String>("ping", &()).unwrap();
    }
    assert!(matches!(client.call::<()>("fail", &()), Err(Error::Remote(_))));
    // Three wait in the queue of one who does not listen any more.
    assert!(connection.stop_consuming(Duration::from_secs(20)));
    for _ in 0..3 {
        client.cast("ping", &()).unwrap();
    }
    // It is not dropped, so that its queue is there.
    std::mem::forget((client, connection));
}

fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[track_caller]
fn is_told(text: &str, topic: &str) {
    let told =
        |sample: &str| value(text, &sample.replace("TOPIC", topic)).unwrap_or_else(|| panic!("{sample}\n{text}"));
    for (sample, expected) in [
        ("rpc_client_failures_total{error_type=\"remote\"}", 1.0),
        ("rpc_client_failures_total{error_type=\"timeout\"}", 0.0),
        ("rpc_client_call_duration_seconds_count", 4.0),
        ("rpc_client_call_duration_seconds_bucket{le=\"+Inf\"}", 4.0),
        ("messaging_client_sent_messages_total{messaging_operation_name=\"cast\"}", 3.0),
        ("messaging_client_consumed_messages_total{messaging_destination_name=\"TOPIC\"}", 4.0),
        ("rpc_server_call_duration_seconds_count{messaging_destination_name=\"TOPIC\",rpc_method=\"ping\"}", 3.0),
        (FAILED, 1.0),
        ("rpc_server_active_requests{messaging_destination_name=\"TOPIC\"}", 0.0),
        ("rpc_server_workers{messaging_destination_name=\"TOPIC\"}", 64.0),
        ("messaging_queue_messages{messaging_destination_name=\"TOPIC\",state=\"ready\"}", 3.0),
    ] {
        assert_eq!(told(sample), expected, "{sample}\n{text}");
    }
    assert!(
        told("rpc_server_call_duration_seconds_sum{messaging_destination_name=\"TOPIC\",rpc_method=\"ping\"}") > 0.0
    );
}

const FAILED: &str =
    "rpc_server_failures_total{messaging_destination_name=\"TOPIC\",rpc_method=\"fail\",error_type=\"failure\"}";

/// One test, for what is counted is counted for the whole process.
#[test]
fn services_are_told_of_from_inside_and_from_outside_and_after_their_hubs() {
    let hubs = Hubs::new(1).unwrap();
    let here = hubs.spawn(|| {
        use_a_service(create_connection("memory://").unwrap(), "vpn");
        inspect::metrics()
    });
    is_told(&here.wait().unwrap(), "vpn");

    inspect::serve().unwrap();
    let mut inspector = Inspector::connect(std::process::id()).unwrap();
    let mut asked = || inspector.ask(Ask::Metrics).unwrap().metrics.unwrap();
    is_told(&asked(), "vpn");

    // A hub that is blocked is told of as it was last, and nobody waits for it.
    let (go_on, blocked) = mpsc::channel::<()>();
    let blocks = hubs.spawn(move || blocked.recv().is_ok());
    let begun = Instant::now();
    is_told(&asked(), "vpn");
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(go_on);
    blocks.wait().unwrap();
    drop(hubs);
    let text = asked();
    assert_eq!(value(&text, "rpc_client_call_duration_seconds_count"), Some(4.0), "{text}");
    assert!(!text.contains("messaging_queue_messages{"), "{text}");
    is_on_the_board(&text);

    // A bus that is as one in another process: a green thread asks it.
    let hubs = Hubs::new(1).unwrap();
    let bus = || Options::default().connect_over(Bus::with_envelopes().connect());
    hubs.spawn(move || use_a_service(bus(), "lbaas")).wait().unwrap();
    let text = asked();
    let ready = "messaging_queue_messages{messaging_destination_name=\"lbaas\",state=\"ready\"}";
    assert_eq!(value(&text, ready), Some(3.0), "{text}");
    assert_eq!(value(&text, "rpc_client_call_duration_seconds_count"), Some(8.0), "{text}");
}

/// The example board asks for the metrics that there are.
fn is_on_the_board(text: &str) {
    let board = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).unwrap();
    let mut asked = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let expression = panel["targets"][0]["expr"].as_str().unwrap();
        let (before, _) = expression.split_once('{').unwrap();
        asked.insert(before.rsplit('(').next().unwrap().to_owned());
    }
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let told: BTreeSet<_> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "histogram" => format!("{name}_bucket"),
            _ => name.to_owned(),
        })
        .collect();
    assert_eq!(asked, told);
}
