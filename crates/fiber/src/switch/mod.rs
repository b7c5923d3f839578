//! The switch itself, one file a backend, each with the same three items:
//!
//! - `Context`: where a suspended fiber left off;
//! - `Context::new(bottom, top, entry)`: a context that will call `entry` on the stack `bottom..top`;
//! - `switch(from, to)`: saves the running context in `from` and goes on with `to`.
//!
//! `x86_64` is a few instructions of our own, because a symmetric switch built from an asymmetric one costs a pair of
//! them: measured on one AMD EPYC core, 5.5 ns a switch between two fibers against 2.8 ns with a value carried.
//! `trampoline` builds it from corosensei and serves every other architecture; `--cfg greenloom_switch="trampoline"`
//! selects it on x86-64 too, which is how it is tested.

#[cfg(all(target_arch = "x86_64", not(greenloom_switch = "trampoline")))]
#[path = "x86_64.rs"]
mod backend;

#[cfg(any(not(target_arch = "x86_64"), greenloom_switch = "trampoline"))]
#[path = "trampoline.rs"]
mod backend;

pub(crate) use backend::{Context, switch};

/// Where a new fiber starts. It finds out which fiber it is from the thread's record, and never returns.
pub(crate) type Entry = extern "C-unwind" fn() -> !;
