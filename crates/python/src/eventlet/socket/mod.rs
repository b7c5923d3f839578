//! Green sockets and descriptors: the operations that wait, try first and park only if that would block.
//!
//! [`Socket`] is the base of `eventlet.greenio.GreenSocket`. It wraps a `socket.socket` and makes the system call
//! itself. What is rare goes through a method in Python: the operation's name with `_slow_` before it. That are sockets
//! in non-blocking mode, wrapped objects of another class, and addresses other than of the internet.
//!
//! # Whose non-blocking flag is it?
//!
//! A flag of a descriptor is one of its open file description, which others may share: children, peers of a prefork
//! server, whoever gets it by `detach`. So a green socket's descriptor is as CPython would have it: blocking without a
//! timeout, non-blocking with one. Calls say by a flag of their own that they do not wait (`MSG_DONTWAIT`); `connect`
//! has none, and is non-blocking for the moment of the call. Two things set the flag for good, and `detach` takes it
//! back: `accept`, since another process may take the connection that was announced, and whoever asks for the wrapped
//! socket itself (`fd`), which is non-blocking on stock. Where the *program* has set it behind the socket's back, it
//! means what it says: what would block raises BlockingIOError.
//!
//! A wait is native if the hub is; otherwise, and if `_trampoline` is overridden, it is a call of `_trampoline`.
//!
//! [`descriptor`]: the same wait for what is no socket of ours, TLS sockets and pipes. [`file`]: reading and writing of
//! pipes and whatever else there is.

mod connect;
mod descriptor;
mod file;
mod transfer;
mod wait;

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem;
use std::os::fd::RawFd;
use std::ptr;

use ::hub::attempt::{Endpoint, Tried, attempt};
use ::hub::{Direction, Time};

use super::clock::monotonic;
use super::fairness::{SYSTEM_CALL, spend};
use super::hub_class::{note_closing, note_opened};
use super::hub_ref;
use super::polling::{closed_class, closed_error};
use super::source::{Ready, Source};
use crate::greenlet::{Thread, this_thread};
use crate::py::ffi::{self, Py_ssize_t, PyMethodDef, PyObject, PyTypeObject};
use crate::py::{
    self, Args, Class, ClassCell, Global, GlobalObject, Owned, Payload, Pending, Raised, Result, Slot, This, assumed,
};
use connect::{accept, connect, connect_ex, connect_now};
use descriptor::descriptor_class;
use transfer::{recv, recv_into, recvfrom, send, sendall};
use wait::{deadline_after, errno, here, os_error, seconds_object, seconds_or_none, timed_out, wait_natively};

/// How an object of `_socket` begins, in all versions.
#[repr(C)]
struct PySocket {
    ob_base: PyObject,
    fd: c_int,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    error_handler: *mut c_void,
    /// In nanoseconds; negative for none.
    timeout: i64,
}

// ---------------------------------------------------------------------------------------------------------------------
// What Python tells once

/// `socket.socket`, and that of the unpatched copy of the module; null if their objects do not begin as [`PySocket`].
static PLAIN_SOCKETS: [GlobalObject; 2] = [const { GlobalObject::null() }; 2];

/// Methods of `GreenSocket` as it was defined: `_trampoline`, `send` and `__init__`.
static OWN_METHODS: [GlobalObject; 3] = [const { GlobalObject::null() }; 3];

/// `socket.getdefaulttimeout`.
static DEFAULT_TIMEOUT: GlobalObject = GlobalObject::null();

/// Names, interned.
struct Names {
    recv: *mut PyObject,
    recv_into: *mut PyObject,
    recvfrom: *mut PyObject,
    send: *mut PyObject,
    sendall: *mut PyObject,
    accept: *mut PyObject,
    connect: *mut PyObject,
    connect_ex: *mut PyObject,
    trampoline: *mut PyObject,
    init: *mut PyObject,
    plain_connect_ex: *mut PyObject,
    fileno: *mut PyObject,
    close: *mut PyObject,
    detach: *mut PyObject,
    io_refs: *mut PyObject,
    plain_send: *mut PyObject,
    setblocking: *mut PyObject,
    shut: *mut PyObject,
}

