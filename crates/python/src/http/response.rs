//! Responses: the object behind `start_response`, which keeps the head until it is sent.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use ::http::response::{self, Ending};

use super::objects::{
    arguments, borrow, bytes, content, for_each_pair, int, is_str, latin1_octets, number_of, own, truth, value_error,
};
use crate::py::ffi::{self, PyObject};
use crate::py::{
    self, Args, Class, ClassCell, GlobalObject, Owned, Payload, Raised, Result, Slot, This, assumed, call_method,
    type_error,
};

/// The response has a Date.
pub const HAS_DATE: i64 = 1;
/// The response has a Content-Length.
pub const HAS_LENGTH: i64 = 2;
/// The response has a Connection field.
pub const HAS_CONNECTION: i64 = 4;
/// The response's Connection field says close.
pub const SAYS_CLOSE: i64 = 8;

/// The header is a Transfer-Encoding. The server's are the codings of a transfer: none is kept.
const HAS_CODING: i64 = 16;

/// The head says already how the body ends.
pub const NO_ENDING: i64 = -1;
/// The body comes in chunks.
pub const CHUNKED_ENDING: i64 = -2;

/// A result up to this size goes out in one piece, with its head.
const ONE_PIECE: usize = 64 * 1024;

/// The state of a response.
pub struct Response {
    handler: Slot,
    input: Slot,
    /// The status line and the fields.
    head: RefCell<Vec<u8>>,
    version_1_0: Cell<bool>,
    capitalize: Cell<bool>,
    /// Names may have Latin-1 letters, which are no tokens.
    latin1_names: Cell<bool>,
    /// The method is one whose responses have rules of their own: HEAD or CONNECT.
    special: Cell<bool>,
    connect: Cell<bool>,
    started: Cell<bool>,
    sent: Cell<bool>,
    code: Cell<i64>,
    flags: Cell<i64>,
    /// What Content-Length says, or -1.
    declared: Cell<i64>,
    /// How much of the body was written.
    written: Cell<i64>,
    /// All that was sent.
    length: Cell<i64>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

/// The string "write".
static WRITE: GlobalObject = GlobalObject::null();
/// The string "_dropped".
static DROPPED: GlobalObject = GlobalObject::null();
/// The string "_raise_again".
static RAISE_AGAIN: GlobalObject = GlobalObject::null();

impl Payload for Response {
    const NAME: &'static CStr = c"greenloom._native.HttpResponse";
    const DOC: &'static CStr =
        c"HttpResponse(handler, input, protocol, method, capitalize, strict)\n\nA response to a request with the \
          method, from a server that speaks protocol; strict allows only ASCII in the names of headers. A subclass has \
          the methods write, _raise_again and _dropped.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Response {
        Response {
            handler: Slot::empty(),
            input: Slot::empty(),
            head: RefCell::new(Vec::new()),
            version_1_0: Cell::new(false),
            capitalize: Cell::new(false),
            latin1_names: Cell::new(true),
            special: Cell::new(false),
            connect: Cell::new(false),
            started: Cell::new(false),
            sent: Cell::new(false),
            code: Cell::new(200),
            flags: Cell::new(0),
            declared: Cell::new(-1),
            written: Cell::new(0),
            length: Cell::new(0),
        }
    }

    fn made(this: This<'_, Response>, args: Args<'_>) -> Result<()> {
        let [handler, input, protocol, method, capitalize, strict] = arguments(args)?;
        if !is_str(protocol) || !is_str(method) {
            return type_error(assumed(), "protocol and method must be strings");
        }
        this.handler.set(Some(borrow(handler)));
        this.input.set(Some(borrow(input)));
        this.version_1_0.set(latin1_octets(protocol) == Some(b"HTTP/1.0"));
        this.special.set(matches!(latin1_octets(method), Some(b"HEAD" | b"CONNECT")));
        this.connect.set(latin1_octets(method) == Some(b"CONNECT"));
        this.capitalize.set(truth(capitalize)?);
        this.latin1_names.set(!truth(strict)?);
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.handler.get());
        visit(self.input.get());
    }

    fn clear(&self) {
        self.handler.set(None);
        self.input.set(None);
    }
}

