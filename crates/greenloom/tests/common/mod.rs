//! Helpers that the tests share, those of the services included.
#![allow(dead_code)]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::{TcpListener, TcpStream};
use greenloom::process::{Command, Stdio};
use greenloom::sleep;
use greenloom::testing::Simulation;

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
    // What runs the tests may ignore Ctrl-C, as a shell has it for what it runs in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(std::env::current_exe().unwrap());
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

/// Runs a test on virtual time, with a first in, first out schedule.
pub fn simulate<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    Simulation::new().run(body).unwrap_or_else(|deadlock| panic!("{deadlock}"))
}

/// What happened, in order; for one OS thread.
pub struct Log<T>(Rc<RefCell<Vec<T>>>);

impl<T> Log<T> {
    pub fn new() -> Log<T> {
        Log(Rc::default())
    }

    pub fn push(&self, entry: T) {
        self.0.borrow_mut().push(entry);
    }

    pub fn take(&self) -> Vec<T> {
        self.0.take()
    }
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Log<T> {
        Log(Rc::clone(&self.0))
    }
}

/// Lets everything run that can without time passing. On virtual time.
pub fn settle() {
    sleep(Duration::from_nanos(1));
}

/// Runs `body` on so many OS threads at once, each with a hub of its own, and passes on their panics.
pub fn on_os_threads(count: usize, body: impl Fn(usize) + Sync) {
    std::thread::scope(|threads| {
        for number in 0..count {
            let body = &body;
            threads.spawn(move || body(number));
        }
    });
}

/// Numbers that look random and are the same for the same seed (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// This test program again, running only the test `name`, which is ignored otherwise, with pipes to it and from its
/// standard error.
pub fn program(name: &str, variables: &[(&str, &str)]) -> std::process::Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}
