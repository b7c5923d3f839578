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
use greenloom::{Chain, blocking, sleep, spawn, timeout};

use greenloom_rpc::Service;
use router_agent::agent::Agent;
use router_agent::device::Device;
use router_agent::feed::{self, Update};
use router_agent::server::Server;
use router_agent::summary::Summary;
use router_agent::{manager, progress};

const HELP: &str = "\
Works through router updates with a pool of green threads, each talking to a device over TCP. The updates come over a
message bus from a server, which this program is, too, unless it is told otherwise.

Usage: router-agent [OPTIONS]

Options:
  --feed FILE      the updates [default: the feed that comes with the example]
  --workers N      how many green threads of the agent work at a time [default: 8]
  --routers N      take only the updates of the first N routers that the feed names
  --transport URL  the message bus, such as amqp://guest:guest@localhost:5672/ [default: memory://]
  --role ROLE      server: reads the feed and casts its updates; ends when all are done
                   agent: works on what servers cast, beside other agents, until it is stopped
                   both [default]
  --name NAME      the agent's name among the others [default: the machine's name and the process's number]
  --help           show this

Ctrl-C stops it after the updates in work, with the summary; what an agent has not begun, others do. An agent is also
stopped by SIGTERM, and restarted by SIGHUP. Exit status: 0 when the feed was worked through or an agent was stopped,
130 when the feed was not, 1 when the summary cannot be written, 2 when the options, the feed or the bus cannot be
used.";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Agent,
    Both,
}

struct Options {
    feed: PathBuf,
    workers: usize,
    routers: usize,
    transport: String,
    role: Role,
    name: String,
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
    show_logs();
    if options.role == Role::Agent {
        return match serve(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => unusable(&problem),
        };
    }
    // Asked for until the summary is out, so that a second Ctrl-C, or an early one, does not end the program without
    // it.
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
    let mut options = Options {
        feed: shipped,
        workers: 8,
        routers: usize::MAX,
        transport: "memory://".into(),
        role: Role::Both,
        name: format!("{}-{}", greenloom_rpc::Options::default().host, std::process::id()),
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("feed") => options.feed = parser.value()?.into(),
            Long("workers") => options.workers = at_least_one("--workers", parser.value()?.parse()?)?,
            Long("routers") => options.routers = at_least_one("--routers", parser.value()?.parse()?)?,
            Long("transport") => options.transport = parser.value()?.string()?,
            Long("role") => options.role = role(&parser.value()?.string()?)?,
            Long("name") => options.name = parser.value()?.string()?,
            Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    if options.role != Role::Both && options.transport.starts_with("memory:") {
        return Err(
            "a bus in memory does not reach beyond this program: --role server and agent want another --transport"
                .into(),
        );
    }
    Ok(Some(options))
}

fn role(name: &str) -> Result<Role, lexopt::Error> {
    match name {
        "server" => Ok(Role::Server),
        "agent" => Ok(Role::Agent),
        "both" => Ok(Role::Both),
        other => Err(format!("{other:?} is no role: server, agent or both").into()),
    }
}

fn at_least_one(option: &str, number: usize) -> Result<usize, lexopt::Error> {
    if number == 0 { Err(format!("{option} must be at least 1").into()) } else { Ok(number) }
}

/// What goes wrong on the bus is told on standard error.
fn show_logs() {
    let to = || -> Box<dyn Write> { Box::new(io::stderr()) };
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).with_writer(to).init();
}

/// An agent with its device; the device is gone when it is dropped.
struct Working {
    agent: Agent,
    service: Service,
    _device: Device,
}

impl Working {
    fn start(options: &Options) -> Result<Working, String> {
        let device = Device::start().map_err(|error| format!("no device: {error}"))?;
        let agent = Agent::new(device.address(), options.workers);
        let service = manager::service(agent.clone(), &options.transport, &options.name);
        Ok(Working { agent, service, _device: device })
    }
}

/// The agent alone, until it is stopped.
fn serve(options: &Options) -> Result<(), String> {
    let Working { agent, service, _device } = Working::start(options)?;
    let shown = agent.clone();
    let progress = spawn(move || progress::show(|| shown.counts(), None));
    let stopped = service.run().map_err(|error| format!("{}: {}", options.transport, Chain(&error)));
    progress.kill();
    progress::clear();
    stopped?;
    complain(&format!("router-agent: {} is stopped; it has ended {} updates", options.name, agent.counts().ended()));
    Ok(())
}

/// The server, with an agent or without.
fn run(options: &Options, interrupts: &Rc<Signals>) -> Result<Summary, String> {
    let (updates, bad_lines) = read_feed(options)?;
    let routers: HashSet<&str> = updates.iter().map(|(_, update)| update.router.as_str()).collect();
    let (expected, routers) = (updates.len(), routers.len());
    let of_bus = |error: greenloom_rpc::Error| format!("{}: {}", options.transport, Chain(&error));

    let server = Rc::new(Server::start(&options.transport, &updates).map_err(of_bus)?);
    let working = if options.role == Role::Both { Some(Working::start(options)?) } else { None };
    if let Some(working) = &working {
        working.service.start().map_err(of_bus)?;
    }
    let began = now();
    let shown = Rc::clone(&server);
    let progress = spawn(move || progress::show(|| shown.counts(), Some(expected)));

    // True when the feed is worked through, false when somebody stops it.
    let over = Rc::new(Event::<bool>::new());
    let (done, stopped, feeding) = (over.clone(), over.clone(), Rc::clone(&server));
    let feeding = spawn(move || {
        let outcome =
            feeding.feed(updates, |reason| complain(&format!("router-agent: waiting for an agent: {}", Chain(reason))));
        match outcome {
            Ok(()) => {
                feeding.wait_until_done();
                let _ = done.send(true);
            }
            Err(error) => drop(done.send_error(error)),
        }
    });
    let interrupts = Rc::clone(interrupts);
    let interrupted = spawn(move || {
        if interrupts.wait().is_ok() {
            let _ = stopped.send(false);
        }
    });
    let whole = over.wait().map_err(|error| format!("{}: {}", options.transport, Chain(&error)))?;
    feeding.kill();
    if let Some(working) = &working {
        working.service.stop();
        // What it told last is on its way.
        let heard = || server.counts().ended() >= working.agent.counts().ended();
        let _ = timeout(Duration::from_secs(1), || {
            while !heard() {
                sleep(Duration::from_millis(5));
            }
        });
    }
    progress.kill();
    interrupted.kill();
    progress::clear();
    let took = now() - began;
    let workers = working.as_ref().map(|_| options.workers);
    let (counts, agents) = (server.counts(), server.agents());
    server.close();
    Ok(Summary { counts, agents, bad_lines, routers, workers, took, stopped: !whole })
}

/// The feed's updates with their lines; bad lines are named and counted.
fn read_feed(options: &Options) -> Result<(Vec<(usize, Update)>, usize), String> {
    let path = options.feed.clone();
    // File I/O has no other way than to block, so an OS thread of the pool does it.
    let bytes = blocking::run(move || std::fs::read(path)).map_err(|error| Chain(&error).to_string())?;
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