static NAMES: Global<Option<Names>> = Global::new(None);

fn names() -> &'static Names {
    // SAFETY: set at import, and never again.
    unsafe { (*NAMES.get()).as_ref().expect("set at import") }
}

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word; the strings live for ever.
    unsafe {
        let intern = |name: &CStr| Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr())).map(Owned::into_raw);
        *NAMES.get() = Some(Names {
            recv: intern(c"_slow_recv")?,
            recv_into: intern(c"_slow_recv_into")?,
            recvfrom: intern(c"_slow_recvfrom")?,
            send: intern(c"_slow_send")?,
            sendall: intern(c"_slow_sendall")?,
            accept: intern(c"_slow_accept")?,
            connect: intern(c"_slow_connect")?,
            connect_ex: intern(c"_slow_connect_ex")?,
            trampoline: intern(c"_trampoline")?,
            init: intern(c"__init__")?,
            plain_connect_ex: intern(c"connect_ex")?,
            fileno: intern(c"fileno")?,
            close: intern(c"close")?,
            detach: intern(c"detach")?,
            io_refs: intern(c"_io_refs")?,
            plain_send: intern(c"send")?,
            setblocking: intern(c"setblocking")?,
            shut: intern(c"_closed")?,
        });
        socket_class().build(module)?;
        descriptor_class().build(module)
    }
}

/// The functions of the module about sockets.
pub fn functions() -> Vec<PyMethodDef> {
    let mut functions = file::functions();
    functions.push(py::function(
        c"_set_socket_classes",
        set_classes,
        c"_set_socket_classes(plain, original, sample, green, getdefaulttimeout)\n\nSays which classes sockets are of. *sample* is a \
          TCP socket of the class *original* with a timeout of 5 seconds.",
    ));
    functions
}

/// The timeout of the sample, in nanoseconds.
const SAMPLE_TIMEOUT: i64 = 5_000_000_000;

fn set_classes(args: Args<'_>) -> Result<Owned> {
    let parameters = ["plain", "original", "sample", "green", "getdefaulttimeout"];
    let [plain, original, sample, green, default_timeout] = args.parse("_set_socket_classes", parameters, 5)?;
    // SAFETY: called by the interpreter; the layout is believed only if it fits.
    unsafe {
        let fd = Owned::new(ffi::PyObject_GetAttr(sample, names().fileno))?;
        let fd = py::integer(py::call(fd.as_ptr(), [])?.as_ptr())?;
        let layout = sample.cast::<PySocket>();
        let fits = (*ffi::Py_TYPE(sample)).tp_basicsize as usize >= mem::size_of::<PySocket>()
            && i64::from((*layout).fd) == fd
            && (*layout).family == libc::AF_INET
            && (*layout).kind == libc::SOCK_STREAM
            && (*layout).timeout == SAMPLE_TIMEOUT;
        for (class, kept) in [plain, original].into_iter().zip(&PLAIN_SOCKETS) {
            kept.set(if fits { ffi::incref(class) } else { ptr::null_mut() });
        }
        for (own, name) in OWN_METHODS.iter().zip([names().trampoline, names().plain_send, names().init]) {
            own.set(Owned::new(ffi::PyObject_GetAttr(green, name))?.into_raw());
        }
        DEFAULT_TIMEOUT.set(ffi::incref(default_timeout));
    }
    Ok(Owned::none(assumed()))
}

/// What a class, or an instance, has of its own in place of the methods of `GreenSocket` itself.
#[derive(Clone, Copy, Default)]
struct Overrides {
    trampoline: bool,
    send: bool,
    init: bool,
}

