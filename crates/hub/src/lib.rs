//! The core of an event loop for green threads, without the green threads.
//!
//! An OS thread has a [`RunQueue`] of work that is ready, in FIFO order or in the order a [`Choose`] picks, and a [`Core`] for
//! work that waits. Both are generic over that work: a green thread to resume, a function to call, or whatever the
//! layer above makes of it. Neither runs work itself. The core holds
//!
//! - [timers](Timers), ordered by time and then by age;
//! - [sources](Sources): file descriptors registered once and edge-triggered, with readiness kept per direction;
//! - a [poller](poller::Poller) to wait in, a [`Clock`] to tell the time, and an [inbox](Inbox) for other OS threads.
//!
//! One [turn](Core::turn) collects what other threads sent, the timers that are due at one captured `now`, and I/O, in
//! this order. The layer above runs ready work between turns, at most [`TURN_EVERY`] pieces, so that work that re-arms
//! itself starves neither timers nor I/O.
//!
//! [`blocking`] is the pool of OS threads for calls that have no other way than to block.
//!
//! This crate must not know fibers, greenlets or Python.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]

pub mod blocking;
mod clock;
mod core;
mod inbox;
pub mod poller;
mod run_queue;
mod sources;
mod timers;

pub use clock::{Clock, MonotonicClock, Time};
pub use core::{Cause, Core, Others, TURN_EVERY};
pub use inbox::{Inbox, InboxClosed};
pub use run_queue::{Choose, RunQueue};
pub use sources::{Busy, Direction, SourceKey, Sources};
pub use timers::{TimerKey, Timers};
