//! `greenloom top` in a pseudo-terminal, which a terminal's emulation reads.

mod terminal;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom_inspect::protocol::{Seconds, Sizes};
use greenloom_inspect::{
    Frame, Group, Hub, Info, Program, Pulse, Server, Settings, Stacks, State, Thread, Waits, Whereabouts,
};
use terminal::Terminal;

/// How often it was asked.
static ASKED: AtomicU64 = AtomicU64::new(0);

struct Told;

fn frame(file: &str, line: u32, function: &str) -> Frame {
    Frame { file: file.into(), line, function: function.into() }
}

impl Program for Told {
    fn language(&self) -> &'static str {
        "python"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        let switches = 1000 * ASKED.fetch_add(1, Ordering::Relaxed);
        vec![Hub { os_thread: "main".into(), waits: true, switches, longest_block: 0.0213, ..Hub::default() }]
    }

    fn stacks(&mut self) -> Stacks {
        let group = |count, age, waits_for: &str, innermost| Group {
            count,
            state: State::Waits,
            waits_for: Some(waits_for.into()),
            stack: vec![innermost, frame("app.py", 40, "serve")],
            examples: (1..=count.min(3)).map(|number| Thread { hub: 0, number: 100 * count + number }).collect(),
            age: Some(Seconds(Duration::from_secs(age))),
            waits: Some(Waits { object: "0x7f10".into(), waiters: count, ..Waits::default() }),
            ..Group::default()
        };
        Stacks {
            total: 52,
            groups: vec![
                group(49, 7, "queue: an item", frame("jobs.py", 12, "next_job")),
                group(3, 4000, "semaphore", frame("locks.py", 5, "take")),
            ],
            hubs: vec![Sizes { hub: 0, ready: 11, timers: 22, descriptors: Some(33) }],
            hints: vec!["deadlock: 0:1 waits for a semaphore that 0:2 has".into()],
            ..Stacks::default()
        }
    }

    fn thread(&mut self, thread: Thread) -> Result<Info, String> {
        if thread.number != 302 {
            return Err(format!("there is no green thread {thread}: it may have ended"));
        }
        let waits =
            Waits { detail: "0 of 1 free".into(), holder: Some(Thread { hub: 0, number: 9 }), ..Waits::default() };
        Ok(Info {
            thread,
            name: Some("Locker.run".into()),
            age: Some(Seconds(Duration::from_secs(75))),
            waits_for: Some("semaphore".into()),
            waits: Some(waits),
            stack: vec![frame("locks.py", 5, "take"), frame("app.py", 40, "serve")],
            waiters: vec![Thread { hub: 0, number: 17 }],
            ..Info::default()
        })
    }

    fn kill(&mut self, _: Thread) -> Result<String, String> {
        Err("it is not killed".into())
    }
}

/// A process has one socket, so one test after another has it.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn line_with<'a>(screen: &'a str, what: &str) -> (usize, &'a str) {
    screen.lines().enumerate().find(|(_, line)| line.contains(what)).unwrap_or_else(|| panic!("no {what}:\n{screen}"))
}

#[test]
fn hubs_hints_and_groups_are_shown_and_refreshed() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let terminal = Terminal::run(&format!("top {} --seconds 0.05", std::process::id()));
    let screen = terminal.has("next_job");
    let (_, head) = line_with(&screen, "52 green threads at 2 places");
    assert!(head.starts_with(&format!("{} python", std::process::id())), "{head}");
    let (_, hub) = line_with(&screen, "21.3 ms");
    let sizes: Vec<_> = hub.split_whitespace().rev().take(3).collect();
    assert_eq!(sizes, ["33", "22", "11"], "{hub}");
    line_with(&screen, "deadlock: 0:1 waits for a semaphore that 0:2 has");
    let (_, group) = line_with(&screen, "next_job");
    let words: Vec<_> = group.split_whitespace().collect();
    assert_eq!(words[..5], ["49", "waiting", "queue:", "an", "item"], "{group}");
    assert!(group.trim_end().ends_with("7.0 s     jobs.py:12 next_job < serve"), "{group}");
    // Rates are those of two answers: a thousand switches each.
    let rate = |screen: &str| line_with(screen, "21.3 ms").1.split_whitespace().nth(5).unwrap().parse::<u64>().ok();
    terminal.shows("a rate", |screen| rate(screen).is_some_and(|rate| rate > 1000));
}

