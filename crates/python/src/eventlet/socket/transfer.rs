//! Reading and writing.

use std::ffi::{CStr, c_int};
use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use greenloom_hub::Direction;
use greenloom_hub::attempt::Transfer;

use super::connect::Address;
use super::wait::without_the_lock;
use super::{Failure, Socket, Whole, flags_or_zero, names, overrides, resize, slowly, small_integer};
use crate::py::ffi::{self, Py_ssize_t};
use crate::py::object::{Object, size};
use crate::py::{self, Args, Global, Owned, Raised, Result, This};

/// Reads up to this size go through [`SCRATCH`], so that no more memory is asked for than arrived.
pub(super) const SMALL_READ: usize = 16 * 1024;

/// Room for one read, until its bytes are copied. Nobody switches or lets go of the interpreter's lock in between; on a
/// green thread's stack it would keep that much of each stack alive.
pub(super) static SCRATCH: Global<[u8; SMALL_READ]> = Global::new([0; SMALL_READ]);

/// A write from this size on lets other OS threads run meanwhile.
const LARGE_WRITE: usize = 64 * 1024;

/// What a file that is gone is called.
const CLOSED_BY_ANOTHER: &str = "Connection closed by another thread";

/// What reading brings when the connection is broken: the end.
pub(super) fn or_end<T>(failure: Failure, end: impl FnOnce() -> Result<T>, this: This<'_, Socket>) -> Result<T> {
    match failure {
        Failure::Os(libc::ECONNRESET | libc::ESHUTDOWN | libc::EPIPE) => end(),
        // SAFETY: a class that lives for ever; `This` says that the lock is held.
        Failure::Raised => this.replace_closed_error(unsafe { Object::new(ffi::PyExc_EOFError) }, 0, ""),
        other => other.raise(this.gil()),
    }
}

/// Whether a read of less than was asked for has emptied the buffer: of a TCP stream, unless it was a look only. Where
/// urgent data stops it, the hub knows.
fn empties(this: This<'_, Socket>, got: usize, wanted: usize, flags: c_int) -> bool {
    let ordinary = flags & (libc::MSG_PEEK | libc::MSG_OOB | libc::MSG_ERRQUEUE) == 0;
    ordinary && this.is_stream() && Transfer::of(wanted).proves_blocking(got)
}

/// Receives from a Unix stream: that stops at what carries descriptors or credentials as well, of which only this call
/// tells.
///
/// # Safety
/// The buffer has room for that much.
unsafe fn receive_unix(fd: RawFd, into: *mut u8, size: usize, flags: c_int, stopped: &mut bool) -> isize {
    let mut part = libc::iovec { iov_base: into.cast(), iov_len: size };
    // SAFETY: zeroes are a valid header.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    // SAFETY: the header names one part, which has room for that much.
    let got = unsafe { libc::recvmsg(fd, &raw mut message, flags) };
    *stopped = message.msg_flags & libc::MSG_CTRUNC != 0;
    got
}

/// Reads into a buffer of that size: what there is, or, with MSG_WAITALL on a stream without a timeout, all that was
/// asked for, unless the stream ends or fails before.
///
/// # Safety
/// The buffer has room for that much, and something keeps it, also while others run.
pub(super) unsafe fn read(
    this: This<'_, Socket>,
    into: *mut u8,
    size: usize,
    flags: c_int,
) -> std::result::Result<usize, Failure> {
    let whole = Whole::default();
    // SAFETY: as this function's; the rest of the buffer.
    unsafe {
        let got = read_some(this, into, size, flags, &whole)?;
        let more = if got == 0 { 0 } else { read_rest(this, into.add(got), size - got, flags, &whole)? };
        Ok(got + more)
    }
}

/// Reads the rest of what a call that has read something asked for; nothing if such a call returns what there is.
///
/// # Safety
/// As [`read`].
unsafe fn read_rest(
    this: This<'_, Socket>,
    into: *mut u8,
    size: usize,
    flags: c_int,
    whole: &Whole,
) -> std::result::Result<usize, Failure> {
    let looks = flags & (libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_OOB | libc::MSG_ERRQUEUE) != 0;
    let takes_all = flags & libc::MSG_WAITALL != 0 && !looks && this.timeout.get() < 0.0 && this.is_stream();
    let mut got = 0;
    while takes_all && got < size {
        // SAFETY: the rest of the buffer.
        match unsafe { read_some(this, into.add(got), size - got, flags, whole) } {
            Ok(0) | Err(Failure::Os(_)) => break,
            Ok(more) => got += more,
            Err(failure) => return Err(failure),
        }
    }
    Ok(got)
}

