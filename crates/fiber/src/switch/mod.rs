//! The switch itself, one file a backend, each with the same items:
//!
//! - `Context`: where a suspended fiber left off;
//! - `Context::new(bottom, top, entry)`: a context that will call `entry` on the stack `bottom..top`;
//! - `Context::registers()`: the registers with which it goes on, where that is known;
//! - `switch(from, to)`: saves the running context in `from` and goes on with `to`.
//!
//! `native` is a few instructions of our own for `x86_64` and `aarch64`, because a symmetric switch built from an
//! asymmetric one costs a pair of them: measured on one AMD EPYC core, 5.5 ns a switch between two fibers against
//! 2.8 ns with a value carried.
//! `trampoline` builds it from corosensei and serves every other architecture; `--cfg greenloom_switch="trampoline"`
//! selects it on those two as well, which is how it is tested.
//!
//! A stable compiler does not tell the source that a build is for APX, so there the refusal below is not seen: do not
//! build with `-C target-cpu` of a processor that has APX, or switch APX off.

// Neither backend can name R16 to R31 as changed by a switch: rustc has no names for them.
#[cfg(all(target_arch = "x86_64", target_feature = "apxf"))]
compile_error!("greenloom cannot switch in code built for APX; add `-C target-feature=-apxf` to RUSTFLAGS");

#[cfg(all(any(target_arch = "x86_64", target_arch = "aarch64"), not(greenloom_switch = "trampoline")))]
#[path = "native.rs"]
mod backend;

#[cfg(any(not(any(target_arch = "x86_64", target_arch = "aarch64")), greenloom_switch = "trampoline"))]
#[path = "trampoline.rs"]
mod backend;

pub(crate) use backend::{Context, switch};

/// Where a new fiber starts. It finds out which fiber it is from the thread's record, and never returns.
pub(crate) type Entry = extern "C-unwind" fn() -> !;

#[cfg(all(test, any(target_arch = "x86_64", target_arch = "aarch64")))]
mod tests;
