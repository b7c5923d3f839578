//! Waiting for one of several files.

use std::mem;
use std::slice;
use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::host::{Direction, Host, Wait};
use crate::real;
use crate::wait::{self, Deadline, Parked, errno, fail, park, park_at_all, set_errno, share};

/// With a signal mask, which holds during the real call only, that call is made this often.
const MASKED: Duration = Duration::from_millis(10);

/// Looks without waiting, and parks between the looks. `fds` says, when asked, what is waited for.
fn look_until(
    host: &dyn Host,
    limit: Option<Duration>,
    masked: bool,
    look: impl Fn() -> c_int,
    fds: impl FnOnce() -> Vec<pollfd>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let before = errno();
    let first = look();
    if first != 0 || limit == Some(Duration::ZERO) {
        share(host);
        return first;
    }
    if wait::in_signal_handler() {
        return real();
    }
    let (fds, deadline) = (fds(), Deadline::after(limit));
    loop {
        let slice =
            if masked { Deadline::after(Some(deadline.left().unwrap_or(MASKED).min(MASKED))) } else { deadline };
        let parked = match fds.as_slice() {
            [] => sleep_until(host, slice),
            [one] if one.events & !(POLLIN | POLLPRI | POLLRDHUP) == 0 && one.events != 0 => {
                park(host, one.fd, Direction::Read, slice)
            }
            [one] if one.events == POLLOUT => park(host, one.fd, Direction::Write, slice),
            _ => park_at_all(host, &fds, slice),
        };
        match parked {
            Parked::Again => {}
            Parked::TimedOut if !deadline.is_over() => {}
            Parked::TimedOut => {
                set_errno(before);
                return look();
            }
            // Closed by somebody else: the next look tells.
            Parked::Failed(EBADF) => {}
            Parked::Signalled => return found_or_interrupted(look(), before),
            Parked::Failed(code) => return fail(code) as c_int,
            Parked::Impossible => return real(),
        }
        let found = look();
        if found != 0 {
            if found > 0 {
                set_errno(before);
            }
            return found;
        }
    }
}

/// What a last look found; a signal has ended the wait.
fn found_or_interrupted(found: c_int, before: c_int) -> c_int {
    if found == 0 {
        return fail(EINTR) as c_int;
    }
    if found > 0 {
        set_errno(before);
    }
    found
}