/// The class that was looked at last, its version then, and what was found.
static LOOKED_AT: Global<(*mut PyTypeObject, c_uint, Overrides)> =
    Global::new((ptr::null_mut(), 0, Overrides { trampoline: false, send: false, init: false }));

fn overrides(this: This<'_, Socket>) -> Result<Overrides> {
    // SAFETY: live objects, with the interpreter's lock held.
    unsafe {
        let kind = ffi::Py_TYPE(this.as_ptr());
        let (known, version, found) = *LOOKED_AT.get();
        // The version is zero while unknown, and changes with each change of the class or of a base.
        let mut found = if known == kind && version == (*kind).tp_version_tag && version != 0 {
            found
        } else {
            let found = overrides_of_class(kind)?;
            *LOOKED_AT.get() = (kind, (*kind).tp_version_tag, found);
            found
        };
        let own = this.dict();
        if !own.is_null() && ffi::PyDict_Size(own) > 0 {
            found.trampoline |= ffi::PyDict_Contains(own, names().trampoline) > 0;
            found.send |= ffi::PyDict_Contains(own, names().plain_send) > 0;
        }
        Ok(found)
    }
}

#[cold]
unsafe fn overrides_of_class(kind: *mut PyTypeObject) -> Result<Overrides> {
    // SAFETY: a live class; what is looked up is compared only.
    unsafe {
        let differs = |name: *mut PyObject, own: &GlobalObject| -> Result<bool> {
            let found = Owned::new(ffi::PyObject_GetAttr(kind.cast(), name))?;
            Ok(found.as_ptr() != own.object())
        };
        let [trampoline, send, init] = &OWN_METHODS;
        Ok(Overrides {
            trampoline: differs(names().trampoline, trampoline)?,
            send: differs(names().plain_send, send)?,
            init: differs(names().init, init)?,
        })
    }
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
    /// Who asks for the wrapped socket gets a non-blocking one.
    lends: Cell<bool>,
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
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: deallocated with the interpreter's lock.
        unsafe { self.source.detach(self.fd()) };
    }
}

/// Why an operation of a socket has no result.
enum Failure {
    /// An exception is pending.
    Raised,
    /// The operating system's number for it.
    Os(c_int),
}

impl From<Raised> for Failure {
    fn from(_: Raised) -> Failure {
        Failure::Raised
    }
}

