//! C libraries made green: the hooked calls of `greenloom-hooks` beneath Python's green threads.
//!
//! - [`host`]: how a hooked call parks;
//! - [`functions`]: what `greenloom.hooks` is made of.

pub mod functions;
mod host;
