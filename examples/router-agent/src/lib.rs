//! The router agent: a service that takes router updates from a message bus and works through them with a pool of green
//! threads, each of which talks to a device over TCP. It is written the way network agents are written for eventlet,
//! and is what `make demo` runs: on a bus in memory, with the server that casts the updates in the same program. On
//! RabbitMQ, servers and agents are processes of their own, and agents share the work.
//!
//! ```text
//!  feed file -> server -- router_update, cast --> topic router_agent     agent: queue of routers, by priority
//!                  ^                                   |                        |                      ^
//!                  |                                   +--> agents, in turn --> GreenPool(8)           |
//!                  |                                                            |  apply over TCP      |
//!                  +------------- progress, cast <------------------------------+--> retry after a delay
//! ```

#![forbid(unsafe_code)]

pub mod agent;
pub mod device;
pub mod feed;
pub mod manager;
pub mod progress;
pub mod server;
pub mod summary;

/// The code in the project's README compiles and runs. It stands here because this crate, which is published nowhere,
/// may look out of its folder.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
