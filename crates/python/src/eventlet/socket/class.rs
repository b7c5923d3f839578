//! The type `GreenSocket`: the life of a socket, its attributes, and the table of its methods.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;

use super::super::fairness::{SYSTEM_CALL, pay};
use super::super::hub_functions::{note_closing, note_opened};
use super::super::hub_ref;
use super::super::polling::closed_error;
use super::super::source::Source;
use super::super::ticket::restore;
use super::classes::names;
use super::connect::{accept, connect, connect_ex, connect_now};
use super::limit::{limit, note_option};
use super::transfer::{receive_rest, recv, recv_into, recvfrom, send, send_rest, sendall};
use super::wait::{seconds_object, seconds_or_none};
use super::{Socket, follow_timeout, small_integer};
use crate::greenlet::here;
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Args, Class, Gil, Owned, Payload, Pending, Raised, Result, This};

fn opened(_: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([fd], []) = args.parse("_note_opened", ["fileno"], [])?;
    note_opened(here(args.gil())?, small_integer(fd)?)?;
    Ok(Owned::none(args.gil()))
}

fn wrapped(this: This<'_, Socket>) -> Result<Owned> {
    Ok(this.wrapped.object().unwrap_or_else(|| Owned::none(this.gil())))
}

/// The wrapped socket for the program, which finds it non-blocking.
fn lent(this: This<'_, Socket>) -> Result<Owned> {
    if this.lends.replace(false) && this.is_blocking() {
        this.set_our_flag()?;
    }
    wrapped(this)
}

fn set_wrapped(this: This<'_, Socket>, value: Option<Owned>) -> Result<()> {
    this.source.detach(this.gil(), this.fd());
    this.lends.set(false);
    this.flag_is_ours.set(false);
    match value {
        Some(value) if !value.is_none() => this.wrap(value),
        _ => this.clear(),
    }
    Ok(())
}

/// Hands a method on to the wrapped object: what `GreenSocket.__getattr__` would do, without an AttributeError
/// first. It works while the interpreter ends, too: a socket that is left open then is warned of, with its addresses.
fn hand_on(this: This<'_, Socket>, name: &'static CStr, args: Args<'_>) -> Result<Owned> {
    pay(args.gil(), SYSTEM_CALL)?;
    // SAFETY: live objects.
    unsafe {
        let method = attribute_of_wrapped(this, name)?;
        let (positional, keywords) = args.rest(0)?;
        let keywords = keywords.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
        Owned::new(ffi::PyObject_Call(method.as_ptr(), positional.as_ptr(), keywords))
    }
}

fn attribute_of_wrapped(this: This<'_, Socket>, name: &CStr) -> Result<Owned> {
    let wrapped = this.wrapped.object().unwrap_or_else(|| Owned::none(this.gil()));
    // SAFETY: live objects.
    unsafe { Owned::new(ffi::PyObject_GetAttrString(wrapped.as_ptr(), name.as_ptr())) }
}

/// Calls a method of the wrapped object.
fn call_wrapped(this: This<'_, Socket>, name: Object<'_>) -> Result<Owned> {
    let Some(wrapped) = this.wrapped.object() else { return Ok(Owned::none(this.gil())) };
    // SAFETY: live objects.
    unsafe { py::call_method(wrapped.as_ptr(), name.as_ptr(), []) }
}

fn fileno(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    this.known.set(true);
    match this.plain() {
        // SAFETY: called by the interpreter.
        Some(plain) => unsafe { Owned::new(ffi::PyLong_FromLong(plain.fd.into())) },
        None => call_wrapped(this, names().fileno),
    }
}

