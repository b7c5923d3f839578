//! Which exchanges and queues an address means, and with which flags they are declared.

use std::sync::Arc;

use greenloom::Chain;
use greenloom_amqp::Table;

use super::super::channel::{ExchangeFlags, QueueFlags};
use super::super::connection::Connection;
use super::super::error::Error;
use super::super::url::Topology;
use crate::id::unique;
use crate::transport::Address;

/// Whether something of the name exists with other flags.
pub(super) fn is_other(error: &Error) -> bool {
    matches!(error, Error::Channel { code: 406, text } if text.contains("inequivalent arg"))
}

/// An exchange of a kind with its flags.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    name: String,
    kind: &'static str,
    flags: ExchangeFlags,
}

impl Exchange {
    fn topic(name: &str, topology: &Topology) -> Exchange {
        // RabbitMQ has nothing against one that is not durable, and oslo.messaging insists on its own default.
        let flags = ExchangeFlags { durable: durable(topology) == Some(true), auto_delete: topology.auto_delete };
        Exchange { name: name.to_owned(), kind: "topic", flags }
    }

    fn fanout(topic: &str) -> Exchange {
        let flags = ExchangeFlags { durable: false, auto_delete: true };
        Exchange { name: format!("{topic}_fanout"), kind: "fanout", flags }
    }

    pub fn declare(&self, connection: &Connection) -> Result<(), Error> {
        connection.open_channel()?.declare_exchange(&self.name, self.kind, self.flags)
    }
}

/// Whether topics' queues are durable, if that is said.
fn durable(topology: &Topology) -> Option<bool> {
    if topology.quorum { Some(true) } else { topology.durable }
}

const DEAD_FLAGS: QueueFlags = QueueFlags { durable: true, exclusive: false, auto_delete: false };

/// Where a message is published to.
#[derive(Clone)]
pub(super) struct Target {
    /// `None` for the one without a name, which brings it into the queue named as the key.
    pub exchange: Option<Exchange>,
    pub routing_key: String,
    /// Whether the queue is made for the message: nobody need listen there.
    keeps: bool,
}

impl Target {
    pub fn new(to: &Address, topology: &Topology) -> Target {
        let exchange = match to {
            Address::Topic { exchange, .. } | Address::Server { exchange, .. } | Address::Pool { exchange, .. } => {
                Some(Exchange::topic(exchange, topology))
            }
            Address::Fanout { topic } => Some(Exchange::fanout(topic)),
            Address::Reply { .. } | Address::Dead { .. } => None,
        };
        let routing_key = match to {
            Address::Fanout { .. } => String::new(),
            Address::Pool { topic, .. } => topic.clone(),
            _ => to.to_string(),
        };
        Target { exchange, routing_key, keeps: matches!(to, Address::Dead { .. }) }
    }

    pub fn exchange(&self) -> &str {
        self.exchange.as_ref().map_or("", |exchange| &exchange.name)
    }

    pub fn declares(&self) -> Option<&str> {
        match &self.exchange {
            Some(exchange) => Some(&exchange.name),
            None => self.keeps.then_some(&self.routing_key),
        }
    }

    /// Declares it, on a channel that may end with that.
    pub fn declare(&self, connection: &Connection) -> Result<(), Error> {
        match &self.exchange {
            Some(exchange) => exchange.declare(connection),
            None => connection.open_channel()?.declare_queue(&self.routing_key, DEAD_FLAGS, &Table::new()).map(drop),
        }
    }
}

/// A queue to listen on.
pub(super) struct Source {
    pub exchange: Option<Exchange>,
    pub queue: Arc<str>,
    binding: String,
    /// If not said, as the broker has it.
    durable: Option<bool>,
    auto_delete: bool,
    arguments: Table,
    /// Whether it is this listener's alone, and goes with it.
    pub own: bool,
}

impl Source {
    pub fn new(address: &Address, topology: &Topology) -> Source {
        let mut source = Source {
            exchange: None,
            queue: Arc::from(address.to_string()),
            binding: address.to_string(),
            durable: durable(topology),
            auto_delete: false,
            arguments: Table::new(),
            own: false,
        };
        match address {
            Address::Topic { exchange, .. } | Address::Server { exchange, .. } | Address::Pool { exchange, .. } => {
                source.exchange = Some(Exchange::topic(exchange, topology));
                if let Address::Pool { topic, .. } = address {
                    source.binding.clone_from(topic);
                }
                source.auto_delete = topology.auto_delete;
                if topology.quorum {
                    source.arguments = quorum(topology);
                }
            }
            Address::Fanout { topic } => {
                source.exchange = Some(Exchange::fanout(topic));
                source.queue = Arc::from(format!("{topic}_fanout_{}", unique()));
                source.binding.clone_from(topic);
                source.set_expiring(topology);
                source.own = true;
            }
            Address::Reply { .. } => source.set_expiring(topology),
            Address::Dead { .. } => source.durable = Some(DEAD_FLAGS.durable),
        }
        source
    }

    /// It goes some time after nobody uses it any more.
    fn set_expiring(&mut self, topology: &Topology) {
        // That topics are to outlive the broker is no reason for these to.
        self.durable = topology.durable.filter(|durable| !durable);
        if topology.transient_quorum {
            (self.durable, self.arguments) = (Some(true), quorum(topology));
        }
        if !topology.transient_ttl.is_zero() {
            let millis = i32::try_from(topology.transient_ttl.as_millis()).unwrap_or(i32::MAX);
            self.arguments.set("x-expires", millis);
        }
    }

    /// Declares it with its exchange. Each step has a channel that may end, if what is there has other flags.
    pub fn declare(&self, connection: &Connection) -> Result<(), Error> {
        tolerated(self.exchange.as_ref().map_or(Ok(()), |it| it.declare(connection)))?;
        let durable = self.durable.unwrap_or(!connection.takes_transient());
        let flags = QueueFlags { durable, exclusive: false, auto_delete: self.auto_delete };
        let channel = connection.open_channel()?;
        tolerated(channel.declare_queue(&self.queue, flags, &self.arguments).map(drop))?;
        let Some(exchange) = &self.exchange else { return Ok(()) };
        connection.open_channel()?.bind_queue(&self.queue, &exchange.name, &self.binding)
    }
}

/// The arguments of a quorum queue, under oslo.messaging's names for them.
fn quorum(topology: &Topology) -> Table {
    let limits = [
        ("x-delivery-limit", topology.delivery_limit),
        ("x-max-in-memory-length", topology.max_memory_length),
        ("x-max-in-memory-bytes", topology.max_memory_bytes),
    ];
    let mut arguments = Table::new().with("x-queue-type", "quorum");
    for (name, limit) in limits.into_iter().filter(|(_, limit)| *limit > 0) {
        arguments.set(name, i64::from(limit));
    }
    arguments
}

fn tolerated(declared: Result<(), Error>) -> Result<(), Error> {
    match declared {
        Err(error) if is_other(&error) => {
            tracing::warn!(error = %Chain(&error), "used as it is");
            Ok(())
        }
        declared => declared,
    }
}
