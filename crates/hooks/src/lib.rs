#![doc = include_str!("../README.md")]
#![cfg(target_os = "linux")]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stderr))]
#![warn(missing_debug_implementations)]

mod blocking;
mod buffers;
pub mod calls;
mod current;
mod elf;
pub mod got;
mod hooked;
mod host;
mod lot;
mod real;
#[cfg(feature = "runtime")]
mod runtime;
mod symbols;
mod wait;

#[doc(hidden)]
pub use libc;

pub use current::set_host;
pub use host::{Direction, Host, Wait};
