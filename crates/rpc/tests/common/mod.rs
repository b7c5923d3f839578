//! What the tests share.

#![allow(dead_code, reason = "each test uses its part")]

use std::process::{Command, Stdio};

use greenloom::testing::Simulation;

/// Runs on virtual time. A test that hangs is a deadlock, which says who waits for what.
pub fn simulate<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    Simulation::new().run(body).unwrap_or_else(|deadlock| panic!("{deadlock}"))
}

/// The test of this name, in a process of its own.
pub fn in_a_process_of_its_own(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it and returns what it printed, standard error behind standard output.
pub fn passes(name: &str) -> String {
    let output = in_a_process_of_its_own(name).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text
}
