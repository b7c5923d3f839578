//! Yield through the hub: ten green threads on one OS thread that take turns.

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{
    go, ours,
    stopwatch::{NS, nanoseconds},
};

pub const FIGURE: Figure = Figure {
    name: "yield",
    title: "Yield, 10 green threads",
    metric: Metric { key: NS, unit: Unit::Nanoseconds, what: "a yield" },
    beside: &[],
    cores: ONE_CORE,
    repetitions: 9,
    contenders: &[
        Contender { name: OURS, measure: |scale| ours::yielding(scale, GREEN_THREADS) },
        Contender { name: "may", measure: may },
        Contender { name: "tokio", measure: tokio },
        Contender { name: "go", measure: |scale| go::measure("yield", scale) },
    ],
    claims: &[Claim {
        what: "yield through the hub / the best of may, Go, tokio",
        subject: OURS,
        metric: NS,
        against: Against::BestOf(&["may", "tokio", "go"]),
        floor: Bound::Below(1.0),
        aim: Some(Bound::AtMost(0.5)),
    }],
};

/// How many take turns.
const GREEN_THREADS: u64 = 10;

fn may(scale: Scale) -> Result<Sample, Skip> {
    may::config().set_workers(1);
    Ok(nanoseconds(scale, |count| {
        let taking_turns = move || {
            for _ in 0..count / GREEN_THREADS {
                may::coroutine::yield_now();
            }
        };
        let threads: Vec<_> = (0..GREEN_THREADS).map(|_| may::go!(taking_turns)).collect();
        for thread in threads {
            thread.join().expect("yielding does not panic");
        }
    }))
}

fn tokio(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    Ok(nanoseconds(scale, |count| {
        let taking_turns = move || async move {
            for _ in 0..count / GREEN_THREADS {
                tokio::task::yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..GREEN_THREADS).map(|_| runtime.spawn(taking_turns())).collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.expect("yielding does not panic");
            }
        });
    }))
}
