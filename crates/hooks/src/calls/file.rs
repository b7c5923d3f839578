//! Locks, transfers from files, disks; and descriptors that go away.

use std::sync::OnceLock;
use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::current;
use crate::host::Wait;
use crate::wait::{errno, fail, in_signal_handler, is_non_blocking};
use crate::{blocking, real};

/// See [`calls`](super). It is tried again and again, with pauses up to 20 ms. To wait on an OS thread of the pool
/// could take all of them, and the holder of the lock may need one.
///
/// # Safety
/// libc's contract.
pub unsafe fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: the caller's contract.
    let real = |operation| unsafe { real::flock(fd, operation) };
    let waits = operation & (LOCK_NB | LOCK_UN) == 0;
    let Some(host) = current::here().filter(|_| waits) else { return real(operation) };
    let mut pause = Duration::from_millis(1);
    loop {
        let result = real(operation | LOCK_NB);
        if result == 0 || errno() != EWOULDBLOCK {
            return result;
        }
        if in_signal_handler() {
            return real(operation);
        }
        if host.sleep(pause) == Wait::Interrupted {
            return fail(ECANCELED) as c_int;
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// How much of a file is on its way to a socket at once.
const PART: usize = 64 * 1024;

/// See [`calls`](super). On a green thread, to a socket that blocks, the bytes are copied: there is no `sendfile` that
/// is told by the call not to wait.
///
/// # Safety
/// libc's contract.
pub unsafe fn sendfile(output: c_int, input: c_int, offset: *mut off_t, count: size_t) -> ssize_t {
    // SAFETY: the caller's contract. Both have 64 bits.
    unsafe { sendfile64(output, input, offset.cast(), count) }
}

/// See [`calls`](super) and [`sendfile`].
///
/// # Safety
/// libc's contract.
pub unsafe fn sendfile64(output: c_int, input: c_int, offset: *mut off64_t, count: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::sendfile64(output, input, offset, count) };
    if current::here().is_none() || is_non_blocking(output) {
        return real();
    }
    // SAFETY: the caller's contract: null, or a place; these take no other pointers.
    let start = unsafe { offset.as_ref().copied().unwrap_or_else(|| lseek(input, 0, SEEK_CUR)) };
    if start < 0 {
        return real();
    }
    let (mut part, mut done) = (vec![0u8; PART.min(count)], 0);
    let failed = loop {
        let place = start + done as off64_t;
        let wanted = part.len().min(count - done);
        // SAFETY: `part` has room for it.
        let got = unsafe { real::pread64(input, part.as_mut_ptr().cast(), wanted, place) };
        if got <= 0 {
            break got < 0;
        }
        // SAFETY: so much was read.
        let sent = unsafe { super::write(output, part.as_ptr().cast(), got.cast_unsigned()) };
        if sent < 0 {
            break true;
        }
        done += sent.cast_unsigned();
        if sent < got {
            break false;
        }
    };
    if failed && done == 0 {
        return -1;
    }
    let end = start + done as off64_t;
    // SAFETY: the caller's contract: null, or a place.
    match unsafe { offset.as_mut() } {
        Some(place) => *place = end,
        // SAFETY: it takes no pointers.
        None => _ = unsafe { lseek(input, end, SEEK_SET) },
    }
    done.cast_signed()
}

/// Whether reading and writing of files at a place, and fsync, leave the OS thread, too: for slow disks.
fn on_pool() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var_os("GREENLOOM_HOOKS_FILES").is_some_and(|value| value != "0" && !value.is_empty()))
}

fn maybe_on_pool(call: impl Fn() -> isize) -> isize {
    match current::here().filter(|_| on_pool() && !in_signal_handler()) {
        Some(host) => blocking::run(host, call),
        None => call(),
    }
}

/// See [`calls`](super). On another OS thread with `GREENLOOM_HOOKS_FILES=1`.
///
/// # Safety
/// libc's contract.
pub unsafe fn pread(fd: c_int, buffer: *mut c_void, length: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::pread(fd, buffer, length, offset) })
}

/// See [`pread`].
///
/// # Safety
/// libc's contract.
pub unsafe fn pread64(fd: c_int, buffer: *mut c_void, length: size_t, offset: off64_t) -> ssize_t {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::pread64(fd, buffer, length, offset) })
}

/// See [`pread`].
///
/// # Safety
/// libc's contract.
pub unsafe fn pwrite(fd: c_int, buffer: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::pwrite(fd, buffer, length, offset) })
}

/// See [`pread`].
///
/// # Safety
/// libc's contract.
pub unsafe fn pwrite64(fd: c_int, buffer: *const c_void, length: size_t, offset: off64_t) -> ssize_t {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::pwrite64(fd, buffer, length, offset) })
}

/// See [`pread`].
///
/// # Safety
/// libc's contract.
pub unsafe fn fsync(fd: c_int) -> c_int {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::fsync(fd) as isize }) as c_int
}

/// See [`pread`].
///
/// # Safety
/// libc's contract.
pub unsafe fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the caller's contract.
    maybe_on_pool(|| unsafe { real::fdatasync(fd) as isize }) as c_int
}

/// See [`calls`](super). Green threads of this OS thread that wait on it get EBADF.
///
/// # Safety
/// libc's contract.
pub unsafe fn close(fd: c_int) -> c_int {
    closing(fd);
    // SAFETY: the caller's contract.
    unsafe { real::close(fd) }
}

/// See [`close`], of what had the new number.
///
/// # Safety
/// libc's contract.
pub unsafe fn dup2(old: c_int, new: c_int) -> c_int {
    if old != new {
        closing(new);
    }
    // SAFETY: the caller's contract.
    unsafe { real::dup2(old, new) }
}

/// See [`close`], of what had the new number.
///
/// # Safety
/// libc's contract.
pub unsafe fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    if old != new {
        closing(new);
    }
    // SAFETY: the caller's contract.
    unsafe { real::dup3(old, new, flags) }
}

fn closing(fd: c_int) {
    if let Some(host) = current::any() {
        host.closing(fd);
    }
}
