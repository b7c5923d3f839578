//! Connections: accepting and making them, and the addresses of peers.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::mem::{self, offset_of};
use std::os::fd::RawFd;

use greenloom_hub::Direction;

use super::wait::{errno, os_error, seconds_or_none, set_errno, timed_out, without_the_lock};
use super::{DEFAULT_TIMEOUT, Failure, Socket, Whole, names, overrides, slowly};
use crate::eventlet::hub_functions::note_opened;
use crate::eventlet::source::LastTry;
use crate::greenlet::here;
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Args, Gil, Owned, Payload, Raised, Result, This};

unsafe extern "C" {
    fn inet_ntop(family: c_int, address: *const c_void, text: *mut c_char, size: c_uint) -> *const c_char;
}

pub fn accept(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    if !this.is_native() {
        return slowly(this, names().accept, args);
    }
    let ([], []) = args.parse("accept", [], [])?;
    // Whether the descriptor was non-blocking before says nothing: another process, or a copy, may accept there, too.
    if this.is_blocking() {
        this.set_our_flag()?;
    }
    let timeout = default_timeout()?;
    let flag = if timeout < 0.0 { 0 } else { libc::SOCK_NONBLOCK };
    let is_unix = this.is_unix();
    let mut from = Address::empty();
    let accepted = Socket::attempt(this, Direction::Read, 0, &Whole::default(), |fd| {
        from = Address::empty();
        // SAFETY: an out parameter with its size, which is this function's own; no object is touched.
        let accepted = unsafe {
            without_the_lock(this.gil(), || {
                libc::accept4(fd, from.as_mut_ptr(), &mut from.size, libc::SOCK_CLOEXEC | flag) as isize
            })
        };
        if accepted < 0 && errno() == libc::EAGAIN && is_unix && is_shut_down(fd) {
            set_errno(libc::EINVAL);
        }
        accepted
    });
    let fd = match accepted {
        Ok(fd) => fd as RawFd,
        Err(failure) => {
            if matches!(failure, Failure::Os(libc::EINVAL | libc::EOPNOTSUPP)) {
                // It does not listen: it is one that is read and written by its number, too.
                this.take_our_flag_back()?;
            }
            return failure.raise(this.gil());
        }
    };
    // SAFETY: the descriptor was just accepted, and is nobody else's.
    let wrapped = unsafe { plain_socket(this, fd, flag) }.inspect_err(|_| {
        // SAFETY: nobody has taken it over.
        unsafe { libc::close(fd) };
    })?;
    note_opened(here(this.gil())?, fd)?;
    // SAFETY: live objects, and names that are literals.
    unsafe {
        let address = match from.object(this.gil())? {
            Some(address) => address,
            None => py::call_method(wrapped.as_ptr(), ffi::PyUnicode_InternFromString(c"getpeername".as_ptr()), [])?,
        };
        let kind = ffi::Py_TYPE(this.as_ptr());
        let client = if overrides(this)?.init {
            py::call(kind.cast(), [wrapped.as_ptr()])?
        } else {
            let client = py::allocate(kind, Socket::new())?;
            let socket = This::<Socket>::of(client.as_ptr());
            socket.wrap(wrapped);
            socket.timeout.set(timeout);
            socket.non_blocking.set(timeout == 0.0);
            socket.lends.set(true);
            client
        };
        Owned::new(ffi::PyTuple_Pack(2, client.as_ptr(), address.as_ptr()))
    }
}

/// Whether a listening Unix socket was shut down, or one of datagrams for reading. A call that waits is told so; one
/// that does not is only told that nobody, or nothing, is there.
pub(super) fn is_shut_down(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which lives over the call.
    unsafe { libc::poll(&mut poll, 1, 0) == 1 && poll.revents & libc::POLLRDHUP != 0 }
}

