//! Mutexes, conditions and semaphores of pthreads, for shared objects only: they take an OS thread for one thread,
//! which it is not. A lock that is held over a park would block the OS thread when another of its green threads wants
//! it.
//!
//! Whoever must wait does so in the [`lot`], and is told by whoever lets go. It also looks by itself now and then, for
//! the owner may be code that knows of no hooks. A wait for these cannot fail, so that it goes on where it is given up.

use std::cell::RefCell;
use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::host::Host;
use crate::lot::{self, Place};
use crate::real;
use crate::wait::{errno, fail, in_signal_handler};

/// How long somebody who was not told waits before the next look.
const FIRST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);
/// The same for what a condition is about.
const LOOK: Duration = Duration::from_millis(5);

/// Who holds a mutex that knows its owner, which for it is the OS thread.
struct Held {
    mutex: usize,
    owner: usize,
    times: u32,
}

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn host() -> Option<&'static dyn Host> {
    current::here().filter(|_| !in_signal_handler())
}

/// When a wait gives up.
#[derive(Clone, Copy)]
pub(super) struct Until<'a> {
    clock: clockid_t,
    time: &'a timespec,
}

impl<'a> Until<'a> {
    /// # Safety
    /// A time, which lives over the call.
    pub unsafe fn new(clock: clockid_t, time: *const timespec) -> Until<'a> {
        // SAFETY: the caller's contract.
        Until { clock, time: unsafe { &*time } }
    }

    /// A time that a condition's own clock tells, which cannot be asked for. Of the two that it may be, one counts from
    /// 1970.
    ///
    /// # Safety
    /// A time, which lives over the call.
    unsafe fn of_a_condition(time: *const timespec) -> Until<'a> {
        // SAFETY: the caller's contract.
        let until = unsafe { Until::new(CLOCK_REALTIME, time) };
        let clock = if until.time.tv_sec > now(CLOCK_REALTIME).tv_sec / 2 { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
        Until { clock, ..until }
    }

    /// Whether the real call would say so too.
    pub fn is_valid(self) -> bool {
        matches!(self.clock, CLOCK_REALTIME | CLOCK_MONOTONIC) && (0..1_000_000_000).contains(&self.time.tv_nsec)
    }

    fn left(self) -> Duration {
        let time = |time: &timespec| crate::wait::duration(time.tv_sec, time.tv_nsec);
        time(self.time).saturating_sub(time(&now(self.clock)))
    }
}

fn now(clock: clockid_t) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it lives over the call.
    unsafe { clock_gettime(clock, &raw mut now) };
    now
}

/// Tries until it is not busy, or until then.
pub(super) fn until(
    host: &'static dyn Host,
    address: usize,
    deadline: Option<Until<'_>>,
    mut try_it: impl FnMut() -> c_int,
) -> c_int {
    let mut limit = FIRST;
    let result = try_it();
    if result != EBUSY {
        return result;
    }
    loop {
        let left = deadline.map(Until::left);
        if left == Some(Duration::ZERO) {
            return ETIMEDOUT;
        }
        let place = Place::take(host, address);
        // It may have become free before it was known that somebody waits.
        match try_it() {
            EBUSY => place.wait(left.map_or(limit, |left| left.min(limit))),
            result => return result,
        }
        limit = (limit * 2).min(LONGEST);
    }
}

/// Whether the mutex is recursive or checks for errors.
///
/// # Safety
/// A mutex.
unsafe fn knows_its_owner(mutex: *mut pthread_mutex_t) -> bool {
    // SAFETY: the fifth number of glibc's structure is its kind, on all its 64-bit machines.
    let kind = unsafe { *mutex.cast::<c_int>().add(4) } & 3;
    kind == PTHREAD_MUTEX_RECURSIVE || kind == PTHREAD_MUTEX_ERRORCHECK
}

/// Of an OS thread that ends, nothing is known any more. What ends with it may use locks.
fn with_held<R>(call: impl FnOnce(&mut Vec<Held>) -> R) -> Option<R> {
    HELD.try_with(|held| call(&mut held.borrow_mut())).ok()
}

fn owner(mutex: *mut pthread_mutex_t) -> Option<usize> {
    with_held(|held| held.iter().find(|one| one.mutex == mutex.addr()).map(|one| one.owner)).flatten()
}

fn note_locked(mutex: *mut pthread_mutex_t, owner: usize) {
    with_held(|held| match held.iter_mut().find(|one| one.mutex == mutex.addr()) {
        Some(one) => one.times += 1,
        None => held.push(Held { mutex: mutex.addr(), owner, times: 1 }),
    });
}

fn note_unlocked(mutex: *mut pthread_mutex_t) {
    with_held(|held| {
        if let Some(index) = held.iter().position(|one| one.mutex == mutex.addr()) {
            held[index].times -= 1;
            if held[index].times == 0 {
                held.swap_remove(index);
            }
        }
    });
}

