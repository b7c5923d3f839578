//! Reading and writing of descriptors of any kind, without waiting and without a change to them.
//!
//! A pipe's non-blocking flag is seen by all who have the pipe, so it is left as it is: the call itself says that it
//! does not wait (`RWF_NOWAIT`). Where the system has no such call for a kind of file, terminals say, `poll` is asked
//! before.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::ptr;

use super::connect::is_shut_down;
use super::limit::{note_limit, patience_of_terminal};
use super::transfer::Buffer;
use super::wait::{errno, os_error, without_the_lock};
use super::{resize, small_integer};
use crate::eventlet::fairness::{SYSTEM_CALL, spend};
use crate::greenlet::here;
use crate::py::ffi::{self, Py_ssize_t, PyMethodDef};
use crate::py::object::{Object, size};
use crate::py::{self, Args, Gil, Owned, Raised, Result};

/// The functions of the module about them.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_read_now",
            read,
            c"_read_now(fd, size, obeys=True)\n--\n\nReads what is there; None if that would block. \
              Raises BlockingIOError instead if the descriptor is non-blocking and *obeys* is true.",
        ),
        py::function(
            c"_readinto_now",
            read_into,
            c"_readinto_now(fd, buffer, obeys=True)\n--\n\nAs _read_now(), into a buffer.",
        ),
        py::function(
            c"_write_now",
            write,
            c"_write_now(fd, data, obeys=True)\n--\n\nWrites what there is room for; None if that would \
              block. Raises as _read_now() does.",
        ),
        py::function(
            c"_is_shut_down",
            tell_if_shut_down,
            c"_is_shut_down(fd)\n--\n\nWhether a socket was shut down for reading.",
        ),
    ]
}

fn tell_if_shut_down(args: Args<'_>) -> Result<Owned> {
    let ([fd], []) = args.parse("_is_shut_down", ["fd"], [])?;
    Ok(Owned::bool(args.gil(), is_shut_down(RawFd::try_from(fd.number()?).unwrap_or(-1))))
}

/// Memory to read into or to write from.
#[derive(Clone, Copy)]
enum Memory {
    Into(*mut u8),
    From(*const u8),
}

/// A call of this size or more lets other OS threads run meanwhile.
const LARGE: usize = 64 * 1024;

/// What a blocking pipe that is ready to be written takes without blocking.
const SURE_ROOM: usize = libc::PIPE_BUF;

/// One transfer that does not wait; None if it would block.
///
/// # Safety
/// The memory has that size.
unsafe fn transfer(gil: Gil<'_>, fd: RawFd, memory: Memory, size: usize, obeys: bool) -> Result<Option<usize>> {
    spend(here(gil)?, SYSTEM_CALL)?;
    loop {
        // SAFETY: memory of that size.
        let call = || unsafe { without_waiting(fd, memory, size) };
        // SAFETY: it touches that memory only, which its owner keeps.
        let done = if size < LARGE { call() } else { unsafe { without_the_lock(gil, call) } };
        if done >= 0 {
            return Ok(Some(done.unsigned_abs()));
        }
        match errno() {
            libc::EINTR => check_signals(gil)?,
            // SAFETY: memory of that size.
            libc::EAGAIN if always_ready(fd) => return unsafe { ordinary(gil, fd, memory, size, false) },
            libc::EAGAIN if obeys && flags(fd) & libc::O_NONBLOCK != 0 => return os_error(gil, libc::EAGAIN),
            // A call that waits is told of the end of a socket of datagrams, and does not wait for it.
            libc::EAGAIN if matches!(memory, Memory::Into(_)) && is_shut_down(fd) => {
                // SAFETY: memory of that size.
                return unsafe { ordinary(gil, fd, memory, size, obeys) };
            }
            libc::EAGAIN => return Ok(None),
            libc::EOPNOTSUPP | libc::ENOSYS | libc::ESPIPE => {
                // SAFETY: memory of that size.
                return unsafe { ask_before(gil, fd, memory, size, obeys) };
            }
            code => return os_error(gil, code),
        }
    }
}

