//! Responses: the object behind `start_response`, which keeps the head until it is sent.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::{ptr, slice};

use greenloom_http::response::{self, Date, Ending, NameOctets, Spelling};

use super::pairs::for_each_pair;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, bytes, int, intern};
use crate::py::{
    Args, Class, ClassCell, Gil, Global, GlobalObject, Owned, Payload, Raised, Result, Slot, This, assertion_error,
    call_method, method, text, type_error, value_error,
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

/// A body up to this size is copied behind its head; a larger one is sent from where it is.
const COPIED: usize = 8 * 1024;

/// A result up to this size may be put into one object with its head.
const ONE_PIECE: usize = 64 * 1024;

/// The state of a response.
pub struct Response {
    handler: Slot,
    input: Slot,
    /// The status line and the fields.
    head: RefCell<Vec<u8>>,
    version_1_0: Cell<bool>,
    spelling: Cell<Spelling>,
    /// Names may have Latin-1 letters, which are no tokens.
    names: Cell<NameOctets>,
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

/// `start`, as the table of the class has it.
static START: Global<ffi::PyMethodDef> = Global::new(ffi::PyMethodDef::zeroed());
const START_DOC: &CStr = c"start($self, status, response_headers, exc_info=None)\n--\n\nstart_response of PEP 3333. \
  Raises ValueError for a status or header that would break the head, UnicodeEncodeError for one that is no Latin-1. A \
  Transfer-Encoding, and a Content-Length that is no number, not the first or not allowed, are dropped, and \
  _dropped(name, value) is called.";

/// The string "_dropped".
static DROPPED: GlobalObject = GlobalObject::null();
/// The string "_raise_again".
static RAISE_AGAIN: GlobalObject = GlobalObject::null();

impl Payload for Response {
    const NAME: &'static CStr = c"greenloom._native.HttpResponse";
    const DOC: &'static CStr =
        c"HttpResponse(handler, input, protocol, method, capitalize, strict)\n--\n\nA response to a request with the \
          method, from a server that speaks protocol; strict allows only ASCII in the names of headers. A subclass can \
          be called, which is the write of PEP 3333, and has the methods _raise_again and _dropped.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Response {
        Response {
            handler: Slot::empty(),
            input: Slot::empty(),
            head: RefCell::new(Vec::new()),
            version_1_0: Cell::new(false),
            spelling: Cell::new(Spelling::AsGiven),
            names: Cell::new(NameOctets::Latin1),
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
        let [handler, input, protocol, method, capitalize, strict] = args.exactly()?;
        if !protocol.is_str() || !method.is_str() {
            return type_error(args.gil(), "protocol and method must be strings");
        }
        this.handler.set(Some(handler.owned()));
        this.input.set(Some(input.owned()));
        this.version_1_0.set(protocol.latin1_octets() == Some(b"HTTP/1.0"));
        this.note_method(method.latin1_octets().unwrap_or_default());
        let form = Form::of(capitalize.truth()?, strict.truth()?);
        this.spelling.set(form.spelling);
        this.names.set(form.names);
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

impl Response {
    /// A response to a request with the method, of a connection that speaks HTTP/1.0 or 1.1.
    pub fn of_request(handler: Owned, input: Owned, version_1_0: bool, method: &[u8], form: Form) -> Response {
        let response = Response::new();
        response.handler.set(Some(handler));
        response.input.set(Some(input));
        response.version_1_0.set(version_1_0);
        response.note_method(method);
        response.spelling.set(form.spelling);
        response.names.set(form.names);
        response
    }

    fn note_method(&self, method: &[u8]) {
        self.special.set(matches!(method, b"HEAD" | b"CONNECT"));
        self.connect.set(method == b"CONNECT");
    }

    /// The status code.
    pub fn code(&self) -> i64 {
        self.code.get()
    }

    /// Whether less was written than Content-Length promised; none where the class in Python knows more.
    pub fn is_short(&self) -> bool {
        self.written.get() < self.declared.get()
    }

    /// How much was sent, head and body.
    pub fn length(&self) -> i64 {
        self.length.get()
    }
}

/// How names of fields are written, and which are taken.
#[derive(Clone, Copy)]
pub struct Form {
    spelling: Spelling,
    names: NameOctets,
}

impl Form {
    /// As the options of these names say.
    pub fn of(capitalize: bool, strict: bool) -> Form {
        Form {
            spelling: if capitalize { Spelling::Capitalized } else { Spelling::AsGiven },
            names: if strict { NameOctets::Token } else { NameOctets::Latin1 },
        }
    }
}

/// `start_response` of PEP 3333.
fn start(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let required = ["status", "response_headers"];
    let ([status, headers], [exc_info]) = args.parse("start_response", required, ["exc_info"])?;
    if this.sent.get() {
        return match exc_info {
            // SAFETY: live objects, with the lock held.
            Some(exc_info) if exc_info.truth()? => unsafe {
                call_method(this.as_ptr(), RAISE_AGAIN.object(), [exc_info.as_ptr()])
            },
            _ => assertion_error(this.gil(), "start_response() after the head was sent, which holds"),
        };
    }
    if !status.is_str() {
        return type_error(this.gil(), "the status must be a string");
    }
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(if this.version_1_0.get() { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    let code = write_status(status, &mut head)?;
    let (mut flags, mut declared) = (0, -1);
    // RFC 9110, 8.6.
    let may_have_length = code >= 200 && code != 204 && !(this.connect.get() && code < 300);
    for_each_pair(headers, |name, value| {
        let line = head.len();
        let found = write_field(name, value, (this.spelling.get(), this.names.get()), &mut head)?;
        let number = if found == HAS_LENGTH && declared < 0 && may_have_length { length_in(value) } else { None };
        if found == HAS_CODING || (found == HAS_LENGTH && number.is_none()) {
            // Sent, it would contradict what the server says of the body's end.
            head.truncate(line);
            // SAFETY: live objects, with the lock held.
            return unsafe { call_method(this.as_ptr(), DROPPED.object(), [name.as_ptr(), value.as_ptr()]) }.map(drop);
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
    Ok(this.owned())
}

/// The items of a result that is a list or a tuple of bytes, and their length; none if it is anything else.
///
/// # Safety
/// The items are not used any more when code of others runs, which may change a list.
unsafe fn pieces<'a>(result: Object<'a>) -> Option<(&'a [Object<'a>], usize)> {
    let list = result.as_ptr();
    // SAFETY: a live list or tuple, which keeps its items until code runs; an `Object` is no more than its address.
    unsafe {
        if ffi::PyList_CheckExact(list) == 0 && ffi::PyTuple_CheckExact(list) == 0 {
            return None;
        }
        let count = ffi::PySequence_Fast_GET_SIZE(list) as usize;
        // The items of an empty list may be a null pointer.
        let first = ffi::PySequence_Fast_ITEMS(list).cast::<Object<'a>>();
        let items = if count == 0 { &[][..] } else { slice::from_raw_parts(first, count) };
        if !items.iter().all(|item| ffi::PyBytes_CheckExact(item.as_ptr()) != 0) {
            return None;
        }
        let length = items.iter().map(|item| ffi::PyBytes_Size(item.as_ptr()) as usize).sum();
        Some((items, length))
    }
}

/// All of a response.
pub struct Whole {
    /// The head, and the body behind it if that is small.
    pub head: Vec<u8>,
    /// The body, unless it is in the head already.
    pub body: Vec<Owned>,
}

/// All of the response, if the result is a list or tuple of up to `most` bytes and nothing about the response is out of
/// the ordinary; it counts as sent then. `lines` are those about the connection, for a head that has none.
pub fn whole_of(this: This<'_, Response>, result: Object<'_>, lines: &[u8], most: usize) -> Option<Whole> {
    let (code, flags) = (this.code.get(), this.flags.get());
    let ordinary = this.started.get()
        && !this.sent.get()
        && !this.special.get()
        && code >= 200
        && !matches!(code, 204 | 304)
        && flags & SAYS_CLOSE == 0;
    // SAFETY: nothing below runs code of others.
    let (pieces, length) = ordinary.then(|| unsafe { pieces(result) }).flatten()?;
    let length_now = i64::try_from(length).unwrap_or(i64::MAX);
    if length > most || flags & HAS_LENGTH != 0 && this.declared.get() != length_now {
        return None;
    }
    let ending = if flags & HAS_LENGTH != 0 { Ending::AsSaid } else { Ending::Length(length) };
    let lines = if flags & HAS_CONNECTION != 0 { b"" } else { lines };
    let mut head = this.head.take();
    response::write_end(&mut head, date(flags), ending, lines);
    this.sent.set(true);
    this.declared.set(length_now);
    this.written.set(length_now);
    this.length.set(i64::try_from(head.len() + length).unwrap_or(i64::MAX));
    if length > COPIED {
        return Some(Whole { head, body: pieces.iter().map(|piece| piece.owned()).collect() });
    }
    for piece in pieces {
        head.extend_from_slice(piece.content().unwrap_or_default());
    }
    Some(Whole { head, body: Vec::new() })
}

/// `whole(result, lines)`
fn whole(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let [result, lines] = args.exactly()?;
    let Some(mut whole) = whole_of(this, result, lines.content()?, ONE_PIECE) else {
        return Ok(Owned::none(this.gil()));
    };
    for piece in whole.body {
        whole.head.extend_from_slice(Object::of(&piece).content()?);
    }
    bytes(this.gil(), &whole.head)
}

fn date(flags: i64) -> Date {
    if flags & HAS_DATE != 0 { Date::Given } else { Date::Now }
}

/// `finish(ending, lines, body)`
fn finish(this: This<'_, Response>, args: Args<'_>) -> Result<Owned> {
    let [ending, lines, body] = args.exactly()?;
    let ending = match ending.number()? {
        NO_ENDING => Ending::AsSaid,
        CHUNKED_ENDING => Ending::Chunked,
        length => Ending::Length(usize::try_from(length).unwrap_or(0)),
    };
    let lines = if this.flags.get() & HAS_CONNECTION != 0 { b"" } else { lines.content()? };
    let mut out = this.head.take();
    response::write_end(&mut out, date(this.flags.get()), ending, lines);
    out.extend_from_slice(body.content()?);
    bytes(this.gil(), &out)
}

/// Called at import.
///
/// # Safety
/// Called once.
pub unsafe fn fill(gil: Gil<'_>, module: Object<'_>) -> Result<()> {
    for (place, text) in [(&RAISE_AGAIN, c"_raise_again"), (&DROPPED, c"_dropped")] {
        intern(gil, place, text)?;
    }
    // SAFETY: a live module, and this is called once.
    unsafe {
        *START.get() = method::<Response, _>(c"start", start, START_DOC);
        class().build(module.as_ptr())
    }
}

/// The method `start` of a response, bound to it, without looking it up.
pub fn start_of(response: &Owned) -> Result<Owned> {
    // SAFETY: the table was filled at import and lives for ever; a live instance, with the lock held.
    unsafe { Owned::new(ffi::PyCFunction_NewEx(START.get(), response.as_ptr(), ptr::null_mut())) }
}

/// What a slot keeps; None after the garbage collector has emptied it.
fn kept(this: This<'_, Response>, slot: &Slot) -> Owned {
    slot.object().unwrap_or_else(|| Owned::none(this.gil()))
}

fn class() -> Class<Response> {
    fn flag(cell: &Cell<bool>, value: Option<Owned>) -> Result<()> {
        value.map_or(Ok(()), |value| Object::of(&value).truth().map(|value| cell.set(value)))
    }
    fn number(cell: &Cell<i64>, value: Option<Owned>) -> Result<()> {
        value.map_or(Ok(()), |value| Object::of(&value).number().map(|value| cell.set(value)))
    }
    Class::new()
        .method(c"start", start, START_DOC)
        .method(
            c"whole",
            whole,
            c"whole($self, result, lines)\n--\n\nAll of the response, if the result is a list or tuple of bytes \
              that is not large and nothing about the response is out of the ordinary; it counts as sent then. lines \
              are those about the connection, for a head that has none.",
        )
        .method(
            c"finish",
            finish,
            c"finish($self, ending, lines, body)\n--\n\nThe head, and what there is of the body: with a Date if it has \
              none, Content-Length if ending is a length, chunked coding if it is HTTP_CHUNKED_ENDING, neither if it \
              is HTTP_NO_ENDING. lines are those about the connection, for a head that has none.",
        )
        .getter(c"handler", |this| Ok(kept(this, &this.handler)), c"The connection's handler.")
        .getter(c"input", |this| Ok(kept(this, &this.input)), c"The request's body.")
        .getter(c"code", |this| int(this.gil(), this.code.get()), c"The status code.")
        .getter(c"flags", |this| int(this.gil(), this.flags.get()), c"What the headers have: HTTP_HAS_DATE and others.")
        .getter(c"started", |this| Ok(Owned::bool(this.gil(), this.started.get())), c"Whether there is a head.")
        .property(
            c"sent",
            |this| Ok(Owned::bool(this.gil(), this.sent.get())),
            |this, value| flag(&this.sent, value),
            c"Whether the head was sent.",
        )
        .property(
            c"declared",
            |this| int(this.gil(), this.declared.get()),
            |this, value| number(&this.declared, value),
            c"What Content-Length says, or -1.",
        )
        .property(
            c"written",
            |this| int(this.gil(), this.written.get()),
            |this, value| number(&this.written, value),
            c"How much of the body was written.",
        )
        .property(
            c"length",
            |this| int(this.gil(), this.length.get()),
            |this, value| number(&this.length, value),
            c"How much was sent, head and body.",
        )
}

/// The number of a Content-Length; none if it is anything else.
fn length_in(value: Object<'_>) -> Option<i64> {
    let digits = Some(value.latin1_octets()?.trim_ascii()).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Raises the UnicodeEncodeError that names the first character which is no Latin-1.
fn unencodable<T>(text: Object<'_>, reason: &CStr) -> Result<T> {
    let text = text.as_ptr();
    // SAFETY: a string that is alive, with the lock held; the format fits the arguments.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(text);
        let start = (0..length).find(|&at| ffi::PyUnicode_ReadChar(text, at) > 0xff).unwrap_or(0);
        let (name, end) = (c"latin-1".as_ptr(), start + 1);
        let arguments = Owned::new(ffi::Py_BuildValue(c"(sOnns)".as_ptr(), name, text, start, end, reason.as_ptr()))?;
        ffi::PyErr_SetObject(ffi::PyExc_UnicodeEncodeError, arguments.as_ptr());
    }
    Err(Raised)
}

/// Appends `name: value` and the end of the line.
fn write_field(
    name: Object<'_>,
    value: Object<'_>,
    (spelling, octets): (Spelling, NameOctets),
    out: &mut Vec<u8>,
) -> Result<i64> {
    let Some(name_text) = name.latin1_octets() else {
        return unencodable(name, c"header names are Latin-1 in WSGI (PEP 3333), and ASCII in HTTP");
    };
    let Some(text) = value.latin1_octets() else {
        return unencodable(
            value,
            c"header values are Latin-1 in WSGI (PEP 3333); RFC 8187 and percent-encoding carry other text",
        );
    };
    if !response::is_name(name_text, octets) {
        return value_error(
            name.gil(),
            "the name of a response header must be a token: letters, digits and some signs, such as -",
        );
    }
    if !response::is_one_line(text) {
        return value_error(name.gil(), "a response header must not contain the end of a line");
    }
    response::write_name(name_text, spelling, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
    let is = |name: &str| name_text.eq_ignore_ascii_case(name.as_bytes());
    Ok(match name_text.len() {
        4 if is("date") => HAS_DATE,
        14 if is("content-length") => HAS_LENGTH,
        17 if is("transfer-encoding") => HAS_CODING,
        10 if is("connection") && response::says_close(text) => HAS_CONNECTION | SAYS_CLOSE,
        10 if is("connection") => HAS_CONNECTION,
        _ => 0,
    })
}

/// `http_field(name, value)`
pub fn field(args: Args<'_>) -> Result<Owned> {
    let [name, value] = args.exactly()?;
    let (name, value) = (name.to_str()?, value.to_str()?);
    let mut out = Vec::new();
    write_field(Object::of(&name), Object::of(&value), (Spelling::AsGiven, NameOctets::Latin1), &mut out)?;
    bytes(args.gil(), &out)
}

/// Appends the status and the end of the line. Returns the status code.
fn write_status(status: Object<'_>, out: &mut Vec<u8>) -> Result<i64> {
    let text = match status.latin1_octets() {
        Some(text) => text,
        // Stock sends a phrase in UTF-8; what Latin-1 cannot say still goes out so.
        None => {
            // SAFETY: an argument, which outlives the text, with the lock held.
            unsafe { text(status.as_ptr()) }?.as_bytes()
        }
    };
    let digits = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    let code = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
    let Some(code) = code.filter(|code| digits.len() == 3 && *code >= 100) else {
        return value_error(status.gil(), "a status must begin with a code of three digits");
    };
    if !response::is_one_line(text) {
        return value_error(status.gil(), "a status must not contain the end of a line");
    }
    out.extend_from_slice(text);
    // The space is there, also if no phrase is: RFC 9112, section 4.
    out.extend_from_slice(if text.len() == digits.len() { b" \r\n" } else { b"\r\n" });
    Ok(code.into())
}
