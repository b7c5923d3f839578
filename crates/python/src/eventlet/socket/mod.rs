//! Green sockets and descriptors: the operations that wait, try first and park only if that would block.
//!
//! [`Socket`] is the base of `eventlet.greenio.GreenSocket`. It wraps a `socket.socket` and makes the system call
//! itself. What is rare goes through a method in Python: the operation's name with `_slow_` before it. That are sockets
//! in non-blocking mode, wrapped objects of another class, and addresses other than of the internet.
//!
//! # Whose non-blocking flag is it?
//!
//! A flag of a descriptor is one of its open file description, which others may share: children, peers of a prefork
//! server, the caller of `detach`. So a green socket's descriptor is as CPython would have it: blocking without a
//! timeout, non-blocking with one. Calls say by a flag of their own that they do not wait (`MSG_DONTWAIT`); `connect`
//! has none, and is non-blocking for the moment of the call. Two things set the flag for good, and `detach` takes it
//! back: `accept`, since another process may take the connection that was announced, and a caller that asks for the
//! wrapped socket itself (`fd`), which is non-blocking on stock. Where the *program* has set it behind the socket's
//! back, it means what it says: what would block raises BlockingIOError.
//!
//! A wait is native if the hub is; otherwise, and if `_trampoline` is overridden, it is a call of `_trampoline`.
//!
//! [`descriptor`]: the same wait for what is no socket of ours, TLS sockets and pipes. [`mod@file`]: reading and
//! writing of pipes and whatever else there is. [`stream`]: reading and writing for the rest of the binding.

mod class;
mod classes;
mod connect;
mod descriptor;
mod file;
mod limit;
pub mod stream;
mod transfer;
mod wait;
mod whole;

use std::cell::Cell;
use std::ffi::{CStr, c_int};
use std::os::fd::RawFd;
use std::ptr;

use greenloom_hub::attempt::{Tried, attempt};
use greenloom_hub::{Direction, Time};

use super::clock::monotonic;
use super::fairness::{SYSTEM_CALL, spend};
use super::hub_ref;
use super::polling::{closed_class, closed_error};
use super::source::{LastTry, Ready, Source};
use crate::greenlet::{Here, here, this_thread};
use crate::py::ffi::{self, Py_ssize_t, PyMethodDef, PyObject};
use crate::py::object::Object;
use crate::py::{self, Args, ClassCell, Gil, Owned, Payload, Pending, Raised, Result, Slot, This};
use class::socket_class;
use classes::{DEFAULT_TIMEOUT, PLAIN_SOCKETS, PySocket, fill_names, names, overrides, set_classes};
use descriptor::descriptor_class;
use limit::takes_timeout;
use wait::{Failure, errno, seconds_object, wait_natively};
use whole::{Side, Whole};

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, with the lock held.
    unsafe {
        fill_names()?;
        stream::fill()?;
        socket_class().build(module)?;
        descriptor_class().build(module)
    }
}

/// The functions of the module about sockets.
pub fn functions() -> Vec<PyMethodDef> {
    let mut functions = file::functions();
    functions.push(limit::function());
    functions.push(py::function(
        c"_set_socket_classes",
        set_classes,
        c"_set_socket_classes(plain, original, sample, green, getdefaulttimeout)\n--\n\nSays which classes sockets are \
          of. *sample* is a TCP socket of the class *original* with a timeout of 5 seconds, or None: nothing is \
          then believed of how they lie in memory.",
    ));
    functions
}

// ---------------------------------------------------------------------------------------------------------------------
// The socket

/// A green socket.
pub struct Socket {
    wrapped: Slot,
    /// The wrapped object is a plain `socket.socket`.
    is_plain: Cell<bool>,
    /// Seconds; negative for no limit.
    timeout: Cell<f64>,
    non_blocking: Cell<bool>,
    /// Found to be closed behind its back.
    closed: Cell<bool>,
    /// A caller that asks for the wrapped socket gets a non-blocking one.
    lends: Cell<bool>,
    /// The program knows the descriptor's number, or has a copy.
    known: Cell<bool>,
    /// We have made the descriptor non-blocking for good, although the socket has no timeout.
    flag_is_ours: Cell<bool>,
    source: Source,
}

static SOCKET: ClassCell = ClassCell::unbuilt();

impl Payload for Socket {
    const NAME: &'static CStr = c"greenloom._native.GreenSocket";
    const DOC: &'static CStr = c"The base of eventlet's green socket.";