/// A `socket.socket` for an accepted descriptor, which is owned by it then.
unsafe fn plain_socket(this: This<'_, Socket>, fd: RawFd, flag: c_int) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let (family, kind) = this.plain().map_or((-1, -1), |plain| (plain.family, plain.kind));
        let number = |value: c_int| Owned::new(ffi::PyLong_FromLong(value.into()));
        // With the flag it knows that it is non-blocking, and makes no system call to find out.
        let (family, kind, protocol, fd) = (number(family)?, number(kind | flag)?, number(0)?, number(fd)?);
        py::call(
            ffi::Py_TYPE(this.wrapped.get()).cast(),
            [family.as_ptr(), kind.as_ptr(), protocol.as_ptr(), fd.as_ptr()],
        )
    }
}

fn default_timeout() -> Result<f64> {
    // SAFETY: set when the classes were.
    let seconds = unsafe { py::call(DEFAULT_TIMEOUT.object(), [])? };
    seconds_or_none(Some(Object::of(&seconds)))
}

/// How connecting ended.
enum Connected {
    /// With this error number, 0 for success.
    Done(c_int),
    TimedOut,
    /// It must be tried again and again, since nothing tells when it is worth it: a Unix socket whose peer's queue is
    /// full.
    Poll,
}

fn connect_to(this: This<'_, Socket>, address: Object<'_>) -> std::result::Result<Connected, Failure> {
    let thread = here(this.gil())?;
    let deadline = this.deadline(Direction::Write);
    let mut has_begun = false;
    loop {
        let code = Object::of(&try_to_connect(this, address)?).number()?;
        // Asked again after the wait, it tells how the attempt ended, and leaves a socket that can be used for another.
        match c_int::try_from(code).unwrap_or(libc::EINVAL) {
            0 => return Ok(Connected::Done(0)),
            // Of a socket that was connected before, it is an error.
            libc::EISCONN if has_begun => return Ok(Connected::Done(0)),
            libc::EAGAIN => return Ok(Connected::Poll),
            libc::EINPROGRESS | libc::EALREADY => has_begun = true,
            code => return Ok(Connected::Done(code)),
        }
        match Socket::wait(this, thread, Direction::Write, LastTry::WouldBlock, deadline) {
            Ok(_) => {}
            Err(Failure::TimedOut) => return Ok(Connected::TimedOut),
            // The system goes on connecting.
            Err(Failure::Os(libc::EAGAIN)) => return Ok(Connected::Done(libc::EINPROGRESS)),
            Err(Failure::Raised) if this.is_closed_error(this.gil()) => {
                // SAFETY: one is pending.
                unsafe { ffi::PyErr_Clear() };
                return Err(Failure::Os(libc::EBADFD));
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Lets the wrapped socket connect, without waiting. Returns the error number, as it does.
fn try_to_connect(this: This<'_, Socket>, address: Object<'_>) -> Result<Owned> {
    let wrapped = this.wrapped.object().ok_or(Raised)?;
    let _moment = if this.is_blocking() { NonBlocking::of(this.fd()) } else { None };
    // SAFETY: live objects.
    unsafe { py::call_method(wrapped.as_ptr(), names().plain_connect_ex.as_ptr(), [address.as_ptr()]) }
}

/// For Python: [`try_to_connect`].
pub fn connect_now(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([address], []) = args.parse("_connect_now", ["address"], [])?;
    try_to_connect(this, address)
}

/// A blocking descriptor is non-blocking for the moment of a call that has no flag for that.
struct NonBlocking(RawFd);

impl NonBlocking {
    /// None if it is non-blocking anyway.
    fn of(fd: RawFd) -> Option<NonBlocking> {
        // SAFETY: reads and sets flags of a descriptor, which is an error if it is closed.
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFL);
            let mut on: c_int = 1;
            let set = flags >= 0 && flags & libc::O_NONBLOCK == 0 && libc::ioctl(fd, libc::FIONBIO, &raw mut on) == 0;
            set.then_some(NonBlocking(fd))
        }
    }
}

impl Drop for NonBlocking {
    fn drop(&mut self) {
        let mut off: c_int = 0;
        // SAFETY: as in `of`. The error number of the call before has been taken.
        unsafe { libc::ioctl(self.0, libc::FIONBIO, &raw mut off) };
    }
}

pub fn connect(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([address], []) = args.parse("connect", ["address"], [])?;
    if !this.is_native() {
        return slowly(this, names().connect, args);
    }
    match connect_to(this, address) {
        Ok(Connected::Done(0)) => Ok(Owned::none(this.gil())),
        Ok(Connected::Done(code)) => os_error(this.gil(), code),
        Ok(Connected::TimedOut) => timed_out(this.gil()),
        Ok(Connected::Poll) => slowly(this, names().connect, args),
        Err(failure) => failure.raise(this.gil()),
    }
}

pub fn connect_ex(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([address], []) = args.parse("connect_ex", ["address"], [])?;
    if !this.is_native() {
        return slowly(this, names().connect_ex, args);
    }
    let code = match connect_to(this, address) {
        Ok(Connected::Done(code)) | Err(Failure::Os(code)) => code,
        Ok(Connected::TimedOut) => libc::EAGAIN,
        Ok(Connected::Poll) => return slowly(this, names().connect_ex, args),
        Err(failure) => return failure.raise(this.gil()),
    };
    // SAFETY: called by the interpreter.
    unsafe { Owned::new(ffi::PyLong_FromLong(code.into())) }
}

/// The address of a peer.
pub struct Address {
    storage: libc::sockaddr_storage,
    pub size: libc::socklen_t,
}

impl Address {
    pub fn empty() -> Address {
        // SAFETY: zeroes are an address of no family.
        Address { storage: unsafe { mem::zeroed() }, size: mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.storage).cast()
    }

    /// As the `socket` module has it. None for families that only that module knows.
    pub fn object(&self, _: Gil<'_>) -> Result<Option<Owned>> {
        if self.size == 0 {
            return Ok(None);
        }
        let made = match c_int::from(self.storage.ss_family) {
            libc::AF_INET => self.internet(),
            libc::AF_INET6 => self.internet6(),
            libc::AF_UNIX if self.size as usize <= offset_of!(libc::sockaddr_un, sun_path) => {
                // SAFETY: the token says that the lock is held; the string is a literal.
                unsafe { Owned::new(ffi::Py_BuildValue(c"s".as_ptr(), c"".as_ptr())) }
            }
            _ => return Ok(None),
        };
        made.map(Some)
    }

    fn internet(&self) -> Result<Owned> {
        let mut room: [c_char; 64] = [0; 64];
        // SAFETY: the family says of which form it is; there is room for its text.
        unsafe {
            let address = &*(&raw const self.storage).cast::<libc::sockaddr_in>();
            let number = (&raw const address.sin_addr).cast();
            inet_ntop(libc::AF_INET, number, room.as_mut_ptr(), room.len() as c_uint);
            let port = c_int::from(u16::from_be(address.sin_port));
            Owned::new(ffi::Py_BuildValue(c"(si)".as_ptr(), room.as_ptr(), port))
        }
    }

    fn internet6(&self) -> Result<Owned> {
        let mut room: [c_char; 64] = [0; 64];
        // SAFETY: the family says of which form it is; there is room for its text.
        unsafe {
            let address = &*(&raw const self.storage).cast::<libc::sockaddr_in6>();
            let number = (&raw const address.sin6_addr).cast();
            inet_ntop(libc::AF_INET6, number, room.as_mut_ptr(), room.len() as c_uint);
            let port = c_int::from(u16::from_be(address.sin6_port));
            let (flow, scope) = (u32::from_be(address.sin6_flowinfo), address.sin6_scope_id);
            Owned::new(ffi::Py_BuildValue(c"(siII)".as_ptr(), room.as_ptr(), port, flow, scope))
        }
    }
}
