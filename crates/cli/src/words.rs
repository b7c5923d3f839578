//! What the words after the program's name say.

use std::path::PathBuf;
use std::time::Duration;

use greenloom_inspect::Thread;
use greenloom_trace::Format;

use crate::trace::Wanted;

/// How it is called.
pub const USAGE: &str = "\
usage: greenloom top PID... [--seconds 1]      what programs do, in a terminal
       greenloom stacks PID [--json]            all green threads, grouped by where they wait
       greenloom stacks PID HUB:NUMBER [--json] one green thread, with its stack
       greenloom metrics PID                    what its hubs have done, as OpenMetrics
       greenloom trace PID [--seconds 5] [-o FILE] [--html] [--events N]
                                                records what they do: a file for ui.perfetto.dev, or a page of HTML
       greenloom kill PID HUB:NUMBER [--yes]    ends a green thread
       greenloom --help | --version";

/// The names of the commands.
pub const COMMANDS: [&str; 5] = ["top", "stacks", "metrics", "trace", "kill"];

/// How many events a trace has at most, unless it is said.
const MOST_EVENTS: usize = 4_000_000;

/// Flags behind which a value stands.
const WITH_VALUE: [&str; 3] = ["--seconds", "-o", "--events"];

/// The words are not a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Misunderstood(pub String);

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Version,
    Top { pids: Vec<u32>, interval: Duration },
    Stacks { pid: u32, json: bool },
    Thread { pid: u32, thread: Thread, json: bool },
    Metrics { pid: u32 },
    Trace(Wanted),
    Kill { pid: u32, thread: Thread, yes: bool },
}

/// The words, sorted.
struct Words<'a> {
    plain: Vec<&'a str>,
    flags: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Words<'a> {
    fn sort(words: &'a [String]) -> Result<Words<'a>, Misunderstood> {
        let (mut plain, mut flags) = (Vec::new(), Vec::new());
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word.split_once('=') {
                Some((flag, value)) if WITH_VALUE.contains(&flag) => flags.push((flag, Some(value))),
                _ if WITH_VALUE.contains(&word) => match words.next() {
                    Some(value) => flags.push((word, Some(value))),
                    None => return Err(Misunderstood(format!("{word} needs a value behind it"))),
                },
                _ if word.starts_with('-') => flags.push((word, None)),
                _ => plain.push(word),
            }
        }
        Ok(Words { plain, flags })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|(other, _)| *other == flag)
    }

    fn asks_for_help(&self) -> bool {
        self.has("--help") || self.has("-h")
    }

    fn value(&self, flag: &str) -> Option<&'a str> {
        self.flags.iter().rev().find(|(other, _)| *other == flag)?.1
    }

    fn only(&self, allowed: &[&str]) -> Result<(), Misunderstood> {
        match self.flags.iter().find(|(flag, _)| !allowed.contains(flag)) {
            Some((flag, _)) => Err(Misunderstood(format!("there is no {flag} here"))),
            None => Ok(()),
        }
    }
}

impl Command {
    /// What the words say.
    pub fn parse(words: &[String]) -> Result<Command, Misunderstood> {
        let words = Words::sort(words)?;
        match words.plain[..] {
            [] if words.has("--version") => Ok(Command::Version),
            [] if words.asks_for_help() => Ok(Command::Help),
            [command, ..] if words.asks_for_help() && COMMANDS.contains(&command) => Ok(Command::Help),
            ["top", pid, ref more @ ..] => {
                words.only(&["--seconds"])?;
                let pids = [&[pid], more].concat().into_iter().map(number).collect::<Result<_, _>>()?;
                Ok(Command::Top { pids, interval: seconds(&words, "1")? })
            }
            ["stacks", pid] => {
                words.only(&["--json"])?;
                Ok(Command::Stacks { pid: number(pid)?, json: words.has("--json") })
            }
            ["stacks", pid, thread] => {
                words.only(&["--json"])?;
                let thread = thread.parse().map_err(Misunderstood)?;
                Ok(Command::Thread { pid: number(pid)?, thread, json: words.has("--json") })
            }
            ["metrics", pid] => {
                words.only(&[])?;
                Ok(Command::Metrics { pid: number(pid)? })
            }
            ["trace", pid] => {
                words.only(&["--seconds", "-o", "--html", "--events"])?;
                Ok(Command::Trace(wanted(number(pid)?, &words)?))
            }
            ["kill", pid, thread] => {
                words.only(&["--yes"])?;
                let thread = thread.parse().map_err(Misunderstood)?;
                Ok(Command::Kill { pid: number(pid)?, thread, yes: words.has("--yes") })
            }
            [command, ..] if COMMANDS.contains(&command) => Err(Misunderstood(format!("{command} needs other words"))),
            [command, ..] => Err(Misunderstood(format!("there is no command {command}"))),
            [] => Err(Misunderstood("what shall it do?".into())),
        }
    }
}

