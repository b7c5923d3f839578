//! Runs a figure: its contenders in turn, A B C A B C, each measurement in a fresh copy of this program.
//!
//! So a contender never meets what another left behind, and a busy minute of the machine falls on all of them. A
//! measurement during which others used the machine is taken again, within limits, and marked if it stays so.

use std::{
    io::{self, Read, Write},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    figure::{Contender, Figure, Sample, Scale, Skip},
    others::Meter,
    sys,
};

/// A measurement that takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// In every sample: how many cores others used while it was taken.
const OTHERS: &str = "others_cores";

/// More than this disturbs.
const TOLERABLE: f64 = 0.1;

/// Whether others left the machine to this measurement.
pub fn undisturbed(sample: &Sample) -> bool {
    sample[OTHERS] <= TOLERABLE
}

/// What a figure's contenders showed.
pub struct Outcome {
    pub figure: &'static Figure,
    /// In the order of the figure's contenders.
    pub series: Vec<Series>,
}

/// One contender's samples, one a repetition.
pub struct Series {
    pub contender: &'static Contender,
    pub samples: Vec<Sample>,
    /// Why there are no (further) samples.
    pub skipped: Option<Skip>,
}

/// Measures a whole figure, and shows how it goes. From `no_more_after` on, disturbed measurements are not taken again.
pub fn run(figure: &'static Figure, scale: Scale, repetitions: usize, no_more_after: Instant) -> Outcome {
    println!("\n{} ({repetitions} x {})", figure.title, figure.contenders.len());
    let mut series: Vec<Series> =
        figure.contenders.iter().map(|contender| Series { contender, samples: Vec::new(), skipped: None }).collect();
    // For measurements that others disturb; none in a smoke test, nor when time is short.
    let mut again = if Instant::now() < no_more_after { scale.pick(repetitions * series.len() / 2, 0) } else { 0 };
    for repetition in 1..=repetitions {
        progress(&format!("  {repetition}:"));
        for series in series.iter_mut().filter(|series| series.skipped.is_none()) {
            match measure_undisturbed(figure, series.contender, scale, &mut again) {
                Ok(sample) => {
                    let mark = if undisturbed(&sample) { "" } else { "~" };
                    progress(&format!("  {} {mark}{}", series.contender.name, figure.metric.show(&sample)));
                    series.samples.push(sample);
                }
                Err(skip) => {
                    progress(&format!("  {} -", series.contender.name));
                    series.skipped = Some(skip);
                }
            }
        }
        println!();
    }
    Outcome { figure, series }
}

/// Measures up to three times, as long as others disturb it and `again` lasts. Returns the least disturbed sample.
fn measure_undisturbed(
    figure: &Figure,
    contender: &Contender,
    scale: Scale,
    again: &mut usize,
) -> Result<Sample, Skip> {
    let mut best = measure_apart(figure, contender, scale)?;
    for _ in 0..2 {
        if undisturbed(&best) || *again == 0 {
            break;
        }
        *again -= 1;
        let sample = measure_apart(figure, contender, scale)?;
        if sample[OTHERS] < best[OTHERS] {
            best = sample;
        }
    }
    Ok(best)
}

fn progress(text: &str) {
    print!("{text}");
    // Progress that cannot be shown is no reason to stop.
    let _ = io::stdout().flush();
}

/// Measures once, in a process of its own.
fn measure_apart(figure: &Figure, contender: &Contender, scale: Scale) -> Result<Sample, Skip> {
    let mut command = sys::this_program();
    command.args(["measure", figure.name, contender.name, scale.pick("full", "quick")]);
    let meter = Meter::start()?;
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if !ends_in_time(&mut process)? {
        process.kill()?;
        process.wait()?;
        return Err(Skip::failed(format!("took longer than {} s", PATIENCE.as_secs())));
    }
    let mut found = String::new();
    process.stdout.take().expect("stdout is piped").read_to_string(&mut found)?;
    let status = process.wait()?;
    let others = meter.cores()?;
    let found: Result<Sample, Skip> =
        serde_json::from_str(&found).unwrap_or_else(|_| Err(Skip::failed(format!("ended without a sample: {status}"))));
    found.map(|mut sample| {
        sample.insert(OTHERS.to_owned(), others);
        sample
    })
}

fn ends_in_time(process: &mut Child) -> io::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    while process.try_wait()?.is_none() {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// The other side of [`measure_apart`]: measures, and prints what was found as one line of JSON.
pub fn measure_here(figure: &Figure, contender: &Contender, scale: Scale) -> io::Result<()> {
    sys::pin(figure.cores)?;
    let found = (contender.measure)(scale);
    println!("{}", serde_json::to_string(&found)?);
    Ok(())
}
