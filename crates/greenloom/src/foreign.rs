//! Waiting for code that cannot be unwound: a C function, or the call of libc beneath it.
//!
//! What waits here parks as everything else does, but a kill or a timeout does not unwind from it: the wait ends as
//! [`Wait::Interrupted`], the caller tells its own caller of a failure in that one's manner, and the green thread
//! unwinds when it next parks in Rust. `greenloom-hooks` is made of these; so can be a binding of a C library.
//!
//! Ask [`can_park`] first: all other functions fail where it is false.
//!
//! ```
//! use greenloom::foreign::{self, Wait};
//! use std::time::Duration;
//!
//! greenloom::get_hub(); // an OS thread without a hub never parks here
//! assert!(foreign::can_park());
//! assert_eq!(foreign::sleep(Duration::from_millis(1))?, Wait::TimedOut);
//! # Ok::<(), greenloom::Refused>(())
//! ```

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use greenloom_hub::Direction;

use crate::blocking::{self, Outstanding};
use crate::runtime::error::{Panic, Refused};
use crate::runtime::fd::wait_quietly;
use crate::runtime::node::Wake;
use crate::runtime::park::{Waker, prepare_shielded};
use crate::runtime::{here, try_here};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Wait {
    /// What was waited for is there, or may be: try again.
    Ready,
    /// The time is over.
    TimedOut,
    /// The green thread was killed, or a [`timeout`](crate::timeout()) around it expired. Every further wait ends so at
    /// once, until it has unwound.
    Interrupted,
    /// The hub was [told](crate::Hub::notify_close) that the file descriptor is closed.
    Closed,
}

/// Whether the running code may park: on an OS thread that has a hub, in a green thread or in the one from which the
/// hub is run; not in the hub itself, while a panic unwinds, while the OS thread ends, or in the child of a fork that
/// has not used its hub yet. Never blocks, makes no hub, and costs a few loads.
#[inline]
pub fn can_park() -> bool {
    try_here().is_some_and(|runtime| runtime.can_park())
}

/// Waits until `fd` is ready in `direction`, for `limit` at most. It may return early, so try again afterwards. The
/// registration is checked each time, so that it may be closed, and its number used again, without a word.
///
/// # Errors
/// `ResourceBusy` if another green thread waits there already; `PermissionDenied` for a file that is always ready;
/// those of `epoll_ctl`; [`Refused`] as `Unsupported`.
pub fn wait_fd(fd: BorrowedFd<'_>, direction: Direction, limit: Option<Duration>) -> io::Result<Wait> {
    let runtime = here();
    if runtime.is_current_interrupted() {
        return Ok(Wait::Interrupted);
    }
    let key = runtime.find_or_add_source(fd)?;
    runtime.with_core(|core| core.sources().expect_edge(key, direction));
    let wake = wait_quietly(key, direction, limit.map(|limit| runtime.now() + limit))?;
    Ok(wake.map_or(Wait::Ready, Wait::from))
}

/// Waits for `duration` to pass.
///
/// # Errors
/// [`Refused`].
pub fn sleep(duration: Duration) -> Result<Wait, Refused> {
    let runtime = here();
    if runtime.is_current_interrupted() {
        return Ok(Wait::Interrupted);
    }
    Ok(prepare_shielded()?.park_quietly("sleep", Some(runtime.now() + duration)).into())
}

/// Lets what is ready run, and the hub look at timers and I/O.
///
/// # Errors
/// [`Refused`].
pub fn yield_now() -> Result<(), Refused> {
    let runtime = here();
    if let Some(refused) = runtime.make_current_ready() {
        return Err(refused);
    }
    runtime.turn_soon();
    runtime.switch_to_next();
    Ok(())
}

/// Runs `job` on an OS thread of the [blocking pool](crate::blocking) and waits until it is done, whatever comes: a
/// kill or a timeout waits, too. So `job` may use what the caller's stack holds only through values that it owns.
///
/// # Errors
/// As [`blocking::run`].
pub fn run<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> Result<T, blocking::Error> {
    struct Answer<T> {
        value: Option<std::thread::Result<T>>,
        waker: Waker,
    }
    let mut ticket = prepare_shielded()?;
    let answer = Arc::new(Mutex::new(Answer { value: None, waker: ticket.waker() }));
    let place = Arc::clone(&answer);
    let done = move |value| {
        let mut answer = blocking::lock(&place);
        answer.value = Some(value);
        answer.waker.wake();
    };
    let _outstanding = Outstanding::new();
    blocking::pool().run(blocking::in_pool(job), done).map_err(blocking::Error::NoThread)?;
    loop {
        let _ = ticket.park_quietly("blocking call", None);
        // An error here would be an end before the job's.
        ticket = prepare_shielded().expect("what has just parked may park again: nothing unwinds since");
        let mut answer = blocking::lock(&answer);
        answer.waker = ticket.waker();
        if let Some(value) = answer.value.take() {
            return value.map_err(|payload| blocking::Error::Panicked(Panic::new(payload)));
        }
    }
}

/// Tells the hub of the running OS thread, if there is one, that `fd` is about to be closed; see
/// [`Hub::notify_close`](crate::Hub::notify_close). Does nothing where it cannot be told.
pub fn closing(fd: RawFd) {
    if let Some(runtime) = try_here().filter(|runtime| runtime.is_at_rest()) {
        runtime.forget_fd(fd);
    }
}

impl From<Wake> for Wait {
    fn from(wake: Wake) -> Wait {
        match wake {
            Wake::Woken => Wait::Ready,
            Wake::TimedOut => Wait::TimedOut,
            Wake::Interrupted => Wait::Interrupted,
            Wake::Closed => Wait::Closed,
        }
    }
}
