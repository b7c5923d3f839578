//! A call over RabbitMQ and its answer, by one caller and by a hundred. What is measured is in [`crate::rabbit`].

use std::time::Duration;

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, OURS, Sample, Scale, Skip, TWO_CORES, Unit};
use crate::rabbit;

const SERVICE: &str = "greenloom, services";
const LAPINS: &[&str] = &["lapin", "lapin, threads"];

pub const ONE: Figure = Figure {
    name: "rabbit-call",
    title: "Call over RabbitMQ, one caller",
    metric: MEDIAN,
    beside: &[RATE],
    cores: TWO_CORES,
    repetitions: 5,
    contenders: &[
        Contender { name: OURS, measure: |scale| measured(scale, 1, rabbit::client) },
        Contender { name: SERVICE, measure: |scale| measured(scale, 1, rabbit::service) },
        Contender { name: "lapin", measure: |scale| measured(scale, 1, rabbit::lapin) },
        Contender { name: "lapin, threads", measure: |scale| measured(scale, 1, rabbit::lapin_on_threads) },
    ],
    claims: &[
        Claim {
            what: "RabbitMQ call, one caller / lapin on tokio",
            subject: OURS,
            metric: rabbit::MEDIAN,
            against: Against::BestOf(LAPINS),
            floor: Bound::AtMost(1.0),
            aim: None,
        },
        Claim {
            what: "the same by a service / lapin alone",
            subject: SERVICE,
            metric: rabbit::MEDIAN,
            against: Against::BestOf(LAPINS),
            floor: Bound::AtMost(1.0),
            aim: None,
        },
    ],
};

pub const HUNDRED: Figure = Figure {
    name: "rabbit-callers",
    title: "Call over RabbitMQ, 100 callers",
    metric: RATE,
    beside: &[MEDIAN],
    cores: TWO_CORES,
    repetitions: 5,
    contenders: &[
        Contender { name: OURS, measure: |scale| measured(scale, 100, rabbit::client) },
        Contender { name: SERVICE, measure: |scale| measured(scale, 100, rabbit::service) },
        Contender { name: "lapin", measure: |scale| measured(scale, 100, rabbit::lapin) },
        Contender { name: "lapin, threads", measure: |scale| measured(scale, 100, rabbit::lapin_on_threads) },
    ],
    claims: &[
        Claim {
            what: "RabbitMQ calls/s, 100 callers / lapin on tokio",
            subject: OURS,
            metric: rabbit::RATE,
            against: Against::BestOf(LAPINS),
            floor: Bound::AtLeast(1.0),
            aim: None,
        },
        Claim {
            what: "the same by a service / lapin alone",
            subject: SERVICE,
            metric: rabbit::RATE,
            against: Against::BestOf(LAPINS),
            floor: Bound::AtLeast(1.0),
            aim: None,
        },
    ],
};

const MEDIAN: Metric = Metric { key: rabbit::MEDIAN, unit: Unit::Microseconds, what: "the median call" };
const RATE: Metric = Metric { key: rabbit::RATE, unit: Unit::PerSecond, what: "calls" };

type Exchange = fn(usize, Duration, Duration) -> Result<Sample, Skip>;

fn measured(scale: Scale, callers: usize, exchange: Exchange) -> Result<Sample, Skip> {
    let millis = Duration::from_millis;
    exchange(callers, millis(scale.pick(500, 100)), millis(scale.pick(2000, 300)))
}