impl Failure {
    #[cold]
    fn raise<T>(self) -> Result<T> {
        match self {
            Failure::Raised => Err(Raised),
            Failure::Os(code) => os_error(code),
        }
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

    /// Whether the program has made the descriptor non-blocking behind the socket's back.
    fn must_not_wait(&self) -> bool {
        if self.timeout.get() >= 0.0 || !self.is_blocking() {
            return false;
        }
        // SAFETY: reads flags; a bad descriptor is an error, and has none.
        let flags = unsafe { libc::fcntl(self.fd(), libc::F_GETFL) };
        flags > 0 && flags & libc::O_NONBLOCK != 0
    }

    /// Calls a system function until it does not block, and parks in between. The function gets the descriptor and
    /// returns a negative number for an error. `flags` are those that the program gave: they may say not to wait.
    /// Writing begins with a try whatever is known, since room for a few bytes makes no edge, unless it `goes_on`.
    #[inline(always)]
    fn attempt(
        this: This<'_, Socket>,
        direction: Direction,
        flags: c_int,
        goes_on: bool,
        mut call: impl FnMut(RawFd) -> isize,
    ) -> std::result::Result<usize, Failure> {
        let thread = here()?;
        // SAFETY: called by the interpreter, in the thread.
        unsafe { spend(thread, SYSTEM_CALL)? };
        let waits = flags & (libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE) == 0;
        let tries = !waits || direction == Direction::Write && !goes_on;
        let side = Side { this, thread, direction, waits, tries: Cell::new(tries), refused: Cell::new(false) };
        attempt(&side, || {
            let result = call(this.fd());
            if result >= 0 {
                return Tried::Done(Ok(result.unsigned_abs()));
            }
            match errno() {
                // SAFETY: called by the interpreter.
                libc::EINTR if unsafe { ffi::PyErr_CheckSignals() } < 0 => Tried::Done(Err(Failure::Raised)),
                libc::EINTR => Tried::Interrupted,
                libc::EAGAIN => Tried::WouldBlock,
                code => Tried::Done(Err(Failure::Os(code))),
            }
        })?
    }

    /// A read took all there was, or a write filled all the room. No code of others runs in here: what was read may not
    /// have been copied yet.
    fn exhausted(&self, direction: Direction) {
        // SAFETY: called by the interpreter, in a thread whose record the operation has used.
        unsafe {
            let thread = this_thread();
            if let Some(hub) = hub_ref::native(thread) {
                self.source.clear_ready(thread, hub, direction);
            }
        }
    }

    /// Parks until another try is worth it.
    fn wait(
        this: This<'_, Socket>,
        thread: &Thread,
        direction: Direction,
        refused: bool,
        deadline: Option<Time>,
    ) -> Result<()> {
        // SAFETY: called by the interpreter, in the thread.
        unsafe {
            if this.closed.get() {
                let error = closed_error()?;
                super::ticket::restore(&error, None);
                return Err(Raised);
            }
            if this.must_not_wait() {
                return os_error(libc::EAGAIN);
            }
            let waited = if overrides(this)?.trampoline {
                Ok(None)
            } else {
                wait_natively(&this.source, thread, this.fd(), direction, refused, deadline)
            };
            let result = match waited {
                Ok(Some(Ready::TimedOut)) => return timed_out(),
                Ok(Some(_)) => return Ok(()),
                Ok(None) => Socket::wait_through_python(this, direction, deadline),
                Err(Raised) => Err(Raised),
            };
            if result.is_err() && this.is_closed_error() {
                this.closed.set(true);
                if this.fd() < 0 {
                    // By its owner: that is an error like any other.
                    ffi::PyErr_Clear();
                    return os_error(libc::EBADF);
                }
            }
            result
        }
    }

    #[cold]
    fn wait_through_python(this: This<'_, Socket>, direction: Direction, deadline: Option<Time>) -> Result<()> {
        // SAFETY: called by the interpreter; all are live objects.
        unsafe {
            let seconds = match deadline {
                Some(at) => seconds_object(at.since(monotonic()).as_secs_f64())?,
                None => Owned::none(assumed()),
            };
            let error =
                Owned::new(ffi::PyObject_CallFunction(ffi::PyExc_TimeoutError, c"s".as_ptr(), c"timed out".as_ptr()))?;
            let wrapped = this.wrapped.object().ok_or(Raised)?;
            let args = Owned::new(ffi::PyTuple_Pack(1, wrapped.as_ptr()))?;
            let verb = if direction == Direction::Read { c"read" } else { c"write" };
            let keywords = Owned::new(ffi::Py_BuildValue(
                c"{s:O,s:O,s:O}".as_ptr(),
                verb.as_ptr(),
                ffi::Py_True(),
                c"timeout".as_ptr(),
                seconds.as_ptr(),
                c"timeout_exc".as_ptr(),
                error.as_ptr(),
            ))?;
            let method = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), names().trampoline))?;
            Owned::new(ffi::PyObject_Call(method.as_ptr(), args.as_ptr(), keywords.as_ptr())).map(drop)
        }
    }

    /// Whether the pending exception says that the file is closed.
    #[cold]
    fn is_closed_error(&self) -> bool {
        // SAFETY: an exception is pending; it is kept.
        unsafe {
            let pending = Pending::take(assumed());
            let class = closed_class();
            if class.is_err() {
                ffi::PyErr_Clear();
            }
            pending.put_back();
            class.is_ok_and(|class| ffi::PyErr_ExceptionMatches(class.as_ptr()) != 0)
        }
    }

    /// In place of the pending exception, if that says that the file is closed: another one.
    #[cold]
    fn replace_closed_error<T>(&self, exception: *mut PyObject, code: c_int, message: &str) -> Result<T> {
        if !self.is_closed_error() {
            return Err(Raised);
        }
        // SAFETY: called with the interpreter's lock.
        unsafe {
            ffi::PyErr_Clear();
            if code == 0 {
                ffi::PyErr_SetNone(exception);
                return Err(Raised);
            }
            let message = py::string(assumed(), message)?;
            let args = Owned::new(ffi::Py_BuildValue(c"iO".as_ptr(), code, message.as_ptr()))?;
            ffi::PyErr_SetObject(exception, args.as_ptr());
        }
        Err(Raised)
    }
}

