//! Random graphs of greenlets; see `crates/greenloom/tests/support/graph.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/greenloom/tests/support/graph.rs"]
mod graph;

fuzz_target!(|program: &[u8]| graph::run(program));
