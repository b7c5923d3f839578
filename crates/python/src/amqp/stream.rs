//! What comes from a broker: bytes or frames in, events out. An event is a method, with its message if it has one.
//!
//! ```text
//!   receive(fd), peeked(fd, bytes), feed(bytes) -> buffer -> frames -> events -> next()
//!                                    frame(kind, channel, payload) -> event
//! ```
//!
//! Nothing waits here: `receive` takes what is there. Whoever waits does so as its sockets do, in a `recv` with
//! `MSG_PEEK` after `settle`, and gives what that returned to `peeked`.
//!
//! One read brings many events, and they are given out one by one. An event loop that polls the socket must not sleep
//! meanwhile. So what is there is looked at first (`MSG_PEEK`); if it makes more than one event, the last byte is left
//! with the system until the next `receive` or `settle`, and the socket stays readable.

use std::cell::RefCell;
use std::ffi::CStr;
use std::io;
use std::os::fd::RawFd;

use greenloom_amqp::events::{Event, Events, Name, Step};
use greenloom_amqp::frame::{HEARTBEAT, Raw};
use greenloom_amqp::wire::Reader;

use super::content::{self, HAS_ENCODING, PROPERTIES_NAME};
use super::shell;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, bytes, int, tuple};
use crate::py::{Args, Class, ClassCell, Gil, GlobalObject, Owned, Payload, Raised, Result, Slot, This, type_error};

/// How much is asked of the system at once.
const READ: usize = 64 * 1024;
/// So many methods' names are kept; there are some 60.
const MAX_NAMES: usize = 128;

static CLASS: ClassCell = ClassCell::unbuilt();

static FRAME_METHOD: GlobalObject = GlobalObject::null();
static FRAME_ARGS: GlobalObject = GlobalObject::null();
static HEADER_NAME: GlobalObject = GlobalObject::null();
static ENCODED: GlobalObject = GlobalObject::null();
static BODY_NAME: GlobalObject = GlobalObject::null();

/// What there is of a connection's input.
#[derive(Default)]
pub struct Stream {
    message: Slot,
    input: RefCell<Input>,
    /// Pairs of numbers as objects.
    names: RefCell<Vec<(Name, Owned)>>,
}

struct Input {
    events: Events<Owned>,
    /// How many bytes of the buffer's end are still with the system.
    owed: usize,
}

impl Default for Input {
    fn default() -> Input {
        Input { events: Events::new(0), owed: 0 }
    }
}

impl Payload for Stream {
    const NAME: &'static CStr = c"greenloom._native.AmqpStream";
    const DOC: &'static CStr =
        c"AmqpStream(message, limit, /)\n--\n\nA connection's input. Its messages are of the class message; \
          a frame of more than limit bytes is refused.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Stream {
        Stream::default()
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.message.get());
    }

    fn clear(&self) {
        self.message.set(None);
    }
}

/// Makes the class and the names.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(gil: Gil<'_>, module: Object<'_>) -> Result<()> {
    for (place, name) in [
        (&FRAME_METHOD, c"frame_method"),
        (&FRAME_ARGS, c"frame_args"),
        (&HEADER_NAME, c"_header"),
        (&ENCODED, c"_encoded"),
        (&BODY_NAME, c"body"),
    ] {
        crate::py::object::intern(gil, place, name)?;
    }
    let class = Class::<Stream>::new()
        .init(init)
        .method(
            c"receive",
            receive,
            c"receive($self, fd, /)\n--\n\nTakes what is there to read, without waiting. Returns how many bytes \
                  came: 0 at the end, -1 if there is nothing yet.",
        )
        .method(
            c"idle",
            idle,
            c"idle($self, fd, /)\n--\n\nTakes what is there to read, without waiting. Returns whether there \
                  was nothing, and nothing is left of before either.",
        )
        .method(
            c"settle",
            settle,
            c"settle($self, fd, /)\n--\n\nTakes what was left to read so that the socket stays readable: before a read \
                  that waits.",
        )
        .method(
            c"peeked",
            peeked,
            c"peeked($self, fd, data, /)\n--\n\nTakes bytes that were read with MSG_PEEK after settle.",
        )
        .method(c"feed", feed, c"feed($self, data, /)\n--\n\nTakes bytes that were read.")
        .method(
            c"next",
            next,
            c"next($self, /)\n--\n\nThe next event: channel, method, arguments, message or None. None if more \
                  has to come.",
        )
        .method(
            c"frame",
            frame,
            c"frame($self, kind, channel, payload, /)\n--\n\nTakes a frame that was read; returns as next.",
        )
        .method(
            c"set_limit",
            set_limit,
            c"set_limit($self, bytes, /)\n--\n\nThe largest frame that is taken from now on.",
        );
    // SAFETY: called at import, once.
    unsafe { class.build(module.as_ptr()) }
}

