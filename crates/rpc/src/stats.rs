//! Counts and latencies.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::transport::{Depth, State};

/// Durations, in buckets whose width is an eighth of where they begin, so a quantile is at most 13 % too high. It has
/// a fixed size.
#[derive(Clone)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    total: Duration,
    longest: Duration,
}

/// Up to about 18 minutes.
const BUCKETS: usize = 38 * 8;

impl Default for Histogram {
    fn default() -> Histogram {
        let buckets = vec![0; BUCKETS].into();
        Histogram { buckets, count: 0, total: Duration::ZERO, longest: Duration::ZERO }
    }
}

impl Histogram {
    pub fn add(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.total += duration;
        self.longest = self.longest.max(duration);
    }

    /// Adds all of another's.
    #[cfg(feature = "metrics")]
    pub fn merge(&mut self, other: &Histogram) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, others)| *mine += others);
        self.count += other.count;
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// How many did not exceed each of these limits in seconds. One near a limit may be counted as above it.
    #[cfg(feature = "metrics")]
    pub fn up_to(&self, limits: &[f64]) -> Vec<(f64, u64)> {
        let within = |limit: &f64| {
            let full = self.buckets.iter().enumerate().take_while(|(index, _)| end_of(*index) as f64 <= limit * 1e9);
            (*limit, full.map(|(_, count)| count).sum())
        };
        limits.iter().map(within).collect()
    }

    /// How many there are.
    #[cfg(feature = "metrics")]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long they took in all.
    #[cfg(feature = "metrics")]
    pub fn total(&self) -> Duration {
        self.total
    }

    /// What so many per mille of the durations do not exceed.
    fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(end_of(index)).min(self.longest);
            }
        }
        self.longest
    }

    pub fn latency(&self) -> Latency {
        let mean = self.total.checked_div(u32::try_from(self.count).unwrap_or(u32::MAX)).unwrap_or_default();
        Latency {
            count: self.count,
            mean,
            median: self.quantile(500),
            p90: self.quantile(900),
            p99: self.quantile(990),
            longest: self.longest,
        }
    }
}

/// The first eight are of one nanosecond each.
fn bucket(nanos: u64) -> usize {
    let power = nanos.max(8).ilog2() - 3;
    let within = (nanos >> power) as usize & 7;
    let index = if nanos < 8 { nanos as usize } else { (power as usize + 1) * 8 + within };
    index.min(BUCKETS - 1)
}

/// The longest duration of a bucket, in nanoseconds.
fn end_of(bucket: usize) -> u64 {
    match (bucket / 8, bucket as u64 % 8) {
        (0, nanos) => nanos,
        (power, within) => ((9 + within) << (power - 1)) - 1,
    }
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// How often it was measured.
    pub count: u64,
    /// On average.
    pub mean: Duration,
    /// Half of them were no longer than this. This and the next two are at most 13 % too high.
    pub median: Duration,
    /// Nine of ten were no longer.
    pub p90: Duration,
    /// 99 of 100 were no longer.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

/// How a connection has fared; by [`Connection::stats`](crate::Connection::stats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// How the transport is.
    pub state: State,
    /// What was asked of others.
    pub client: ClientStats,
    /// What others asked, one entry a topic.
    pub consumers: Vec<ConsumerStats>,
}

/// What was asked of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Calls that were answered, with their latency, errors of the other side included.
    pub calls: Latency,
    /// Calls that were answered with an error.
    pub failed: u64,
    /// Calls that were not answered in time.
    pub timed_out: u64,
    /// Calls and casts that the bus did not take over, and calls whose connection was lost before the answer.
    pub undelivered: u64,
    /// Calls under way.
    pub waiting: usize,
    /// Casts that were sent.
    pub casts: u64,
    /// Messages that were sent again after a lost connection.
    pub resent: u64,
    /// Answers that came when nobody waited for them any more.
    pub late: u64,
}