    fn cell() -> &'static ClassCell {
        &SOCKET
    }

    fn new() -> Socket {
        Socket {
            wrapped: Slot::empty(),
            is_plain: Cell::new(false),
            timeout: Cell::new(-1.0),
            non_blocking: Cell::new(false),
            closed: Cell::new(false),
            lends: Cell::new(false),
            known: Cell::new(false),
            flag_is_ours: Cell::new(false),
            source: Source::new(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.wrapped.get());
        self.source.visit(visit);
    }

    fn clear(&self) {
        self.wrapped.set(None);
        self.is_plain.set(false);
    }

    fn end(&self, gil: Gil<'_>) {
        self.source.detach(gil, self.fd());
    }
}

impl Socket {
    /// Wraps an object.
    fn wrap(&self, wrapped: Owned) {
        // SAFETY: a live object; classes are compared.
        let kind: *mut PyObject = unsafe { ffi::Py_TYPE(wrapped.as_ptr()).cast() };
        let plain = PLAIN_SOCKETS.iter().any(|class| class.object() == kind);
        self.is_plain.set(plain);
        self.wrapped.set(Some(wrapped));
    }

    /// The plain socket's own state.
    #[inline]
    fn plain(&self) -> Option<&PySocket> {
        // SAFETY: plain sockets begin so, and the slot keeps it.
        self.is_plain.get().then(|| unsafe { &*self.wrapped.get().cast::<PySocket>() })
    }

    /// The descriptor of a plain socket; -1 if it is closed or none.
    #[inline]
    fn fd(&self) -> RawFd {
        self.plain().map_or(-1, |plain| plain.fd)
    }

    /// Whether operations are native: neither in non-blocking mode nor around another kind of object.
    #[inline]
    fn is_native(&self) -> bool {
        self.is_plain.get() && !self.non_blocking.get()
    }

    #[inline]
    fn is_stream(&self) -> bool {
        self.plain().is_some_and(|plain| plain.kind == libc::SOCK_STREAM)
    }

    fn is_unix(&self) -> bool {
        self.plain().is_some_and(|plain| plain.family == libc::AF_UNIX)
    }

    fn is_shut_down_datagram(&self) -> bool {
        self.plain().is_some_and(|plain| plain.kind & 0xf == libc::SOCK_DGRAM && connect::is_shut_down(plain.fd))
    }

    /// Whether the descriptor is blocking, as far as the wrapped socket knows.
    fn is_blocking(&self) -> bool {
        self.plain().is_some_and(|plain| plain.fd >= 0 && plain.timeout < 0)
    }

    /// Makes the descriptor non-blocking until it is given away.
    #[cold]
    fn set_our_flag(&self) -> Result<()> {
        set_blocking(self, false)?;
        self.flag_is_ours.set(true);
        Ok(())
    }

    /// Takes that back.
    #[cold]
    fn take_our_flag_back(&self) -> Result<()> {
        if self.flag_is_ours.replace(false) && self.fd() >= 0 && self.timeout.get() < 0.0 {
            set_blocking(self, true)?;
        }
        Ok(())
    }

    /// Whether the program has made the descriptor non-blocking behind the socket's back. It cannot have, and nothing
    /// is asked, as long as it has neither the wrapped socket nor the descriptor's number.
    fn must_not_wait(&self) -> bool {
        let is_ours_alone = self.lends.get() && !self.known.get();
        if is_ours_alone || self.timeout.get() >= 0.0 || !self.is_blocking() {
            return false;
        }
        // SAFETY: reads flags; a bad descriptor is an error, and has none.
        let flags = unsafe { libc::fcntl(self.fd(), libc::F_GETFL) };
        flags > 0 && flags & libc::O_NONBLOCK != 0
    }