/// One direction of a socket, in which an operation is attempted.
struct Side<'a> {
    this: This<'a, Socket>,
    thread: &'a Thread,
    direction: Direction,
    /// Parks; otherwise it raises what says that it would block.
    waits: bool,
    /// The first try is made whatever is known.
    tries: Cell<bool>,
    /// The last try would have blocked.
    refused: Cell<bool>,
}

impl Endpoint for Side<'_> {
    type Error = Failure;

    #[inline]
    fn is_ready(&self) -> std::result::Result<bool, Failure> {
        let (this, thread) = (self.this, self.thread);
        let knows = |hub| {
            // SAFETY: called by the interpreter, in the thread.
            unsafe { this.source.is_ready(thread, hub, self.direction) }
        };
        Ok(self.tries.replace(false) || hub_ref::native(thread).is_none_or(knows))
    }

    #[inline]
    fn would_block(&self) {
        self.refused.set(true);
    }

    fn deadline(&self) -> Option<Time> {
        deadline_after(self.this.timeout.get())
    }

    fn wait(&self, deadline: Option<Time>) -> std::result::Result<(), Failure> {
        if !self.waits {
            return Err(Failure::Os(libc::EAGAIN));
        }
        let refused = self.refused.replace(false);
        Ok(Socket::wait(self.this, self.thread, self.direction, refused, deadline)?)
    }
}

/// Makes the wrapped socket and its descriptor blocking or not.
#[cold]
fn set_blocking(socket: &Socket, blocking: bool) -> Result<()> {
    let Some(wrapped) = socket.wrapped.object() else { return Ok(()) };
    let flag = Owned::bool(wrapped.gil(), blocking);
    // SAFETY: live objects.
    unsafe { py::call_method(wrapped.as_ptr(), names().setblocking, [flag.as_ptr()]).map(drop) }
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
fn slowly(this: This<'_, Socket>, name: *mut PyObject, args: Args<'_>) -> Result<Owned> {
    let (positional, keywords) = args.rest(0)?;
    let keywords = keywords.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
    // SAFETY: live objects.
    unsafe {
        let method = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), name))?;
        Owned::new(ffi::PyObject_Call(method.as_ptr(), positional.as_ptr(), keywords))
    }
}

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
}

/// Cuts bytes that nobody else has seen.
///
/// # Safety
/// The interpreter's lock is held.
unsafe fn resize(bytes: Owned, size: usize) -> Result<Owned> {
    // SAFETY: the caller's word; the reference is handed over and comes back.
    unsafe {
        if ffi::PyBytes_Size(bytes.as_ptr()) == size as Py_ssize_t {
            return Ok(bytes);
        }
        let mut bytes = bytes.into_raw();
        if _PyBytes_Resize(&mut bytes, size as Py_ssize_t) < 0 { Err(Raised) } else { Owned::new(bytes) }
    }
}

