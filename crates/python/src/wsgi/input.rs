//! A request's body: the base of `eventlet.wsgi.Input`.
//!
//! Here is the ordinary body, whose length is known and which the client sends unasked. One in chunks, one that a
//! client wants to be asked for, and one that is read from another kind of file go through the methods `_read` and
//! `_readline` of the class in Python.

use std::cell::Cell;
use std::ffi::CStr;

use super::reader::Reader;
use crate::py::ffi::{self, PyObject};
use crate::py::names::{Name, intern};
use crate::py::object::{Object, int};
use crate::py::{Args, Class, ClassCell, Gil, Owned, Payload, Pending, Result, Slot, This, call_method, call_program};

/// The state of a body.
pub struct Input {
    rfile: Slot,
    sock: Slot,
    wfile: Slot,
    wfile_line: Slot,
    /// The error that a read has raised last.
    failure: Slot,
    /// -1 for none.
    content_length: Cell<i64>,
    position: Cell<i64>,
    chunked: Cell<bool>,
    is_http_1_0: Cell<bool>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

static READ: Name = Name::new(c"_read");
static READLINE: Name = Name::new(c"_readline");
static IS_READ: Name = Name::new(c"_is_read");

impl Payload for Input {
    const NAME: &'static CStr = c"greenloom._native.HttpInput";
    const DOC: &'static CStr = c"HttpInput(rfile, content_length, sock, wfile=None, wfile_line=None, \
      chunked_input=False)\n--\n\nA request's body. A subclass has the methods _read, _readline and _is_read, for \
      bodies that are not ordinary.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Input {
        Input {
            rfile: Slot::empty(),
            sock: Slot::empty(),
            wfile: Slot::empty(),
            wfile_line: Slot::empty(),
            failure: Slot::empty(),
            content_length: Cell::new(-1),
            position: Cell::new(0),
            chunked: Cell::new(false),
            is_http_1_0: Cell::new(false),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        self.slots().into_iter().for_each(|slot| visit(slot.get()));
    }

    fn clear(&self) {
        self.slots().into_iter().for_each(|slot| slot.set(None));
    }
}

impl Input {
    fn slots(&self) -> [&Slot; 5] {
        [&self.rfile, &self.sock, &self.wfile, &self.wfile_line, &self.failure]
    }

    /// The body of a request that was read from `rfile`, a [`Reader`] of `sock`.
    pub fn of_request(rfile: Owned, sock: Owned, length: u64, chunked: bool, is_http_1_0: bool) -> Input {
        let input = Input::new();
        input.rfile.set(Some(rfile));
        input.sock.set(Some(sock));
        input.content_length.set(i64::try_from(length).unwrap_or(i64::MAX));
        input.chunked.set(chunked);
        input.is_http_1_0.set(is_http_1_0);
        input
    }

    /// The client waits to be asked for the body.
    pub fn wait_to_be_asked(&self, wfile: Owned, wfile_line: Owned) {
        self.wfile.set(Some(wfile));
        self.wfile_line.set(Some(wfile_line));
    }

    /// Whether the client waits, or waited, to be asked.
    pub fn has_wfile(&self) -> bool {
        let wfile = self.wfile.object();
        wfile.is_some_and(|wfile| !wfile.is_none())
    }

    /// Whether the connection is at the end of an ordinary body; none for another one.
    pub fn is_read(&self) -> Option<bool> {
        (!self.chunked.get()).then(|| self.left() == 0)
    }

