//! What the tests of synchronous crates share. Each shows how one crate runs on green threads: with others running
//! while it waits, as it comes or by the hooks, or else with the OS thread blocked, so that it belongs on the blocking
//! pool.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use greenloom::{sleep, spawn, yield_now};

/// How long the operations take that [`others_run`] looks at.
pub const A_WHILE: Duration = Duration::from_millis(200);

/// Runs `body`, which has to wait for about [`A_WHILE`], and says whether other green threads ran meanwhile.
pub fn others_run<R>(body: impl FnOnce() -> R) -> (R, bool) {
    let rounds = Rc::new(Cell::new(0));
    let other = spawn({
        let rounds = Rc::clone(&rounds);
        move || {
            loop {
                sleep(A_WHILE / 100);
                rounds.set(rounds.get() + 1);
            }
        }
    });
    yield_now();
    let result = body();
    // Far from the hundred that it may be, and from the none that it is if the OS thread is blocked.
    let ran = rounds.get() >= 5;
    other.kill();
    (result, ran)
}

/// The folder with the sockets of the servers.
///
/// # Panics
/// When there are none.
pub fn servers() -> PathBuf {
    let folder = std::env::var_os("GREENLOOM_SERVERS");
    folder.map(PathBuf::from).expect("the servers run: tests/synchronous_crates/servers.sh run cargo test")
}