/// Tries once; EBUSY if another green thread of this OS thread has it, too.
///
/// # Safety
/// libc's contract.
unsafe fn try_as(host: &dyn Host, mutex: *mut pthread_mutex_t) -> c_int {
    let me = host.current();
    // SAFETY: the caller's contract.
    unsafe {
        if !knows_its_owner(mutex) {
            return libc::pthread_mutex_trylock(mutex);
        }
        let result = match owner(mutex) {
            Some(owner) if owner != me => EBUSY,
            // It is the OS thread's: this does not wait, and says what is wrong.
            Some(_) => libc::pthread_mutex_lock(mutex),
            None => libc::pthread_mutex_trylock(mutex),
        };
        if result == 0 {
            note_locked(mutex, me);
        }
        result
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_mutex_lock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::pthread_mutex_lock(mutex) } };
    // SAFETY: the caller's contract.
    until(host, mutex.addr(), None, || unsafe { try_as(host, mutex) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, deadline: *const timespec) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(CLOCK_REALTIME, deadline);
        lock_until(mutex, until, || libc::pthread_mutex_timedlock(mutex, deadline))
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_mutex_clocklock(
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    deadline: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(clock, deadline);
        lock_until(mutex, until, || real::pthread_mutex_clocklock(mutex, clock, deadline))
    }
}

/// # Safety
/// A mutex.
unsafe fn lock_until(mutex: *mut pthread_mutex_t, deadline: Until<'_>, real: impl FnOnce() -> c_int) -> c_int {
    let Some(host) = host().filter(|_| deadline.is_valid()) else { return real() };
    // SAFETY: the caller's contract.
    until(host, mutex.addr(), Some(deadline), || unsafe { try_as(host, mutex) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_mutex_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { host().map_or_else(|| libc::pthread_mutex_trylock(mutex), |host| try_as(host, mutex)) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_mutex_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    let owner = owner(mutex);
    if let (Some(owner), Some(host)) = (owner, host())
        && owner != host.current()
    {
        return EPERM;
    }
    // SAFETY: the caller's contract.
    let result = unsafe { libc::pthread_mutex_unlock(mutex) };
    if result == 0 && owner.is_some() {
        note_unlocked(mutex);
    }
    lot::wake_one(mutex.addr());
    result
}

/// See [`calls`](super). On a green thread it returns after a while, as conditions may: the caller looks and waits
/// again.
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::pthread_cond_wait(condition, mutex) } };
    // SAFETY: the caller's contract.
    unsafe { look_away(host, condition, mutex, LOOK) }
}

/// See [`pthread_cond_wait`].
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        if current::here().is_none() {
            return libc::pthread_cond_timedwait(condition, mutex, until);
        }
        let deadline = Until::of_a_condition(until);
        look_away_until(condition, mutex, deadline, || libc::pthread_cond_timedwait(condition, mutex, until))
    }
}

/// See [`pthread_cond_wait`].
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let deadline = Until::new(clock, until);
        look_away_until(condition, mutex, deadline, || real::pthread_cond_clockwait(condition, mutex, clock, until))
    }
}

/// # Safety
/// The mutex is locked by the running green thread.
unsafe fn look_away_until(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    deadline: Until<'_>,
    real: impl FnOnce() -> c_int,
) -> c_int {
    match host().filter(|_| deadline.is_valid()) {
        // SAFETY: the caller's contract.
        Some(host) if !deadline.left().is_zero() => unsafe {
            look_away(host, condition, mutex, LOOK.min(deadline.left()))
        },
        // It is over: this says so, or what is wrong.
        _ => real(),
    }
}

/// # Safety
/// The mutex is locked by the running green thread.
unsafe fn look_away(
    host: &'static dyn Host,
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: Duration,
) -> c_int {
    let place = Place::take(host, condition.addr());
    // SAFETY: the caller's contract.
    match unsafe { pthread_mutex_unlock(mutex) } {
        0 => {}
        wrong => return wrong,
    }
    place.wait(time);
    drop(place);
    // SAFETY: the caller's contract.
    unsafe { pthread_mutex_lock(mutex) }
}

/// See [`calls`](super). It wakes an OS thread that waits, and a green thread.
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    lot::wake_one(condition.addr());
    // SAFETY: the caller's contract.
    unsafe { libc::pthread_cond_signal(condition) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    lot::wake_all(condition.addr());
    // SAFETY: the caller's contract.
    unsafe { libc::pthread_cond_broadcast(condition) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sem_wait(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::sem_wait(semaphore) } };
    // SAFETY: the caller's contract.
    unsafe { sem_until(host, semaphore, None) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sem_timedwait(semaphore: *mut sem_t, deadline: *const timespec) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(CLOCK_REALTIME, deadline);
        match host().filter(|_| until.is_valid()) {
            Some(host) => sem_until(host, semaphore, Some(until)),
            None => libc::sem_timedwait(semaphore, deadline),
        }
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, deadline: *const timespec) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(clock, deadline);
        match host().filter(|_| until.is_valid()) {
            Some(host) => sem_until(host, semaphore, Some(until)),
            None => real::sem_clockwait(semaphore, clock, deadline),
        }
    }
}

/// # Safety
/// A semaphore.
unsafe fn sem_until(host: &'static dyn Host, semaphore: *mut sem_t, deadline: Option<Until<'_>>) -> c_int {
    let before = errno();
    let try_it = || {
        // SAFETY: the caller's contract.
        if unsafe { libc::sem_trywait(semaphore) } == 0 {
            return 0;
        }
        if errno() == EAGAIN { EBUSY } else { errno() }
    };
    match until(host, semaphore.addr(), deadline, try_it) {
        0 => {
            crate::wait::set_errno(before);
            0
        }
        code => fail(code) as c_int,
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sem_post(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { libc::sem_post(semaphore) };
    // Unlike the others it may be called in a signal handler, which must not wait for the list.
    if lot::is_used() && !in_signal_handler() {
        lot::wake_one(semaphore.addr());
    }
    result
}
