//! The soak of `make soak`, for some seconds.

use std::time::Duration;

#[allow(dead_code, reason = "the example's main is not the test's")]
#[path = "../examples/soak.rs"]
mod example;

#[test]
fn a_short_soak_loses_nothing_and_keeps_its_memory() {
    example::soak(Duration::from_secs(8)).unwrap();
}