fn close(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    if let Some(plain) = this.plain() {
        // SAFETY: a live object, which the slot keeps at least until its attribute is looked up.
        let files = unsafe { Object::new(this.wrapped.get()) }.attribute(names().io_refs)?;
        if plain.fd >= 0 && Object::of(&files).number()? <= 0 {
            forget_file(this.gil(), &this.source, plain.fd)?;
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
    forget_file(this.gil(), &this.source, this.fd())?;
    Ok(Owned::none(this.gil()))
}

/// A descriptor is about to be closed or given away: its waiters here, of all kinds, hear of that.
pub(super) fn forget_file(gil: Gil<'_>, source: &Source, fd: RawFd) -> Result<()> {
    source.detach(gil, fd);
    if fd >= 0 { note_closing(here(gil)?, fd) } else { Ok(()) }
}

/// Closes a socket that nobody refers to any more, neither to this object nor to the one that it wraps.
fn finalize(this: This<'_, Socket>) {
    // Another kind of object closes itself; one that others refer to is theirs to close.
    let Some(plain) = this.plain() else { return };
    let object = this.as_ptr();
    // SAFETY: live objects, with the lock held; a pending exception is kept.
    unsafe {
        if plain.fd < 0 || ffi::Py_REFCNT(this.wrapped.get()) > 1 {
            return;
        }
        let pending = Pending::take(this.gil());
        if ffi::PyErr_ResourceWarning(object, 1, c"unclosed %R".as_ptr(), object) < 0 {
            // Not for a warning that was made an error, which nobody could catch.
            ffi::PyErr_WriteUnraisable(object);
        }
        if py::call_method(object, names().close.as_ptr(), []).is_err() {
            ffi::PyErr_WriteUnraisable(object);
        }
        pending.put_back();
    }
}

fn trampoline(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let optional = ["read", "write", "timeout", "timeout_exc"];
    let ([fd], [read, write, timeout, error]) = args.parse("_trampoline", ["fd"], optional)?;
    // SAFETY: live objects, with the lock held.
    unsafe {
        if this.closed.get() {
            restore(&closed_error(this.gil())?, None);
            return Err(Raised);
        }
        let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
        let function = Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"trampoline".as_ptr()))?;
        let mark = Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"_mark_as_closed".as_ptr()))?;
        let [read, write, timeout] = [read, write, timeout].map(|each| each.map_or(ffi::Py_None(), Object::as_ptr));
        let error = error.map_or(ffi::PyExc_TimeoutError, Object::as_ptr);
        let args = [fd.as_ptr(), read, write, timeout, error, mark.as_ptr()];
        let waited = py::call(function.as_ptr(), args);
        if waited.is_err() && this.is_closed_error(this.gil()) {
            this.closed.set(true);
        }
        waited
    }
}

fn is_shut(this: This<'_, Socket>) -> Result<Owned> {
    let Some(wrapped) = this.wrapped.object() else { return Ok(Owned::bool(this.gil(), true)) };
    Object::of(&wrapped).attribute(names().shut).or_else(|_| {
        // SAFETY: `This` says that the lock is held.
        unsafe { ffi::PyErr_Clear() };
        Ok(Owned::bool(this.gil(), this.closed.get()))
    })
}

fn join(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let ([other], []) = args.parse("_join", ["other"], [])?;
    if let Some(other) = other.instance::<Socket>() {
        this.source.join(&other.source);
    }
    Ok(Owned::none(args.gil()))
}

fn setsockopt(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let done = hand_on(this, c"setsockopt", args)?;
    // They are numbers, as the call has shown.
    if let [level, option, ..] = args.positional {
        note_option(level.number()?, option.number()?);
    }
    Ok(done)
}

fn shutdown(this: This<'_, Socket>, args: Args<'_>) -> Result<Owned> {
    let done = hand_on(this, c"shutdown", args)?;
    // Of others an event tells, in its turn.
    if !this.is_unix() || py::is_finalizing() {
        return Ok(done);
    }
    let thread = here(args.gil())?;
    if let Some(hub) = hub_ref::native(&thread) {
        this.source.rouse(thread, hub);
    }
    let hub = hub_ref::object_of(&thread);
    if !hub.is_null() {
        // SAFETY: live objects, of which the thread keeps its hub, and a name that is a literal.
        unsafe {
            let number = Owned::new(ffi::PyLong_FromLong(this.fd().into()))?;
            py::call_method(hub, ffi::PyUnicode_InternFromString(c"_rouse".as_ptr()), [number.as_ptr()])?;
        }
    }
    Ok(done)
}

fn mark_as_closed(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    this.closed.set(true);
    Ok(Owned::none(this.gil()))
}

fn gettimeout(this: This<'_, Socket>, _: Args<'_>) -> Result<Owned> {
    seconds_object(this.gil(), this.timeout.get())
}

