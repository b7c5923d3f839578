//! Nanoseconds an operation: how every figure that is not about sockets or memory is timed.
//!
//! The count of operations is doubled until one batch lasts long enough for the clock; then batches of that size are
//! timed and the median is kept. The Go contenders do the same in their own language (`go/stopwatch.go`).

use std::time::{Duration, Instant};

use crate::figure::{Sample, Scale};

/// The result of [`nanoseconds`] in a sample.
pub const NS: &str = "ns";

/// How long one batch must last at least.
const BATCH: Duration = Duration::from_millis(15);

/// The median time of one operation, where `work(n)` does `n` of them.
pub fn nanoseconds(scale: Scale, mut work: impl FnMut(u64)) -> Sample {
    let count = batch_size(&mut work);
    let mut each: Vec<f64> =
        (0..scale.pick(15, 3)).map(|_| time(&mut work, count).as_nanos() as f64 / count as f64).collect();
    each.sort_by(f64::total_cmp);
    Sample::from([(NS.to_owned(), each[each.len() / 2])])
}

/// Doubles the count until a batch lasts, not only once by bad luck; this warms everything up as well.
fn batch_size(work: &mut impl FnMut(u64)) -> u64 {
    let mut count = 64;
    while !(0..3).all(|_| time(work, count) >= BATCH) {
        count *= 2;
    }
    count
}

fn time(work: &mut impl FnMut(u64), count: u64) -> Duration {
    let start = Instant::now();
    work(count);
    start.elapsed()
}
