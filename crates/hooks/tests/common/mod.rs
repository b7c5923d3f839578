//! What the tests of hooked calls share.

// Each file of tests uses some of it. What is unsafe is errno, which is the OS thread's own.
#![allow(dead_code, clippy::undocumented_unsafe_blocks)]

use std::cell::Cell;
use std::ffi::c_int;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use greenloom::spawn;

pub const MILLI: Duration = Duration::from_millis(1);

/// Runs `blocked` on a green thread, and shows that another one runs while it waits: that one calls `release`, which
/// ends the wait, or does not disturb it.
pub fn lets_others_run<T: 'static>(blocked: impl FnOnce() -> T + 'static, release: impl FnOnce() + 'static) -> T {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum State {
        New,
        Waits,
        Done,
    }
    let state = Rc::new(Cell::new(State::New));
    let waiter = spawn({
        let state = Rc::clone(&state);
        move || {
            state.set(State::Waits);
            let result = blocked();
            state.set(State::Done);
            result
        }
    });
    let releaser = spawn(move || {
        assert_eq!(state.get(), State::Waits);
        release();
    });
    let result = waiter.wait().expect("it does not fail");
    releaser.wait().expect("it does not fail");
    result
}

pub fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = spawn(move || TcpStream::connect(address).unwrap());
    let (server, _) = listener.accept().unwrap();
    (client.wait().unwrap(), server)
}

pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    (call(), began.elapsed())
}

pub fn errno() -> c_int {
    unsafe { *libc::__errno_location() }
}

pub fn set_errno(code: c_int) {
    unsafe { *libc::__errno_location() = code }
}

/// What it returned, or its error as a negative number.
pub fn told(result: isize) -> isize {
    if result < 0 { -(errno() as isize) } else { result }
}

/// A call at a descriptor, or for a child.
pub type Call<T = isize> = fn(c_int) -> T;
