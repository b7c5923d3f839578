//! `greenloom top` in a pseudo-terminal, which a terminal's emulation reads.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use greenloom_inspect::protocol::{Seconds, Sizes};
use greenloom_inspect::{Frame, Group, Hub, Info, Program, Server, Settings, Stacks, State, Thread, Waits};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

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
            hubs: vec![Sizes { hub: 0, ready: 11, timers: 22, descriptors: 33 }],
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

/// The program in a terminal of its own.
struct Terminal {
    program: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

const ROWS: u16 = 24;
const COLUMNS: u16 = 110;

impl Terminal {
    fn run(words: &str) -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        // In a session of its own the terminal of whoever runs the test is not asked for its size.
        let program = Command::new("setsid")
            .arg(env!("CARGO_BIN_EXE_greenloom"))
            .args(words.split(' '))
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let [rows, columns] = [ROWS, COLUMNS].map(|size| NonZero::new(size).unwrap());
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (shown, ours): (_, OwnedFd) = (Arc::clone(&screen), ours);
        let mut reads = File::from(ours.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The other end is closed when the program has ended: an error.
            while let Ok(count @ 1..) = reads.read(&mut bytes) {
                shown.lock().unwrap().process(&bytes[..count]);
            }
        });
        Terminal { program, keys: File::from(ours), screen }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen is as wanted, and returns it.
    fn shows(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().screen().contents();
            if is_wanted(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{what} is not shown:\n{screen}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has(&self, what: &str) -> String {
        self.shows(what, |screen| screen.contains(what))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
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
    assert_eq!(terminal.program.wait().unwrap().code(), Some(0));
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

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let _alone = alone();
    let output = Command::new(env!("CARGO_BIN_EXE_greenloom")).args(["top", "1"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("top needs a terminal; `greenloom stacks PID`")), (Some(1), true));
}
