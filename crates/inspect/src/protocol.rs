//! What is asked and answered: one JSON object a line, in either direction.
//!
//! The program speaks first, with a [`Greeting`]. Then each [`Request`] gets one [`Answer`] with its number, in the
//! order of the requests:
//!
//! ```text
//! {"greenloom":1,"version":"0.1.0","pid":4711,"language":"python","program":"server.py"}
//! > {"id":1,"ask":"stacks"}
//! < {"id":1,"stacks":{"total":2,"groups":[...],...}}
//! > {"id":2,"ask":"kill","thread":{"hub":0,"number":140211}}
//! < {"id":2,"problem":"there is no green thread 0:140211"}
//! ```
//!
//! What a hub has recorded is told by [`Ring`]; the kinds of its events are those of [`greenloom_trace::record::Kind`].
//!
//! Who reads ignores fields that it does not know. What changes the meaning of a field changes [`VERSION`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The version of the protocol, `greenloom` in a [`Greeting`].
pub const VERSION: u32 = 1;

/// The longest line of a request, in bytes.
pub const LONGEST_REQUEST: usize = 64 * 1024;

/// The program's first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// [`VERSION`].
    pub greenloom: u32,
    /// The version of Greenloom in the program.
    pub version: String,
    /// The process's number, as it sees it itself.
    pub pid: u32,
    /// `rust` or `python`.
    pub language: String,
    /// What was started.
    pub program: String,
}

/// One line of whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in the answer.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// What each hub has done: [`Answer::hubs`].
    Hubs,
    /// All green threads, grouped by where they wait: [`Answer::stacks`].
    Stacks,
    /// All about one green thread: [`Answer::thread`].
    Thread {
        /// Which one.
        thread: Thread,
    },
    /// To end a green thread: [`Answer::done`].
    Kill {
        /// Which one.
        thread: Thread,
    },
    /// [`Answer::metrics`].
    Metrics,
    /// To record what green threads do until [`Ask::TraceStop`], or until the one that asks is gone:
    /// [`Answer::done`].
    TraceStart {
        /// How many events of each hub are kept until they are read, the newest.
        events: usize,
    },
    /// What was recorded since it was asked last: [`Answer::trace`].
    TraceRead,
    /// To record no more: [`Answer::done`]. What was recorded is there to be read still.
    TraceStop,
}

/// The answer to a request: one of the fields, beside the number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// That of the request; 0 if it could not be read.
    pub id: u64,
    /// To [`Ask::Hubs`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hubs: Option<Vec<Hub>>,
    /// To [`Ask::Stacks`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Stacks>,
    /// To [`Ask::Thread`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread: Option<Info>,
    /// To [`Ask::Kill`]: what was done, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    /// To [`Ask::Metrics`]: OpenMetrics text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
    /// To [`Ask::TraceRead`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Why there is no other answer, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A hub: what it has done, and how late it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hub {
    /// Its number in the process.
    pub number: u64,
    /// The name of its OS thread, or empty.
    pub os_thread: String,
    /// Whether it waits for timers and I/O, and so nothing keeps it.
    pub waits: bool,
    /// Green threads, where they are counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub green_threads: Option<u64>,
    /// How often control has passed from one green thread to another.
    pub switches: u64,
    /// How often it has looked at timers and I/O.
    pub turns: u64,
    /// How many timers have fired.
    pub timers: u64,
    /// How late the last of them was, in seconds.
    pub timer_lag: f64,
    /// The most that one was, in seconds.
    pub longest_timer_lag: f64,
    /// The longest that what runs has kept it from looking at timers and I/O, in seconds.
    pub longest_block: f64,
    /// For how many seconds it has not moved, if the watchdog has found that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<f64>,
    /// What it was doing when that was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whereabouts: Option<String>,
    /// The native code that it was in then, innermost first, as far as that says more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backtrace: Vec<Frame>,
    /// The system's number of its OS thread, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_thread_id: Option<i32>,
}

/// A green thread's name: the number of its hub, and its own in it. In text `HUB:NUMBER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Thread {
    /// The hub's number.
    pub hub: u64,
    /// The green thread's number in it.
    pub number: u64,
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hub, self.number)
    }
}

impl FromStr for Thread {
    type Err = String;

    fn from_str(text: &str) -> Result<Thread, String> {
        let parts = text.split_once(':').and_then(|(hub, number)| Some((hub.parse().ok()?, number.parse().ok()?)));
        let (hub, number) =
            parts.ok_or_else(|| format!("a green thread is named HUB:NUMBER, as `stacks` shows it, not {text:?}"))?;
        Ok(Thread { hub, number })
    }
}

/// What a green thread is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is suspended.
    #[default]
    Waits,
    /// It runs, or has the OS thread at least.
    Runs,
    /// It is ready to run.
    Ready,
    /// It has not begun.
    New,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Waits => "waiting",
            State::Runs => "running",
            State::Ready => "ready",
            State::New => "not started",
        })
    }
}

/// A line of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Frame {
    /// The source file; if that is not known, the program's or library's file and the address in it, as
    /// `/usr/bin/server+0x4f1c`.
    pub file: String,
    /// The line in it, from 1; 0 if it is not known.
    pub line: u32,
    /// The function; empty if it is not known.
    pub function: String,
}