    /// Calls a system function until it does not block, and parks in between. The function gets the descriptor and
    /// returns a negative number for an error. `flags` are those that the program gave: they may say not to wait.
    /// Writing the first part of a `whole` begins with a try whatever is known, since room for a few bytes makes no
    /// edge.
    #[inline(always)]
    fn attempt(
        this: This<'_, Socket>,
        direction: Direction,
        flags: c_int,
        whole: &Whole,
        mut call: impl FnMut(RawFd) -> isize,
    ) -> std::result::Result<usize, Failure> {
        let thread = here(this.gil())?;
        spend(thread, SYSTEM_CALL)?;
        // An urgent byte is there or not, whatever is known of the stream.
        let never =
            libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | if direction == Direction::Read { libc::MSG_OOB } else { 0 };
        let waits = flags & never == 0;
        let tries = !waits || direction == Direction::Write && !whole.has_begun.get();
        let (tries, is_last, last_try) = (Cell::new(tries), Cell::new(false), Cell::default());
        let side = Side { this, thread, direction, waits, whole, tries, is_last, last_try };
        attempt(&side, || {
            let result = call(this.fd());
            if result >= 0 {
                whole.has_begun.set(true);
                return Tried::Done(Ok(result.unsigned_abs()));
            }
            match errno() {
                // SAFETY: `This` says that the lock is held.
                libc::EINTR if unsafe { ffi::PyErr_CheckSignals() } < 0 => Tried::Done(Err(Failure::Raised)),
                libc::EINTR => Tried::Interrupted,
                // As on a broken connection, which every receive takes for the end.
                libc::EAGAIN if direction == Direction::Read && waits && this.is_shut_down_datagram() => {
                    Tried::Done(Err(Failure::Os(libc::ESHUTDOWN)))
                }
                libc::EAGAIN => Tried::WouldBlock,
                code => Tried::Done(Err(Failure::Os(code))),
            }
        })?
    }

    /// A read took all there was, or a write filled all the room. No code of others runs in here: what was read may not
    /// have been copied yet.
    fn exhausted(&self, direction: Direction) {
        // SAFETY: the operation has used the thread's record, with the lock held.
        let thread = unsafe { this_thread() };
        if let Some(hub) = hub_ref::native(&thread) {
            self.source.clear_ready(thread, hub, direction);
        }
    }

    /// Something was written: who waits to read it at the other end, if that is a green socket too, goes on next.
    #[inline]
    fn hand_over(&self) {
        // SAFETY: the operation has used the thread's record, with the lock held.
        let thread = unsafe { this_thread() };
        if let Some(hub) = hub_ref::native(&thread) {
            self.source.hand_over(thread, hub);
        }
    }

    /// Parks until another try is worth it; [`Ready::Busy`] if the first one has to come before it can be said whether.
    fn wait(
        this: This<'_, Socket>,
        thread: Here<'_>,
        direction: Direction,
        last_try: LastTry,
        deadline: Option<Time>,
    ) -> std::result::Result<Ready, Failure> {
        let gil = this.gil();
        if this.closed.get() {
            let error = closed_error(gil)?;
            // SAFETY: an exception.
            unsafe { super::ticket::restore(&error, None) };
            return Err(Failure::Raised);
        }
        if this.must_not_wait() {
            return Err(Failure::Os(libc::EAGAIN));
        }
        let waited = if overrides(this)?.trampoline {
            Ok(None)
        } else {
            wait_natively(&this.source, thread, this.fd(), direction, last_try, deadline)
        };
        let result = match waited {
            Ok(Some(Ready::TimedOut)) => return Err(this.gives_up()),
            Ok(Some(ready)) => return Ok(ready),
            Ok(None) => Socket::wait_through_python(this, direction, deadline).map(|()| Ready::Yes),
            Err(Raised) => Err(Raised),
        };
        // SAFETY: after an error an exception is pending.
        if result.is_err() && unsafe { takes_timeout(deadline) } {
            return Err(this.gives_up());
        }
        if result.is_err() && this.is_closed_error(gil) {
            this.closed.set(true);
            if this.fd() < 0 {
                // By its owner: that is an error like any other.
                // SAFETY: `This` says that the lock is held.
                unsafe { ffi::PyErr_Clear() };
                return Err(Failure::Os(libc::EBADF));
            }
        }
        Ok(result?)
    }

    #[cold]
    fn wait_through_python(this: This<'_, Socket>, direction: Direction, deadline: Option<Time>) -> Result<()> {
        let seconds = match deadline {
            Some(at) => seconds_object(this.gil(), at.since(monotonic()).as_secs_f64())?,
            None => Owned::none(this.gil()),
        };
        let wrapped = this.wrapped.object().ok_or(Raised)?;
        let verb = if direction == Direction::Read { c"read" } else { c"write" };
        // SAFETY: live objects, as the formats say.
        unsafe {
            let error =
                Owned::new(ffi::PyObject_CallFunction(ffi::PyExc_TimeoutError, c"s".as_ptr(), c"timed out".as_ptr()))?;
            let args = Owned::new(ffi::PyTuple_Pack(1, wrapped.as_ptr()))?;
            let keywords = Owned::new(ffi::Py_BuildValue(
                c"{s:O,s:O,s:O}".as_ptr(),
                verb.as_ptr(),
                ffi::Py_True(),
                c"timeout".as_ptr(),
                seconds.as_ptr(),
                c"timeout_exc".as_ptr(),
                error.as_ptr(),
            ))?;
            let method = this.as_object().attribute(names().trampoline)?;
            Owned::new(ffi::PyObject_Call(method.as_ptr(), args.as_ptr(), keywords.as_ptr())).map(drop)
        }
    }

