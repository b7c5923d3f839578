//! The command `greenloom`: what a running program on green threads does.
//!
//! A library, so that the package for Python brings the same command. It must not know Python, nor the runtime: all it
//! knows of a program comes through [`greenloom_inspect`].

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use greenloom_inspect::protocol::{Answer, Ask};
use greenloom_inspect::{Client, Thread, text};

/// How it is called.
pub const USAGE: &str = "\
usage: greenloom stacks PID [--json]            all green threads, grouped by where they wait
       greenloom metrics PID                    what its hubs have done, as OpenMetrics
       greenloom kill PID HUB:NUMBER [--yes]    ends a green thread
       greenloom --help | --version";

/// The names of the commands.
pub const COMMANDS: [&str; 3] = ["stacks", "metrics", "kill"];

/// Does what the words after the program's name say. Returns the exit status: 1 if the program cannot be asked, 2 if
/// the words are not understood. What it finds goes to standard output, why it finds nothing to standard error.
///
/// ```
/// assert_eq!(greenloom_cli::run(["--version".into()]), 0);
/// assert_eq!(greenloom_cli::run(["stacks".into(), "me".into()]), 2);
/// ```
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let status = match Command::parse(&words) {
        Ok(command) => command.run(),
        Err(Misunderstood(why)) => {
            eprintln!("greenloom: {why}\n{USAGE}");
            return 2;
        }
    };
    match status {
        Ok(()) => 0,
        // Whoever reads our output has read enough.
        Err(error) if is_broken_pipe(&*error) => 0,
        Err(error) => {
            let mut line = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                line.push_str(&format!(": {error}"));
                cause = error.source();
            }
            eprintln!("greenloom: {line}");
            1
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

type Outcome = Result<(), Box<dyn Error>>;

/// The words are not a command.
#[derive(Debug, PartialEq, Eq)]
struct Misunderstood(String);

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Version,
    Stacks { pid: u32, json: bool },
    Metrics { pid: u32 },
    Kill { pid: u32, thread: Thread, yes: bool },
}

impl Command {
    fn parse(words: &[String]) -> Result<Command, Misunderstood> {
        let (flags, plain): (Vec<&str>, Vec<&str>) =
            words.iter().map(String::as_str).partition(|word| word.starts_with('-'));
        let has = |flag| flags.contains(&flag);
        let only = |allowed: &[&str]| match flags.iter().find(|flag| !allowed.contains(flag)) {
            Some(flag) => Err(Misunderstood(format!("there is no {flag} here"))),
            None => Ok(()),
        };
        match plain[..] {
            [] if has("--version") => Ok(Command::Version),
            [] if has("--help") || has("-h") => Ok(Command::Help),
            ["stacks", pid] => {
                only(&["--json"])?;
                Ok(Command::Stacks { pid: number(pid)?, json: has("--json") })
            }
            ["metrics", pid] => {
                only(&[])?;
                Ok(Command::Metrics { pid: number(pid)? })
            }
            ["kill", pid, thread] => {
                only(&["--yes"])?;
                let thread = thread.parse().map_err(Misunderstood)?;
                Ok(Command::Kill { pid: number(pid)?, thread, yes: has("--yes") })
            }
            [command, ..] if COMMANDS.contains(&command) => Err(Misunderstood(format!("{command} needs other words"))),
            [command, ..] => Err(Misunderstood(format!("there is no command {command}"))),
            [] => Err(Misunderstood("what shall it do?".into())),
        }
    }

    fn run(self) -> Outcome {
        match self {
            Command::Help => say(format_args!("{USAGE}")),
            Command::Version => say(format_args!("greenloom {}", env!("CARGO_PKG_VERSION"))),
            Command::Stacks { pid, json } => stacks(pid, json),
            Command::Metrics { pid } => {
                let metrics = Client::connect(pid)?.ask(Ask::Metrics)?.metrics.ok_or(NoAnswer)?;
                say(format_args!("{}", metrics.trim_end()))
            }
            Command::Kill { pid, thread, yes } => kill(pid, thread, yes),
        }
    }
}

fn number(word: &str) -> Result<u32, Misunderstood> {
    word.parse().map_err(|_| Misunderstood(format!("a process has a number, {word:?} is none")))
}

fn say(words: fmt::Arguments<'_>) -> Outcome {
    writeln!(io::stdout().lock(), "{words}")?;
    Ok(())
}

fn stacks(pid: u32, json: bool) -> Outcome {
    let mut client = Client::connect(pid)?;
    let hubs = client.ask(Ask::Hubs)?.hubs.ok_or(NoAnswer)?;
    let stacks = client.ask(Ask::Stacks)?.stacks.ok_or(NoAnswer)?;
    if json {
        let answer = Answer { hubs: Some(hubs), stacks: Some(stacks), ..Answer::default() };
        return say(format_args!("{}", serde_json::to_string_pretty(&answer)?));
    }
    let greeting = client.greeting();
    say(format_args!("process {pid} ({}): {}", greeting.language, greeting.program))?;
    let (hubs, stacks) = (text::hubs(&hubs), text::stacks(&stacks));
    say(format_args!("{hubs}{}", stacks.trim_end()))
}

fn kill(pid: u32, thread: Thread, yes: bool) -> Outcome {
    let mut client = Client::connect(pid)?;
    if !yes {
        if !io::stdin().is_terminal() {
            return Err("it asks first, and there is no terminal to ask at: say --yes".into());
        }
        let program = &client.greeting().program;
        eprint!("kill green thread {thread} of process {pid} ({program})? [y/N] ");
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err("nothing was killed".into());
        }
    }
    let done = client.ask(Ask::Kill { thread })?.done.ok_or(NoAnswer)?;
    say(format_args!("{done}"))
}

/// The program has answered something else than what was asked.
#[derive(Debug)]
struct NoAnswer;

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the program has not answered what was asked: it may be of another version")
    }
}

impl Error for NoAnswer {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Command, String> {
        let words: Vec<_> = words.split_whitespace().map(String::from).collect();
        Command::parse(&words).map_err(|Misunderstood(why)| why)
    }

    #[test]
    fn flags_may_stand_anywhere() {
        assert_eq!(parse("stacks --json 12"), Ok(Command::Stacks { pid: 12, json: true }));
        assert_eq!(parse("stacks 12"), Ok(Command::Stacks { pid: 12, json: false }));
        let thread = Thread { hub: 0, number: 7 };
        assert_eq!(parse("kill 12 0:7 --yes"), Ok(Command::Kill { pid: 12, thread, yes: true }));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parse("stacks me"), Err("a process has a number, \"me\" is none".into()));
        assert_eq!(parse("stacks"), Err("stacks needs other words".into()));
        assert_eq!(parse("metrics 1 --json"), Err("there is no --json here".into()));
        assert_eq!(parse("pot 1"), Err("there is no command pot".into()));
        assert!(parse("kill 1 7").unwrap_err().contains("HUB:NUMBER"));
    }
}
