//! Who waits for a lock, by the lock's address: a green thread parks until whoever lets go of the lock rings its bell.
//!
//! It is one list for the process, since a library's own OS threads let go of locks, too. A ring may be missed: by code
//! that is not hooked, in a child of a fork, or between the last try and the entry. So every wait has a limit.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::blocking;
use crate::host::{Direction, Host, Wait};
use crate::real;

struct Waiter {
    address: usize,
    bell: i32,
}

static WAITERS: Mutex<Vec<Waiter>> = Mutex::new(Vec::new());
/// How many there are, for those who let go of a lock that nobody waits for.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// It is held for moments only, but in the child of a fork it may be for ever.
fn lock() -> Option<MutexGuard<'static, Vec<Waiter>>> {
    for _ in 0..1000 {
        match WAITERS.try_lock() {
            Ok(waiters) => return Some(waiters),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}

/// A place in the list, until it is dropped. Without a bell it only lets the time pass.
pub(crate) struct Place {
    host: &'static dyn Host,
    bell: Option<OwnedFd>,
}

impl Place {
    pub fn take(host: &'static dyn Host, address: usize) -> Place {
        // SAFETY: it takes no pointers.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        // SAFETY: it was just made, and is nobody else's.
        let bell = (bell >= 0).then(|| unsafe { OwnedFd::from_raw_fd(bell) });
        if let (Some(bell), Some(mut waiters)) = (&bell, lock()) {
            waiters.push(Waiter { address, bell: bell.as_raw_fd() });
            COUNT.store(waiters.len(), Ordering::Relaxed);
        }
        Place { host, bell }
    }

    /// Parks until the bell rings, or for so long. What is thrown in does not end it: whoever waits for a lock cannot
    /// fail.
    pub fn wait(&self, limit: Duration) {
        let waited = match &self.bell {
            Some(bell) => self.host.wait_fd(bell.as_fd(), Direction::Read, Some(limit)),
            None => Ok(self.host.sleep(limit)),
        };
        match waited {
            Ok(Wait::Interrupted | Wait::Closed) => {}
            Ok(Wait::Ready | Wait::TimedOut | Wait::Signalled) => return,
            Err(_) if matches!(self.host.sleep(limit), Wait::TimedOut | Wait::Signalled) => return,
            Err(_) => {}
        }
        let fd = self.bell.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX).max(1);
        let ring = || {
            let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: `one` lives over the call.
            unsafe { real::poll(&raw mut one, 1, limit) as isize }
        };
        blocking::run(self.host, ring);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(bell) = self.bell.take() else { return };
        let Some(mut waiters) = lock() else {
            // Somebody may ring it yet, so that its number stays taken.
            std::mem::forget(bell);
            return;
        };
        waiters.retain(|one| one.bell != bell.as_raw_fd());
        COUNT.store(waiters.len(), Ordering::Relaxed);
        drop(waiters);
        self.host.closing(bell.as_raw_fd());
    }
}

/// Whether anybody waits for anything.
#[inline]
pub(crate) fn is_used() -> bool {
    COUNT.load(Ordering::Relaxed) != 0
}

/// Wakes the first who waits for this.
#[inline]
pub(crate) fn wake_one(address: usize) {
    wake(address, 1);
}

/// Wakes all who wait for this.
#[inline]
pub(crate) fn wake_all(address: usize) {
    wake(address, usize::MAX);
}

#[inline]
fn wake(address: usize, most: usize) {
    if is_used() {
        ring(address, most);
    }
}

#[cold]
fn ring(address: usize, mut most: usize) {
    let Some(mut waiters) = lock() else { return };
    waiters.retain(|one| {
        if one.address != address || most == 0 {
            return true;
        }
        most -= 1;
        let one_more = 1u64;
        // SAFETY: eight bytes are there. It is still open: whoever closes it takes it out of the list before.
        unsafe { real::write(one.bell, (&raw const one_more).cast(), size_of::<u64>()) };
        false
    });
    COUNT.store(waiters.len(), Ordering::Relaxed);
}
