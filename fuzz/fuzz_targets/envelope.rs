//! What a message's body may be; see `crates/rpc/src/check.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| greenloom_rpc::check_envelope(body));
