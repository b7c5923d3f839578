//! What a hub tells of itself, for any OS thread to read.
//!
//! The hub counts switches and green threads in cells of its own and publishes them at each look at timers and I/O, so
//! a switch costs one addition and no look at what other OS threads share.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use greenloom_hub::Statistics;

pub(crate) struct Counters {
    /// The name of the hub's OS thread.
    pub os_thread: Option<String>,
    /// A message out of turn would change what a seed means, and times are of another clock.
    pub is_simulated: bool,
    pub green_threads: AtomicU64,
    pub statistics: Arc<Statistics>,
}

impl Counters {
    pub fn new(statistics: Arc<Statistics>, is_simulated: bool) -> Counters {
        let os_thread = std::thread::current().name().map(String::from);
        Counters { os_thread, is_simulated, green_threads: AtomicU64::new(0), statistics }
    }
}