/// `start_response` of PEP 3333.
fn start(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let [status, headers, exc_info] = args.parse("start_response", ["status", "response_headers", "exc_info"], 2)?;
    if !exc_info.is_null() && truth(exc_info)? && this.sent.get() {
        // SAFETY: live objects.
        return unsafe { py::call_method(this.as_ptr(), RAISE_AGAIN.object(), [exc_info]) };
    }
    if !is_str(status) {
        return type_error(assumed(), "the status must be a string");
    }
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(if this.version_1_0.get() { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    let code = write_status(status, &mut head)?;
    let (mut flags, mut declared) = (0, -1);
    // RFC 9110, 8.6.
    let may_have_length = code >= 200 && code != 204 && !(this.connect.get() && code < 300);
    for_each_pair(headers, |name, value| {
        let line = head.len();
        let found = write_field(name, value, (this.capitalize.get(), this.latin1_names.get()), &mut head)?;
        let number = if found == HAS_LENGTH && declared < 0 && may_have_length { length_in(value) } else { None };
        if found == HAS_CODING || (found == HAS_LENGTH && number.is_none()) {
            // Sent, it would contradict what the server says of the body's end.
            head.truncate(line);
            // SAFETY: live objects.
            return unsafe { call_method(this.as_ptr(), DROPPED.object(), [name, value]) }.map(drop);
        }
        flags |= found;
        declared = number.unwrap_or(declared);
        Ok(())
    })?;
    this.head.replace(head);
    this.code.set(code);
    this.flags.set(flags);
    this.declared.set(declared);
    this.started.set(true);
    // SAFETY: a live object.
    own(unsafe { ffi::PyObject_GetAttr(this.as_ptr(), WRITE.object()) })
}

/// The pieces of a result that is a list or a tuple of bytes, and their length; none if it is anything else, or large.
fn pieces<'a>(result: *mut PyObject) -> Option<(Vec<&'a [u8]>, usize)> {
    // SAFETY: a list or a tuple, whose items are read at once; bytes do not change, and the caller holds them.
    unsafe {
        if ffi::PyList_CheckExact(result) == 0 && ffi::PyTuple_CheckExact(result) == 0 {
            return None;
        }
        let count = ffi::PySequence_Fast_GET_SIZE(result) as usize;
        let items = std::slice::from_raw_parts(ffi::PySequence_Fast_ITEMS(result), count);
        let pieces: Option<Vec<&[u8]>> = items
            .iter()
            .map(|&item| if ffi::PyBytes_CheckExact(item) != 0 { content(item).ok() } else { None })
            .collect();
        let pieces = pieces?;
        let length = pieces.iter().map(|piece| piece.len()).sum();
        (length <= ONE_PIECE).then_some((pieces, length))
    }
}

/// `whole(result, lines)`
fn whole(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let [result, lines] = arguments(args)?;
    let (code, flags) = (this.code.get(), this.flags.get());
    let ordinary = this.started.get()
        && !this.sent.get()
        && !this.special.get()
        && code >= 200
        && !matches!(code, 204 | 304)
        && flags & SAYS_CLOSE == 0;
    let Some((pieces, length)) = (if ordinary { pieces(result) } else { None }) else {
        return Ok(Owned::none(assumed()));
    };
    let length_now = i64::try_from(length).unwrap_or(i64::MAX);
    if flags & HAS_LENGTH != 0 && this.declared.get() != length_now {
        return Ok(Owned::none(assumed()));
    }
    let ending = if flags & HAS_LENGTH != 0 { Ending::AsSaid } else { Ending::Length(length) };
    let lines = if flags & HAS_CONNECTION != 0 { b"" } else { content(lines)? };
    let mut out = this.head.take();
    response::write_end(&mut out, flags & HAS_DATE != 0, ending, lines);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    this.sent.set(true);
    this.declared.set(length_now);
    this.written.set(length_now);
    this.length.set(i64::try_from(out.len()).unwrap_or(i64::MAX));
    bytes(&out)
}

/// `finish(ending, lines, body)`
fn finish(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let [ending, lines, body] = arguments(args)?;
    let ending = match number_of(ending)? {
        NO_ENDING => Ending::AsSaid,
        CHUNKED_ENDING => Ending::Chunked,
        length => Ending::Length(usize::try_from(length).unwrap_or(0)),
    };
    let lines = if this.flags.get() & HAS_CONNECTION != 0 { b"" } else { content(lines)? };
    let mut out = this.head.take();
    response::write_end(&mut out, this.flags.get() & HAS_DATE != 0, ending, lines);
    out.extend_from_slice(content(body)?);
    bytes(&out)
}

/// Called at import.
pub fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: names are literals; called once.
    unsafe {
        for (slot, text) in [(&WRITE, c"write"), (&RAISE_AGAIN, c"_raise_again"), (&DROPPED, c"_dropped")] {
            slot.set(own(ffi::PyUnicode_InternFromString(text.as_ptr()))?.into_raw());
        }
        class().build(module)
    }
}

