//! What a hub has done and how late it was, for any OS thread to read.
//!
//! The hub counts in cells of its own and publishes at each look at timers and I/O, so a switch costs one addition and
//! no atomic operation.

use std::sync::atomic::AtomicU64;

pub(crate) struct Counters {
    /// The name of the hub's OS thread.
    pub os_thread: Option<String>,
    pub green_threads: AtomicU64,
    pub switches: AtomicU64,
    pub turns: AtomicU64,
    // In nanoseconds.
    pub timer_lag: AtomicU64,
    pub longest_timer_lag: AtomicU64,
    pub longest_block: AtomicU64,
}

impl Counters {
    pub fn new() -> Counters {
        Counters {
            os_thread: std::thread::current().name().map(String::from),
            green_threads: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            timer_lag: AtomicU64::new(0),
            longest_timer_lag: AtomicU64::new(0),
            longest_block: AtomicU64::new(0),
        }
    }
}
