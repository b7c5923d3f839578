//! `read`, `write` and their like, which take any file.

#[allow(clippy::wildcard_imports)]
use libc::*;

use super::socket::{in_parts, send_all};
use crate::buffers::Buffers;
use crate::current;
use crate::host::{Direction, Host};
use crate::real;
use crate::wait::{Tries, errno, fail, is_ready};

/// The most that fits a pipe that is ready to be written (`PIPE_BUF`).
const PIPE_ROOM: usize = 4096;

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn read(fd: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::read(fd, buffer, length) };
    let Some(host) = current::here().filter(|_| length > 0) else { return real() };
    // SAFETY: the caller's contract.
    let receive = || unsafe { real::recv(fd, buffer, length, MSG_DONTWAIT) };
    read_by(host, fd, receive, real)
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn readv(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::readv(fd, buffers, count) };
    // SAFETY: the caller's contract.
    let Some(host) = current::here().filter(|_| unsafe { any_room(buffers, count) }) else { return real() };
    let receive = || {
        // SAFETY: zeroes are a message without an address and control data.
        let mut message: msghdr = unsafe { std::mem::zeroed() };
        (message.msg_iov, message.msg_iovlen) = (buffers.cast_mut(), count as _);
        // SAFETY: the caller's contract.
        unsafe { real::recvmsg(fd, &raw mut message, MSG_DONTWAIT) }
    };
    read_by(host, fd, receive, real)
}

/// # Safety
/// There are `count` buffers.
unsafe fn any_room(buffers: *const iovec, count: c_int) -> bool {
    let Ok(count @ 1..=1024) = usize::try_from(count) else { return false };
    // SAFETY: the caller's contract.
    unsafe { std::slice::from_raw_parts(buffers, count) }.iter().any(|buffer| buffer.iov_len > 0)
}

/// A socket says by itself that it would block; what else there is, is asked first.
fn read_by(host: &dyn Host, fd: c_int, receive: impl Fn() -> ssize_t, real: impl Fn() -> ssize_t + Copy) -> ssize_t {
    let mut is_socket = true;
    let call = || {
        if is_socket {
            let received = receive();
            if received >= 0 || errno() != ENOTSOCK {
                return received;
            }
            is_socket = false;
        }
        if is_ready(fd, POLLIN) { real() } else { fail(EAGAIN) }
    };
    Tries::new(host, fd, Direction::Read).until_done(call, real)
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn write(fd: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = |at, length| unsafe { real::write(fd, at, length) };
    let Some(host) = current::here().filter(|_| length > 0 && may_wait_to_write(fd)) else {
        return real(buffer, length);
    };
    // SAFETY: the caller's contract.
    let send = |at, length, flags| unsafe { real::send(fd, at, length, flags) };
    // SAFETY: the caller's contract.
    let sent = unsafe { send_all(host, fd, buffer, length, 0, send) };
    if sent >= 0 || errno() != ENOTSOCK {
        return sent;
    }
    let tries = Tries::new(host, fd, Direction::Write);
    if length <= PIPE_ROOM || !takes_parts(fd) {
        let real = || real(buffer, length);
        return tries.until_done(|| if is_ready(fd, POLLOUT) { real() } else { fail(EAGAIN) }, real);
    }
    let part = |done: usize| {
        // SAFETY: `done` is less than `length`.
        let (at, left) = (unsafe { buffer.byte_add(done) }, length - done);
        let call = || if is_ready(fd, POLLOUT) { real(at, left.min(PIPE_ROOM)) } else { fail(EAGAIN) };
        tries.until_done(call, || real(at, left))
    };
    in_parts(length, part, || true)
}

/// Whether it may have room for a part only, and waits for more in the middle of a large write: pipes and terminals. To
/// other files a write is one, which others' writes do not come between.
fn takes_parts(fd: c_int) -> bool {
    // SAFETY: zeroes are one.
    let mut about: stat = unsafe { std::mem::zeroed() };
    // SAFETY: it lives over the call.
    let kind = if unsafe { fstat(fd, &raw mut about) } == 0 { about.st_mode & S_IFMT } else { 0 };
    // SAFETY: it takes no pointers.
    kind == S_IFIFO || kind == S_IFCHR && unsafe { isatty(fd) } == 1
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn writev(fd: c_int, buffers: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::writev(fd, buffers, count) };
    // SAFETY: the caller's contract.
    let Some(host) = current::here().filter(|_| unsafe { any_room(buffers, count) } && may_wait_to_write(fd)) else {
        return real();
    };
    // SAFETY: zeroes are a message without an address and control data.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (buffers.cast_mut(), count as _);
    // SAFETY: the caller's contract.
    let sent = unsafe { super::sendmsg(fd, &raw const message, 0) };
    if sent >= 0 || errno() != ENOTSOCK {
        return sent;
    }
    // SAFETY: the caller's contract.
    let length = unsafe { std::slice::from_raw_parts(buffers, count as usize) }
        .iter()
        .fold(0usize, |length, buffer| length.saturating_add(buffer.iov_len));
    if length <= PIPE_ROOM || !takes_parts(fd) {
        let call = || if is_ready(fd, POLLOUT) { real() } else { fail(EAGAIN) };
        return Tries::new(host, fd, Direction::Write).until_done(call, real);
    }
    // SAFETY: the caller's contract.
    let mut left = unsafe { Buffers::new(buffers, count as usize) };
    let mut done = 0;
    while !left.is_empty() {
        let first = left.first();
        // SAFETY: one that is left.
        let first = unsafe { *first };
        // SAFETY: the caller's contract.
        let wrote = unsafe { write(fd, first.iov_base, first.iov_len) };
        if wrote < 0 {
            return if done > 0 { done } else { wrote };
        }
        done += wrote;
        left.advance(wrote.cast_unsigned());
        if wrote.cast_unsigned() < first.iov_len {
            break;
        }
    }
    done
}

/// Standard output and standard error stay as they are: a writer holds a lock over it, std's or that of a C
/// `FILE`, which knows OS threads only.
fn may_wait_to_write(fd: c_int) -> bool {
    fd != STDOUT_FILENO && fd != STDERR_FILENO
}
