//! A million sleeping green threads: what each holds, and how long it takes until the last one sleeps.
//!
//! Every one has run up to its sleep before memory is read, so that a stack that is touched only then is counted. may
//! cannot have a million: its stacks take two mappings each, and the default limit of mappings of a process ends that
//! below 32,768 stacks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::figure::{Against, Bound, Claim, Contender, Figure, Metric, ONE_CORE, OURS, Sample, Scale, Skip, Unit};
use crate::{go, ours, sys};

pub const FIGURE: Figure = Figure {
    name: "sleepers",
    title: "1,000,000 sleeping green threads",
    metric: Metric { key: RESIDENT, unit: Unit::Bytes, what: "resident, each" },
    beside: &[
        Metric { key: PAGE_TABLES, unit: Unit::Bytes, what: "page tables, each" },
        Metric { key: SPAWN, unit: Unit::Seconds, what: "until a million sleep" },
    ],
    cores: ONE_CORE,
    repetitions: 3,
    contenders: &[
        Contender { name: OURS, measure: |scale| ours(scale, Some(64 * 1024)) },
        Contender { name: DEFAULT_STACKS, measure: |scale| ours(scale, None) },
        Contender { name: "may, 30,000 only", measure: may },
        Contender { name: "tokio", measure: tokio },
        Contender { name: "go", measure: go },
    ],
    claims: &[
        Claim {
            what: "resident bytes of a sleeper, 64 KiB stacks",
            subject: OURS,
            metric: RESIDENT,
            against: Against::Itself,
            floor: Bound::AtMost(5.5 * 1024.0),
            aim: Some(Bound::AtMost(4.5 * 1024.0)),
        },
        Claim {
            what: "seconds until a million sleep, 64 KiB stacks",
            subject: OURS,
            metric: SPAWN,
            against: Against::Itself,
            floor: Bound::AtMost(4.0),
            aim: None,
        },
        Claim {
            what: "resident bytes of a sleeper, default stacks",
            subject: DEFAULT_STACKS,
            metric: RESIDENT,
            against: Against::Itself,
            floor: Bound::AtMost(5.5 * 1024.0),
            aim: Some(Bound::AtMost(4.5 * 1024.0)),
        },
        Claim {
            what: "seconds until a million sleep, default stacks",
            subject: DEFAULT_STACKS,
            metric: SPAWN,
            against: Against::Itself,
            floor: Bound::AtMost(4.0),
            aim: None,
        },
    ],
};

const DEFAULT_STACKS: &str = "greenloom, default stacks";

// `go/sleepers.go` prints the same keys.
const RESIDENT: &str = "resident_bytes";
const PAGE_TABLES: &str = "page_table_bytes";
const SPAWN: &str = "seconds_per_million";

/// How long they sleep: longer than anybody measures.
const SLEEP: Duration = Duration::from_secs(3600);

/// How many sleep.
fn population(scale: Scale) -> u64 {
    scale.pick(1_000_000, 100_000)
}

/// Measures around `fill`, which makes `count` sleepers of about `bytes` each and returns when all of them sleep.
///
/// What `fill` returns is kept until the memory has been read.
fn measure<T>(count: u64, bytes: u64, fill: impl FnOnce() -> T) -> Result<Sample, Skip> {
    sys::warm_memory((count * bytes) as usize);
    let before = sys::memory()?;
    let start = Instant::now();
    let sleepers = fill();
    let seconds = start.elapsed().as_secs_f64();
    let after = sys::memory()?;
    // The process ends right after this; waking a million first would only take time.
    std::mem::forget(sleepers);
    let count = count as f64;
    Ok(Sample::from([
        (RESIDENT.to_owned(), (after.resident - before.resident) / count),
        (PAGE_TABLES.to_owned(), (after.page_tables - before.page_tables) / count),
        (SPAWN.to_owned(), seconds * 1e6 / count),
    ]))
}

fn ours(scale: Scale, stack_size: Option<usize>) -> Result<Sample, Skip> {
    let count = population(scale);
    measure(count, 5 * 1024, || ours::fall_asleep(count, stack_size, SLEEP))
}

fn go(scale: Scale) -> Result<Sample, Skip> {
    sys::warm_memory((population(scale) * 3 * 1024) as usize);
    go::measure("sleepers", scale)
}

fn may(scale: Scale) -> Result<Sample, Skip> {
    may::config().set_workers(1);
    let count = scale.pick(30_000, 10_000);
    let asleep = Arc::new(AtomicU64::new(0));
    measure(count, 9 * 1024, || {
        for _ in 0..count {
            let asleep = Arc::clone(&asleep);
            may::go!(move || {
                asleep.fetch_add(1, Ordering::Relaxed);
                may::coroutine::sleep(SLEEP);
            });
        }
        while asleep.load(Ordering::Relaxed) < count {
            std::thread::sleep(Duration::from_millis(1));
        }
    })
}

fn tokio(scale: Scale) -> Result<Sample, Skip> {
    let runtime = super::tokio_current_thread()?;
    let count = population(scale);
    let asleep = Arc::new(AtomicU64::new(0));
    measure(count, 512, || {
        runtime.block_on(async {
            for _ in 0..count {
                let asleep = Arc::clone(&asleep);
                tokio::spawn(async move {
                    asleep.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(SLEEP).await;
                });
            }
            while asleep.load(Ordering::Relaxed) < count {
                tokio::task::yield_now().await;
            }
        });
        runtime
    })
}
