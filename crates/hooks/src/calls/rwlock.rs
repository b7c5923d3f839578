//! Read-write locks of pthreads, for shared objects only, as [mutexes](super::lock) are.

#[allow(clippy::wildcard_imports)]
use libc::*;

use super::lock::{Until, host, until};
use crate::{lot, real};

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::pthread_rwlock_rdlock(lock) } };
    // SAFETY: the caller's contract.
    until(host, lock.addr(), None, || unsafe { libc::pthread_rwlock_tryrdlock(lock) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::pthread_rwlock_wrlock(lock) } };
    // SAFETY: the caller's contract.
    until(host, lock.addr(), None, || unsafe { libc::pthread_rwlock_trywrlock(lock) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, deadline: *const timespec) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(CLOCK_REALTIME, deadline);
        let try_it = || libc::pthread_rwlock_tryrdlock(lock);
        share_until(lock, until, try_it, || real::pthread_rwlock_timedrdlock(lock, deadline))
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, deadline: *const timespec) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(CLOCK_REALTIME, deadline);
        let try_it = || libc::pthread_rwlock_trywrlock(lock);
        share_until(lock, until, try_it, || real::pthread_rwlock_timedwrlock(lock, deadline))
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_clockrdlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    deadline: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(clock, deadline);
        let try_it = || libc::pthread_rwlock_tryrdlock(lock);
        share_until(lock, until, try_it, || real::pthread_rwlock_clockrdlock(lock, clock, deadline))
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_clockwrlock(
    lock: *mut pthread_rwlock_t,
    clock: clockid_t,
    deadline: *const timespec,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let until = Until::new(clock, deadline);
        let try_it = || libc::pthread_rwlock_trywrlock(lock);
        share_until(lock, until, try_it, || real::pthread_rwlock_clockwrlock(lock, clock, deadline))
    }
}

fn share_until(
    lock: *mut pthread_rwlock_t,
    deadline: Until<'_>,
    try_it: impl FnMut() -> c_int,
    real: impl FnOnce() -> c_int,
) -> c_int {
    match host().filter(|_| deadline.is_valid()) {
        Some(host) => until(host, lock.addr(), Some(deadline), try_it),
        None => real(),
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn pthread_rwlock_unlock(lock: *mut pthread_rwlock_t) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { libc::pthread_rwlock_unlock(lock) };
    // Several readers may go on.
    lot::wake_all(lock.addr());
    result
}
