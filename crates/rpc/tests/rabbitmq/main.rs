//! The AMQP client, its transport and the services on it, over a real RabbitMQ.
//!
//! They need a broker of their own, which they stop and kill, so they are ignored by a plain `cargo test` and run one
//! after another by `make test-rpc`.

mod broker;
mod client;
mod faults;
mod ledger;
mod metrics;
mod oslo;
mod proxy;
mod transport;
