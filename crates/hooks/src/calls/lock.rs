//! Mutexes, conditions and semaphores of pthreads, for shared objects only: they take an OS thread for one thread,
//! which it is not. A lock that is held over a park would block the OS thread when another of its green threads wants
//! it.
//!
//! Whoever must wait tries again with pauses, since the owner may be an OS thread that knows of no hooks. A wait for
//! these cannot fail, so that it goes on where it is given up.

use std::cell::RefCell;
use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::blocking;
use crate::current;
use crate::host::{Host, Wait};
use crate::real;
use crate::wait::in_signal_handler;

const FIRST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(5);
/// Between two looks at what a condition is about.
const LOOK: Duration = Duration::from_millis(2);

/// Who holds a mutex that knows its owner, which for it is the OS thread.
struct Held {
    mutex: usize,
    owner: usize,
    times: u32,
}

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
}

fn host() -> Option<&'static dyn Host> {
    current::here().filter(|_| !in_signal_handler())
}

fn pause(host: &dyn Host, time: Duration) {
    if host.sleep(time) == Wait::Interrupted {
        let time = timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        // SAFETY: the time lives over the call.
        blocking::run(host, || unsafe { real::nanosleep(&raw const time, std::ptr::null_mut()) as isize });
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

fn owner(mutex: *mut pthread_mutex_t) -> Option<usize> {
    HELD.with_borrow(|held| held.iter().find(|one| one.mutex == mutex.addr()).map(|one| one.owner))
}

fn note_locked(mutex: *mut pthread_mutex_t, owner: usize) {
    HELD.with_borrow_mut(|held| match held.iter_mut().find(|one| one.mutex == mutex.addr()) {
        Some(one) => one.times += 1,
        None => held.push(Held { mutex: mutex.addr(), owner, times: 1 }),
    });
}

fn note_unlocked(mutex: *mut pthread_mutex_t) {
    HELD.with_borrow_mut(|held| {
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
    let mut time = FIRST;
    loop {
        // SAFETY: the caller's contract.
        match unsafe { try_as(host, mutex) } {
            EBUSY => pause(host, time),
            result => return result,
        }
        time = (time * 2).min(LONGEST);
    }
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
    unsafe { look_away(host, mutex, LOOK) }
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
    let Some(host) = host() else { return unsafe { libc::pthread_cond_timedwait(condition, mutex, until) } };
    // SAFETY: the caller's contract.
    let left = unsafe { left(&*until) };
    if left.is_zero() {
        // It is over: says so, or what is wrong.
        // SAFETY: the caller's contract.
        return unsafe { libc::pthread_cond_timedwait(condition, mutex, until) };
    }
    // SAFETY: the caller's contract.
    unsafe { look_away(host, mutex, LOOK.min(left)) }
}

/// How long it is until then. A condition's clock cannot be asked for: of the two that there are, one counts from 1970.
fn left(until: &timespec) -> Duration {
    let now = |clock| {
        let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it lives over the call.
        unsafe { clock_gettime(clock, &raw mut now) };
        now
    };
    let real = now(CLOCK_REALTIME);
    let now = if until.tv_sec > real.tv_sec / 2 { real } else { now(CLOCK_MONOTONIC) };
    let time = |time: &timespec| crate::wait::duration(time.tv_sec, time.tv_nsec);
    time(until).saturating_sub(time(&now))
}

/// # Safety
/// The mutex is locked by the running green thread.
unsafe fn look_away(host: &dyn Host, mutex: *mut pthread_mutex_t, time: Duration) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        match pthread_mutex_unlock(mutex) {
            0 => {}
            wrong => return wrong,
        }
        pause(host, time);
        pthread_mutex_lock(mutex)
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sem_wait(semaphore: *mut sem_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(host) = host() else { return unsafe { libc::sem_wait(semaphore) } };
    let mut time = FIRST;
    // SAFETY: the caller's contract.
    while unsafe { libc::sem_trywait(semaphore) } != 0 {
        if crate::wait::errno() != EAGAIN {
            return -1;
        }
        pause(host, time);
        time = (time * 2).min(LONGEST);
    }
    0
}
