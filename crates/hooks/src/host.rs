//! What a runtime has to offer, so that its green threads can be suspended beneath a call of libc.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// What is waited for at a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// That it can be read, or that a connection can be accepted.
    Read,
    /// That it can be written, or that it is connected.
    Write,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// What was waited for is there, or may be.
    Ready,
    /// The time is over.
    TimedOut,
    /// A signal was handled, which ends a call that the system does not start anew after one.
    Signalled,
    /// The green thread is to end, or to give this up: the call fails.
    Interrupted,
    /// The file descriptor was closed by somebody else.
    Closed,
}

/// A runtime, as the hooked calls need it.
///
/// # Safety
/// [`run`](Host::run) returns only when the job has ended or was dropped: the job borrows from the frame that calls it.
/// None of the functions unwinds, since there are frames of C above them.
pub unsafe trait Host: Sync {
    /// Whether the running code is on a green thread that may be suspended here. Must be quick, and right on every OS
    /// thread, in the event loop itself, while a panic unwinds, and in the child of a fork.
    fn can_park(&self) -> bool;

    /// Which green thread runs, as a number of its own: an OS thread's green threads are told apart by it. 0 where the
    /// locks of shared objects are not hooked.
    fn current(&self) -> usize {
        0
    }

    /// Suspends the green thread until `fd` is ready, or until `limit` is over. May return early.
    ///
    /// # Errors
    /// `ResourceBusy` where somebody waits already, so that the caller has to wait by other means; `PermissionDenied`
    /// for a file that is always ready; all others make the caller block the OS thread.
    fn wait_fd(&self, fd: BorrowedFd<'_>, direction: Direction, limit: Option<Duration>) -> io::Result<Wait>;

    /// Suspends the green thread for `duration`.
    fn sleep(&self, duration: Duration) -> Wait;

    /// Lets others run.
    fn yield_now(&self);

    /// Runs `job` on an OS thread that may block, and returns when it is done, even if the green thread is killed
    /// meanwhile. Returns `false`, without having run it, if there is no such OS thread.
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> bool;

    /// `fd` is about to be closed: its waiters are told.
    fn closing(&self, fd: RawFd);
}
