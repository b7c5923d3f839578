//! The hooked calls as functions of C, by the names under which libraries import them. Those that check the size of a
//! buffer (`_FORTIFY_SOURCE`) have names of their own.
//!
//! An OS thread that ends while it waits for a lock of its runtime is unwound through them: hence `C-unwind`.

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::calls::{self, lock, rwlock};
use crate::wait::{errno, set_errno};

unsafe extern "C" {
    /// Ends the process.
    safe fn __chk_fail() -> !;
}

macro_rules! finder {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty;)*) => {
        /// The hook for a function of this name.
        pub(crate) fn find(function: &str) -> Option<*mut c_void> {
            match function {
                $(
                    stringify!($name) => {
                        /// # Safety
                        /// libc's contract.
                        unsafe extern "C-unwind" fn hook($($argument: $type),*) -> $result {
                            // SAFETY: the caller keeps libc's contract, which is this one's, too.
                            unsafe { calls::$name($($argument),*) }
                        }
                        Some(hook as *mut c_void)
                    }
                )*
                _ => checked(function),
            }
        }
    };
}

crate::__hooked_calls!(finder);

fn checked(function: &str) -> Option<*mut c_void> {
    match function {
        "__read_chk" => Some(read_chk as *mut c_void),
        "__recv_chk" => Some(recv_chk as *mut c_void),
        "__recvfrom_chk" => Some(recvfrom_chk as *mut c_void),
        "__pread_chk" | "__pread64_chk" => Some(pread_chk as *mut c_void),
        "__poll_chk" => Some(poll_chk as *mut c_void),
        "__ppoll_chk" => Some(ppoll_chk as *mut c_void),
        _ => locks(function),
    }
}

/// The hook for a function of this name, in an object that takes no other failure than EINTR.
pub(crate) fn failing_by_eintr(function: &str) -> Option<*mut c_void> {
    (function == "poll").then_some(poll_eintr as *mut c_void)
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn poll_eintr(fds: *mut pollfd, count: nfds_t, limit: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let found = unsafe { calls::poll(fds, count, limit) };
    if found < 0 && errno() == ECANCELED {
        set_errno(EINTR);
    }
    found
}

macro_rules! locks {
    ($($module:ident::$name:ident($($argument:ident: $type:ty),*);)*) => {
        fn locks(function: &str) -> Option<*mut c_void> {
            match function {
                $(
                    stringify!($name) => {
                        /// # Safety
                        /// libc's contract.
                        unsafe extern "C-unwind" fn hook($($argument: $type),*) -> c_int {
                            // SAFETY: the caller keeps libc's contract, which is this one's, too.
                            unsafe { $module::$name($($argument),*) }
                        }
                        Some(hook as *mut c_void)
                    }
                )*
                _ => None,
            }
        }
    };
}

locks! {
    lock::pthread_mutex_lock(mutex: *mut pthread_mutex_t);
    lock::pthread_mutex_trylock(mutex: *mut pthread_mutex_t);
    lock::pthread_mutex_unlock(mutex: *mut pthread_mutex_t);
    lock::pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t);
    lock::pthread_cond_timedwait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, until: *const timespec);
    lock::pthread_cond_clockwait(
        condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec);
    lock::pthread_cond_signal(condition: *mut pthread_cond_t);
    lock::pthread_cond_broadcast(condition: *mut pthread_cond_t);
    lock::pthread_mutex_timedlock(mutex: *mut pthread_mutex_t, until: *const timespec);
    lock::pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, until: *const timespec);
    rwlock::pthread_rwlock_rdlock(lock: *mut pthread_rwlock_t);
    rwlock::pthread_rwlock_wrlock(lock: *mut pthread_rwlock_t);
    rwlock::pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, until: *const timespec);
    rwlock::pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, until: *const timespec);
    rwlock::pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec);
    rwlock::pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, until: *const timespec);
    rwlock::pthread_rwlock_unlock(lock: *mut pthread_rwlock_t);
    lock::sem_wait(semaphore: *mut sem_t);
    lock::sem_timedwait(semaphore: *mut sem_t, until: *const timespec);
    lock::sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, until: *const timespec);
    lock::sem_post(semaphore: *mut sem_t);
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn read_chk(fd: c_int, buffer: *mut c_void, length: size_t, room: size_t) -> ssize_t {
    if length > room {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::read(fd, buffer, length) }
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn recv_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
) -> ssize_t {
    if length > room {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::recv(fd, buffer, length, flags) }
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn recvfrom_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    room: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    if length > room {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::recvfrom(fd, buffer, length, flags, address, address_length) }
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn pread_chk(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    offset: off64_t,
    room: size_t,
) -> ssize_t {
    if length > room {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::pread64(fd, buffer, length, offset) }
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn poll_chk(fds: *mut pollfd, count: nfds_t, limit: c_int, room: size_t) -> c_int {
    if count > (room / size_of::<pollfd>()) as nfds_t {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::poll(fds, count, limit) }
}

/// # Safety
/// libc's contract.
unsafe extern "C-unwind" fn ppoll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    limit: *const timespec,
    mask: *const sigset_t,
    room: size_t,
) -> c_int {
    if count > (room / size_of::<pollfd>()) as nfds_t {
        __chk_fail();
    }
    // SAFETY: the caller's contract.
    unsafe { calls::ppoll(fds, count, limit, mask) }
}
