//! The broker that `broker.sh run` has started for these tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use greenloom_rpc::amqp::{Channel, Connection, Options};

pub const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes, on a machine that is busy with much else.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn folder() -> PathBuf {
    std::env::var("GREENLOOM_RABBITMQ").expect("these tests run through `make test-rpc`").into()
}

/// The port of a listener: `AMQP` or `AMQPS`.
pub fn port(name: &str) -> u16 {
    let ports = std::fs::read_to_string(folder().join("ports")).unwrap();
    let line = ports.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap().parse().unwrap()
}

/// `amqp://` the broker, with more parameters.
pub fn url(query: &str) -> String {
    format!("amqp://guest:guest@127.0.0.1:{}/?{query}", port("AMQP"))
}

pub fn options(query: &str) -> Options {
    url(query).parse().unwrap()
}

pub fn connect() -> Connection {
    connect_to(&options(""))
}

pub fn connect_to(options: &Options) -> Connection {
    Connection::open(&options.brokers[0], options).unwrap()
}

pub fn channel() -> Channel {
    connect().open_channel().unwrap()
}

/// Runs `broker.sh` on an OS thread of the blocking pool, so that green threads go on meanwhile.
pub fn script(arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let output = greenloom::blocking::run(move || {
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rabbitmq/broker.sh"))
            .args(&arguments)
            .output()
            .unwrap()
    });
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A name that nobody else uses.
pub fn name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits until `holds` does.
#[track_caller]
pub fn eventually(mut holds: impl FnMut() -> bool) {
    let deadline = greenloom::hub::now() + PATIENCE;
    while !holds() {
        assert!(greenloom::hub::now() < deadline, "it did not come true in {PATIENCE:?}");
        greenloom::sleep(SECOND / 50);
    }
}
