//! A thousand callers at a time over `memory://`: how even their latencies are.

use std::time::{Duration, Instant};

use super::calls;
use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};

const CALLERS: usize = 1_000;

pub const FIGURE: Figure = Figure {
    name: "callers",
    title: "1,000 concurrent callers over memory://",
    metric: Metric { key: MEDIAN, unit: Unit::Microseconds, what: "the median call" },
    beside: &[
        Metric { key: P99, unit: Unit::Microseconds, what: "the 99th percentile" },
        Metric { key: SPREAD, unit: Unit::Count, what: "the 99th percentile / the median" },
        Metric { key: RATE, unit: Unit::PerSecond, what: "calls" },
    ],
    cores: ONE_CORE,
    repetitions: 7,
    contenders: &[Contender { name: OURS, measure: ours }],
    claims: &[Claim {
        what: "1,000 callers: 99th percentile / median",
        subject: OURS,
        metric: SPREAD,
        against: Against::Itself,
        floor: Bound::Below(20.0),
        aim: None,
    }],
};

const MEDIAN: &str = "median_us";
const P99: &str = "p99_us";
const RATE: &str = "calls_per_s";
const SPREAD: &str = "p99_by_median";

fn ours(scale: Scale) -> Result<Sample, Skip> {
    let (_connection, client) = calls::served()?;
    let each = scale.pick(200, 20);
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = client.clone();
            greenloom::spawn(move || (0..each).map(|number| call(&client, number)).collect::<Vec<_>>())
        })
        .collect();
    let mut all: Vec<Duration> = Vec::with_capacity(CALLERS * each);
    for caller in callers {
        all.extend(caller.wait().map_err(|error| Skip::failed(error.to_string()))?);
    }
    let took = began.elapsed();
    all.sort();
    let micros = |per_cent: usize| all[all.len() * per_cent / 100].as_secs_f64() * 1e6;
    Ok(Sample::from([
        (MEDIAN.to_owned(), micros(50)),
        (P99.to_owned(), micros(99)),
        (SPREAD.to_owned(), micros(99) / micros(50)),
        (RATE.to_owned(), all.len() as f64 / took.as_secs_f64()),
    ]))
}

fn call(client: &greenloom_rpc::Client, number: usize) -> Duration {
    let began = Instant::now();
    let answer: usize = client.call("update", &calls::Update::new(number as u64)).expect("it is served");
    assert_eq!(answer, number);
    began.elapsed()
}
