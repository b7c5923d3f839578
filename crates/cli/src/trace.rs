//! `greenloom trace`: follows what a program does for a while, and writes it as a file.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use greenloom_inspect::protocol::Ask;
use greenloom_inspect::{Client, Failure};
use greenloom_trace::{Format, Timeline};
use signal_hook::consts::SIGINT;

use crate::{NoAnswer, Outcome, say};

/// What to record, and where to write it.
#[derive(Debug, PartialEq)]
pub struct Wanted {
    pub pid: u32,
    pub seconds: Duration,
    pub path: PathBuf,
    pub format: Format,
    /// How many events at most.
    pub most: usize,
}

/// How many events of each hub the program keeps until they are read: a third of a second of one that does nothing but
/// switch, in 16 MB.
const UNREAD: usize = 1 << 20;

/// How long it is left alone between two reads.
const PAUSE: Duration = Duration::from_millis(20);

/// Why the recording has ended.
enum End {
    Whole,
    Interrupted,
    Full,
    Gone(Failure),
}

/// Records. An interrupt (Ctrl-C) ends the recording early.
pub fn trace(wanted: &Wanted) -> Outcome {
    let mut client = Client::connect(wanted.pid)?;
    // Before anything is recorded in vain.
    Timeline::can_save(&wanted.path)?;
    let mut timeline = Timeline::new(format!("{} ({})", client.greeting().program, wanted.pid));
    let interrupted = Interrupted::watch()?;
    let begun = Instant::now();
    client.ask(Ask::TraceStart { events: UNREAD })?;
    let seconds = wanted.seconds.as_secs_f64();
    eprintln!("greenloom: recording process {} for {seconds} s; Ctrl-C ends it early", wanted.pid);
    let end = follow(&mut client, &mut timeline, wanted, &interrupted);
    let lasted = begun.elapsed().min(wanted.seconds).as_secs_f64();
    timeline.save_as(&wanted.path, wanted.format)?;
    match end {
        End::Whole | End::Interrupted => {}
        End::Full => eprintln!(
            "greenloom: it was recorded for {lasted:.1} s only, as that has {} events; --events N takes more",
            wanted.most
        ),
        End::Gone(Failure::Ended(pid)) => eprintln!("greenloom: process {pid} has ended meanwhile"),
        End::Gone(failure) => eprintln!("greenloom: it was recorded for {lasted:.1} s only: {failure}"),
    }
    let (events, dropped) = (timeline.events(), timeline.dropped());
    let lost = if dropped > 0 { format!(", {dropped} were lost") } else { String::new() };
    say(format_args!("{events} events in {lasted:.1} s{lost}: {}", wanted.path.display()))
}

/// Reads until the time is over, and then what is left.
fn follow(client: &mut Client, timeline: &mut Timeline, wanted: &Wanted, interrupted: &Interrupted) -> End {
    let until = Instant::now() + wanted.seconds;
    let end = loop {
        match read(client, timeline) {
            Err(failure) => return End::Gone(failure),
            Ok(_) if timeline.events() >= wanted.most as u64 => return End::Full,
            Ok(_) if interrupted.is_so() => break End::Interrupted,
            Ok(_) if Instant::now() >= until => break End::Whole,
            Ok(true) => {}
            Ok(false) => sleep(PAUSE.min(until.saturating_duration_since(Instant::now()))),
        }
    };
    if let Err(failure) = client.ask(Ask::TraceStop) {
        return End::Gone(failure);
    }
    loop {
        match read(client, timeline) {
            Ok(_) if timeline.events() >= wanted.most as u64 => return End::Full,
            Ok(true) => {}
            Ok(false) => return end,
            Err(failure) => return End::Gone(failure),
        }
    }
}

/// Reads what there is; whether there is more.
fn read(client: &mut Client, timeline: &mut Timeline) -> Result<bool, Failure> {
    let no_answer = || Failure::Problem(NoAnswer.to_string());
    let trace = client.ask(Ask::TraceRead)?.trace.ok_or_else(no_answer)?;
    for ring in trace.rings {
        timeline.add(&ring.into());
    }
    Ok(trace.more)
}

/// Whether the user has had enough.
struct Interrupted {
    is_so: Arc<AtomicBool>,
    registered: signal_hook::SigId,
}

impl Interrupted {
    fn watch() -> std::io::Result<Interrupted> {
        let is_so = Arc::new(AtomicBool::new(false));
        let registered = signal_hook::flag::register(SIGINT, Arc::clone(&is_so))?;
        Ok(Interrupted { is_so, registered })
    }

    fn is_so(&self) -> bool {
        self.is_so.load(Ordering::Relaxed)
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.registered);
    }
}