fn init(this: This<'_, Stream>, args: Args<'_>) -> Result<()> {
    let [message, limit] = args.exactly()?;
    // SAFETY: reads the type of a live object.
    if unsafe { ffi::PyType_Check(message.as_ptr()) } == 0 {
        return type_error(args.gil(), "a class for messages is needed");
    }
    this.message.set(Some(message.owned()));
    this.input.borrow_mut().events.set_limit(clamped(limit)?);
    Ok(())
}

fn set_limit(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [limit] = args.exactly()?;
    this.input.borrow_mut().events.set_limit(clamped(limit)?);
    Ok(Owned::none(args.gil()))
}

fn clamped(limit: Object<'_>) -> Result<u32> {
    Ok(u32::try_from(limit.size()?).unwrap_or(u32::MAX))
}

fn receive(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [fd] = args.exactly()?;
    let fd = RawFd::try_from(fd.number()?).unwrap_or(-1);
    let received = this.input.borrow_mut().receive(args.gil(), fd)?;
    match received {
        Ok(count) => int(args.gil(), count as i64),
        Err(error) if is_nothing(&error) => int(args.gil(), -1),
        Err(error) => {
            // SAFETY: the lock is held; the interpreter makes the exception from errno.
            unsafe {
                *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO);
                ffi::PyErr_SetFromErrno(ffi::PyExc_OSError);
            }
            Err(Raised)
        }
    }
}