#[test]
fn groups_are_sorted_and_filtered() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let mut terminal = Terminal::run(&format!("top {} --seconds 0.05", std::process::id()));
    let screen = terminal.has("locks.py:5 take");
    assert!(line_with(&screen, "next_job").0 < line_with(&screen, "locks.py:5 take").0);
    terminal.press("s");
    let screen = terminal.has("sort by (age)");
    assert!(line_with(&screen, "next_job").0 > line_with(&screen, "locks.py:5 take").0);
    terminal.press("/NEXT\r");
    terminal.shows("only one group", |screen| screen.contains("next_job") && !screen.contains("locks.py:5"));
    terminal.press("/\x1b");
    terminal.has("locks.py:5 take");
}

#[test]
fn one_is_reached_through_its_group() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let mut terminal = Terminal::run(&format!("top {} --seconds 0.05", std::process::id()));
    terminal.has("next_job");
    terminal.press("j\r");
    let screen = terminal.has("3 waiting for: semaphore");
    line_with(&screen, "the oldest: 1 h 6 min old, at 0x7f10, 3 wait there");
    line_with(&screen, "  app.py:40 serve");
    terminal.press("j\r");
    let screen = terminal.has("Locker.run");
    for line in [
        "green thread 0:302 of process",
        "age         75 s",
        "waits for   semaphore, 0 of 1 free, for 0:9",
        "waited for  by 0:17",
        "  locks.py:5 take",
    ] {
        line_with(&screen, line);
    }
    terminal.press("\x1b");
    terminal.has("EXAMPLES");
    terminal.press("k\r");
    terminal.has("there is no green thread 0:301: it may have ended");
    terminal.press("\x7f\x7f");
    terminal.has("52 green threads");
    terminal.press("q");
    assert_eq!(terminal.program.end(), Some(0));
}

/// A program whose only hub does not move.
struct Stuck;

impl Program for Stuck {
    fn language(&self) -> &'static str {
        "python"
    }

    fn hubs(&mut self) -> Vec<Hub> {
        vec![Hub { os_thread: "main".into(), ..Hub::default() }]
    }

    fn stacks(&mut self) -> Stacks {
        Stacks::default()
    }

    fn kill(&mut self, _: Thread) -> Result<String, String> {
        Err("it is not killed".into())
    }

    fn pulses(&mut self) -> Vec<Pulse> {
        vec![Pulse { os_thread: Some(i32::MAX), ..Pulse::default() }]
    }

    fn whereabouts(&mut self, _: &[Pulse], _: Instant) -> Vec<Whereabouts> {
        let backtrace =
            vec![frame("/lib/libz.so.1+0x4cd5", 0, "deflate"), frame("/src/zlibmodule.c", 380, "zlib_compress")];
        vec![Whereabouts { said: vec!["it runs app.py:3 find".into()], backtrace }]
    }
}

#[test]
fn a_hub_that_is_stuck_is_shown_with_the_native_code_that_it_is_in() {
    let _alone = alone();
    let _server = Server::start(Stuck, Settings::new().watchdog(Some(Duration::from_millis(1)))).unwrap();
    let terminal = Terminal::run(&format!("top {} --seconds 0.05", std::process::id()));
    let screen = terminal.has("STUCK");
    let (at, where_) = line_with(&screen, "it runs app.py:3 find");
    assert!(where_.contains(": hub 0 has not moved for "), "{where_}");
    let (under, native) = line_with(&screen, ": in deflate < zlibmodule.c:380 zlib_compress");
    assert!(under == at + 1 && native.starts_with(&std::process::id().to_string()), "{screen}");
    // As text it has a line for each.
    let output =
        Command::new(env!("CARGO_BIN_EXE_greenloom")).args(["stacks", &std::process::id().to_string()]).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    let frames =
        ": it runs app.py:3 find\n    /lib/libz.so.1+0x4cd5 deflate\n    /src/zlibmodule.c:380 zlib_compress\n";
    assert!(said.contains(frames), "{said}");
}