fn check_signals(_: Gil<'_>) -> Result<()> {
    // SAFETY: the token says that the lock is held.
    if unsafe { ffi::PyErr_CheckSignals() } < 0 { Err(Raised) } else { Ok(()) }
}

/// # Safety
/// As [`transfer`].
unsafe fn without_waiting(fd: RawFd, memory: Memory, size: usize) -> isize {
    let part = |start: *mut u8| libc::iovec { iov_base: start.cast(), iov_len: size };
    // SAFETY: memory of that size. An offset of -1 stands for the file's position.
    unsafe {
        match memory {
            // The system does not ask the file at all for a vector of no bytes, and so finds no error.
            Memory::Into(start) if size == 0 => libc::read(fd, start.cast(), 0),
            // Only a socket of messages may block.
            Memory::From(start) if size == 0 => match libc::send(fd, start.cast(), 0, libc::MSG_DONTWAIT) {
                -1 if errno() == libc::ENOTSOCK => libc::write(fd, start.cast(), 0),
                done => done,
            },
            Memory::Into(start) => libc::preadv2(fd, &part(start), 1, -1, libc::RWF_NOWAIT),
            Memory::From(start) => libc::pwritev2(fd, &part(start.cast_mut()), 1, -1, libc::RWF_NOWAIT),
        }
    }
}

/// A kind of file that cannot be told not to wait.
///
/// # Safety
/// As [`transfer`].
#[cold]
unsafe fn ask_before(gil: Gil<'_>, fd: RawFd, memory: Memory, size: usize, obeys: bool) -> Result<Option<usize>> {
    let writes = matches!(memory, Memory::From(_));
    let is_blocking = flags(fd) & libc::O_NONBLOCK == 0;
    if is_blocking && !always_ready(fd) && !is_ready(fd, writes) {
        match if writes { None } else { patience_of_terminal(fd) } {
            // It does not wait at all.
            Some(0) => {}
            Some(_) => {
                note_limit();
                return Ok(None);
            }
            None => return Ok(None),
        }
    }
    match memory {
        // SAFETY: memory of that size.
        Memory::From(start) if is_blocking && is_terminal(fd) => unsafe { write_to_terminal(gil, fd, start, size) },
        // SAFETY: memory of that size, or of more.
        Memory::From(_) if is_blocking && is_pipe(fd) => unsafe {
            ordinary(gil, fd, memory, size.min(SURE_ROOM), obeys)
        },
        // SAFETY: memory of that size.
        _ => unsafe { ordinary(gil, fd, memory, size, obeys) },
    }
}

/// What is ready has room for one byte, and nobody can ask for how many. So the terminal, which has no flag for one
/// call, does not block meanwhile. The interpreter's lock is held, so that no thread of this process finds it so.
///
/// # Safety
/// As [`transfer`].
unsafe fn write_to_terminal(gil: Gil<'_>, fd: RawFd, start: *const u8, size: usize) -> Result<Option<usize>> {
    let before = flags(fd);
    // SAFETY: memory of that size; the flags are put back.
    let (done, code) = unsafe {
        libc::fcntl(fd, libc::F_SETFL, before | libc::O_NONBLOCK);
        let done = libc::write(fd, start.cast(), size);
        let code = errno();
        libc::fcntl(fd, libc::F_SETFL, before);
        (done, code)
    };
    match code {
        _ if done >= 0 => Ok(Some(done.unsigned_abs())),
        libc::EAGAIN => Ok(None),
        libc::EINTR => check_signals(gil).map(|()| None),
        code => os_error(gil, code),
    }
}

