//! How long an operation waits at most: as long as the socket's timeout says, or, without one, as the program has told
//! the system (SO_RCVTIMEO and SO_SNDTIMEO). The system itself never waits for us, so that it cannot keep to it.

use std::mem;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use greenloom_hub::{Direction, Time};

use super::wait::{Failure, deadline_after, seconds_object};
use super::{Socket, small_integer};
use crate::eventlet::clock::monotonic;
use crate::py::ffi::{self, PyMethodDef};
use crate::py::object::Object;
use crate::py::{self, Args, Owned, Result, This};

/// Whether the program has told the system of a limit, for whichever file: others may share it, or get it from their
/// listener. Hardly a program does, and in one that does not nothing is asked.
static SYSTEM_KNOWS_LIMITS: AtomicBool = AtomicBool::new(false);

impl Socket {
    /// How many seconds operations of that direction wait at most; negative for no limit.
    #[inline]
    pub(super) fn limit(&self, direction: Direction) -> f64 {
        let own = self.timeout.get();
        if own >= 0.0 || !SYSTEM_KNOWS_LIMITS.load(Ordering::Relaxed) {
            own
        } else {
            limit_by_system(self.fd(), direction)
        }
    }

    /// When an operation that begins now gives up.
    #[inline]
    pub(super) fn deadline(&self, direction: Direction) -> Option<Time> {
        deadline_after(self.limit(direction))
    }

    /// What an operation ends with when its time is up: as CPython has it, or the system.
    pub(super) fn gives_up(&self) -> Failure {
        if self.timeout.get() >= 0.0 { Failure::TimedOut } else { Failure::Os(libc::EAGAIN) }
    }
}

/// What the program has told the system for a descriptor, a socket or a terminal that is read; negative for nothing.
#[cold]
fn limit_by_system(fd: RawFd, direction: Direction) -> f64 {
    let option = if direction == Direction::Read { libc::SO_RCVTIMEO } else { libc::SO_SNDTIMEO };
    let mut limit = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut size = mem::size_of_val(&limit) as libc::socklen_t;
    // SAFETY: an out parameter with its size.
    let known = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, (&raw mut limit).cast(), &mut size) };
    if known < 0 {
        let tenths = if direction == Direction::Read { patience_of_terminal(fd) } else { None };
        return tenths.map_or(-1.0, |tenths| f64::from(tenths) * 0.1);
    }
    if limit.tv_sec == 0 && limit.tv_usec == 0 { -1.0 } else { limit.tv_sec as f64 + limit.tv_usec as f64 * 1e-6 }
}

/// How many tenths of a second a read of a terminal waits at most, if the program has set it to return with nothing
/// then: without lines, and with a VMIN of 0.
pub(super) fn patience_of_terminal(fd: RawFd) -> Option<u8> {
    // SAFETY: an out parameter, which is looked at if it was written.
    let settings = unsafe {
        let mut settings: libc::termios = std::mem::zeroed();
        (libc::tcgetattr(fd, &raw mut settings) == 0).then_some(settings)?
    };
    let is_impatient = settings.c_lflag & libc::ICANON == 0 && settings.c_cc[libc::VMIN] == 0;
    is_impatient.then_some(settings.c_cc[libc::VTIME])
}

/// Takes the pending exception if it is the timeout of a wait until then.
///
/// # Safety
/// An exception is pending, and the interpreter's lock is held.
pub unsafe fn takes_timeout(deadline: Option<Time>) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        let up =
            deadline.is_some_and(|at| monotonic() >= at) && ffi::PyErr_ExceptionMatches(ffi::PyExc_TimeoutError) != 0;
        if up {
            ffi::PyErr_Clear();
        }
        up
    }
}

/// The program has set an option of a socket: these two numbers say which.
pub fn note_option(level: i64, option: i64) {
    if level == i64::from(libc::SOL_SOCKET) && [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO].map(i64::from).contains(&option) {
        note_limit();
    }
}

/// The program has told the system of a limit.
pub(super) fn note_limit() {
    SYSTEM_KNOWS_LIMITS.store(true, Ordering::Relaxed);
}

fn direction(writes: Object<'_>) -> Result<Direction> {
    Ok(if writes.truth()? { Direction::Write } else { Direction::Read })
}

/// For Python: [`Socket::limit`].
pub fn limit(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([writes], []) = args.parse("_limit", ["write"], [])?;
    seconds_object(args.gil(), this.limit(direction(writes)?))
}

/// The function of the module that tells the same of a descriptor, of which nobody else could tell.
pub fn function() -> PyMethodDef {
    py::function(
        c"_limit_by_system",
        of_a_descriptor,
        c"_limit_by_system(fd, write)\n--\n\nHow many seconds reading, \
      or writing, waits at most as the program has told the system; None for no limit.",
    )
}

fn of_a_descriptor(args: Args<'_>) -> Result<Owned> {
    let ([fd, writes], []) = args.parse("_limit_by_system", ["fd", "write"], [])?;
    let (fd, direction) = (small_integer(fd)?, direction(writes)?);
    let is_known = SYSTEM_KNOWS_LIMITS.load(Ordering::Relaxed);
    seconds_object(args.gil(), if is_known { limit_by_system(fd, direction) } else { -1.0 })
}
