//! The codec of AMQP 0-9-1, as RabbitMQ speaks it: bytes to frames and back, and nothing else.
//!
//! | piece | what it is |
//! |---|---|
//! | [`wire`] | the primitive types, taken off a slice and appended to a buffer |
//! | [`frame`] | frames: the raw ones, and those whose content is understood |
//! | [`Method`] | the methods that a client sends or understands |
//! | [`events`] | raw frames put together: methods with their messages |
//! | [`Header`], [`Properties`] | what comes before a message's body |
//! | [`Table`], [`Value`] | field tables |
//!
//! Nothing here reads or writes a socket, waits, or keeps a connection. No length is trusted before what it claims is
//! there. It must not know green threads or Python.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

pub mod events;
pub mod frame;
mod method;
mod properties;
mod table;
pub mod wire;

pub use method::{Bit, ConsumeBits, DeleteBits, ExchangeBits, Method, NackBits, PublishBits, QueueBits};
pub use properties::{Header, Properties, Unread};
pub use table::{Table, Value};
pub use wire::Malformed;
