//! The command `greenloom`: what a running program on green threads does.
//!
//! - `words`: what the words after the program's name say;
//! - `trace`: records what a program does;
//! - `top`: shows what programs do, in a terminal;
//!
//! A library, so that the package for Python brings the same command. It must not know Python, nor the runtime: all it
//! knows of a program comes through [`greenloom_inspect`].

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};

use greenloom_inspect::protocol::{Answer, Ask};
use greenloom_inspect::{Client, Thread, text};

mod top;
mod trace;
mod words;

pub use words::{COMMANDS, USAGE};

use words::{Command, Misunderstood};

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
            eprintln!("greenloom: {}", printable(&line));
            1
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

type Outcome = Result<(), Box<dyn Error>>;

impl Command {
    fn run(self) -> Outcome {
        match self {
            Command::Help => say(format_args!("{USAGE}")),
            Command::Version => say(format_args!("greenloom {}", env!("CARGO_PKG_VERSION"))),
            Command::Stacks { pid, json } => stacks(pid, json),
            Command::Thread { pid, thread, json } => one(pid, thread, json),
            Command::Metrics { pid } => {
                let metrics = Client::connect(pid)?.ask(Ask::Metrics)?.metrics.ok_or(NoAnswer)?;
                say(format_args!("{}", metrics.trim_end()))
            }
            Command::Top { pids, interval } => top::top(&pids, interval),
            Command::Trace(wanted) => trace::trace(&wanted),
            Command::Kill { pid, thread, yes } => kill(pid, thread, yes),
        }
    }
}

fn say(words: fmt::Arguments<'_>) -> Outcome {
    writeln!(io::stdout().lock(), "{}", printable(&words.to_string()))?;
    Ok(())
}

/// A text for a terminal: no name in the program that is looked at, nor in its files, is a command to that.
fn printable(text: &str) -> Cow<'_, str> {
    let is_command = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if !text.contains(is_command) {
        return text.into();
    }
    let shown = |character: char| match is_command(character) {
        // As in JSON, so that what is JSON stays that.
        true => format!("\\u{:04x}", character as u32),
        false => character.to_string(),
    };
    text.chars().map(shown).collect()
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

fn one(pid: u32, thread: Thread, json: bool) -> Outcome {
    let info = Client::connect(pid)?.ask(Ask::Thread { thread })?.thread.ok_or(NoAnswer)?;
    if json {
        let answer = Answer { thread: Some(info), ..Answer::default() };
        return say(format_args!("{}", serde_json::to_string_pretty(&answer)?));
    }
    say(format_args!("{}", text::thread(&info).trim_end()))
}

fn kill(pid: u32, thread: Thread, yes: bool) -> Outcome {
    let mut client = Client::connect(pid)?;
    if !yes {
        if !io::stdin().is_terminal() {
            return Err("it asks first, and there is no terminal to ask at: say --yes".into());
        }
        let program = &client.greeting().program;
        eprint!("kill green thread {thread} of process {pid} ({})? [y/N] ", printable(program));
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
