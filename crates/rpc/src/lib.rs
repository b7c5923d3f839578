//! Services on green threads over a message bus.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]

pub mod amqp;
pub mod memory;
pub mod transport;

mod random;
