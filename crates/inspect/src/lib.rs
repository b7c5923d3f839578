//! How a program on green threads tells of itself, and how others ask.
//!
//! A program that wants to be looked into makes a [`Program`] of what it knows and [serves](Server::start) it: an OS
//! thread of its own waits on a Unix socket, so that a hub which is blocked is told of too. Whoever looks makes a
//! [`Client`] of the process's number. Both speak [lines of JSON](mod@protocol).
//!
//! Each file may use those above it:
//!
//! - [`mod@protocol`]: what is asked and answered;
//! - `native`: stacks of native code, under the feature of that name;
//! - [`groups`], [`hints`]: green threads grouped by where they wait; what looks wrong among them;
//! - [`descriptor`]: file descriptors in words;
//! - `page`: OpenMetrics text, and those that have something to tell there; [`counters`]: what is counted of a hub;
//! - [`text`], [`metrics`]: the same for people to read, and as OpenMetrics;
//! - [`place`]: where the sockets are; [`watchdog`]: hubs that do not move;
//! - [`traced`]: events of a recording, as they go through the socket; `stderr`: what is said without being asked;
//! - `settings`, `peer`, `sockets`, `server`, `client`: the two ends.
//!
//! Of [`greenloom_trace`] it knows what an event is, of `greenloom_fiber` what a copied stack is.
//!
//! This crate must not know hubs, greenlets or Python: what there is to tell comes through
//! [`Program`].

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stderr))]
#![warn(missing_debug_implementations)]
#![forbid(unsafe_code)]

mod client;
pub mod counters;
pub mod descriptor;
pub mod groups;
pub mod hints;
pub mod metrics;
#[cfg(feature = "native")]
pub mod native;
mod page;
mod peer;
pub mod place;
pub mod protocol;
mod server;
mod settings;
mod sockets;
mod stderr;
pub mod text;
pub mod traced;
pub mod watchdog;

pub use client::{Client, Failure};
pub use protocol::{Frame, Group, Hub, Info, Stacks, State, Thread, Waits};
pub use server::{Program, Server, Whereabouts};
pub use settings::{Settings, signal_named};
pub use stderr::to_stderr;
pub use watchdog::Pulse;