    fn left(&self) -> usize {
        usize::try_from(self.content_length.get().max(0) - self.position.get()).unwrap_or(0)
    }
}

/// A number of bytes; none for None and for what is negative.
fn size_of(argument: Option<Object<'_>>) -> Result<Option<usize>> {
    let Some(size) = argument.and_then(Object::unless_none) else { return Ok(None) };
    Ok(usize::try_from(size.number()?).ok())
}

/// Reads of an ordinary body by `take`, and by a method of the class in Python of others.
fn read_by(
    this: This<'_, Input>,
    size: Option<usize>,
    method: &Name,
    take: impl Fn(&Reader, Gil<'_>, Option<usize>) -> Result<Owned>,
) -> Result<Owned> {
    let gil = this.gil();
    let rfile = this.rfile.object();
    let reader = rfile.as_ref().and_then(|rfile| Object::of(rfile).instance::<Reader>());
    let Some(reader) = reader.filter(|_| !this.chunked.get() && !this.has_wfile()) else {
        let size = size.map_or_else(|| Ok(Owned::none(gil)), |size| crate::py::object::size(gil, size))?;
        // SAFETY: a string that lives for ever, and live objects, with the lock held.
        return unsafe {
            let method = this.as_object().attribute(Object::new(method.object()))?;
            call_program(method.as_ptr(), [size.as_ptr()])
        };
    };
    let size = size.map_or(this.left(), |size| size.min(this.left()));
    let data = take(&reader, gil, Some(size)).inspect_err(|_| keep_failure(this))?;
    let length = Object::of(&data).content()?.len();
    this.position.set(this.position.get() + i64::try_from(length).unwrap_or(0));
    Ok(data)
}

/// Notes the pending exception if it is the network's.
#[cold]
fn keep_failure(this: This<'_, Input>) {
    // SAFETY: the class lives for ever; `This` says that the lock is held.
    if unsafe { ffi::PyErr_ExceptionMatches(ffi::PyExc_OSError) } == 0 {
        return;
    }
    let mut pending = Pending::take(this.gil());
    this.failure.set(Some(pending.value(this.gil())));
    pending.put_back();
}

fn read(this: This<'_, Input>, args: Args<'_>) -> Result<Owned> {
    let ([], [length]) = args.parse("read", [], ["length"])?;
    read_by(this, size_of(length)?, &READ, |reader, gil, size| reader.read(gil, size))
}

fn readline(this: This<'_, Input>, args: Args<'_>) -> Result<Owned> {
    let ([], [size]) = args.parse("readline", [], ["size"])?;
    read_by(this, size_of(size)?, &READLINE, |reader, gil, size| reader.readline(gil, size))
}

fn is_read(this: This<'_, Input>, _: Args<'_>) -> Result<Owned> {
    match this.is_read() {
        Some(is_read) => Ok(Owned::bool(this.gil(), is_read)),
        // SAFETY: live objects, with the lock held.
        None => unsafe { call_method(this.as_ptr(), IS_READ.object(), []) },
    }
}

/// A number of bytes as eventlet takes it: text too.
fn length_of(value: Object<'_>) -> Result<i64> {
    if value.is_none() {
        return Ok(-1);
    }
    // SAFETY: a live object, with the lock held.
    let number = unsafe {
        match ffi::PyLong_CheckExact(value.as_ptr()) {
            0 => Owned::new(ffi::PyNumber_Long(value.as_ptr()))?,
            _ => value.owned(),
        }
    };
    Object::of(&number).number().or_else(|_| {
        // More than anybody can send.
        // SAFETY: the lock is held.
        unsafe { ffi::PyErr_Clear() };
        Ok(i64::MAX)
    })
}

fn init(this: This<'_, Input>, args: Args<'_>) -> Result<()> {
    let required = ["rfile", "content_length", "sock"];
    let ([rfile, length, sock], [wfile, line, chunked]) =
        args.parse("__init__", required, ["wfile", "wfile_line", "chunked_input"])?;
    this.content_length.set(length_of(length)?);
    this.rfile.set(Some(rfile.owned()));
    this.sock.set(Some(sock.owned()));
    if let Some(wfile) = wfile.and_then(Object::unless_none) {
        this.wfile.set(Some(wfile.owned()));
        this.wfile_line.set(line.map(Object::owned));
    }
    this.chunked.set(chunked.map_or(Ok(false), Object::truth)?);
    Ok(())
}

/// Called at import.
///
/// # Safety
/// Called once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once.
    unsafe {
        intern(&[&READ, &READLINE, &IS_READ])?;
        class().build(module)
    }
}

fn class() -> Class<Input> {
    fn kept(this: This<'_, Input>, slot: &Slot) -> Result<Owned> {
        Ok(slot.object().unwrap_or_else(|| Owned::none(this.gil())))
    }
    fn keep(slot: &Slot, value: Option<Owned>) -> Result<()> {
        slot.set(value);
        Ok(())
    }
    fn number(cell: &Cell<i64>, value: Option<Owned>) -> Result<()> {
        cell.set(value.map_or(Ok(0), |value| length_of(Object::of(&value)))?);
        Ok(())
    }
    fn length(this: This<'_, Input>) -> Result<Owned> {
        let length = this.content_length.get();
        if length < 0 { Ok(Owned::none(this.gil())) } else { int(this.gil(), length) }
    }
    Class::new()
        .init(init)
        .method(
            c"read",
            read,
            c"read($self, length=None)\n--\n\nThe next *length* bytes of the body, or all that is left if that is None \
              or negative; fewer at its end.",
        )
        .method(
            c"readline",
            readline,
            c"readline($self, size=None)\n--\n\nThe next line of the body with its end; less at the end of the body or \
              after *size* bytes.",
        )
        .method(c"is_read", is_read, c"is_read($self)\n--\n\nWhether the connection is at the end of this body.")
        .property(
            c"rfile",
            |this| kept(this, &this.rfile),
            |this, value| keep(&this.rfile, value),
            c"The file that the body is read from.",
        )
        .property(
            c"_sock",
            |this| kept(this, &this.sock),
            |this, value| keep(&this.sock, value),
            c"The connection's socket.",
        )
        .property(
            c"wfile",
            |this| kept(this, &this.wfile),
            |this, value| keep(&this.wfile, value),
            c"The file for the 100 response that the client waits for, or None.",
        )
        .property(
            c"wfile_line",
            |this| kept(this, &this.wfile_line),
            |this, value| keep(&this.wfile_line, value),
            c"The first line of that response.",
        )
        .property(
            c"failure",
            |this| kept(this, &this.failure),
            |this, value| keep(&this.failure, value),
            c"The error that a read has raised last: the client's, or its network's.",
        )
        .property(
            c"content_length",
            length,
            |this, value| number(&this.content_length, value),
            c"How long the body is; None if nobody said.",
        )
        .property(
            c"position",
            |this| int(this.gil(), this.position.get()),
            |this, value| number(&this.position, value),
            c"How much of it was read.",
        )
        .flag(c"chunked_input", |input| &input.chunked, c"Whether the body comes in chunks.")
        .flag(c"is_http_1_0", |input| &input.is_http_1_0, c"Whether the client speaks HTTP/1.0.")
}
