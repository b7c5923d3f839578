//! What goes wrong on a bus, so that tests meet it.

/// What goes wrong on a bus, decided by a generator that starts from a seed. With the seed of a
/// [`Simulation`](greenloom::testing::Simulation), a run can be repeated.
///
/// ```
/// use greenloom_rpc::memory::{Bus, Faults};
///
/// let bus = Bus::with_faults(Faults { seed: 7, cut: 0.1, reorder: 0.5, ..Faults::default() });
/// let transport = bus.connect();
/// # let _ = transport;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Where the generator starts.
    pub seed: u64,
    /// How likely a send or a settlement is to meet a lost connection, half of them after it has had its effect.
    pub cut: f64,
    /// How likely a message is to vanish although it was sent, as when a broker dies that keeps its queues in memory.
    pub lose: f64,
    /// How likely the next message is to be not the oldest one.
    pub reorder: f64,
}