/// The plain call, of a file that is ready or not for waiting.
///
/// # Safety
/// As [`transfer`].
unsafe fn ordinary(gil: Gil<'_>, fd: RawFd, memory: Memory, size: usize, obeys: bool) -> Result<Option<usize>> {
    loop {
        // SAFETY: memory of that size, which its owner keeps; no object is touched.
        let done = unsafe {
            without_the_lock(gil, || match memory {
                Memory::Into(start) => libc::read(fd, start.cast(), size),
                Memory::From(start) => libc::write(fd, start.cast(), size),
            })
        };
        if done >= 0 {
            return Ok(Some(done.unsigned_abs()));
        }
        match errno() {
            libc::EINTR => check_signals(gil)?,
            libc::EAGAIN if !obeys => return Ok(None),
            code => return os_error(gil, code),
        }
    }
}

fn flags(fd: RawFd) -> c_int {
    // SAFETY: reads flags.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }.max(0)
}

fn kind(fd: RawFd) -> libc::mode_t {
    // SAFETY: an out parameter.
    unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        if libc::fstat(fd, &mut status) < 0 { 0 } else { status.st_mode & libc::S_IFMT }
    }
}

/// Regular files and disks: nobody could tell when they are ready, and the OS thread waits.
fn always_ready(fd: RawFd) -> bool {
    !matches!(kind(fd), libc::S_IFIFO | libc::S_IFCHR | libc::S_IFSOCK | 0)
}

fn is_pipe(fd: RawFd) -> bool {
    kind(fd) == libc::S_IFIFO
}

fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: asks only.
    unsafe { libc::isatty(fd) == 1 }
}

fn is_ready(fd: RawFd, writes: bool) -> bool {
    let mut asked = libc::pollfd { fd, events: if writes { libc::POLLOUT } else { libc::POLLIN }, revents: 0 };
    // SAFETY: one entry. What is wrong with the descriptor, the call itself tells.
    unsafe { libc::poll(&mut asked, 1, 0) != 0 }
}

fn obeys(may_raise: Option<Object<'_>>) -> Result<bool> {
    may_raise.map_or(Ok(true), Object::truth)
}

fn count(gil: Gil<'_>, done: Option<usize>) -> Result<Owned> {
    done.map_or_else(|| Ok(Owned::none(gil)), |done| size(gil, done))
}

fn read(args: Args<'_>) -> Result<Owned> {
    let ([fd, size], [may_raise]) = args.parse("_read_now", ["fd", "size"], ["obeys"])?;
    let (fd, obeys) = (small_integer(fd)?, obeys(may_raise)?);
    let Ok(size) = usize::try_from(size.number()?) else { return os_error(args.gil(), libc::EINVAL) };
    // SAFETY: the lock is held; the bytes have that size, and are filled before anybody sees them.
    unsafe {
        let bytes = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
        let start = ffi::PyBytes_AsString(bytes.as_ptr()).cast();
        match transfer(args.gil(), fd, Memory::Into(start), size, obeys)? {
            Some(done) => resize(bytes, done),
            None => Ok(Owned::none(args.gil())),
        }
    }
}

fn read_into(args: Args<'_>) -> Result<Owned> {
    let ([fd, buffer], [may_raise]) = args.parse("_readinto_now", ["fd", "buffer"], ["obeys"])?;
    let buffer = Buffer::writable(buffer, "readinto() argument")?;
    let (fd, memory, obeys) = (small_integer(fd)?, Memory::Into(buffer.start()), obeys(may_raise)?);
    // SAFETY: the buffer is held while it is written to.
    count(args.gil(), unsafe { transfer(args.gil(), fd, memory, buffer.size(), obeys)? })
}

fn write(args: Args<'_>) -> Result<Owned> {
    let ([fd, data], [may_raise]) = args.parse("_write_now", ["fd", "data"], ["obeys"])?;
    let data = Buffer::of(data, ffi::PyBUF_SIMPLE)?;
    let (fd, memory, obeys) = (small_integer(fd)?, Memory::From(data.start()), obeys(may_raise)?);
    // SAFETY: the buffer is held while it is read.
    count(args.gil(), unsafe { transfer(args.gil(), fd, memory, data.size(), obeys)? })
}