/// Reads what there is.
///
/// # Safety
/// As [`read`].
unsafe fn read_some(
    this: This<'_, Socket>,
    into: *mut u8,
    size: usize,
    flags: c_int,
    whole: &Whole,
) -> std::result::Result<usize, Failure> {
    let is_unix = this.is_unix() && this.is_stream();
    let mut stopped = false;
    let got = Socket::attempt(this, Direction::Read, flags, whole, |fd| {
        let flags = flags | libc::MSG_DONTWAIT;
        // SAFETY: the buffer has room for that much.
        unsafe {
            if is_unix {
                receive_unix(fd, into, size, flags, &mut stopped)
            } else {
                libc::recv(fd, into.cast(), size, flags)
            }
        }
    })?;
    if !stopped && empties(this, got, size, flags) {
        this.exhausted(Direction::Read);
    }
    Ok(got)
}

/// With this flag the system tells of more bytes than it gives.
const TELLS_MORE: c_int = libc::MSG_TRUNC;

pub fn recv(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([size], [flags]) = args.parse("recv", ["bufsize"], ["flags"])?;
    let (size, flags) = (size.number()?, flags_or_zero(flags)?);
    if !this.is_native() || size <= 0 || flags & TELLS_MORE != 0 {
        return slowly(this, names().recv, args);
    }
    let size = size as usize;
    // SAFETY: the lock is held during the call; buffers are as large as they are said to be, and kept meanwhile.
    unsafe {
        let empty = || Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), 0));
        // What waits in the middle must not share its buffer.
        if size <= SMALL_READ && flags & libc::MSG_WAITALL == 0 {
            let room = SCRATCH.get().cast::<u8>();
            let got = match read(this, room, size, flags) {
                Ok(got) => got,
                Err(Failure::Os(libc::ENOTCONN)) => return slowly(this, names().recv, args),
                Err(failure) => return or_end(failure, empty, this),
            };
            return Owned::new(ffi::PyBytes_FromStringAndSize(room.cast(), got as Py_ssize_t));
        }
        let bytes = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
        match read(this, ffi::PyBytes_AsString(bytes.as_ptr()).cast(), size, flags) {
            Ok(got) => resize(bytes, got),
            Err(Failure::Os(libc::ENOTCONN)) => slowly(this, names().recv, args),
            Err(failure) => or_end(failure, empty, this),
        }
    }
}

/// Memory of an object, lent out.
pub struct Buffer(ffi::Py_buffer);

impl Buffer {
    pub fn of(object: Object<'_>, flags: c_int) -> Result<Buffer> {
        // SAFETY: a live object, with the lock held; filled by the call.
        unsafe {
            let mut buffer = mem::zeroed();
            if ffi::PyObject_GetBuffer(object.as_ptr(), &mut buffer, flags) < 0 {
                Err(Raised)
            } else {
                Ok(Buffer(buffer))
            }
        }
    }

    /// Memory to be written to. Whatever keeps it from that, an argument of C's functions that is to be one is then a
    /// TypeError.
    pub fn writable(object: Object<'_>, argument: &str) -> Result<Buffer> {
        Buffer::of(object, ffi::PyBUF_WRITABLE).or_else(|Raised| {
            // SAFETY: live objects, with the lock held; a type's name lives as long as the type.
            let kind = unsafe {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_BufferError) == 0
                    && ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) == 0
                {
                    return Err(Raised);
                }
                ffi::PyErr_Clear();
                CStr::from_ptr((*ffi::Py_TYPE(object.as_ptr())).tp_name).to_string_lossy()
            };
            py::type_error(object.gil(), &format!("{argument} must be read-write bytes-like object, not {kind}"))
        })
    }

    pub fn start(&self) -> *mut u8 {
        self.0.buf.cast()
    }

    pub fn size(&self) -> usize {
        self.0.len.unsigned_abs()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !py::is_finalizing() {
            // SAFETY: it was lent out to us; the interpreter's lock is held.
            unsafe { ffi::PyBuffer_Release(&mut self.0) };
        }
    }
}

