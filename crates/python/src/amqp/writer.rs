//! What goes to a broker: methods and their messages, as frames, through a connection's transport.
//!
//! Frames of two callers must not be mixed, and a write may wait: so one writes at a time, under a lock of the kind
//! that the program's threads have. The system is offered the bytes first, without waiting and without a call of
//! Python's, where the transport is known to do no more than that; it takes all of them nearly always. What is left is
//! the transport's to write, and so is everything where a program has put a transport or a socket of its own.

use std::ffi::CStr;
use std::io::{Error, ErrorKind};
use std::os::fd::RawFd;

use super::frames::{Frames, frames};
use crate::py::ffi::{self, PyObject};
use crate::py::object::{self, Object, bytes};
use crate::py::{
    self, Args, Class, ClassCell, Gil, GlobalObject, Owned, Payload, Pending, Raised, Result, Slot, This, number,
};

/// More is not offered: it would be copied with the interpreter's lock held.
const MOST: usize = 64 * 1024;

static CLASS: ClassCell = ClassCell::unbuilt();

static FRAME_MAX: GlobalObject = GlobalObject::null();
static BYTES_SENT: GlobalObject = GlobalObject::null();
static CONNECTED: GlobalObject = GlobalObject::null();
static WRITE: GlobalObject = GlobalObject::null();
static RAW_WRITE: GlobalObject = GlobalObject::null();
static ACQUIRE: GlobalObject = GlobalObject::null();
static RELEASE: GlobalObject = GlobalObject::null();

/// A connection's output.
#[derive(Default)]
pub struct Writer {
    connection: Slot,
    transport: Slot,
    /// The transport's method, as it was at the beginning.
    write: Slot,
    acquire: Slot,
    release: Slot,
    /// What the transport writes with while the system may be offered bytes, and what gives the descriptor; or neither.
    sendall: Slot,
    fileno: Slot,
}

impl Writer {
    fn slots(&self) -> [&Slot; 7] {
        [&self.connection, &self.transport, &self.write, &self.acquire, &self.release, &self.sendall, &self.fileno]
    }
}

impl Payload for Writer {
    const NAME: &'static CStr = c"greenloom._native.AmqpWriter";
    const DOC: &'static CStr =
        c"AmqpWriter(connection, transport, lock, sendall, fileno, /)\n--\n\nA connection's output. sendall is what \
          the transport writes with, which does no more than send to the descriptor that fileno returns; None where \
          that is not known.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Writer {
        Writer::default()
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        self.slots().into_iter().for_each(|slot| visit(slot.get()));
    }

    fn clear(&self) {
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
}

/// Makes the class and the names.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(gil: Gil<'_>, module: Object<'_>) -> Result<()> {
    for (place, name) in [
        (&FRAME_MAX, c"frame_max"),
        (&BYTES_SENT, c"bytes_sent"),
        (&CONNECTED, c"connected"),
        (&WRITE, c"write"),
        (&RAW_WRITE, c"_write"),
        (&ACQUIRE, c"acquire"),
        (&RELEASE, c"release"),
    ] {
        object::intern(gil, place, name)?;
    }
    let class = Class::<Writer>::new().init(init).method(
        c"write",
        write,
        c"write($self, type_, channel, method_sig, args, content)\n--\n\nWrites a method, and its message if it has \
          one, as frames; one call at a time.",
    );
    // SAFETY: called at import, once.
    unsafe { class.build(module.as_ptr()) }
}

fn init(this: This<'_, Writer>, args: Args<'_>) -> Result<()> {
    let [connection, transport, lock, sendall, fileno] = args.exactly()?;
    this.connection.set(Some(connection.owned()));
    this.transport.set(Some(transport.owned()));
    this.write.set(Some(transport.attribute(Object::word(&WRITE))?));
    this.acquire.set(Some(lock.attribute(Object::word(&ACQUIRE))?));
    this.release.set(Some(lock.attribute(Object::word(&RELEASE))?));
    this.sendall.set(sendall.unless_none().map(Object::owned));
    this.fileno.set(fileno.unless_none().map(Object::owned));
    Ok(())
}

