//! Services on green threads over a message bus: in memory, or RabbitMQ as oslo.messaging speaks to it.
//!
//! A [`Service`] has a topic and a [`Manager`], whose methods can be called by anyone on the same bus. Each request
//! runs in a green thread, at most so many at a time. A [`Client`] calls one server of a topic and waits for the
//! answer, or casts to one or all of them. What carries the messages is a [`transport`]: the bus in [`memory`], which
//! needs no server, or RabbitMQ, with the messages that Python's oslo.messaging writes and reads, so that each side can
//! be either.
//!
//! ```
//! use greenloom_rpc::{Client, Context, Endpoint, Failure, Fanout, Target, create_connection};
//! use serde::{Deserialize, Serialize};
//! use std::rc::Rc;
//!
//! #[derive(Serialize, Deserialize)]
//! struct Ping {
//!     host: String,
//! }
//!
//! struct Agent;
//! impl Agent {
//!     fn ping(&self, _: &Context, Ping { host }: Ping) -> Result<String, Failure> {
//!         if host.is_empty() { Err(Failure::new("ValueError", "which host?")) } else { Ok(format!("{host} is up")) }
//!     }
//! }
//!
//! let connection = create_connection("memory://")?;
//! let endpoint = Endpoint::of(&Rc::new(Agent)).version("1.1").method("ping", Agent::ping).build();
//! connection.create_consumer("agents", [endpoint], Fanout::Ignore)?;
//! connection.consume_in_threads()?;
//!
//! let agents = Client::new(&connection, Target::topic("agents").version("1.0"));
//! let answer: String = agents.call("ping", &Ping { host: "net-1".into() })?;
//! assert_eq!(answer, "net-1 is up");
//! let error = agents.call::<String>("ping", &Ping { host: "".into() }).unwrap_err();
//! assert_eq!(error.to_string(), "remote error: ValueError: which host?");
//! # Ok::<(), greenloom_rpc::Error>(())
//! ```
//!
//! # Logs
//! Records go through `tracing`, each with the `request_id` of the request it is about. A method's own records get it
//! from [`Context::request_id`]. Do not hold an entered `tracing` span across a wait: which spans are entered is a
//! matter of the OS thread, which all its green threads share.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

pub mod amqp;
#[cfg(feature = "bridge")]
pub mod bridge;
pub mod memory;
pub mod transport;

#[cfg(any(test, fuzzing))]
mod check;
mod client;
mod connection;
mod consumer;
mod context;
mod deadline;
mod endpoint;
mod envelope;
mod error;
mod failure;
mod flight;
mod hash;
mod id;
mod json;
mod known;
mod lately;
#[cfg(feature = "metrics")]
mod metrics;
mod open;
mod options;
mod packed;
mod random;
mod reason;
mod replies;
mod service;
mod stats;
mod target;
mod version;

#[cfg(fuzzing)]
pub use check::check_envelope;
pub use client::Client;
pub use connection::{Connection, Fanout, connections, create_connection};
pub use context::Context;
pub use endpoint::{Endpoint, EndpointBuilder};
pub use error::Error;
pub use failure::{Failure, RemoteError};
pub use open::open_transport;
pub use options::Options;
pub use service::{Hook, Manager, Report, Service, ServiceBuilder};
pub use stats::{ClientStats, ConsumerStats, Latency, MethodStats, Stats};
pub use target::Target;

/// The code in the guide compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../docs/services.md")]
mod guide {}
