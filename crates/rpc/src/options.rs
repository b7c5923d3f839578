//! What a connection is to be like.

use crate::target::EXCHANGE;

/// What a connection is to be like.
///
/// ```
/// let connection = greenloom_rpc::Options::new().workers(8).connect("memory://")?;
/// assert_eq!(connection.options().workers, 8);
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "they do nothing until they connect"]
pub struct Options {
    /// The name under which this server of a topic can be addressed alone. By default, the machine's.
    pub host: String,
    /// The exchange of targets that name none; by default `openstack`. oslo.messaging's `control_exchange`.
    pub exchange: String,
    /// How many requests of a consumer are in work at a time; by default 64. The bus hands out at most twice as many.
    pub workers: usize,
    /// How often a request is tried whose work panics or whose worker is lost; by default 5. Then it is put into the
    /// topic's queue of dead letters.
    pub tries: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { host: host_name(), exchange: EXCHANGE.into(), workers: 64, tries: 5 }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// See [`host`](Options#structfield.host).
    pub fn host(mut self, host: impl Into<String>) -> Options {
        self.host = host.into();
        self
    }

    /// See [`exchange`](Options#structfield.exchange).
    pub fn exchange(mut self, exchange: impl Into<String>) -> Options {
        self.exchange = exchange.into();
        self
    }

    /// See [`workers`](Options#structfield.workers).
    pub fn workers(mut self, count: usize) -> Options {
        self.workers = count;
        self
    }

    /// See [`tries`](Options#structfield.tries).
    pub fn tries(mut self, count: u32) -> Options {
        self.tries = count;
        self
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}