    /// Whether the pending exception says that the file is closed.
    #[cold]
    fn is_closed_error(&self, gil: Gil<'_>) -> bool {
        let pending = Pending::take(gil);
        let class = closed_class(gil);
        // SAFETY: the token says that the lock is held; the exception is pending again.
        unsafe {
            if class.is_err() {
                ffi::PyErr_Clear();
            }
            pending.put_back();
            class.is_ok_and(|class| ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0)
        }
    }

    /// In place of the pending exception, if that says that the file is closed: another one, of this class.
    #[cold]
    fn replace_closed_error<T>(&self, exception: Object<'_>, code: c_int, message: &str) -> Result<T> {
        let gil = exception.gil();
        if !self.is_closed_error(gil) {
            return Err(Raised);
        }
        // SAFETY: live objects, with the lock held.
        unsafe {
            ffi::PyErr_Clear();
            if code == 0 {
                ffi::PyErr_SetNone(exception.as_ptr());
                return Err(Raised);
            }
            let message = py::string(gil, message)?;
            let args = Owned::new(ffi::Py_BuildValue(c"iO".as_ptr(), code, message.as_ptr()))?;
            ffi::PyErr_SetObject(exception.as_ptr(), args.as_ptr());
        }
        Err(Raised)
    }
}

/// Makes the wrapped socket and its descriptor blocking or not.
#[cold]
fn set_blocking(socket: &Socket, blocking: bool) -> Result<()> {
    let Some(wrapped) = socket.wrapped.object() else { return Ok(()) };
    let flag = Owned::bool(wrapped.gil(), blocking);
    // SAFETY: live objects.
    unsafe { py::call_method(wrapped.as_ptr(), names().setblocking.as_ptr(), [flag.as_ptr()]).map(drop) }
}

/// After the timeout was set: the descriptor is as CPython would have it. One that was closed is left alone.
fn follow_timeout(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    let blocking = this.timeout.get() < 0.0;
    let is_open = this.plain().is_some_and(|plain| plain.fd >= 0);
    if is_open && blocking != this.is_blocking() && !(blocking && this.flag_is_ours.get()) {
        set_blocking(&this, blocking)?;
    }
    Ok(Owned::none(this.gil()))
}

/// Calls the Python method that does what is rare.
#[cold]
fn slowly(this: This<'_, Socket>, name: Object<'_>, args: Args<'_>) -> Result<Owned> {
    let (positional, keywords) = args.rest(0)?;
    let keywords = keywords.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
    let method = this.as_object().attribute(name)?;
    // SAFETY: live objects, a tuple and a dict or null.
    unsafe { Owned::new(ffi::PyObject_Call(method.as_ptr(), positional.as_ptr(), keywords)) }
}

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
}

/// Cuts bytes.
///
/// # Safety
/// Bytes that nobody else has seen.
unsafe fn resize(bytes: Owned, size: usize) -> Result<Owned> {
    // SAFETY: bytes that nobody else has seen; the reference is handed over and comes back.
    unsafe {
        if ffi::PyBytes_Size(bytes.as_ptr()) == size as Py_ssize_t {
            return Ok(bytes);
        }
        let mut bytes = bytes.into_raw();
        if _PyBytes_Resize(&mut bytes, size as Py_ssize_t) < 0 { Err(Raised) } else { Owned::new(bytes) }
    }
}

/// The number in an argument, as C's functions take it.
fn small_integer(object: Object<'_>) -> Result<c_int> {
    let value = object.number()?;
    c_int::try_from(value).or_else(|_| py::overflow_error(object.gil(), "signed integer is greater than maximum"))
}

/// The flags of a call; 0 where none are given.
fn flags_or_zero(flags: Option<Object<'_>>) -> Result<c_int> {
    flags.map_or(Ok(0), small_integer)
}
