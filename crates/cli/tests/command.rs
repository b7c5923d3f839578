//! The program `greenloom`, asked about this very process.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use greenloom_inspect::protocol::Trace;
use greenloom_inspect::traced::{self, Recorded};
use greenloom_inspect::{Frame, Group, Hub, Info, Program, Server, Settings, Stacks, State, Thread};
use greenloom_trace::{READY, Readers, Writer, ring};

struct Told;

/// Writes an event whenever it is read.
struct Events(Readers, Writer, u64);

impl Recorded for Events {
    fn read(&mut self, events: usize) -> Trace {
        self.2 += 1;
        self.1.run(self.2, self.2, READY);
        traced::read(&mut self.0, events, 1.0)
    }

    fn stop(&mut self) {
        self.0.end_here();
    }
}

impl Program for Told {
    fn language(&self) -> &'static str {
        "rust"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        vec![Hub { os_thread: "main".into(), waits: true, switches: 7, ..Hub::default() }]
    }

    fn stacks(&mut self) -> Stacks {
        let frame = Frame { file: "pool.rs".into(), line: 63, function: "take".into() };
        let own = Frame { file: "\x1b[2J".into(), line: 1, function: "\u{9b}5m\u{e4}".into() };
        let examples = vec![Thread { hub: 0, number: 9 }];
        let group = Group { state: State::Waits, stack: vec![frame, own], count: 2, examples, ..Group::default() };
        Stacks { total: 2, groups: vec![group], ..Stacks::default() }
    }

    fn thread(&mut self, thread: Thread) -> Result<Info, String> {
        let known = Frame { file: "pool.rs".into(), line: 63, function: "take".into() };
        let stripped = Frame { file: "/usr/bin/server+0x4f1c".into(), ..Frame::default() };
        let (waits_for, waiters) = (Some("semaphore".into()), vec![Thread { hub: 1, number: 2 }]);
        Ok(Info { thread, waits_for, waiters, stack: vec![known, stripped], ..Info::default() })
    }

    fn kill(&mut self, thread: Thread) -> Result<String, String> {
        Ok(format!("{thread} unwinds"))
    }

    fn record(&mut self, events: usize) -> Result<Box<dyn Recorded>, String> {
        let (writer, reader) = ring(events, "hub 0 (main)");
        writer.spawn(0, 7, writer.text("a worker"));
        let mut readers = Readers::default();
        readers.push(reader);
        Ok(Box::new(Events(readers, writer, 0)))
    }
}

/// Its exit status, and what it prints and complains.
fn greenloom(words: &str) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_greenloom")).args(words.split(' ')).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A process has one socket, so one test after another has it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_trace_is_written_as_its_name_or_a_flag_says() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let folder = std::env::temp_dir().join(format!("greenloom-trace-command-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pid = std::process::id();
    for (name, flag) in [("out.html", ""), ("out", " --html"), ("out.perfetto-trace", "")] {
        let path = folder.join(name);
        let (status, said, complaints) = greenloom(&format!("trace {pid} --seconds 0.1 -o {}{flag}", path.display()));
        let begun = format!("greenloom: recording process {pid} for 0.1 s; Ctrl-C ends it early\n");
        assert_eq!((status, complaints), (Some(0), begun));
        assert!(said.ends_with(&format!(" events in 0.1 s: {}\n", path.display())), "{said}");
        let written = std::fs::read(&path).unwrap();
        let has = |what: &[u8]| written.windows(what.len()).any(|window| window == what);
        assert_eq!(has(b"<!doctype html>"), !name.ends_with("trace"));
        assert!(has(b"a worker") || has(b"<!doctype html>"));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_trace_that_cannot_be_written_or_is_full_says_so() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let pid = std::process::id();
    let (status, _, complaints) = greenloom(&format!("trace {pid} -o /nowhere/at/all"));
    assert_eq!(status, Some(1));
    assert!(complaints.ends_with("make its folder first\n"), "{complaints}");
    let (status, _, complaints) = greenloom(&format!("trace {pid} --seconds 0.05 -o /dev/full"));
    assert_eq!(status, Some(1));
    assert!(complaints.contains("the disk is full, and the trace needs 1 MB there"), "{complaints}");
    let (status, _, complaints) = greenloom(&format!("trace {pid} --seconds 60 --events 1 -o /dev/null"));
    assert_eq!(status, Some(0));
    assert!(complaints.contains("s only, as that has 1 events; --events N takes more"), "{complaints}");
}

#[test]
fn each_command_prints_what_the_program_tells() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let pid = std::process::id();
    let (status, said, _) = greenloom(&format!("stacks {pid}"));
    let rest = "hub 0 (main) waits, 7 switches, 0 turns, longest timer lag 0.0 ms, longest block 0.0 ms\n\
                2 green threads at 1 place\n\n2 waiting, such as 0:9\n    pool.rs:63 take\n    \
                \\u001b[2J:1 \\u009b5m\u{e4}\n";
    assert_eq!((status, said.split_once('\n').unwrap().1), (Some(0), rest));
    let (status, said, _) = greenloom(&format!("stacks {pid} --json"));
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
    let stack = &seen["stacks"]["groups"][0]["stack"];
    assert_eq!((status, &stack[0]["line"], &stack[1]["function"]), (Some(0), &63.into(), &"\u{9b}5m\u{e4}".into()));
    let (status, said, _) = greenloom(&format!("stacks {pid} 0:9"));
    let one = "green thread 0:9\nstate       waiting\nwaits for   semaphore\nwaited for  by 1:2\n\n    \
               pool.rs:63 take\n    /usr/bin/server+0x4f1c\n";
    assert_eq!((status, said.as_str()), (Some(0), one));
    let (status, said, _) = greenloom(&format!("stacks {pid} 0:9 --json"));
    let seen: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &seen["thread"]["stack"][0]["function"]), (Some(0), &"take".into()));
    let (status, said, _) = greenloom(&format!("metrics {pid}"));
    assert_eq!((status, said.ends_with("\n# EOF\n")), (Some(0), true));
    let (status, said, _) = greenloom(&format!("kill {pid} 0:9 --yes"));
    assert_eq!((status, said.as_str()), (Some(0), "0:9 unwinds\n"));
}

#[test]
fn a_process_that_tells_nothing_is_told_how_to() {
    let (status, said, complaints) = greenloom("stacks 1");
    assert_eq!((status, said.as_str()), (Some(1), ""));
    assert!(complaints.starts_with("greenloom: process 1 cannot be looked into"), "{complaints}");
}
