//! The core of an event loop for green threads, without the green threads.
//!
//! An OS thread has a [`RunQueue`] of work that is ready, in FIFO order or in the order a [`Choose`] picks, and a
//! [`Core`] for work that waits. Both are generic over that work: a green thread to resume, a function to call, or
//! whatever the layer above makes of it. Neither runs work itself. The core holds
//!
//! - [timers](Timers), ordered by time and then by age;
//! - [sources](Sources): file descriptors registered once and edge-triggered, with readiness kept per direction;
//! - a [poller](poller::Poller) to wait in, a [`Clock`] to tell the time, and an [inbox](Inbox) for other OS threads.
//!
//! A [turn](run_turn) takes in what other threads sent, runs ready work, at most [`TURN_EVERY`] pieces, and then
//! [looks](Core::turn) at the timers that are due at one captured `now` and at I/O, in this order. So work that re-arms
//! itself starves neither.
//!
//! Two more things are the same wherever green threads wait, and stand here once: the [line](mod@line) of waiters, and
//! the [attempt](mod@attempt) that is tried first and waits second. Both are generic over how a waiter is woken.
//!
//! [`Statistics`] count what a hub has done and how late it was. [`blocking`] is the pool of OS threads for calls that
//! have no other way than to block.
//!
//! This crate must not know fibers, greenlets or Python.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![warn(missing_debug_implementations)]
#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("greenloom-hub runs on Linux only: it waits in epoll, and is woken through an eventfd");

pub mod attempt;
pub mod blocking;
mod clock;
mod core;
mod inbox;
pub mod line;
pub mod poller;
mod run_queue;
mod sources;
mod statistics;
mod timers;
mod turn;

pub use clock::{Clock, MonotonicClock, Time};
pub use core::Core;
pub use inbox::{Inbox, InboxClosed};
pub use run_queue::{Choose, RunQueue};
pub use sources::{Busy, Direction, SourceKey, Sources};
pub use statistics::{Counts, Statistics};
pub use timers::{TimerKey, Timers};
pub use turn::{Budget, Cause, Due, Loop, Others, TURN_EVERY, run_turn};
