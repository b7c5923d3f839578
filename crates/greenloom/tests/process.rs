//! Child processes.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use common::{in_a_process_of_its_own, millis};
use greenloom::process::{Command, Stdio};
use greenloom::signal::Signal;
use greenloom::{get_hub, sleep, spawn, timeout};

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_child_that_writes_much_to_both_outputs_is_read_whole() {
    let script = "i=0; while [ $i -lt 2000 ]; do printf '%0100d' $i; printf '%0100d' $i >&2; i=$((i+1)); done; exit 3";
    let output = shell(script).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((output.stdout.len(), output.stderr.len()), (200_000, 200_000));
    assert_eq!(output.stdout, output.stderr);
}

#[test]
fn input_and_output_flow_side_by_side() {
    const LENGTH: usize = 1 << 20;
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writing = spawn(move || input.write_all(&vec![b'x'; LENGTH]).unwrap());
    let mut all = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), LENGTH);
    writing.wait().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn others_run_while_one_waits_for_a_child() {
    let started = Instant::now();
    let children: Vec<_> = (0..5).map(|_| spawn(|| shell("sleep 0.2").status().unwrap())).collect();
    let mut ticks = 0;
    while children.iter().any(|child| !child.is_dead()) {
        sleep(millis(5));
        ticks += 1;
    }
    assert!(ticks > 5 && started.elapsed() < millis(900), "{ticks} {:?}", started.elapsed());
    for child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn wait_closes_the_input_and_can_be_called_again() {
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(child.wait().unwrap().success());
    assert!(child.wait().unwrap().success());
    assert!(child.try_wait().unwrap().is_some());
    child.signal(Signal::TERM).unwrap();
}

#[test]
fn a_wait_that_is_timed_out_leaves_nothing_and_can_be_repeated() {
    let mut child = shell("exec sleep 60").spawn().unwrap();
    assert!(timeout(millis(10), || child.wait()).is_err());
    assert_eq!(get_hub().io_waiting_count(), 0);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.number()));
}

#[test]
fn no_such_program_is_an_error() {
    assert_eq!(Command::new("/no/such/program").spawn().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn environment_and_directory_are_the_childs() {
    let output = shell("echo $COLOUR $PWD")
        .env_clear()
        .env("COLOUR", "green")
        .env("OTHER", "x")
        .env_remove("OTHER")
        .current_dir("/")
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"green /\n");
}

#[test]
fn without_pidfds_the_blocking_pool_waits() {
    for test in [
        "a_child_that_writes_much_to_both_outputs_is_read_whole",
        "others_run_while_one_waits_for_a_child",
        "a_wait_that_is_timed_out_leaves_nothing_and_can_be_repeated",
    ] {
        let output = in_a_process_of_its_own(test).env("GREENLOOM_NO_PIDFD", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
