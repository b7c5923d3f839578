//! Spawn an empty green thread and wait for its end, one after the other.
//!
//! Who spawns matters: a green thread or task of the runtime, or the program's main function. In tokio the latter is
//! the future of `block_on`, which is dearer to wake. So both are measured, for us and for tokio; the others spawn from
//! inside.

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{
    go, ours,
    stopwatch::{NS, nanoseconds},
};

pub const FIGURE: Figure = Figure {
    name: "spawn",
    title: "Spawn and wait, empty green thread",
    metric: Metric { key: NS, unit: Unit::Nanoseconds, what: "a spawn with its wait" },
    beside: &[],
    cores: ONE_CORE,
    repetitions: 9,
    contenders: &[
        Contender { name: OURS, measure: ours::spawn },
        Contender { name: FROM_MAIN, measure: ours::spawn_from_main },
        Contender { name: "tokio", measure: tokio },
        Contender { name: "tokio, from main", measure: tokio_from_main },
        Contender { name: "may", measure: may },
        Contender { name: "go", measure: |scale| go::measure("spawn", scale) },
    ],
    claims: &[
        Claim {
            what: "spawn + wait / tokio's current-thread spawn + join",
            subject: OURS,
            metric: NS,
            against: Against::BestOf(&["tokio"]),
            floor: Bound::AtMost(0.3),
            aim: Some(Bound::AtMost(0.15)),
        },
        Claim {
            what: "the same from the program's main function",
            subject: FROM_MAIN,
            metric: NS,
            against: Against::BestOf(&["tokio, from main"]),
            floor: Bound::AtMost(0.3),
            aim: Some(Bound::AtMost(0.15)),
        },
    ],
};

const FROM_MAIN: &str = "greenloom, from main";

fn tokio(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    Ok(nanoseconds(scale, |count| {
        let spawning = runtime.spawn(spawn_and_join(count));
        runtime.block_on(spawning).expect("spawning does not panic");
    }))
}

fn tokio_from_main(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    Ok(nanoseconds(scale, |count| runtime.block_on(spawn_and_join(count))))
}

async fn spawn_and_join(count: u64) {
    for _ in 0..count {
        tokio::spawn(async {}).await.expect("an empty task does not panic");
    }
}

fn may(scale: Scale) -> Result<Sample, Skip> {
    may::config().set_workers(1);
    Ok(nanoseconds(scale, |count| {
        let spawning = may::go!(move || {
            for _ in 0..count {
                may::go!(|| ()).join().expect("an empty coroutine does not panic");
            }
        });
        spawning.join().expect("spawning does not panic");
    }))
}