fn write(this: This<'_, Writer>, args: Args<'_>) -> Result<Owned> {
    let names = ["type_", "channel", "method_sig", "args", "content"];
    let (method, []) = args.parse("write_frame", names, [])?;
    let connection = kept(this, &this.connection)?;
    let limit = Object::of(&connection).attribute(Object::word(&FRAME_MAX))?;
    let frames = frames(method, Object::of(&limit))?;
    call(&kept(this, &this.acquire)?, [])?;
    let written = put(this, frames).and_then(|()| count(Object::of(&connection)));
    let pending = written.is_err().then(|| Pending::take(this.gil()));
    call(&kept(this, &this.release)?, [])?;
    if let Some(pending) = pending {
        pending.put_back();
    }
    written.map(|()| Owned::none(this.gil()))
}

/// Only what the collector has taken apart lacks something.
fn kept(this: This<'_, Writer>, slot: &Slot) -> Result<Owned> {
    slot.object().map_or_else(|| py::runtime_error(this.gil(), "the writer is gone"), Ok)
}

/// Calls what may wait.
fn call<const N: usize>(callable: &Owned, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: live objects, which the caller keeps for the call; owned references exist only under the lock.
    unsafe { py::call_program(callable.as_ptr(), args) }
}

fn put(this: This<'_, Writer>, frames: Frames) -> Result<()> {
    let gil = this.gil();
    match frames {
        Frames::Whole(whole) => {
            let rest = &whole[offer(this, &whole)?..];
            if rest.is_empty() {
                return Ok(());
            }
            let rest = bytes(gil, rest)?;
            // SAFETY: a live object, with the lock held.
            let view = unsafe { Owned::new(ffi::PyMemoryView_FromObject(rest.as_ptr()))? };
            call(&kept(this, &this.write)?, [view.as_ptr()])?;
        }
        Frames::Pieces(pieces) => {
            let write = kept(this, &this.write)?;
            for piece in pieces {
                call(&write, [bytes(gil, &piece)?.as_ptr()])?;
            }
        }
    }
    Ok(())
}

/// How many of the bytes the system takes at once; none where it is not to be asked.
fn offer(this: This<'_, Writer>, whole: &[u8]) -> Result<usize> {
    let (Some(sendall), Some(fileno), true) = (this.sendall.object(), this.fileno.object(), whole.len() <= MOST) else {
        return Ok(0);
    };
    let transport = kept(this, &this.transport)?;
    let transport = Object::of(&transport);
    if transport.attribute(Object::word(&RAW_WRITE))?.as_ptr() != sendall.as_ptr() {
        return Ok(0);
    }
    let fd = Object::of(&call(&fileno, [])?).number()?;
    // A socket that is closed says -1, and its own method says what that means.
    let Some(fd) = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0) else { return Ok(0) };
    // SAFETY: so many bytes are there to read; any number is fine as a descriptor.
    let sent = unsafe { libc::send(fd, whole.as_ptr().cast(), whole.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    let Ok(sent) = usize::try_from(sent) else { return refused(transport, &Error::last_os_error()) };
    Ok(sent)
}

/// What it means that the system takes nothing: as `write` of the transport says.
#[cold]
fn refused(transport: Object<'_>, error: &Error) -> Result<usize> {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
        return Ok(0);
    }
    let lost = Owned::bool(transport.gil(), false);
    // SAFETY: live objects, with the lock held; the interpreter makes the exception from errno.
    unsafe {
        if ffi::PyObject_SetAttr(transport.as_ptr(), CONNECTED.object(), lost.as_ptr()) < 0 {
            return Err(Raised);
        }
        *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO);
        ffi::PyErr_SetFromErrno(ffi::PyExc_OSError);
    }
    Err(Raised)
}

/// `connection.bytes_sent += 1`
fn count(connection: Object<'_>) -> Result<()> {
    let sent = connection.attribute(Object::word(&BYTES_SENT))?;
    let one = number(connection.gil(), 1)?;
    // SAFETY: live objects, with the lock held.
    unsafe {
        let sum = Owned::new(ffi::PyNumber_InPlaceAdd(sent.as_ptr(), one.as_ptr()))?;
        let set = ffi::PyObject_SetAttr(connection.as_ptr(), BYTES_SENT.object(), sum.as_ptr());
        if set < 0 { Err(Raised) } else { Ok(()) }
    }
}