pub fn recv_into(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([object], [count, flags]) = args.parse("recv_into", ["buffer"], ["nbytes", "flags"])?;
    if !this.is_native() {
        return slowly(this, names().recv_into, args);
    }
    let buffer = Buffer::writable(object, "recv_into() argument 1")?;
    let flags = flags_or_zero(flags)?;
    let wanted = match usize::try_from(count.map_or(Ok(0), Object::number)?) {
        Ok(0) => buffer.size(),
        Ok(count) if count <= buffer.size() => count,
        Ok(_) => return py::value_error(args.gil(), "buffer too small for requested bytes"),
        Err(_) => return py::value_error(args.gil(), "negative buffersize in recv_into"),
    };
    if wanted == 0 {
        return slowly(this, names().recv_into, args);
    }
    // SAFETY: `args` says that the lock is held.
    let number = |got: usize| unsafe { Owned::new(ffi::PyLong_FromSize_t(got)) };
    // SAFETY: it is held, and has room for that much.
    match unsafe { read(this, buffer.start(), wanted, flags) } {
        Ok(got) => number(got),
        Err(Failure::Os(libc::ENOTCONN)) => {
            drop(buffer);
            slowly(this, names().recv_into, args)
        }
        Err(failure) => or_end(failure, || number(0), this),
    }
}

/// For Python: [`read_rest`].
pub fn receive_rest(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([object, flags, left], []) = args.parse("_receive_rest", ["buffer", "flags", "left"], [])?;
    let (buffer, flags, whole) = (Buffer::of(object, ffi::PyBUF_WRITABLE)?, small_integer(flags)?, Whole::rest(left)?);
    if !this.is_native() {
        return size(args.gil(), 0);
    }
    // SAFETY: it is held, and as large as it says.
    match unsafe { read_rest(this, buffer.start(), buffer.size(), flags, &whole) } {
        Ok(got) => size(args.gil(), got),
        Err(failure) => or_end(failure, || size(args.gil(), 0), this),
    }
}

