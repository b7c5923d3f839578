//! Helpers that the tests of green I/O share.
#![allow(dead_code)]

use std::time::Duration;

use greenloom::net::{TcpListener, TcpStream};
use greenloom::process::{Command, Stdio};

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Two ends of a connection.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// This test program again, running only the test `name`: for what would disturb the other tests.
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
