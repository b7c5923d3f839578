//! Waiting for children. One child is waited for at a descriptor of it; any of several, on an OS thread that may block,
//! without taking it (`WNOWAIT`): it stays for the caller who asked.

use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::host::{Direction, Host};
use crate::wait::{Deadline, Parked, errno, fail, in_signal_handler, park, set_errno};
use crate::{blocking, real};

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: the caller's contract.
    unsafe { waitpid(-1, status, 0) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    // SAFETY: the caller's contract.
    wait_by(pid, options, |options| unsafe { real::waitpid(pid, status, options) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t {
    // SAFETY: the caller's contract.
    wait_by(pid, options, |options| unsafe { real::wait4(pid, status, options, usage) })
}

fn wait_by(pid: pid_t, options: c_int, real: impl Fn(c_int) -> pid_t) -> pid_t {
    let (kind, id) = match pid {
        1.. => (P_PID, pid.cast_unsigned()),
        -1 => (P_ALL, 0),
        0 => (P_PGID, 0),
        _ => (P_PGID, pid.unsigned_abs()),
    };
    let only_ends = options & (WUNTRACED | WCONTINUED) == 0;
    let states = WEXITED
        | if options & WUNTRACED != 0 { WSTOPPED } else { 0 }
        | if options & WCONTINUED != 0 { WCONTINUED } else { 0 };
    until_found(options, (kind, id), states, only_ends, |options| match real(options) {
        0 => None,
        found => Some(found),
    })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let real = |info, options| unsafe { real::waitid(kind, id, info, options) };
    // SAFETY: zeroes tell of nobody.
    let mut own: siginfo_t = unsafe { mem::zeroed() };
    // The system's call takes null too, but does not tell then whether it found one.
    let info = if info.is_null() { &raw mut own } else { info };
    let states = options & (WEXITED | WSTOPPED | WCONTINUED);
    until_found(options, (kind, id), states, states == WEXITED, |options| {
        // SAFETY: the caller's contract: there is room for it; or it is the one above.
        unsafe { info.write(mem::zeroed()) };
        let result = real(info, options);
        // SAFETY: it was written just now.
        let nobody = result == 0 && options & WNOHANG != 0 && unsafe { (*info).si_pid() } == 0;
        (!nobody).then_some(result)
    })
}

/// Asks with WNOHANG, and waits between.
fn until_found(
    options: c_int,
    who: (idtype_t, id_t),
    states: c_int,
    only_ends: bool,
    ask: impl Fn(c_int) -> Option<c_int>,
) -> c_int {
    // Children of this OS thread alone cannot be waited for by another one.
    let waits = options & (WNOHANG | __WNOTHREAD) == 0;
    let Some(host) = current::here().filter(|_| waits && !in_signal_handler()) else {
        return ask(options).unwrap_or(0);
    };
    let before = errno();
    let states = states | options & (__WALL | __WCLONE);
    loop {
        if let Some(found) = ask(options | WNOHANG) {
            if found >= 0 {
                set_errno(before);
            }
            return found;
        }
        let parked =
            if who.0 == P_PID && only_ends { wait_for_end(host, who.1) } else { wait_for_any(host, who, states) };
        match parked {
            Parked::Failed(code) => return fail(code) as c_int,
            Parked::Again | Parked::TimedOut | Parked::Signalled => {}
            Parked::Impossible => return ask(options).unwrap_or(0),
        }
    }
}

fn wait_for_end(host: &dyn Host, pid: id_t) -> Parked {
    // SAFETY: it takes no pointers.
    let fd = unsafe { syscall(SYS_pidfd_open, pid, 0) };
    let Ok(fd @ 0..) = c_int::try_from(fd) else { return wait_for_any(host, (P_PID, pid), WEXITED) };
    // SAFETY: it was just made, and is nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let parked = park(host, fd.as_raw_fd(), Direction::Read, Deadline::NEVER);
    host.closing(fd.as_raw_fd());
    parked
}

fn wait_for_any(host: &dyn Host, (kind, id): (idtype_t, id_t), states: c_int) -> Parked {
    // SAFETY: libc takes null for no answer.
    blocking::run(host, || unsafe { real::waitid(kind, id, ptr::null_mut(), states | WNOWAIT) as isize });
    Parked::Again
}