fn set_timeout(this: This<'_, Socket>, value: Option<Owned>) -> Result<()> {
    this.timeout.set(seconds_or_none(value.as_ref().map(Object::of))?);
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

pub(super) fn socket_class() -> Class<Socket> {
    let class = Class::new()
        .finalize(finalize)
        .method(c"recv", recv, c"recv($self, bufsize, flags=0)\n--\n\nReceives up to *bufsize* bytes; waits for the \
          first. Empty at the end of the connection.")
        .method(c"recv_into", recv_into, c"recv_into($self, buffer, nbytes=0, flags=0)\n--\n\nReceives into a buffer, \
          up to its size or *nbytes*; waits for the first.")
        .method(c"recvfrom", recvfrom, c"recvfrom($self, bufsize, flags=0)\n--\n\nReceives a message; waits \
          for it.")
        .method(c"send", send, c"send($self, data, flags=0)\n--\n\nSends what there is room for, and says how much; \
          waits for room for the first byte.")
        .method(c"sendall", sendall, c"sendall($self, data, flags=0)\n--\n\nSends all; waits for room again and again, \
          each time for the timeout at most.")
        .method(c"accept", accept, c"accept($self)\n--\n\nWaits for a connection. Its socket has the \
          default timeout.")
        .method(c"connect", connect, c"connect($self, address)\n--\n\nConnects, and waits for that.")
        .method(c"connect_ex", connect_ex, c"connect_ex($self, address)\n--\n\nAs connect(), but returns the error \
          number, 0 for success; EAGAIN when the time is up.")
        .method(c"fileno", fileno, c"fileno($self)\n--\n\nThe file descriptor; -1 if it is closed.")
        .method(c"close", close, c"close($self)\n--\n\nCloses the socket when the files made of it are closed. Its \
          waiters get an OSError then.")
        .method(c"detach", detach, c"detach($self)\n--\n\nGives the file descriptor away, open. Its waiters get an \
          OSError.")
        .method(c"gettimeout", gettimeout, c"gettimeout($self)\n--\n\nThe timeout in seconds.")
        .method(c"_forget", forget, c"_forget($self)\n--\n\nThe descriptor is about to be closed: its waiters try \
          again.")
        .method(c"_note_opened", opened, c"_note_opened($self, fileno)\n--\n\nTells the hub of a new file descriptor.")
        .method(c"_join", join, c"_join($self, other)\n--\n\nThis socket and *other* are the ends of one connection, \
          and new.")
        .method(c"_mark_as_closed", mark_as_closed, c"_mark_as_closed($self)\n--\n\nThe file was closed behind our \
          back.")
        .method(
            c"_trampoline",
            trampoline,
            c"_trampoline($self, fd, read=False, write=False, timeout=None, timeout_exc=None)\n--\n\nWaits through the \
              hub's listeners.",
        )
        .getter(c"family", |this| attribute_of_wrapped(this, c"family"), c"The address family.")
        .getter(c"type", |this| attribute_of_wrapped(this, c"type"), c"The kind of socket.")
        .getter(c"proto", |this| attribute_of_wrapped(this, c"proto"), c"The protocol's number.")
        .method(c"_follow_timeout", follow_timeout, c"_follow_timeout($self)\n--\n\nThe timeout was set: makes the \
          descriptor blocking or not.")
        .method(
            c"_must_not_wait",
            |this: This<'_, Socket>, _: Args<'_>| Ok(Owned::bool(this.gil(), this.must_not_wait())),
            c"_must_not_wait($self)\n--\n\nWhether the program has made the descriptor non-blocking behind the \
              socket's back.",
        )
        .method(c"shutdown", shutdown, c"As the method of socket.socket.")
        .method(c"setsockopt", setsockopt, c"As the method of socket.socket.")
        .method(c"_limit", limit, c"_limit($self, write)\n--\n\nHow many seconds reading, or writing, waits at most; \
          None for no limit.")
        .method(c"_receive_rest", receive_rest, c"_receive_rest($self, buffer, flags, left)\n--\n\nGoes on with a call \
          that has received something, as far as it goes; *left* is how many seconds it has. Returns how many bytes.")
        .method(c"_send_rest", send_rest, c"_send_rest($self, data, flags, left)\n--\n\nThe same for one that has sent \
          something.")
        .method(c"_connect_now", connect_now, c"_connect_now($self, address)\n--\n\nconnect_ex() of the wrapped \
          socket, which does not wait.")
        .property(c"fd", lent, set_wrapped, c"The wrapped socket; non-blocking from then on.")
        .getter(c"_wrapped", wrapped, c"The wrapped socket, as it is.")
        .getter(
            c"_is_plain",
            |this| Ok(Owned::bool(this.gil(), this.is_plain.get())),
            c"Whether the wrapped object is a plain socket.socket.",
        )
        .flag(c"_lends", |socket| &socket.lends, c"Whether reading `fd` gives a non-blocking socket.")
        .flag(
            c"act_non_blocking",
            |socket| &socket.non_blocking,
            c"Whether operations that would block raise instead.",
        )
        .property(
            c"_timeout",
            |this| seconds_object(this.gil(), this.timeout.get()),
            set_timeout,
            c"The timeout in seconds, or None.",
        )
        .getter(c"_closed", is_shut, c"Whether the socket was closed or detached.");
    handed_on!(class, c"bind", c"getpeername", c"getsockname", c"getsockopt", c"listen")
}
