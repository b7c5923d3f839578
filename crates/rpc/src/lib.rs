//! Services on green threads over a message bus: in memory, or RabbitMQ as oslo.messaging speaks to it.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]

pub mod amqp;
pub mod memory;
pub mod transport;

mod client;
mod connection;
mod consumer;
mod context;
mod endpoint;
mod envelope;
mod error;
mod failure;
mod hash;
mod id;
mod random;
mod replies;
mod service;
mod stats;
mod target;
mod version;

pub use client::Client;
pub use connection::{Connection, Options, create_connection};
pub use context::Context;
pub use endpoint::{Endpoint, EndpointBuilder};
pub use error::Error;
pub use failure::{Failure, RemoteError};
pub use service::{Hook, Manager, Report, Service};
pub use stats::{ClientStats, ConsumerStats, Latency, MethodStats, Stats};
pub use target::Target;
