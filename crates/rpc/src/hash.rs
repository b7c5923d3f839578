//! Tables whose keys are not chosen to collide: names of queues, and ids that are random. The hasher is fast, and the
//! same in every run, as a replay from a seed needs.

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::FixedState>;