fn wanted(pid: u32, words: &Words<'_>) -> Result<Wanted, Misunderstood> {
    let most = match words.value("--events").map(str::parse) {
        None => MOST_EVENTS,
        Some(Ok(most)) if most > 0 => most,
        Some(_) => return Err(Misunderstood("--events needs a number of events, from 1".into())),
    };
    let told = words.value("-o").map(PathBuf::from);
    let format = match &told {
        _ if words.has("--html") => Format::Html,
        Some(path) => Format::of(path),
        None => Format::Perfetto,
    };
    let name = || match format {
        Format::Html => format!("greenloom-{pid}.html").into(),
        _ => format!("greenloom-{pid}.perfetto-trace").into(),
    };
    Ok(Wanted { pid, seconds: seconds(words, "5")?, path: told.unwrap_or_else(name), format, most })
}

fn seconds(words: &Words<'_>, default: &str) -> Result<Duration, Misunderstood> {
    let said = words.value("--seconds").unwrap_or(default);
    let seconds = said.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| Misunderstood(format!("--seconds needs a number of seconds, {said:?} is none")))
}

fn number(word: &str) -> Result<u32, Misunderstood> {
    word.parse().map_err(|_| Misunderstood(format!("a process has a number, {word:?} is none")))
}

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
        assert_eq!(parse("stacks 12 --json 0:7"), Ok(Command::Thread { pid: 12, thread, json: true }));
        assert_eq!(parse("kill 12 0:7 --yes"), Ok(Command::Kill { pid: 12, thread, yes: true }));
    }

    #[test]
    fn a_value_stands_behind_its_flag() {
        let format = Format::Perfetto;
        let wanted = Wanted { pid: 12, seconds: Duration::from_secs(5), path: "out".into(), format, most: MOST_EVENTS };
        assert_eq!(parse("trace 12 --seconds 5 -o out"), Ok(Command::Trace(wanted)));
        let Ok(Command::Trace(wanted)) = parse("trace --html 12 --seconds=0.25") else { panic!() };
        assert_eq!((wanted.seconds.as_millis(), wanted.path.to_str()), (250, Some("greenloom-12.html")));
        assert_eq!(parse("trace 12 --seconds"), Err("--seconds needs a value behind it".into()));
        assert_eq!(parse("trace 12 --seconds -1"), Err("--seconds needs a number of seconds, \"-1\" is none".into()));
        assert_eq!(parse("trace 12 --json"), Err("there is no --json here".into()));
    }

    #[test]
    fn each_command_has_help() {
        for words in ["-h", "--help", "top -h", "stacks --help", "kill -h", "trace --help 12", "metrics -h"] {
            assert_eq!(parse(words), Ok(Command::Help), "{words}");
        }
        assert_eq!(parse("pot -h"), Err("there is no command pot".into()));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert_eq!(parse("stacks me"), Err("a process has a number, \"me\" is none".into()));
        assert_eq!(parse("stacks"), Err("stacks needs other words".into()));
        assert_eq!(parse("metrics 1 --json"), Err("there is no --json here".into()));
        assert_eq!(parse("pot 1"), Err("there is no command pot".into()));
        assert!(parse("stacks 1 7").unwrap_err().contains("HUB:NUMBER"));
        assert!(parse("kill 1 7").unwrap_err().contains("HUB:NUMBER"));
    }
}