pub fn recvfrom(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([size], [flags]) = args.parse("recvfrom", ["bufsize"], ["flags"])?;
    let (size, flags) = (size.number()?, flags_or_zero(flags)?);
    let family = this.plain().map(|plain| plain.family);
    let of_the_internet = matches!(family, Some(libc::AF_INET | libc::AF_INET6));
    if !this.is_native() || size <= 0 || !of_the_internet || flags & (TELLS_MORE | libc::MSG_WAITALL) != 0 {
        return slowly(this, names().recvfrom, args);
    }
    let size = size as usize;
    // SAFETY: `args` says that the lock is held; the bytes are filled before anybody sees them.
    let (bytes, into) = unsafe {
        let bytes = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
        let into = ffi::PyBytes_AsString(bytes.as_ptr());
        (bytes, into)
    };
    let mut from = Address::empty();
    let got = Socket::attempt(this, Direction::Read, flags, &Whole::default(), |fd| {
        from = Address::empty();
        let flags = flags | libc::MSG_DONTWAIT;
        // SAFETY: the bytes have this size, and the address says how much room it has.
        unsafe { libc::recvfrom(fd, into.cast(), size, flags, from.as_mut_ptr(), &mut from.size) }
    });
    // SAFETY: as above; live objects.
    unsafe {
        let got = match got {
            Ok(got) => got,
            Err(Failure::Os(libc::ENOTCONN)) => return slowly(this, names().recvfrom, args),
            Err(failure) => {
                return or_end(
                    failure,
                    || Owned::new(ffi::Py_BuildValue(c"(yO)".as_ptr(), c"".as_ptr(), ffi::Py_None())),
                    this,
                );
            }
        };
        if empties(this, got, size, flags) {
            this.exhausted(Direction::Read);
        }
        let bytes = resize(bytes, got)?;
        let from = from.object(args.gil())?.unwrap_or_else(|| Owned::none(args.gil()));
        Owned::new(ffi::PyTuple_Pack(2, bytes.as_ptr(), from.as_ptr()))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Writing

/// Sends a part of the `whole`, of whose bytes that many were `sent` before; returns how many.
fn write(
    this: This<'_, Socket>,
    data: &Buffer,
    sent: usize,
    flags: c_int,
    whole: &Whole,
) -> std::result::Result<usize, Failure> {
    let rest = data.size() - sent;
    // SAFETY: the buffer is held, and what was sent is a part of it.
    write_by(
        this,
        rest,
        whole,
        |fd| unsafe { libc::send(fd, data.start().add(sent).cast(), rest, flags | libc::MSG_DONTWAIT) },
        flags,
    )
}

/// Sends part of `rest` bytes, which are what is left of the `whole`, by `call`, which gets the descriptor. Returns how
/// many.
pub(super) fn write_by(
    this: This<'_, Socket>,
    rest: usize,
    whole: &Whole,
    mut call: impl FnMut(RawFd) -> isize,
    flags: c_int,
) -> std::result::Result<usize, Failure> {
    let more = Socket::attempt(this, Direction::Write, flags, whole, |fd| {
        // SAFETY: the call touches the bytes only, which something holds.
        if rest < LARGE_WRITE { call(fd) } else { unsafe { without_the_lock(this.gil(), || call(fd)) } }
    })?;
    this.hand_over();
    if this.is_stream() && Transfer::of(rest).proves_blocking(more) {
        this.exhausted(Direction::Write);
    }
    Ok(more)
}

/// What writing raises for a failure.
#[cold]
pub(super) fn raise_of_writing<T>(this: This<'_, Socket>, failure: Failure) -> Result<T> {
    match failure {
        Failure::Raised => {
            // SAFETY: a class that lives for ever; `This` says that the lock is held.
            let class = unsafe { Object::new(ffi::PyExc_OSError) };
            this.replace_closed_error(class, libc::ECONNRESET, CLOSED_BY_ANOTHER)
        }
        failure => failure.raise(this.gil()),
    }
}

/// Sends what is left behind the first `sent` bytes as one call of the system's does. Without a timeout that returns
/// when all is sent, or, when it fails later or its time is up, how much was.
fn send_whole(this: This<'_, Socket>, data: &Buffer, sent: usize, flags: c_int, whole: &Whole) -> Result<usize> {
    let done = write(this, data, sent, flags, whole).or_else(|failure| raise_of_writing(this, failure))?;
    Ok(done + send_rest_of(this, data, sent + done, flags, whole)?)
}

fn send_rest_of(this: This<'_, Socket>, data: &Buffer, sent: usize, flags: c_int, whole: &Whole) -> Result<usize> {
    let takes_all = this.timeout.get() < 0.0 && flags & libc::MSG_DONTWAIT == 0 && this.is_stream();
    let mut done = 0;
    while takes_all && sent + done < data.size() {
        match write(this, data, sent + done, flags, whole) {
            Ok(more) => done += more,
            Err(Failure::Raised) if this.is_closed_error(this.gil()) => {
                // SAFETY: an exception is pending, and the lock is held.
                unsafe { ffi::PyErr_Clear() };
                break;
            }
            Err(Failure::Raised) => return Err(Raised),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// For Python: sends the rest of what a call that has sent something was given, as far as such a call goes.
pub fn send_rest(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([data, flags, left], []) = args.parse("_send_rest", ["data", "flags", "left"], [])?;
    let (data, flags, whole) = (Buffer::of(data, ffi::PyBUF_SIMPLE)?, small_integer(flags)?, Whole::rest(left)?);
    let sent = if this.is_native() { send_rest_of(this, &data, 0, flags, &whole)? } else { 0 };
    size(args.gil(), sent)
}

pub fn send(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([data], [flags]) = args.parse("send", ["data"], ["flags"])?;
    if !this.is_native() {
        return slowly(this, names().send, args);
    }
    let data = Buffer::of(data, ffi::PyBUF_SIMPLE)?;
    let flags = flags_or_zero(flags)?;
    let sent = send_whole(this, &data, 0, flags, &Whole::default())?;
    size(args.gil(), sent)
}

pub fn sendall(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([data], [flags]) = args.parse("sendall", ["data"], ["flags"])?;
    if !this.is_native() || overrides(this)?.send {
        return slowly(this, names().sendall, args);
    }
    let data = Buffer::of(data, ffi::PyBUF_SIMPLE)?;
    let flags = flags_or_zero(flags)?;
    let whole = Whole::default();
    let mut sent = send_whole(this, &data, 0, flags, &whole)?;
    while sent < data.size() {
        // As on stock, a timeout is for each part; as CPython has it, the system's limit is for each of its calls.
        whole.deadline.take();
        sent += send_whole(this, &data, sent, flags, &whole)?;
    }
    Ok(Owned::none(args.gil()))
}