fn small_integer(object: *mut PyObject) -> Result<c_int> {
    if object.is_null() {
        return Ok(0);
    }
    // SAFETY: a live object, with the interpreter's lock held.
    unsafe {
        c_int::try_from(py::integer(object)?)
            .or_else(|_| py::error(ffi::PyExc_OverflowError, "signed integer is greater than maximum"))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The life of a socket

fn opened(_: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let [fd] = args.parse("_note_opened", ["fileno"], 1)?;
    // SAFETY: called by the interpreter.
    unsafe { note_opened(here()?, small_integer(fd)?)? };
    Ok(Owned::none(assumed()))
}

fn wrapped(this: This<'_, Socket>) -> Result<Owned> {
    Ok(this.wrapped.object().unwrap_or_else(|| Owned::none(assumed())))
}

/// The wrapped socket for the program, which finds it non-blocking.
fn lent(this: This<'_, Socket>) -> Result<Owned> {
    if this.lends.replace(false) && this.is_blocking() {
        this.set_our_flag()?;
    }
    wrapped(this)
}

fn set_wrapped(this: This<'_, Socket>, value: Option<Owned>) -> Result<()> {
    // SAFETY: called by the interpreter.
    unsafe { this.source.detach(this.fd()) };
    this.lends.set(false);
    this.flag_is_ours.set(false);
    match value {
        Some(value) if !value.is_none() => this.wrap(value),
        _ => this.clear(),
    }
    Ok(())
}

/// Hands a method on to the wrapped object: what the fall-back in [`attribute`] would do, without an AttributeError
/// first.
fn hand_on(this: This<'_, Socket>, name: &'static CStr, args: Args<'_>) -> Result<Owned> {
    // SAFETY: live objects.
    unsafe {
        let method = attribute_of_wrapped(this, name)?;
        let (positional, keywords) = args.rest(0)?;
        let keywords = keywords.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
        Owned::new(ffi::PyObject_Call(method.as_ptr(), positional.as_ptr(), keywords))
    }
}

fn attribute_of_wrapped(this: This<'_, Socket>, name: &CStr) -> Result<Owned> {
    let wrapped = this.wrapped.object().unwrap_or_else(|| Owned::none(assumed()));
    // SAFETY: live objects.
    unsafe { Owned::new(ffi::PyObject_GetAttrString(wrapped.as_ptr(), name.as_ptr())) }
}

/// Calls a method of the wrapped object.
fn call_wrapped(this: This<'_, Socket>, name: *mut PyObject) -> Result<Owned> {
    let Some(wrapped) = this.wrapped.object() else { return Ok(Owned::none(assumed())) };
    // SAFETY: live objects.
    unsafe { py::call_method(wrapped.as_ptr(), name, []) }
}

fn fileno(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    match this.plain() {
        // SAFETY: called by the interpreter.
        Some(plain) => unsafe { Owned::new(ffi::PyLong_FromLong(plain.fd.into())) },
        None => call_wrapped(this, names().fileno),
    }
}

fn close(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    if let Some(plain) = this.plain() {
        // SAFETY: called by the interpreter.
        unsafe {
            let files = Owned::new(ffi::PyObject_GetAttr(this.wrapped.get(), names().io_refs))?;
            if plain.fd >= 0 && py::integer(files.as_ptr())? <= 0 {
                forget_file(&this.source, plain.fd)?;
            }
        }
    }
    call_wrapped(this, names().close)
}

fn detach(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    forget(this, args)?;
    this.take_our_flag_back()?;
    call_wrapped(this, names().detach)
}

fn forget(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe { forget_file(&this.source, this.fd())? };
    Ok(Owned::none(assumed()))
}

/// A descriptor is about to be closed or given away: who waits for it here, in whatever way, hears of that.
unsafe fn forget_file(source: &Source, fd: RawFd) -> Result<()> {
    // SAFETY: called by the interpreter.
    unsafe {
        source.detach(fd);
        if fd >= 0 { note_closing(here()?, fd) } else { Ok(()) }
    }
}

/// Closes a socket that nobody refers to any more.
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn finalize(object: *mut PyObject) {
    // SAFETY: called by the interpreter; a pending exception is kept.
    unsafe {
        let this = This::<Socket>::of(object);
        if this.wrapped.get().is_null() || this.plain().is_some_and(|plain| plain.fd < 0) {
            return;
        }
        let pending = Pending::take(this.gil());
        if ffi::PyErr_ResourceWarning(object, 1, c"unclosed %R".as_ptr(), object) < 0 {
            // Not for a warning that was made an error, which nobody could catch.
            ffi::PyErr_WriteUnraisable(object);
        }
        if py::call_method(object, names().close, []).is_err() {
            ffi::PyErr_WriteUnraisable(object);
        }
        pending.put_back();
    }
}

/// Attributes that a green socket does not have are those of the wrapped one.
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn attribute(object: *mut PyObject, name: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    unsafe {
        let found = ffi::PyObject_GenericGetAttr(object, name);
        if !found.is_null() || ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) == 0 {
            return found;
        }
        let Some(wrapped) = This::<Socket>::of(object).wrapped.object() else { return found };
        ffi::PyErr_Clear();
        ffi::PyObject_GetAttr(wrapped.as_ptr(), name)
    }
}

fn trampoline(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let parameters = ["fd", "read", "write", "timeout", "timeout_exc"];
    let given = args.parse("_trampoline", parameters, 1)?;
    // SAFETY: called by the interpreter.
    unsafe {
        if this.closed.get() {
            super::ticket::restore(&closed_error()?, None);
            return Err(Raised);
        }
        let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
        let function = Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"trampoline".as_ptr()))?;
        let mark = Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"_mark_as_closed".as_ptr()))?;
        let or_none = |object: *mut PyObject| if object.is_null() { ffi::Py_None() } else { object };
        let [fd, read, write, timeout, error] = given;
        let error = if error.is_null() { ffi::PyExc_TimeoutError } else { error };
        let args = [fd, or_none(read), or_none(write), or_none(timeout), error, mark.as_ptr()];
        let waited = py::call(function.as_ptr(), args);
        if waited.is_err() && this.is_closed_error() {
            this.closed.set(true);
        }
        waited
    }
}

