//! One exchange over RabbitMQ, by several clients: a request into a queue, its answer into the caller's own.
//!
//! 1. The caller publishes, mandatory and with an expiration, over a topic exchange to the server's queue, and waits
//!    for the broker's confirm.
//! 2. The server answers from a task or green thread for each request: it publishes, mandatory, to the caller's queue,
//!    waits for the confirm, and then acknowledges the request.
//! 3. The caller consumes the answer, acknowledges it, and hands it to the waiter for its number.
//!
//! These are oslo.messaging's steps, with its properties. Client and server are in one process, each with a connection
//! of its own, and a prefetch of 200.

mod lapin;
mod ours;

use std::time::Duration;

use crate::figure::{Sample, Skip};

pub use lapin::{agent as lapin_agent, lapin, lapin_on_threads};
pub use ours::{client, service};

/// The median call, in microseconds.
pub const MEDIAN: &str = "median_us";
/// Calls in a second, of all callers.
pub const RATE: &str = "calls_per_s";

const EXCHANGE: &str = "bench";
const EXPIRATION: &str = "30000";
const PREFETCH: u16 = 200;
/// About what oslo.messaging sends for a small call.
const BODY: [u8; 400] = [b'x'; 400];

/// Where `broker.sh run` has started a broker: `amqp://...`.
pub fn url() -> Result<String, Skip> {
    let folder =
        std::env::var("GREENLOOM_RABBITMQ").map_err(|_| Skip::absent("no broker; `make bench-rpc` starts one"))?;
    let ports = std::fs::read_to_string(format!("{folder}/ports"))?;
    let port = ports.lines().find_map(|line| line.strip_prefix("AMQP="));
    let port = port.ok_or_else(|| Skip::failed("the broker's ports are not told"))?;
    Ok(format!("amqp://guest:guest@127.0.0.1:{port}/%2F"))
}

/// A name that no other measurement has.
pub fn name(what: &str) -> String {
    format!("bench-{what}-{}", std::process::id())
}

fn failed(error: impl std::fmt::Display) -> Skip {
    Skip::failed(error.to_string())
}

/// What so many calls took, made in `window`.
fn sample(mut calls: Vec<Duration>, window: Duration) -> Result<Sample, Skip> {
    if calls.is_empty() {
        return Err(Skip::failed("no call was answered"));
    }
    calls.sort();
    Ok(Sample::from([
        (MEDIAN.to_owned(), calls[calls.len() / 2].as_secs_f64() * 1e6),
        (RATE.to_owned(), calls.len() as f64 / window.as_secs_f64()),
    ]))
}