fn idle(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [fd] = args.exactly()?;
    let fd = RawFd::try_from(fd.number()?).unwrap_or(-1);
    let mut input = this.input.borrow_mut();
    // What failed, or is at its end, is for the one who reads next.
    let idle =
        input.events.waiting() == 0 && input.receive(args.gil(), fd)?.err().is_some_and(|error| is_nothing(&error));
    Ok(Owned::bool(args.gil(), idle))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn settle(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [fd] = args.exactly()?;
    let fd = RawFd::try_from(fd.number()?).unwrap_or(-1);
    // What fails here fails again in the read that follows.
    let _ = this.input.borrow_mut().settle(fd);
    Ok(Owned::none(args.gil()))
}

fn peeked(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [fd, data] = args.exactly()?;
    let (fd, data) = (RawFd::try_from(fd.number()?).unwrap_or(-1), data.content()?);
    let mut input = this.input.borrow_mut();
    input.events.buffer(data.len()).extend_from_slice(data);
    input.take_peeked(args.gil(), fd, data.len())?;
    Ok(Owned::none(args.gil()))
}

fn feed(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [data] = args.exactly()?;
    let data = data.content()?;
    let mut input = this.input.borrow_mut();
    input.events.buffer(data.len()).extend_from_slice(data);
    input.parse(args.gil())?;
    Ok(Owned::none(args.gil()))
}

fn next(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    // What follows may run code that comes here again.
    let step = this.input.borrow_mut().events.next();
    match step {
        Ok(step) => give(this, step),
        Err(problem) => shell::unexpected(args.gil(), &problem.to_string()),
    }
}

fn frame(this: This<'_, Stream>, args: Args<'_>) -> Result<Owned> {
    let [kind, channel, payload] = args.exactly()?;
    let kind = u8::try_from(kind.number()?).unwrap_or(0);
    if kind == HEARTBEAT {
        return Ok(Owned::none(args.gil()));
    }
    let channel = u16::try_from(channel.number()?).unwrap_or(0);
    let raw = Raw { kind, channel, payload: payload.content()? };
    let keep = |octets: &[u8]| match std::ptr::eq(octets, raw.payload) {
        true => Ok(payload.owned()),
        false => bytes(args.gil(), octets),
    };
    let step = this.input.borrow_mut().events.take(raw, keep)?;
    give(this, step)
}

/// An event as a tuple; None if there is none.
fn give(this: This<'_, Stream>, step: Option<Step<Owned>>) -> Result<Owned> {
    let gil = this.gil();
    let Event { channel, name, arguments, content } = match step {
        None => return Ok(Owned::none(gil)),
        Some(Step::Event(event)) => event,
        Some(Step::Unexpected(problem)) => return shell::unexpected(gil, &problem),
    };
    let name = name_object(this, name)?;
    let message = match content {
        None => Owned::none(gil),
        Some((header, body)) => message(this, &name, &arguments, header, body)?,
    };
    tuple(gil, [int(gil, channel.into())?, name, arguments, message])
}

/// A method's numbers as a tuple, made once.
fn name_object(this: This<'_, Stream>, name: Name) -> Result<Owned> {
    if let Some((_, object)) = this.names.borrow().iter().find(|(other, _)| *other == name) {
        return Ok(object.clone());
    }
    let gil = this.gil();
    let object = tuple(gil, [int(gil, name.0.into())?, int(gil, name.1.into())?])?;
    let mut names = this.names.borrow_mut();
    if names.len() < MAX_NAMES {
        names.push((name, object.clone()));
    }
    Ok(object)
}

/// A message whose properties are read when they are asked for: at once if its body is encoded, as who decodes it asks.
/// `__init__` is not called: what it would set, the class makes when it is asked for.
fn message(this: This<'_, Stream>, name: &Owned, arguments: &Owned, header: Owned, body: Owned) -> Result<Owned> {
    let gil = this.gil();
    let class = this.message.get().cast::<ffi::PyTypeObject>();
    let octets = Object::of(&header).content()?.get(12..).unwrap_or(&[]);
    let is_encoded = octets.first_chunk().is_some_and(|flags| u16::from_be_bytes(*flags) & HAS_ENCODING != 0);
    let encoded = Owned::bool(gil, is_encoded);
    let properties = if is_encoded { content::read(gil, &mut Reader::new(octets)).ok() } else { None };
    if is_encoded && properties.is_none() {
        // It is an error of whoever asks for them.
        // SAFETY: the token says that the lock is held.
        unsafe { ffi::PyErr_Clear() };
    }
    // SAFETY: the stream keeps the class, which was checked to be one; live objects, with the lock held.
    unsafe {
        let Some(new) = (*class).tp_new else { return type_error(gil, "a message's class makes no instances") };
        let none = Owned::new(ffi::PyTuple_New(0))?;
        let message = Owned::new(new(class, none.as_ptr(), std::ptr::null_mut()))?;
        let parts = [
            (&FRAME_METHOD, name),
            (&FRAME_ARGS, arguments),
            (&HEADER_NAME, &header),
            (&ENCODED, &encoded),
            (&BODY_NAME, &body),
        ];
        let properties = properties.iter().map(|properties| (&PROPERTIES_NAME, properties));
        for (attribute, value) in parts.into_iter().chain(properties) {
            if ffi::PyObject_SetAttr(message.as_ptr(), attribute.object(), value.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(message)
    }
}

impl Input {
    /// Takes what is there; see the top of this file.
    fn receive(&mut self, gil: Gil<'_>, fd: RawFd) -> Result<io::Result<usize>> {
        self.events.buffer(READ);
        let peeked = self.settle(fd).and_then(|()| self.recv(fd, READ, libc::MSG_PEEK));
        match peeked {
            Ok(count) => self.take_peeked(gil, fd, count).map(|()| Ok(count)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Takes from the system what it was left.
    fn settle(&mut self, fd: RawFd) -> io::Result<()> {
        let seen = self.events.buffer(0).len();
        while self.owed > 0 {
            // The same bytes once more, in a place where nobody looks.
            let count = self.recv(fd, self.owed, 0)?;
            self.owed = if count == 0 { 0 } else { self.owed - count };
            self.events.buffer(0).truncate(seen);
        }
        Ok(())
    }

    /// Makes events of what the buffer has now, of which the system has the last `count` bytes still, and takes them
    /// from it.
    fn take_peeked(&mut self, gil: Gil<'_>, fd: RawFd, count: usize) -> Result<()> {
        self.parse(gil)?;
        self.owed = count;
        let kept = usize::from(self.events.waiting() > 1);
        let parsed = self.events.buffer(0).len();
        while self.owed > kept {
            match self.recv(fd, self.owed - kept, 0) {
                Ok(taken) if taken > 0 => self.owed -= taken,
                // Somebody else has read them. What follows can be no frame.
                _ => break,
            }
            self.events.buffer(0).truncate(parsed);
        }
        Ok(())
    }

    /// Appends at most so many bytes that are there.
    fn recv(&mut self, fd: RawFd, most: usize, flags: libc::c_int) -> io::Result<usize> {
        let buffer = self.events.buffer(most);
        let room = buffer.spare_capacity_mut();
        // SAFETY: so much room lies behind the buffer's content; any number is fine as a descriptor.
        let count = unsafe { libc::recv(fd, room.as_mut_ptr().cast(), most, flags | libc::MSG_DONTWAIT) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: the system has written so many bytes there.
        unsafe { buffer.set_len(buffer.len() + count) };
        Ok(count)
    }

    /// Makes events of all whole frames. No object that the collector knows is made, so no code runs.
    fn parse(&mut self, gil: Gil<'_>) -> Result<()> {
        self.events.parse(|octets| bytes(gil, octets))
    }
}
