//! Frames against states; see `crates/rpc/tests/support/connection`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/rpc/tests/support/connection/mod.rs"]
mod connection;

fuzz_target!(|program: &[u8]| connection::run(program));