fn is_shut(this: This<'_, Socket>) -> Result<Owned> {
    let Some(wrapped) = this.wrapped.object() else { return Ok(Owned::bool(this.gil(), true)) };
    // SAFETY: live objects.
    unsafe {
        Owned::new(ffi::PyObject_GetAttr(wrapped.as_ptr(), names().shut)).or_else(|_| {
            ffi::PyErr_Clear();
            Ok(Owned::bool(this.gil(), this.closed.get()))
        })
    }
}

fn mark_as_closed(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    this.closed.set(true);
    Ok(Owned::none(assumed()))
}

fn gettimeout(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    seconds_object(this.timeout.get())
}

fn set_timeout(this: This<'_, Socket>, value: Option<Owned>) -> Result<()> {
    let value = value.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
    this.timeout.set(seconds_or_none(value)?);
    Ok(())
}

/// Adds methods that are handed on to the wrapped object under the same names.
macro_rules! handed_on {
    ($class:expr, $($name:literal),*) => {
        $class$(.method(
            $name,
            |this: This<'_, Socket>, args: Args<'_>| hand_on(this, $name, args),
            c"As the method of socket.socket.",
        ))*
    };
}

fn socket_class() -> Class<Socket> {
    let attribute: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject = attribute;
    let finalize: unsafe extern "C-unwind" fn(*mut PyObject) = finalize;
    let class = Class::new()
        .slot(ffi::Py_tp_getattro, attribute as *mut c_void)
        .slot(ffi::Py_tp_finalize, finalize as *mut c_void)
        .method(c"recv", recv, c"recv(bufsize, flags=0) -> bytes\n\nReceives up to *bufsize* bytes; waits for the first. Empty at the end of the connection.")
        .method(c"recv_into", recv_into, c"recv_into(buffer, nbytes=0, flags=0) -> int\n\nReceives into a buffer, up to its size or *nbytes*; waits for the first.")
        .method(c"recvfrom", recvfrom, c"recvfrom(bufsize, flags=0) -> (bytes, address)\n\nReceives a message; waits for it.")
        .method(c"send", send, c"send(data, flags=0) -> int\n\nSends what there is room for, and says how much; waits for room for the first byte.")
        .method(c"sendall", sendall, c"sendall(data, flags=0)\n\nSends all; waits for room again and again, each time for the timeout at most.")
        .method(c"accept", accept, c"accept() -> (socket, address)\n\nWaits for a connection. Its socket has the default timeout.")
        .method(c"connect", connect, c"connect(address)\n\nConnects, and waits for that.")
        .method(c"connect_ex", connect_ex, c"connect_ex(address) -> int\n\nAs connect(), but returns the error number, 0 for success; EAGAIN when the time is up.")
        .method(c"fileno", fileno, c"fileno() -> int\n\nThe file descriptor; -1 if it is closed.")
        .method(c"close", close, c"close()\n\nCloses the socket when the files made of it are closed. Who waits on it gets an OSError then.")
        .method(c"detach", detach, c"detach() -> int\n\nGives the file descriptor away, open. Who waits on it gets an OSError.")
        .method(c"gettimeout", gettimeout, c"gettimeout() -> float or None\n\nThe timeout in seconds.")
        .method(c"_forget", forget, c"_forget()\n\nThe descriptor is about to be closed: who waits on it tries again.")
        .method(c"_note_opened", opened, c"_note_opened(fileno)\n\nTells the hub of a new file descriptor.")
        .method(c"_mark_as_closed", mark_as_closed, c"_mark_as_closed()\n\nThe file was closed behind our back.")
        .method(
            c"_trampoline",
            trampoline,
            c"_trampoline(fd, read=False, write=False, timeout=None, timeout_exc=None)\n\nWaits through the hub's listeners.",
        )
        .getter(c"family", |this| attribute_of_wrapped(this, c"family"), c"The address family.")
        .getter(c"type", |this| attribute_of_wrapped(this, c"type"), c"The kind of socket.")
        .getter(c"proto", |this| attribute_of_wrapped(this, c"proto"), c"The protocol's number.")
        .method(c"_follow_timeout", follow_timeout, c"_follow_timeout()\n\nThe timeout was set: makes the descriptor blocking or not.")
        .method(
            c"_must_not_wait",
            |this: This<'_, Socket>, _: Args<'_>| Ok(Owned::bool(this.gil(), this.must_not_wait())),
            c"_must_not_wait() -> bool\n\nWhether the program has made the descriptor non-blocking behind the socket's back.",
        )
        .method(c"_connect_now", connect_now, c"_connect_now(address) -> int\n\nconnect_ex() of the wrapped socket, which does not wait.")
        .property(c"fd", lent, set_wrapped, c"The wrapped socket; non-blocking for who asks for it.")
        .getter(c"_wrapped", wrapped, c"The wrapped socket, as it is.")
        .getter(
            c"_is_plain",
            |this| Ok(Owned::bool(this.gil(), this.is_plain.get())),
            c"Whether the wrapped object is a plain socket.socket.",
        )
        .flag(c"_lends", |socket| &socket.lends, c"Whether who asks for `fd` gets a non-blocking socket.")
        .flag(
            c"act_non_blocking",
            |socket| &socket.non_blocking,
            c"Whether operations that would block raise instead.",
        )
        .property(c"_timeout", |this| seconds_object(this.timeout.get()), set_timeout, c"The timeout in seconds, or None.")
        .getter(c"_closed", is_shut, c"Whether the socket was closed or detached.");
    handed_on!(class, c"bind", c"getpeername", c"getsockname", c"getsockopt", c"listen", c"setsockopt", c"shutdown")
}
