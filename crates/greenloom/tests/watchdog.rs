//! What the watchdog says of hubs that do not move.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use common::{millis, program};
use greenloom::{Builder, sleep};
use greenloom_inspect::protocol::Ask;
use greenloom_inspect::{Client, Frame};

#[inline(never)]
fn wants_a_lock_of_std(lock: &std::sync::Mutex<()>) {
    drop(lock.lock().unwrap());
    std::hint::black_box(());
}

/// Not a test of its own: a green thread that waits for a lock of std, and then one that runs.
#[test]
#[ignore = "a program that others look into"]
fn a_program_that_blocks() {
    let lock = Arc::new(std::sync::Mutex::new(()));
    let (locked, is_locked) = channel();
    let (release, released) = channel::<()>();
    let held = Arc::clone(&lock);
    let holder = std::thread::spawn(move || {
        let _guard = held.lock().unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    // The one who releases it is told to by a line.
    std::thread::spawn(move || {
        std::io::stdin().lines().next();
        drop(release);
    });
    let blocked = Builder::new().name("waits for std").spawn(move || wants_a_lock_of_std(&lock)).unwrap();
    blocked.wait().unwrap();
    holder.join().unwrap();
    eprintln!("done");
    sleep(millis(1_000_000));
}

#[test]
fn the_watchdog_names_a_green_thread_that_waits_for_a_lock_of_std() {
    let mut child = program("a_program_that_blocks", &[("GREENLOOM_INSPECT", "1"), ("GREENLOOM_WATCHDOG", "50")]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let blocked = lines.next().unwrap();
    assert!(blocked.starts_with("greenloom: hub 0 has not moved for "), "{blocked}");
    assert!(blocked.contains("; it waits for a lock (futex 0x"), "{blocked}");
    assert!(blocked.contains("let go of it before what parks, or use greenloom::sync; in "), "{blocked}");
    assert!(blocked.contains("::lock < watchdog.rs:"), "{blocked}");
    assert!(blocked.contains(" watchdog::wants_a_lock_of_std < "), "{blocked}");
    let mut client = Client::connect(child.id()).unwrap();
    let hubs = client.ask(Ask::Hubs).unwrap().hubs.unwrap();
    assert!(hubs[0].blocked.is_some_and(|seconds| seconds >= 0.05), "{hubs:?}");
    let wants = |frame: &Frame| frame.function == "watchdog::wants_a_lock_of_std" && frame.file.ends_with(file!());
    assert!(hubs[0].backtrace.iter().any(wants), "{hubs:?}");
    writeln!(child.stdin.take().unwrap()).unwrap();
    let after: Vec<_> = lines.by_ref().take(3).collect();
    let has = |what: &str| after.iter().any(|line| line.starts_with(what));
    assert!(has("done") && has("greenloom: hub 0 moves again, after "), "{after:?}");
    // It had the time to end before anybody asked for its name.
    child.kill().unwrap();
    child.wait().unwrap();
}

#[inline(never)]
fn computes_without_end() {
    let mut number = 1_u64;
    while std::hint::black_box(number) != 0 {
        number = number.wrapping_mul(3);
    }
}

/// Not a test of its own: a green thread that does not give way.
#[test]
#[ignore = "a program that others look into"]
fn a_program_that_computes() {
    let computes = Builder::new().name("computes").spawn(|| {
        if std::env::var_os("GREENLOOM_TEST_BLOCKS_SIGNALS").is_some() {
            // SAFETY: a set that is filled before it is used, for the running OS thread alone.
            unsafe {
                let mut all = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            }
        }
        computes_without_end();
    });
    computes.unwrap().wait().unwrap();
}

/// What the watchdog says first of a program that it finds blocked.
fn said_of(program_named: &str, variable: (&str, &str)) -> String {
    let mut child = program(program_named, &[("GREENLOOM_INSPECT", "1"), ("GREENLOOM_WATCHDOG", "50"), variable]);
    let said = BufReader::new(child.stderr.take().unwrap()).lines().next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[test]
fn the_watchdog_names_a_function_that_computes() {
    let said = said_of("a_program_that_computes", ("RUST_BACKTRACE", "0"));
    assert!(said.contains("; it runs; in ") && said.contains(" watchdog::computes_without_end < "), "{said}");
    let said = said_of("a_program_that_computes", ("GREENLOOM_TEST_BLOCKS_SIGNALS", "1"));
    assert!(
        said.contains("not known: it runs, and blocks or handles every signal by which it could be asked; it runs"),
        "{said}"
    );
}

#[inline(never)]
fn sleeps_on_std(ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        std::thread::sleep(millis(300));
        std::hint::black_box(());
    }
}

/// Not a test of its own: a green thread that sleeps on std until a line comes, and then goes on.
#[test]
#[ignore = "a program that others look into"]
fn a_program_that_blocks_and_goes_on() {
    let ends = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ends);
    std::thread::spawn(move || {
        std::io::stdin().lines().next();
        end.store(true, Ordering::Relaxed);
    });
    let blocks = Builder::new().name("blocks").spawn(move || {
        sleeps_on_std(&ends);
        sleep(millis(1_000_000));
    });
    let _ = (blocks.unwrap(), sleep(millis(1_000_000)));
}

#[test]
fn the_watchdog_tells_the_name_of_what_had_blocked_the_hub() {
    let variables = [("GREENLOOM_INSPECT", "1"), ("GREENLOOM_WATCHDOG", "50")];
    let mut child = program("a_program_that_blocks_and_goes_on", &variables);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let blocked = lines.next().unwrap();
    assert!(blocked.contains("green thread 0:") && blocked.contains("system call clock_nanosleep"), "{blocked}");
    assert!(blocked.contains("; in ") && blocked.contains(" watchdog::sleeps_on_std < "), "{blocked}");
    writeln!(child.stdin.take().unwrap()).unwrap();
    let after: Vec<_> = lines.take(2).collect();
    assert!(after.iter().any(|line| line.contains("was blocked by green thread 0:") && line.contains("\"blocks\"")));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_program_whose_standard_error_nobody_reads_goes_on_and_is_looked_into() {
    let variables = [("GREENLOOM_INSPECT", "1"), ("GREENLOOM_WATCHDOG", "20")];
    let mut child = program("a_program_that_blocks_and_goes_on", &variables);
    drop(child.stderr.take());
    let (id, mut stdin) = (child.id(), child.stdin.take().unwrap());
    let hub = || loop {
        // It may not have begun.
        if let Ok(mut client) = Client::connect(id) {
            break client.ask(Ask::Hubs).unwrap().hubs.unwrap().remove(0);
        }
    };
    while hub().blocked.is_none() {
        std::thread::yield_now();
    }
    writeln!(stdin).unwrap();
    // What had blocked it is said by the hub, which goes on.
    while hub().blocked.is_some() || !hub().waits {
        std::thread::yield_now();
    }
    let mut client = Client::connect(id).unwrap();
    let stacks = client.ask(Ask::Stacks).unwrap().stacks.unwrap();
    assert!(stacks.groups.iter().any(|group| group.name.as_deref() == Some("blocks")), "{stacks:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}