fn sleep_until(host: &dyn Host, deadline: Deadline) -> Parked {
    // Nothing is ever ready: a year at a time.
    match host.sleep(deadline.left().unwrap_or(Duration::from_secs(31_536_000))) {
        Wait::Interrupted => Parked::Failed(ECANCELED),
        Wait::Signalled => Parked::Signalled,
        _ if deadline.is_over() => Parked::TimedOut,
        _ => Parked::Again,
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn poll(fds: *mut pollfd, count: nfds_t, limit: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let real = |limit| unsafe { real::poll(fds, count, limit) };
    let Some(host) = current::here() else { return real(limit) };
    // SAFETY: the caller's contract.
    let all = || unsafe { polled(fds, count) };
    look_until(host, milliseconds(limit), false, || real(0), all, || real(limit))
}

/// What is negative is no limit.
fn milliseconds(limit: c_int) -> Option<Duration> {
    u64::try_from(limit).ok().map(Duration::from_millis)
}

/// # Safety
/// There are `count` at `fds`.
unsafe fn polled(fds: *const pollfd, count: nfds_t) -> Vec<pollfd> {
    let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else { return Vec::new() };
    // SAFETY: the caller's contract.
    unsafe { slice::from_raw_parts(fds, count) }.iter().filter(|one| one.fd >= 0).copied().collect()
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn ppoll(fds: *mut pollfd, count: nfds_t, limit: *const timespec, mask: *const sigset_t) -> c_int {
    // SAFETY: the caller's contract.
    let real = |limit| unsafe { real::ppoll(fds, count, limit, mask) };
    // SAFETY: the caller's contract: null, or a time.
    let time = unsafe { limit.as_ref() };
    let Some(host) = current::here().filter(|_| time.is_none_or(is_valid)) else { return real(limit) };
    // SAFETY: the caller's contract.
    let all = || unsafe { polled(fds, count) };
    let time = time.map(|time| wait::duration(time.tv_sec, time.tv_nsec));
    look_until(host, time, !mask.is_null(), || real(&NO_TIME), all, || real(limit))
}

const NO_TIME: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

pub(super) fn is_valid(time: &timespec) -> bool {
    time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec)
}

/// The three sets of `select`, as they were before the call, which overwrites them.
struct Sets {
    places: [*mut fd_set; 3],
    before: [Vec<c_ulong>; 3],
    count: c_int,
}

const WORD: usize = c_ulong::BITS as usize;

impl Sets {
    /// # Safety
    /// Each is null, or has room for `count` bits.
    unsafe fn new(count: c_int, places: [*mut fd_set; 3]) -> Sets {
        let words = usize::try_from(count).unwrap_or(0).div_ceil(WORD);
        let before = places.map(|place| {
            if place.is_null() {
                return Vec::new();
            }
            // SAFETY: the caller's contract. A set is an array of words.
            unsafe { slice::from_raw_parts(place.cast::<c_ulong>(), words) }.to_vec()
        });
        Sets { places, before, count }
    }

    fn restore(&self) {
        for (place, before) in self.places.iter().zip(&self.before) {
            // SAFETY: as many words as were read there.
            unsafe { std::ptr::copy_nonoverlapping(before.as_ptr(), place.cast::<c_ulong>(), before.len()) };
        }
    }

    fn polled(&self) -> Vec<pollfd> {
        let has =
            |set: usize, fd: usize| self.before[set].get(fd / WORD).is_some_and(|word| word >> (fd % WORD) & 1 == 1);
        let fds = 0..usize::try_from(self.count).unwrap_or(0);
        fds.filter_map(|fd| {
            let bits = [POLLIN, POLLOUT, POLLPRI];
            let events = (0..3).filter(|set| has(*set, fd)).fold(0, |events, set| events | bits[set]);
            (events != 0).then_some(pollfd { fd: fd as c_int, events, revents: 0 })
        })
        .collect()
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    limit: *mut timeval,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = |limit| unsafe { real::select(count, read, write, except, limit) };
    // SAFETY: the caller's contract: null, or a time.
    let time = unsafe { limit.as_mut() };
    let valid = time.as_ref().is_none_or(|time| time.tv_sec >= 0 && time.tv_usec >= 0);
    let Some(host) = current::here().filter(|_| valid && count >= 0) else { return real(limit) };
    // SAFETY: the caller's contract.
    let sets = unsafe { Sets::new(count, [read, write, except]) };
    let look = || {
        sets.restore();
        let mut none = timeval { tv_sec: 0, tv_usec: 0 };
        real(&raw mut none)
    };
    let whole = time.as_ref().map(|time| wait::duration(time.tv_sec, time.tv_usec.saturating_mul(1000)));
    let deadline = Deadline::after(whole);
    let block = || {
        sets.restore();
        real(limit)
    };
    let found = look_until(host, whole, false, look, || sets.polled(), block);
    // Linux says how much time was left.
    if let (Some(time), Some(left)) = (time, deadline.left()) {
        time.tv_sec = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        time.tv_usec = i64::from(left.subsec_micros());
    }
    found
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    limit: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = |limit| unsafe { real::pselect(count, read, write, except, limit, mask) };
    // SAFETY: the caller's contract: null, or a time.
    let time = unsafe { limit.as_ref() };
    let Some(host) = current::here().filter(|_| time.is_none_or(is_valid) && count >= 0) else { return real(limit) };
    // SAFETY: the caller's contract.
    let sets = unsafe { Sets::new(count, [read, write, except]) };
    let look = || {
        sets.restore();
        real(&NO_TIME)
    };
    let block = || {
        sets.restore();
        real(limit)
    };
    let time = time.map(|time| wait::duration(time.tv_sec, time.tv_nsec));
    look_until(host, time, !mask.is_null(), look, || sets.polled(), block)
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn epoll_wait(epoll: c_int, events: *mut epoll_event, count: c_int, limit: c_int) -> c_int {
    // SAFETY: the caller's contract.
    epoll_by(epoll, limit, false, |limit| unsafe { real::epoll_wait(epoll, events, count, limit) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn epoll_pwait(
    epoll: c_int,
    events: *mut epoll_event,
    count: c_int,
    limit: c_int,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: the caller's contract.
    let real = |limit| unsafe { real::epoll_pwait(epoll, events, count, limit, mask) };
    let masked = limit != 0 && !mask.is_null();
    epoll_by(epoll, limit, masked, |limit| {
        let mut itself = pollfd { fd: epoll, events: POLLIN, revents: 0 };
        // Without a time to wait, this call does not look for signals, and ppoll does.
        // SAFETY: `itself` lives over the call, and the mask is the caller's.
        if masked && limit == 0 && unsafe { real::ppoll(&raw mut itself, 1, &NO_TIME, mask) } < 0 {
            return -1;
        }
        real(limit)
    })
}

/// Event loops take any failure but EINTR for a bug of their own, and what they wait for is not known here. So a wait
/// that was given up goes on, a millisecond at a time, until the loop's own work is done.
fn epoll_by(epoll: c_int, limit: c_int, masked: bool, real: impl Fn(c_int) -> c_int) -> c_int {
    let Some(host) = current::here() else { return real(limit) };
    let itself = || vec![pollfd { fd: epoll, events: POLLIN, revents: 0 }];
    let found = look_until(host, milliseconds(limit), masked, || real(0), itself, || real(limit));
    if found >= 0 || errno() != ECANCELED {
        return found;
    }
    let pause = || {
        // SAFETY: the time lives over the call.
        unsafe { real::nanosleep(&timespec { tv_sec: 0, tv_nsec: 1_000_000 }, std::ptr::null_mut()) as isize }
    };
    crate::blocking::run(host, pause);
    match real(0) {
        0 => fail(EINTR) as c_int,
        found => found,
    }
}

const _: () = assert!(mem::size_of::<fd_set>() == 1024 / 8);
