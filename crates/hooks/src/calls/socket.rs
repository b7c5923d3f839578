//! What is called on sockets. `MSG_DONTWAIT` makes one call a try, and leaves the socket as it is.

use std::mem;
use std::ptr;
use std::time::Duration;

#[allow(clippy::wildcard_imports)]
use libc::*;

use crate::buffers::Buffers;
use crate::current;
use crate::host::{Direction, Host, Wait};
use crate::real;
use crate::wait::{self, Deadline, Parked, Tries, errno, fail, is_non_blocking, is_ready, set_errno};

/// Whether a call with these flags never waits.
fn never_waits(flags: c_int) -> bool {
    flags & (MSG_DONTWAIT | MSG_ERRQUEUE) != 0
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn recv(fd: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: as recvfrom without an address.
    unsafe { recvfrom_by(fd, buffer, length, flags, ptr::null_mut(), ptr::null_mut(), Call::Recv) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn recvfrom(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    unsafe { recvfrom_by(fd, buffer, length, flags, address, address_length, Call::RecvFrom) }
}

/// Which function the program called: the real one is called in its place where it must block.
#[derive(Clone, Copy)]
enum Call {
    Recv,
    RecvFrom,
}

/// # Safety
/// That of recvfrom.
unsafe fn recvfrom_by(
    fd: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
    call: Call,
) -> ssize_t {
    let real = |at: *mut c_void, length, flags| match call {
        // SAFETY: the caller's contract.
        Call::Recv => unsafe { real::recv(fd, at, length, flags) },
        // SAFETY: the caller's contract.
        Call::RecvFrom => unsafe { real::recvfrom(fd, at, length, flags, address, address_length) },
    };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(buffer, length, flags) };
    let tries = Tries::new(host, fd, Direction::Read);
    // How much room there is for an address is overwritten by each call that receives something; none that fails does.
    let part = |done: usize| {
        // SAFETY: `done` is at most `length`.
        let (at, left) = (unsafe { buffer.byte_add(done) }, length - done);
        tries.until_done(|| real(at, left, flags | MSG_DONTWAIT), || real(at, left, flags))
    };
    in_parts(length, part, || wants_all(fd, flags))
}

/// Makes a call with what is left, again and again, until all of `length` is transferred, `goes_on` says no, or nothing
/// more comes. Returns how much was; that it failed only if it did so at once.
pub(super) fn in_parts(length: size_t, mut part: impl FnMut(usize) -> ssize_t, goes_on: impl Fn() -> bool) -> ssize_t {
    let mut done = 0;
    loop {
        let result = part(done);
        if result < 0 {
            return if done > 0 { done.cast_signed() } else { result };
        }
        done += result.cast_unsigned();
        if result == 0 || done >= length || !goes_on() {
            return done.cast_signed();
        }
    }
}

/// Whether a read is to fill all of its room.
fn wants_all(fd: c_int, flags: c_int) -> bool {
    flags & MSG_WAITALL != 0 && flags & MSG_PEEK == 0 && is_stream(fd)
}

fn is_stream(fd: c_int) -> bool {
    wait::socket_option(fd, SO_TYPE) == Some(SOCK_STREAM)
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = |message, flags| unsafe { real::recvmsg(fd, message, flags) };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(message, flags) };
    let tries = Tries::new(host, fd, Direction::Read);
    let first = tries.until_done(|| real(message, flags | MSG_DONTWAIT), || real(message, flags));
    if first <= 0 || !wants_all(fd, flags) {
        return first;
    }
    // SAFETY: the caller's contract: its buffers live over the call.
    let buffers = unsafe { Buffers::of(&*message) };
    in_messages(buffers, first, |mut rest| {
        let rest = &raw mut rest;
        tries.until_done(|| real(rest, flags | MSG_DONTWAIT), || real(rest, flags))
    })
}

/// Goes on with the rest of the buffers after a part was transferred, in messages without an address and control data:
/// these went with the first.
fn in_messages(mut buffers: Buffers, first: ssize_t, mut transfer: impl FnMut(msghdr) -> ssize_t) -> ssize_t {
    buffers.advance(first.cast_unsigned());
    let mut done = first;
    while !buffers.is_empty() {
        let mut rest: msghdr = no_message();
        buffers.put_into(&mut rest);
        let more = transfer(rest);
        if more <= 0 {
            break;
        }
        done += more;
        buffers.advance(more.cast_unsigned());
    }
    done
}

fn no_message() -> msghdr {
    // SAFETY: zeroes are a message without an address, buffers and control data.
    unsafe { mem::zeroed() }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn recvmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int, limit: *mut timespec) -> c_int {
    // SAFETY: the caller's contract.
    let real = |from: usize, flags, limit| unsafe {
        real::recvmmsg(fd, messages.add(from), count - c_uint::try_from(from).unwrap_or(count), flags, limit)
    };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(0, flags, limit) };
    // SAFETY: the caller's contract: null, or a time.
    let limit = unsafe { limit.as_ref() }.map(|limit| wait::duration(limit.tv_sec, limit.tv_nsec));
    let deadline = Deadline::after(limit);
    let (all, mut done) = (count as usize, 0);
    loop {
        let try_it = || real(done, flags | MSG_DONTWAIT, ptr::null_mut()) as isize;
        let block = || real(done, flags, ptr::null_mut()) as isize;
        let result = Tries::new(host, fd, Direction::Read).until_done(try_it, block);
        if result < 0 {
            return if done > 0 { done as c_int } else { -1 };
        }
        done += result.cast_unsigned();
        // As the kernel does, the time is looked at after each message only.
        if result == 0 || done >= all || flags & MSG_WAITFORONE != 0 || deadline.is_over() {
            return done as c_int;
        }
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn send(fd: c_int, buffer: *const c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = |at, length, flags| unsafe { real::send(fd, at, length, flags) };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(buffer, length, flags) };
    // SAFETY: the caller's contract.
    unsafe { send_all(host, fd, buffer, length, flags, real) }
}

/// A blocking call sends all of it, to a stream in as many parts as it takes.
///
/// # Safety
/// `length` bytes at `buffer` can be read.
pub(super) unsafe fn send_all(
    host: &dyn Host,
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    real: impl Fn(*const c_void, size_t, c_int) -> ssize_t,
) -> ssize_t {
    let tries = Tries::new(host, fd, Direction::Write);
    let part = |done: usize| {
        // SAFETY: `done` is at most `length`.
        let (at, left) = (unsafe { buffer.byte_add(done) }, length - done);
        tries.until_done(|| real(at, left, flags | MSG_DONTWAIT), || real(at, left, flags))
    };
    in_parts(length, part, || true)
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sendto(
    fd: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = |at, length, flags| unsafe { real::sendto(fd, at, length, flags, address, address_length) };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(buffer, length, flags) };
    // SAFETY: the caller's contract.
    unsafe { send_all(host, fd, buffer, length, flags, real) }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the caller's contract.
    let real = |message, flags| unsafe { real::sendmsg(fd, message, flags) };
    let Some(host) = current::here().filter(|_| !never_waits(flags)) else { return real(message, flags) };
    let tries = Tries::new(host, fd, Direction::Write);
    let first = tries.until_done(|| real(message, flags | MSG_DONTWAIT), || real(message, flags));
    if first < 0 || !is_stream(fd) {
        return first;
    }
    // SAFETY: the caller's contract: its buffers live over the call.
    let buffers = unsafe { Buffers::of(&*message) };
    in_messages(buffers, first, |rest| {
        let rest = &raw const rest;
        tries.until_done(|| real(rest, flags | MSG_DONTWAIT), || real(rest, flags))
    })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn sendmmsg(fd: c_int, messages: *mut mmsghdr, count: c_uint, flags: c_int) -> c_int {
    if current::here().is_none() || never_waits(flags) {
        // SAFETY: the caller's contract.
        return unsafe { real::sendmmsg(fd, messages, count, flags) };
    }
    // The kernel looks at 1,024 at most.
    let count = count.min(1024);
    for index in 0..count {
        // SAFETY: the caller's contract: there are `count` of them.
        let message = unsafe { &mut *messages.add(index as usize) };
        // SAFETY: the caller's contract.
        let sent = unsafe { sendmsg(fd, &raw const message.msg_hdr, flags) };
        if sent < 0 {
            return if index > 0 { index as c_int } else { -1 };
        }
        message.msg_len = sent as c_uint;
    }
    count as c_int
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    let real = || unsafe { real::connect(fd, address, length) };
    let Some(host) = current::here().filter(|_| !is_non_blocking(fd)) else { return real() };
    if wait::in_signal_handler() {
        return real();
    }
    let before = errno();
    let deadline = Deadline::after(wait::socket_limit(fd, Direction::Write));
    let mut pause = Duration::from_millis(1);
    loop {
        let result = without_blocking(fd, real);
        let parked = match errno() {
            _ if result == 0 => {
                set_errno(before);
                return 0;
            }
            EINPROGRESS => return finish_connecting(host, fd, deadline),
            // The queue of a listening Unix socket is full, and nothing says when it no longer is.
            EAGAIN if deadline.is_over() => Parked::TimedOut,
            EAGAIN if host.sleep(pause) == Wait::Interrupted => Parked::Failed(ECANCELED),
            EAGAIN => Parked::Again,
            _ => return result,
        };
        match parked {
            Parked::Again | Parked::Signalled => pause = (pause * 2).min(Duration::from_millis(20)),
            Parked::TimedOut => return fail(EAGAIN) as c_int,
            Parked::Failed(code) => return fail(code) as c_int,
            Parked::Impossible => return real(),
        }
    }
}

/// There is no flag by which one `connect` does not block, so the file's own is set for that one system call.
fn without_blocking(fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
    // SAFETY: these take no pointers.
    let flags = unsafe { fcntl(fd, F_GETFL) };
    if flags < 0 {
        return call();
    }
    // SAFETY: as above.
    unsafe { fcntl(fd, F_SETFL, flags | O_NONBLOCK) };
    let (result, code) = (call(), errno());
    // SAFETY: as above.
    unsafe { fcntl(fd, F_SETFL, flags) };
    set_errno(code);
    result
}

fn finish_connecting(host: &dyn Host, fd: c_int, deadline: Deadline) -> c_int {
    while !is_ready(fd, POLLOUT) {
        match wait::park(host, fd, Direction::Write, deadline) {
            Parked::Again | Parked::Signalled => {}
            Parked::TimedOut => return fail(EINPROGRESS) as c_int,
            Parked::Failed(code) => return fail(code) as c_int,
            // It is under way: the time for it is all that blocks.
            Parked::Impossible => {
                let mut one = pollfd { fd, events: POLLOUT, revents: 0 };
                // SAFETY: `one` lives over the call.
                unsafe { real::poll(&raw mut one, 1, -1) };
            }
        }
    }
    match wait::socket_option(fd, SO_ERROR) {
        Some(0) | None => 0,
        Some(code) => fail(code) as c_int,
    }
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's contract.
    accept_by(fd, move || unsafe { real::accept(fd, address, length) })
}

/// See [`calls`](super).
///
/// # Safety
/// libc's contract.
pub unsafe fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
    // SAFETY: the caller's contract.
    accept_by(fd, move || unsafe { real::accept4(fd, address, length, flags) })
}

/// A connection that is there may be taken by another process that has the same listener, between the look and the
/// call, so the call is made where it may block.
fn accept_by(fd: c_int, real: impl Fn() -> c_int + Copy) -> c_int {
    let Some(host) = current::here() else { return real() };
    let call = || {
        if is_non_blocking(fd) {
            return real() as isize;
        }
        if is_ready(fd, POLLIN) {
            return crate::blocking::run(host, || real() as isize);
        }
        // What does not listen fails at once, whether something comes in or not.
        if wait::socket_option(fd, SO_ACCEPTCONN) == Some(1) { fail(EAGAIN) } else { real() as isize }
    };
    Tries::new(host, fd, Direction::Read).until_done(call, || real() as isize) as c_int
}