/// What others asked on a topic.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// The topic.
    pub topic: String,
    /// Messages that came in.
    pub received: u64,
    /// Requests in work, and how many can be.
    pub in_work: usize,
    /// The size of the pool.
    pub workers: usize,
    /// By method. What was asked for and does not exist is under `-`.
    pub methods: BTreeMap<&'static str, MethodStats>,
    /// Messages that were done already and came again.
    pub duplicates: u64,
    /// Requests that are to come again, after a panic.
    pub retried: u64,
    /// Messages that were given up, and are in the queue of dead letters.
    pub buried: u64,
    /// Its queues, that of dead letters included.
    pub queues: Vec<Depth>,
}

/// How a method has fared.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct MethodStats {
    /// How long its requests took, from when they were taken from their queue until they were acknowledged.
    pub latency: Latency,
    /// How many ended with an error.
    pub failed: u64,
    /// How many ended with a panic.
    pub panicked: u64,
}

impl fmt::Display for Stats {
    /// A few lines for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientStats { calls, failed, timed_out, undelivered, waiting, casts, resent, late } = self.client;
        let Latency { count, median, p99, longest, .. } = calls;
        writeln!(f, "{:?}", self.state)?;
        writeln!(
            f,
            "calls: {count} answered, {failed} of them with an error, {timed_out} timed out, {waiting} waiting"
        )?;
        writeln!(f, "       median {median:?}, p99 {p99:?}, longest {longest:?}")?;
        writeln!(f, "casts: {casts}; sent again: {resent}; undelivered: {undelivered}; late answers: {late}")?;
        for consumer in &self.consumers {
            let ConsumerStats { topic, received, in_work, workers, duplicates, retried, buried, .. } = consumer;
            writeln!(f, "topic {topic}: {received} received, {in_work} of {workers} workers busy")?;
            writeln!(f, "       {duplicates} duplicates, {retried} retried, {buried} given up")?;
            for (name, method) in &consumer.methods {
                let Latency { count, median, p99, longest, .. } = method.latency;
                let (failed, panicked) = (method.failed, method.panicked);
                writeln!(f, "  {name}: {count}, {failed} failed, {panicked} panicked")?;
                writeln!(f, "       median {median:?}, p99 {p99:?}, longest {longest:?}")?;
            }
            for Depth { queue, ready, unsettled } in &consumer.queues {
                let unsettled = unsettled.map_or(String::new(), |count| format!(", {count} unsettled"));
                writeln!(f, "  queue {queue}: {ready} ready{unsettled}")?;
            }
        }
        Ok(())
    }
}

/// What a client counts.
#[derive(Default)]
pub(crate) struct ClientCounts {
    pub calls: RefCell<Histogram>,
    pub failed: Cell<u64>,
    pub timed_out: Cell<u64>,
    pub undelivered: Cell<u64>,
    pub casts: Cell<u64>,
    pub resent: Cell<u64>,
    pub late: Cell<u64>,
}

/// What a consumer counts.
#[derive(Default)]
pub(crate) struct ConsumerCounts {
    pub received: Cell<u64>,
    pub duplicates: Cell<u64>,
    pub retried: Cell<u64>,
    pub buried: Cell<u64>,
    pub methods: RefCell<BTreeMap<&'static str, MethodCounts>>,
}

/// What is counted of a method.
#[derive(Default)]
pub(crate) struct MethodCounts {
    pub latency: Histogram,
    pub failed: u64,
    pub panicked: u64,
}

/// Counts one more.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_hold_what_falls_into_them() {
        let mut last = 0;
        for nanos in (0..100_000).chain((17..39).map(|power| (1u64 << power) + 12_345)) {
            let index = bucket(nanos);
            assert!(index == last || index == last + 1 || nanos > 100_000, "{nanos}");
            assert!(nanos <= end_of(index) && (index == 0 || nanos > end_of(index - 1)), "{nanos} in {index}");
            last = index;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_near_the_true_ones() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let latency = histogram.latency();
        for (found, truth) in [(latency.median, 500), (latency.p90, 900), (latency.p99, 990)] {
            let micros = found.as_micros();
            assert!((truth..=truth * 113 / 100).contains(&micros), "{found:?} for {truth}");
        }
        assert_eq!((latency.longest, latency.count), (Duration::from_millis(1), 1000));
        assert_eq!(latency.mean, Duration::from_nanos(500_500));
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Histogram::default().latency(), Latency::default());
    }
}
