//! Standard error, for those of whom the program knows nothing: it may be full, closed, or read by nobody.
//!
//! The lock that std has for it is not taken, as an OS thread that is stuck there has it.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// So much a pipe takes at once if it takes anything: `PIPE_BUF`.
const PIECE: usize = 4096;

/// Writes to standard error. What cannot be written within `patience`, or at all, is left out: nobody waits longer for
/// whoever reads it, nor ends by its end.
///
/// ```
/// greenloom_inspect::to_stderr("greenloom: hub 0 moves again\n", std::time::Duration::ZERO);
/// ```
pub fn to_stderr(text: &str, patience: Duration) {
    let until = Instant::now() + patience;
    let stderr = io::stderr();
    let mut rest = text.as_bytes();
    while !rest.is_empty() && takes(&stderr, until.saturating_duration_since(Instant::now())) {
        match rustix::io::write(&stderr, &rest[..rest.len().min(PIECE)]) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Whether it takes something in that time. Of a pipe that nobody reads any more this says no: to write there would be
/// a signal that ends the program, if it has not said otherwise.
fn takes(stderr: &io::Stderr, patience: Duration) -> bool {
    let mut polled = [PollFd::new(stderr, PollFlags::OUT)];
    let patience = Timespec::try_from(patience).ok();
    poll(&mut polled, patience.as_ref()).is_ok_and(|ready| ready > 0) && polled[0].revents() == PollFlags::OUT
}
