//! AMQP 0-9-1 for green sockets: a client of its own, and the [`Transport`] over it.
//!
//! | piece | what it is |
//! |---|---|
//! | [`frame`], [`Method`], [`Properties`], [`Table`] | the codec, of `greenloom-amqp`: bytes to frames and back |
//! | [`Connection`] | one connection to one broker: handshake, heartbeats, batched writes |
//! | [`Channel`], [`Confirm`], [`Consumer`], [`Delivery`] | what a program does on it |
//! | [`Link`] | a connection that is made again when it is lost, with backoff, over several hosts |
//! | [`AmqpTransport`] | oslo.messaging's exchanges and queues over two links |
//!
//! # Why an own codec
//! The kept one, `amq-protocol`, brings with all its features off still a TCP layer for asynchronous runtimes, a URL
//! parser with its Unicode tables, and a parser combinator library: some fifty packages for a format that takes a few
//! hundred lines.
//!
//! # What may be lost, and what not
//! - A message whose [`Confirm`] has come is the broker's. It outlives a broker that is killed if it is persistent and
//!   its queues are durable.
//! - When a connection is lost, all its waiters get an error at once. Whether a message without a confirm
//!   arrived is not known; sending it again may send it twice.
//! - What was delivered and not acknowledged comes again, [`redelivered`](Delivery::redelivered).
//!
//! It stays on the OS thread where it was made.
//!
//! ```no_run
//! use greenloom_rpc::amqp::{Connection, Message, Options, Properties, QueueFlags, Table};
//! use std::time::Duration;
//!
//! let options: Options = "amqp://guest:guest@localhost:5672/".parse()?;
//! let connection = Connection::open(&options.brokers[0], &options)?;
//! let channel = connection.open_channel()?;
//! channel.confirm_select()?;
//! channel.set_prefetch(10)?;
//! channel.declare_queue("jobs", QueueFlags { durable: true, ..QueueFlags::default() }, &Table::new())?;
//! let properties = Properties::persistent();
//! let job = Message { exchange: "", routing_key: "jobs", mandatory: true, properties: &properties, body: b"dig" };
//! channel.publish(job)?.wait(Duration::from_secs(5))?;
//! let delivery = channel.consume("jobs")?.next(Duration::from_secs(5))?;
//! assert_eq!(*delivery.body, *b"dig");
//! delivery.ack()?;
//! # Ok::<(), greenloom_rpc::amqp::Error>(())
//! ```

mod acks;
mod channel;
mod confirm;
mod connection;
mod consumer;
mod content;
mod core;
mod error;
mod handshake;
mod link;
mod stream;
mod transport;
mod unsupported;
mod url;

use std::rc::Rc;

use crate::transport::{Transport, TransportError};

pub use channel::{Channel, Declared, ExchangeFlags, Message, QueueFlags};
pub use confirm::Confirm;
pub use connection::Connection;
pub use consumer::{Consumer, Delivery};
pub use error::Error;
pub use greenloom_amqp::{
    Bit, ConsumeBits, DeleteBits, ExchangeBits, Header, Malformed, Method, NackBits, Properties, PublishBits,
    QueueBits, Table, Unread, Value, frame,
};
pub use link::Link;
pub use transport::AmqpTransport;
pub use unsupported::Unsupported;
pub use url::{Broker, Options, Topology};

pub(crate) fn open(url: &str) -> Result<Rc<dyn Transport>, TransportError> {
    let options: Options = url.parse().map_err(TransportError::Url)?;
    Ok(Rc::new(AmqpTransport::new(options)?))
}