fn class() -> Class<Response> {
    fn flag(cell: &Cell<bool>, value: Option<Owned>) -> Result<()> {
        value.map_or(Ok(()), |value| truth(value.as_ptr()).map(|value| cell.set(value)))
    }
    fn number(cell: &Cell<i64>, value: Option<Owned>) -> Result<()> {
        value.map_or(Ok(()), |value| number_of(value.as_ptr()).map(|value| cell.set(value)))
    }
    Class::new()
        .method(
            c"start",
            start,
            c"start(status, response_headers, exc_info=None)\n\nstart_response of PEP 3333. Raises ValueError for a \
              status or header that would break the head, UnicodeEncodeError for one that is no Latin-1. A \
              Transfer-Encoding, and a Content-Length that is no number, not the first or not allowed, are dropped, \
              and _dropped(name, value) is called.",
        )
        .method(
            c"whole",
            whole,
            c"whole(result, lines) -> bytes | None\n\nAll of the response, if the result is a list or tuple of bytes \
              that is not large and nothing about the response is out of the ordinary; it counts as sent then. lines \
              are those about the connection, for a head that has none.",
        )
        .method(
            c"finish",
            finish,
            c"finish(ending, lines, body) -> bytes\n\nThe head, and what there is of the body: with a Date if it has \
              none, Content-Length if ending is a length, chunked coding if it is HTTP_CHUNKED_ENDING, neither if it \
              is HTTP_NO_ENDING. lines are those about the connection, for a head that has none.",
        )
        .getter(c"handler", |this| Ok(borrow(this.handler.get())), c"The connection's handler.")
        .getter(c"input", |this| Ok(borrow(this.input.get())), c"The request's body.")
        .getter(c"code", |this| int(this.code.get()), c"The status code.")
        .getter(c"flags", |this| int(this.flags.get()), c"What the headers have: HTTP_HAS_DATE and others.")
        .getter(c"started", |this| Ok(Owned::bool(assumed(), this.started.get())), c"Whether there is a head.")
        .property(
            c"sent",
            |this| Ok(Owned::bool(assumed(), this.sent.get())),
            |this, value| flag(&this.sent, value),
            c"Whether the head was sent.",
        )
        .property(
            c"declared",
            |this| int(this.declared.get()),
            |this, value| number(&this.declared, value),
            c"What Content-Length says, or -1.",
        )
        .property(
            c"written",
            |this| int(this.written.get()),
            |this, value| number(&this.written, value),
            c"How much of the body was written.",
        )
        .property(
            c"length",
            |this| int(this.length.get()),
            |this, value| number(&this.length, value),
            c"How much was sent, head and body.",
        )
}