#[test]
fn what_is_frozen_stays_and_the_end_of_the_program_is_said() {
    let _alone = alone();
    let server = Server::start(Told, Settings::new()).unwrap();
    let mut terminal = Terminal::run(&format!("top {} --seconds 0.02", std::process::id()));
    terminal.has("next_job");
    terminal.press("f");
    terminal.has("FROZEN");
    drop(server);
    let asked = ASKED.load(Ordering::Relaxed);
    terminal.press("s");
    let screen = terminal.has("sort by (age)");
    assert!(screen.contains("next_job") && !screen.contains("has ended"), "{asked}: {screen}");
    terminal.press("f");
    let screen = terminal.has(&format!("process {} has ended", std::process::id()));
    line_with(&screen, "next_job");
}

/// Not a test of its own: a process that can be looked into, until it is told to end.
#[test]
#[ignore = "a program of another test"]
fn a_process_that_can_be_looked_into() {
    let _server = Server::start(Told, Settings::new()).unwrap();
    println!("ready");
    std::io::stdin().lines().next();
}

#[test]
fn a_process_that_is_stopped_is_shown_as_such_until_it_goes_on() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_that_can_be_looked_into", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!({ lines }.any(|line| line.ends_with("ready")));
    let send = |signal: &str| {
        assert!(Command::new("kill").args([signal.to_owned(), child.id().to_string()]).status().unwrap().success());
    };
    let terminal = Terminal::run(&format!("top {} --seconds 0.05", child.id()));
    terminal.has("next_job");
    send("-STOP");
    line_with(&terminal.has("is stopped, by a signal or a debugger"), "52 green threads at 2 places");
    send("-CONT");
    terminal.shows("what it shows of one that runs", |screen| !screen.contains("is stopped"));
    drop(terminal);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_ends_with_its_terminal() {
    let _alone = alone();
    let _server = Server::start(Told, Settings::new()).unwrap();
    let terminal = Terminal::run(&format!("top {} --seconds 0.05", std::process::id()));
    terminal.has("next_job");
    // Nobody sends it a signal: in a session of its own it has no terminal that would.
    assert_eq!(terminal.hang_up().end(), Some(1));
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let _alone = alone();
    let output = Command::new(env!("CARGO_BIN_EXE_greenloom")).args(["top", "1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("top needs a terminal; `greenloom stacks PID`")), (Some(1), true));
}

/// Not a test, but what `make pictures` calls: the screen of a program that runs, after some keys, as a file.
#[test]
#[ignore = "it makes pictures for the guide"]
fn picture() {
    let told = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is to be set"));
    let (pid, begins, keys) = (told("PICTURE_OF"), told("PICTURE_BEGINS"), told("PICTURE_KEYS"));
    let mut terminal = Terminal::run(&format!("top {pid} --seconds 0.2"));
    terminal.has(&begins);
    for key in keys.split_whitespace() {
        let before = terminal.shows("anything", |_| true);
        terminal.press(if key == "enter" { "\r" } else { key });
        terminal.shows("something else", |screen| screen != before);
    }
    let until = told("PICTURE_SHOWS");
    // Where there are hubs, their load is there from the second answer on.
    terminal.shows(&until, |screen| screen.contains(&until) && (!screen.contains("LOAD") || screen.contains(" %")));
    std::fs::write(told("PICTURE"), terminal.svg(&told("PICTURE_WITHOUT"))).unwrap();
}
