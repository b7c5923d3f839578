//! Runs the router agent on a feed; see `router-agent --help`.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::signal::{Signal, Signals};
use greenloom::sync::Event;
use greenloom::{blocking, sleep, spawn};

use router_agent::agent::Agent;
use router_agent::device::Device;
use router_agent::feed::{self, Update};
use router_agent::progress;
use router_agent::summary::Summary;

const HELP: &str = "\
Works through router updates with a pool of green threads, each talking to a device over TCP.

Usage: router-agent [OPTIONS]

Options:
  --feed FILE     the updates [default: the feed that comes with the example]
  --workers N     how many green threads work at a time [default: 8]
  --routers N     take only the updates of the first N routers that the feed names
  --help          show this

Ctrl-C stops it after the updates in work, with the summary. Exit status: 0 when the feed was worked through, 130 when it was
stopped, 1 when the summary cannot be written, 2 when the options or the feed cannot be used.";

struct Options {
    feed: PathBuf,
    workers: usize,
    routers: usize,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => return unusable(&format!("{problem}; see router-agent --help")),
    };
    // Asked for until the summary is out, so that a second Ctrl-C, or an early one, does not end the program without it.
    let interrupts = match Signals::new([Signal::INT]) {
        Ok(interrupts) => Rc::new(interrupts),
        Err(error) => return unusable(&format!("cannot ask for Ctrl-C: {error}")),
    };
    let summary = match run(&options, &interrupts) {
        Ok(summary) => summary,
        Err(problem) => return unusable(&problem),
    };
    if let Err(error) = writeln!(io::stdout(), "{summary}") {
        complain(&format!("router-agent: cannot write the summary: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::from(if summary.stopped { 130 } else { 0 })
}

fn unusable(problem: &str) -> ExitCode {
    complain(&format!("router-agent: {problem}"));
    ExitCode::from(2)
}

/// Unlike `eprintln!`, does not panic when nobody reads it.
fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn options() -> Result<Option<Options>, lexopt::Error> {
    use lexopt::prelude::{Long, ValueExt};

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("routers.feed");
    let mut options = Options { feed: shipped, workers: 8, routers: usize::MAX };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("feed") => options.feed = parser.value()?.into(),
            Long("workers") => options.workers = at_least_one("--workers", parser.value()?.parse()?)?,
            Long("routers") => options.routers = at_least_one("--routers", parser.value()?.parse()?)?,
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(options))
}

fn at_least_one(option: &str, number: usize) -> Result<usize, lexopt::Error> {
    if number == 0 { Err(format!("{option} must be at least 1").into()) } else { Ok(number) }
}

fn run(options: &Options, interrupts: &Rc<Signals>) -> Result<Summary, String> {
    let (updates, bad_lines) = read_feed(options)?;
    let routers: HashSet<&str> = updates.iter().map(|(_, update)| update.router.as_str()).collect();
    let (expected, routers) = (updates.len(), routers.len());

    let device = Device::start().map_err(|error| format!("no device: {error}"))?;
    let agent = Agent::new(device.address(), options.workers);
    let began = now();
    let (worker, shown, taken, waited) = (agent.clone(), agent.clone(), agent.clone(), agent.clone());
    let working = spawn(move || worker.process_routers());
    let progress = spawn(move || progress::show(&shown, expected));

    // True when the feed is worked through, false when somebody stops it.
    let over = Rc::new(Event::<bool>::new());
    let (done, stopped) = (over.clone(), over.clone());
    let feeding = spawn(move || {
        take_in(&taken, updates);
        waited.wait_until_done();
        let _ = done.send(true);
    });
    let interrupts = Rc::clone(interrupts);
    let interrupted = spawn(move || {
        if interrupts.wait().is_ok() {
            let _ = stopped.send(false);
        }
    });
    let whole = over.wait().map_err(|error| error.to_string())?;
    feeding.kill();
    agent.stop();
    working.wait().map_err(|error| format!("the agent failed: {error}"))?;
    progress.kill();
    interrupted.kill();
    progress::clear();
    let took = now() - began;
    let workers = options.workers;
    Ok(Summary { counts: agent.counts(), bad_lines, routers, workers, took, stopped: !whole })
}

/// The feed's updates with their lines; bad lines are named and counted.
fn read_feed(options: &Options) -> Result<(Vec<(usize, Update)>, usize), String> {
    let path = options.feed.clone();
    // File I/O has no other way than to block, so an OS thread of the pool does it.
    let bytes = blocking::run(move || std::fs::read(path)).map_err(|error| error.to_string())?;
    let bytes = bytes.map_err(|error| format!("cannot read the feed {}: {error}", options.feed.display()))?;
    // What is not UTF-8 spoils its own line only: no name, action or argument has a replacement character.
    let text = String::from_utf8_lossy(&bytes);
    let (mut updates, mut bad_lines, mut routers) = (Vec::new(), 0, HashSet::new());
    for parsed in feed::parse(&text) {
        match parsed {
            Ok((line, update)) => {
                if routers.contains(&update.router) || routers.len() < options.routers {
                    routers.insert(update.router.clone());
                    updates.push((line, update));
                }
            }
            Err(bad) => {
                complain(&format!("{}:{}: {}; skipped", options.feed.display(), bad.line, bad.problem));
                bad_lines += 1;
            }
        }
    }
    Ok((updates, bad_lines))
}

/// Hands the updates to the agent in bursts, as a busy server would.
fn take_in(agent: &Agent, updates: Vec<(usize, Update)>) {
    for (number, (line, update)) in updates.into_iter().enumerate() {
        if number % 100 == 99 {
            sleep(Duration::from_millis(60));
        }
        agent.update(line, update);
    }
}
