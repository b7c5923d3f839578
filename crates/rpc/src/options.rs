//! What a connection is to be like.

use crate::target::EXCHANGE;

/// What a connection is to be like.
///
/// ```
/// let options = greenloom_rpc::Options { workers: 8, ..Default::default() };
/// let connection = options.connect("memory://")?;
/// # drop(connection);
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
#[derive(Clone, Debug)]
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

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".into() } else { name.into() }
}