/// `FILE:LINE FUNCTION`, as far as it is known.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.function.is_empty() { Ok(()) } else { write!(f, " {}", self.function) }
    }
}

/// Green threads that are at the same place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Group {
    /// What they are about.
    pub state: State,
    /// What they wait for, where it is known by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What they were named, or where they were spawned, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their stack, innermost frame first.
    pub stack: Vec<Frame>,
    /// How many they are.
    pub count: u64,
    /// Some of them, the oldest first.
    pub examples: Vec<Thread>,
    /// How old the oldest is, in seconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Seconds>,
    /// At what the oldest waits, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// At what a green thread waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waits {
    /// What tells the object from others, such as `0x7f21c8`; empty if nobody else can wait there.
    pub object: String,
    /// How it is, in words: the descriptor with its peer, the items of a queue.
    pub detail: String,
    /// How many wait there.
    pub waiters: u64,
    /// For whom it waits: the one that has what it wants, or whose end it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Thread>,
    /// Whether that one has ended.
    pub holder_has_ended: bool,
    /// In how many seconds it goes on whatever happens; negative for one that is late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_in: Option<f64>,
}

/// One green thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Which one.
    pub thread: Thread,
    /// What it is called, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about.
    pub state: State,
    /// How old it is, in seconds, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<Seconds>,
    /// What it waits for, where it is known by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// At what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
    /// Its stack, innermost frame first.
    pub stack: Vec<Frame>,
    /// Who waits for it, some of them.
    pub waiters: Vec<Thread>,
}

/// All green threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stacks {
    /// How many there are.
    pub total: u64,
    /// Those at the same place together, the largest group first.
    pub groups: Vec<Group>,
    /// What each hub has at the moment.
    pub hubs: Vec<Sizes>,
    /// What looks wrong, in sentences: green threads that wait for each other, what was not given back.
    pub hints: Vec<String>,
    /// How many are in no group, since there were too many different places.
    pub left_out: u64,
    /// What could not be seen, in sentences.
    pub problems: Vec<String>,
    /// How long the look has taken, in seconds.
    pub took: Seconds,
}

/// Some of what was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// Of each hub that has something new.
    pub rings: Vec<Ring>,
    /// Whether there is more to be read at once.
    pub more: bool,
}

/// What one hub has recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// The hub's name, which no other has.
    pub name: String,
    /// Whether green threads are known by their addresses, which are nothing to show.
    pub are_addresses: bool,
    /// New texts, each of which has the number after that of the one before; the first of all is number 2.
    pub texts: Vec<Box<str>>,
    /// How many events came before these, and are lost.
    pub dropped: u64,
    /// Four numbers an event: nanoseconds since the one before, the first since recording began; the number of its
    /// [`Kind`](greenloom_trace::record::Kind); the green thread; the detail.
    pub events: Vec<i64>,
}

/// What a hub has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sizes {
    /// Its number.
    pub hub: u64,
    /// What is ready to run.
    pub ready: u64,
    /// Timers that have not fired.
    pub timers: u64,
    /// File descriptors that it watches; none if that is known to nobody but the program's code, as with a hub that is
    /// written in Python.
    pub descriptors: Option<u64>,
}

/// Seconds, kept as a whole number of microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Seconds(pub Duration);

impl From<f64> for Seconds {
    fn from(seconds: f64) -> Seconds {
        Seconds(Duration::try_from_secs_f64(seconds).unwrap_or_default())
    }
}

impl From<Seconds> for f64 {
    fn from(seconds: Seconds) -> f64 {
        seconds.0.as_micros() as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_line_as_the_documentation_shows_it() {
        let kill = Request { id: 2, ask: Ask::Kill { thread: Thread { hub: 0, number: 140211 } } };
        let line = r#"{"id":2,"ask":"kill","thread":{"hub":0,"number":140211}}"#;
        assert_eq!(serde_json::to_string(&kill).unwrap(), line);
        assert_eq!(serde_json::from_str::<Request>(line).unwrap(), kill);
        let stacks = serde_json::from_str::<Request>(r#"{"id":1,"ask":"stacks","new":true}"#).unwrap();
        assert_eq!(stacks, Request { id: 1, ask: Ask::Stacks });
    }

    #[test]
    fn an_answer_with_fields_of_a_later_version_is_read() {
        let answer: Answer = serde_json::from_str(r#"{"id":1,"hubs":[{"number":3,"mood":"good"}],"x":1}"#).unwrap();
        assert_eq!(answer.hubs.unwrap()[0].number, 3);
    }

    #[test]
    fn a_frame_shows_what_is_known_of_it() {
        let known = Frame { file: "src/main.rs".into(), line: 7, function: "serve".into() };
        let stripped = Frame { file: "/usr/bin/server+0x4f1c".into(), ..Frame::default() };
        assert_eq!([known, stripped].map(|frame| frame.to_string()), ["src/main.rs:7 serve", "/usr/bin/server+0x4f1c"]);
    }

    #[test]
    fn a_green_thread_is_named_by_hub_and_number() {
        let thread = Thread { hub: 2, number: 17 };
        assert_eq!(thread.to_string().parse(), Ok(thread));
        assert!("17".parse::<Thread>().unwrap_err().contains("HUB:NUMBER"));
    }
}