/// The number of a Content-Length; none if it is anything else.
fn length_in(value: *mut PyObject) -> Option<i64> {
    let text = latin1_octets(value)?.trim_ascii();
    if text.iter().all(u8::is_ascii_digit) { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Raises the UnicodeEncodeError that names the first character which is no Latin-1.
fn unencodable<T>(text: *mut PyObject, reason: &CStr) -> Result<T> {
    // SAFETY: a string that is alive; the format fits the arguments.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(text);
        let start = (0..length).find(|&at| ffi::PyUnicode_ReadChar(text, at) > 0xff).unwrap_or(0);
        let (name, end) = (c"latin-1".as_ptr(), start + 1);
        let arguments = own(ffi::Py_BuildValue(c"(sOnns)".as_ptr(), name, text, start, end, reason.as_ptr()))?;
        ffi::PyErr_SetObject(ffi::PyExc_UnicodeEncodeError, arguments.as_ptr());
    }
    Err(Raised)
}

/// Appends `name: value` and the end of the line.
fn write_field(
    name: *mut PyObject,
    value: *mut PyObject,
    (capitalize, latin1_names): (bool, bool),
    out: &mut Vec<u8>,
) -> Result<i64> {
    let Some(name_text) = latin1_octets(name) else {
        return unencodable(name, c"header names are Latin-1 in WSGI (PEP 3333), and ASCII in HTTP");
    };
    let Some(text) = latin1_octets(value) else {
        return unencodable(
            value,
            c"header values are Latin-1 in WSGI (PEP 3333); RFC 8187 and percent-encoding carry other text",
        );
    };
    if !response::is_name(name_text, latin1_names) {
        return value_error("the name of a response header must be a token: letters, digits and some signs, such as -");
    }
    if !response::is_one_line(text) {
        return value_error("a response header must not contain the end of a line");
    }
    response::write_name(name_text, capitalize, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
    let is = |name: &str| name_text.eq_ignore_ascii_case(name.as_bytes());
    Ok(match name_text.len() {
        4 if is("date") => HAS_DATE,
        14 if is("content-length") => HAS_LENGTH,
        17 if is("transfer-encoding") => HAS_CODING,
        10 if is("connection") && text.trim_ascii().eq_ignore_ascii_case(b"close") => HAS_CONNECTION | SAYS_CLOSE,
        10 if is("connection") => HAS_CONNECTION,
        _ => 0,
    })
}

/// `http_field(name, value)`
pub fn field(args: Args<'_>) -> Result<Owned> {
    let [name, value] = arguments(args)?;
    // SAFETY: live objects.
    let [name, value] = unsafe { [own(ffi::PyObject_Str(name))?, own(ffi::PyObject_Str(value))?] };
    let mut out = Vec::new();
    write_field(name.as_ptr(), value.as_ptr(), (false, true), &mut out)?;
    bytes(&out)
}

/// Appends the status and the end of the line. Returns the status code.
fn write_status(status: *mut PyObject, out: &mut Vec<u8>) -> Result<i64> {
    let text = match latin1_octets(status) {
        Some(text) => text,
        // Stock sends a phrase in UTF-8; what Latin-1 cannot say still goes out so.
        None => {
            let mut size = 0;
            // SAFETY: a string, which keeps its UTF-8 form.
            let text = unsafe { ffi::PyUnicode_AsUTF8AndSize(status, &mut size) };
            if text.is_null() {
                return Err(Raised);
            }
            // SAFETY: the interpreter's word.
            unsafe { std::slice::from_raw_parts(text.cast::<u8>(), size as usize) }
        }
    };
    let digits = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    let code = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
    let Some(code) = code.filter(|code| digits.len() == 3 && *code >= 100) else {
        return value_error("a status must begin with a code of three digits");
    };
    if !response::is_one_line(text) {
        return value_error("a status must not contain the end of a line");
    }
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
    Ok(code.into())
}
