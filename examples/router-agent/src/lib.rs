//! The router agent: a service that takes router updates from a feed and works through them with a pool of green threads, each of which
//! talks to a device over TCP. It is written the way network agents are written for eventlet, and is what `make demo` runs.
//!
//! ```text
//!  feed file -> read_feed -> queue of routers, by priority -> process_routers -> GreenPool(8)
//!                                    ^                                             |  apply over TCP
//!                                    |  retry after a delay                        v
//!                                    +------------------------------------- device server, in another hub
//! ```

#![forbid(unsafe_code)]

pub mod agent;
pub mod device;
pub mod feed;
pub mod progress;
pub mod summary;
