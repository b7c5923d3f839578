//! Everything at once, for minutes: sockets, timers, kills, timeouts, pools, queues across two hubs, the blocking pool.
//! Memory must stay flat, and whatever goes in must come out.
//!
//! `cargo run --release --example soak -- MINUTES`, or `make soak MINUTES=3`. Ends with status 1 and the reason if it
//! finds one.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use greenloom::pool::GreenPool;
use greenloom::queue::Queue;
use greenloom::{Hubs, blocking, inspect, net, sleep, spawn, timeout, yield_now};

/// Memory cannot be seen to stay flat in less.
const SHORTEST: Duration = Duration::from_secs(6);

/// A week, almost.
const LONGEST: Duration = Duration::from_secs(600_000);

/// What both hubs count.
#[derive(Default)]
struct Counts {
    put: AtomicU64,
    got: AtomicU64,
    echoed: AtomicU64,
    killed: AtomicU64,
    timed_out: AtomicU64,
    blocked: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> ExitCode {
    let minutes = std::env::args().nth(1).map_or(Some(3.0), |text| text.parse::<f64>().ok());
    let length = minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    let Some(length) = length.filter(|length| (SHORTEST..=LONGEST).contains(length)) else {
        eprintln!("soak: MINUTES is a number from 0.1 to 10000");
        return ExitCode::from(2);
    };
    match soak(length) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("soak: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the load for so long.
pub fn soak(length: Duration) -> Result<(), String> {
    let counts = Arc::new(Counts::default());
    let queue = Arc::new(Queue::<u64>::new(100));
    let hubs = Hubs::new(2).map_err(|error| error.to_string())?;
    let until = Instant::now() + length;

    // One hub makes, the other takes; both echo, kill, time out and block.
    let makers: Vec<_> = (0..2)
        .map(|_| {
            let (queue, counts) = (queue.clone(), counts.clone());
            hubs.handle(0).spawn(move || make(&queue, &counts, until))
        })
        .collect();
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let (queue, counts) = (queue.clone(), counts.clone());
            hubs.handle(1).spawn(move || take(&queue, &counts))
        })
        .collect();
    let mixed: Vec<_> = (0..2)
        .map(|hub| {
            let counts = counts.clone();
            hubs.handle(hub).spawn(move || mix(&counts, until))
        })
        .collect();

    let mut samples = Vec::new();
    while Instant::now() < until {
        sleep(Duration::from_millis(500).min(length / 20));
        samples.push(resident());
        if samples.len().is_multiple_of(20) {
            report(&counts, samples[samples.len() - 1], until);
        }
    }
    for maker in makers {
        maker.wait().map_err(|error| format!("a maker failed: {error}"))?;
    }
    queue.close();
    for taker in takers {
        taker.wait().map_err(|error| format!("a taker failed: {error}"))?;
    }
    for mixed in mixed {
        mixed.wait().map_err(|error| format!("the mixed load failed: {error}"))??;
    }
    report(&counts, resident(), until);
    let (put, got) = (counts.put.load(Ordering::Relaxed), counts.got.load(Ordering::Relaxed));
    if put != got {
        return Err(format!("{put} items were put and {got} came out"));
    }
    hubs.stop();
    match inspect::leaked_stacks() {
        0 => flat(&samples),
        leaked => Err(format!("{leaked} stacks were leaked")),
    }
}

fn make(queue: &Queue<u64>, counts: &Counts, until: Instant) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        // Some of them give up in the middle; what they had put counts, what they had not does not.
        let put = timeout(Duration::from_micros(500), || queue.put(number).is_ok());
        if put == Ok(true) {
            Counts::add(&counts.put);
        }
        if number.is_multiple_of(1_000) {
            sleep(Duration::from_millis(1));
        }
    }
}

fn take(queue: &Queue<u64>, counts: &Counts) {
    while queue.get().is_ok() {
        Counts::add(&counts.got);
    }
}

/// Rounds of a pool that echoes over TCP, is killed now and then, times out and blocks.
fn mix(counts: &Arc<Counts>, until: Instant) -> Result<(), String> {
    let listener = Rc::new(net::listen("127.0.0.1:0").map_err(|error| error.to_string())?);
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let serving = listener.clone();
    let server = spawn(move || {
        net::serve(&*serving, 64, |mut stream, _| {
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..read]).is_err() {
                    return;
                }
            }
        })
    });
    let pool = GreenPool::new(16);
    let mut round = 0u32;
    while Instant::now() < until {
        round += 1;
        let (counts, killed) = (Arc::clone(counts), counts);
        let worker = pool.spawn(move || {
            match round % 4 {
                0 if blocking::run(|| std::hint::black_box(1)).is_ok() => Counts::add(&counts.blocked),
                1 if timeout(Duration::from_micros(50), || sleep(Duration::from_secs(60))).is_err() => {
                    Counts::add(&counts.timed_out);
                }
                2 => sleep(Duration::from_secs(60)), // until it is killed
                _ => {
                    let Ok(mut stream) = net::connect(address) else { return };
                    let mut answer = [0; 4];
                    if stream.write_all(b"ping").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"ping"
                    {
                        Counts::add(&counts.echoed);
                    }
                }
            }
        });
        if round % 4 == 2 {
            yield_now();
            worker.kill();
            Counts::add(&killed.killed);
        }
    }
    pool.waitall();
    listener.close();
    server.wait().map_err(|error| error.to_string())?.map_err(|error| format!("the server failed: {error}"))
}

/// Resident memory in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn report(counts: &Counts, resident: u64, until: Instant) {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "{:5.0} s left  {} items, {} echoes, {} killed, {} timed out, {} blocking calls, {resident} KiB resident",
        until.saturating_duration_since(Instant::now()).as_secs_f64(),
        count(&counts.got),
        count(&counts.echoed),
        count(&counts.killed),
        count(&counts.timed_out),
        count(&counts.blocked),
    );
}

/// The median of the last quarter may be larger than that of the second by a tenth, or by 2 MiB, which is what the
/// allocator's own arenas vary by.
fn flat(samples: &[u64]) -> Result<(), String> {
    let quarter = samples.len() / 4;
    let median = |from: usize| {
        let mut part = samples[from..from + quarter].to_vec();
        part.sort_unstable();
        part[quarter / 2]
    };
    let (early, late) = (median(quarter), median(3 * quarter));
    eprintln!("resident memory: {early} KiB in the second quarter, {late} KiB in the last");
    if late > early + (early / 10).max(2048) { Err(format!("memory grew from {early} to {late} KiB")) } else { Ok(()) }
}
