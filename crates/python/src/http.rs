//! What `eventlet.wsgi` and `eventlet.websocket` do once for each request and frame: heads become environs, chunks become
//! data, response fields become bytes, frames are read and masked. The rules are `crates/http`'s; here bytes and objects meet.
//!
//! No function keeps anything between calls but a cache of header names. All take positional arguments only.

use std::ffi::{CStr, c_char};
use std::ptr;

use ::http::response::{self, Ending};
use ::http::{Body, Chunks, Framing, Head, Limits, Refusal, Step, websocket};

use crate::ffi::{self, Global, GlobalObject, Py_ssize_t, PyMethodDef, PyObject};
use crate::module::fast_method;

/// The client speaks HTTP/1.1.
const VERSION_1_1: usize = 1;
/// The connection may serve another request, as far as the client is concerned.
const PERSISTENT: usize = 2;
/// The body comes in chunks.
const CHUNKED: usize = 4;
/// The client waits for a 100 response before it sends the body.
const EXPECTS_CONTINUE: usize = 8;
/// The client asked for keep-alive by name.
const ASKED_KEEP_ALIVE: usize = 16;

/// The response has a Date.
const HAS_DATE: usize = 1;
/// The response has a Content-Length.
const HAS_LENGTH: usize = 2;
/// The response has a Connection field.
const HAS_CONNECTION: usize = 4;
/// The response's Connection field says close.
const SAYS_CLOSE: usize = 8;

static HTTP_ERROR: GlobalObject = GlobalObject::null();

/// A reference that is given back when it goes out of scope.
struct Owned(*mut PyObject);

impl Owned {
    /// Takes over what a call returned; none if that is null, with an exception.
    fn new(object: *mut PyObject) -> Option<Owned> {
        if object.is_null() { None } else { Some(Owned(object)) }
    }

    fn borrowed(object: *mut PyObject) -> Owned {
        // SAFETY: a live object under the interpreter's lock, as everywhere in this file.
        Owned(unsafe { ffi::incref(object) })
    }

    fn into_raw(self) -> *mut PyObject {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { ffi::decref(self.0) };
    }
}

fn latin1(text: &[u8]) -> Option<Owned> {
    // SAFETY: the text is copied.
    Owned::new(unsafe { ffi::PyUnicode_DecodeLatin1(text.as_ptr().cast(), text.len() as Py_ssize_t, ptr::null()) })
}

fn bytes(data: &[u8]) -> Option<Owned> {
    // SAFETY: the data is copied.
    Owned::new(unsafe { ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as Py_ssize_t) })
}

fn int(number: usize) -> Option<Owned> {
    // SAFETY: no arguments to get wrong.
    Owned::new(unsafe { ffi::PyLong_FromSize_t(number) })
}

fn tuple<const N: usize>(items: [Owned; N]) -> Option<Owned> {
    // SAFETY: as many items as places; each is given away.
    unsafe {
        let tuple = Owned::new(ffi::PyTuple_New(N as Py_ssize_t))?;
        for (place, item) in items.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.0, place as Py_ssize_t, item.into_raw());
        }
        Some(tuple)
    }
}

fn type_error<T>(message: &str) -> Option<T> {
    // SAFETY: sets an exception.
    unsafe { ffi::raise::<PyObject>(ffi::PyExc_TypeError, message) };
    None
}

fn value_error<T>(message: &str) -> Option<T> {
    // SAFETY: sets an exception.
    unsafe { ffi::raise::<PyObject>(ffi::PyExc_ValueError, message) };
    None
}

/// The arguments of a call.
///
/// # Safety
/// `args` and `count` are as the interpreter gave them.
unsafe fn arguments<'a, const N: usize>(
    args: *const *mut PyObject,
    count: Py_ssize_t,
) -> Option<&'a [*mut PyObject; N]> {
    // SAFETY: the caller's word.
    let given = unsafe { std::slice::from_raw_parts(args, if args.is_null() { 0 } else { count as usize }) };
    match given.try_into() {
        Ok(arguments) => Some(arguments),
        Err(_) => type_error(&format!("{N} arguments are needed, not {count}")),
    }
}

/// The content of a bytes object, for as long as the caller's arguments live.
fn content<'a>(object: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: checked to be bytes, which do not change.
    unsafe {
        if ffi::PyBytes_Check(object) == 0 {
            return type_error("bytes are needed");
        }
        let (data, size) = (ffi::PyBytes_AS_STRING(object), ffi::PyBytes_Size(object));
        Some(std::slice::from_raw_parts(data.cast(), size as usize))
    }
}

/// The Latin-1 octets of a string; none, without an exception, if it has other characters.
fn latin1_octets<'a>(text: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: a string, made ready where that is still done; one octet a character is what the kind says.
    unsafe {
        #[cfg(not(Py_3_12))]
        if ffi::PyUnicode_READY(text) < 0 {
            ffi::PyErr_Clear();
            return None;
        }
        if ffi::PyUnicode_KIND(text) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        Some(std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text), ffi::PyUnicode_GET_LENGTH(text) as usize))
    }
}

fn is_str(object: *mut PyObject) -> bool {
    // SAFETY: reads the type.
    unsafe { ffi::PyUnicode_Check(object) != 0 }
}

fn size_of(object: *mut PyObject) -> Option<usize> {
    // SAFETY: any object.
    let size = unsafe { ffi::PyLong_AsSsize_t(object) };
    match usize::try_from(size) {
        Ok(size) => Some(size),
        // SAFETY: reads the pending exception.
        Err(_) if unsafe { !ffi::PyErr_Occurred().is_null() } => None,
        Err(_) => value_error("a size must not be negative"),
    }
}

fn number_of(object: *mut PyObject) -> Option<i64> {
    // SAFETY: any object; an error shows.
    let number = unsafe { ffi::PyLong_AsLongLong(object) };
    // SAFETY: reads the pending exception.
    if number == -1 && unsafe { !ffi::PyErr_Occurred().is_null() } { None } else { Some(number) }
}

fn truth(object: *mut PyObject) -> Option<bool> {
    // SAFETY: any object.
    match unsafe { ffi::PyObject_IsTrue(object) } {
        -1 => None,
        truth => Some(truth != 0),
    }
}

/// (request line, header line, all headers, how many headers, tolerant)
fn limits(object: *mut PyObject) -> Option<Limits> {
    // SAFETY: checked to be a tuple of five.
    let item = |place| unsafe { ffi::PyTuple_GetItem(object, place) };
    // SAFETY: a live object.
    if unsafe { ffi::PyTuple_Check(object) == 0 || ffi::PyTuple_Size(object) != 5 } {
        return type_error("limits are a tuple of five");
    }
    Some(Limits {
        request_line: size_of(item(0))?,
        header_line: size_of(item(1))?,
        headers: size_of(item(2))?,
        fields: size_of(item(3))?,
        tolerant: truth(item(4))?,
    })
}

fn refuse<T>(refusal: Refusal) -> Option<T> {
    let raise = || {
        let arguments = tuple([
            int(refusal.status().into())?,
            latin1(refusal.phrase().as_bytes())?,
            latin1(refusal.explanation().as_bytes())?,
        ])?;
        // SAFETY: a class and its arguments.
        unsafe { ffi::PyErr_SetObject(HTTP_ERROR.object(), arguments.0) };
        Some(())
    };
    raise();
    None
}

fn finish(result: Option<Owned>) -> *mut PyObject {
    result.map_or(ptr::null_mut(), Owned::into_raw)
}

fn none() -> Owned {
    // SAFETY: None lives for ever.
    Owned::borrowed(unsafe { ffi::Py_None() })
}

/// What becomes of a request's header in the environ.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// `HTTP_` and the name; several are joined with commas.
    Joined,
    /// The name alone; the first counts.
    First,
    /// Nowhere: a name with an underscore would pass for one with a hyphen.
    Nowhere,
}

/// A header's name in the client's spelling, and its key in the environ.
struct Name {
    raw: *mut PyObject,
    key: *mut PyObject,
    place: Place,
}

const NAMES: usize = 256;
/// Longer names are rare, and would keep memory.
const LONGEST_CACHED: usize = 48;

/// The names seen last, each in the one slot that its octets select.
static CACHE: Global<[Name; NAMES]> =
    Global::new([const { Name { raw: ptr::null_mut(), key: ptr::null_mut(), place: Place::Nowhere } }; NAMES]);

/// The objects for a header's name: the name as it came, its key, and where it belongs.
fn name_objects(name: &str) -> Option<(Owned, Owned, Place)> {
    let hash = name.bytes().fold(name.len(), |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    // SAFETY: the interpreter's lock is held, and nothing below runs Python code while the slot is borrowed: strings are
    // made and let go.
    let slot = unsafe { &mut (*CACHE.get())[hash % NAMES] };
    if !slot.raw.is_null() && latin1_octets(slot.raw) == Some(name.as_bytes()) {
        return Some((Owned::borrowed(slot.raw), Owned::borrowed(slot.key), slot.place));
    }
    let raw = latin1(name.as_bytes())?;
    let mut key = b"HTTP_".to_vec();
    key.extend(name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
    let place = match &key[5..] {
        _ if name.contains('_') => Place::Nowhere,
        b"CONTENT_TYPE" | b"CONTENT_LENGTH" => Place::First,
        _ => Place::Joined,
    };
    let key = latin1(if place == Place::First { &key[5..] } else { &key })?;
    if name.len() <= LONGEST_CACHED {
        for (old, new) in [(&mut slot.raw, &raw), (&mut slot.key, &key)] {
            let old = std::mem::replace(old, Owned::borrowed(new.0).into_raw());
            // SAFETY: the slot's reference; a string's end runs no code.
            unsafe { ffi::xdecref(old) };
        }
        slot.place = place;
    }
    Some((raw, key, place))
}

/// Keys and values that every environ has.
struct Words {
    method: GlobalObject,
    raw_path: GlobalObject,
    path: GlobalObject,
    query: GlobalObject,
    content_type: GlobalObject,
    plain_text: GlobalObject,
    headers_raw: GlobalObject,
    posthooks: GlobalObject,
}

static WORDS: Words = Words {
    method: GlobalObject::null(),
    raw_path: GlobalObject::null(),
    path: GlobalObject::null(),
    query: GlobalObject::null(),
    content_type: GlobalObject::null(),
    plain_text: GlobalObject::null(),
    headers_raw: GlobalObject::null(),
    posthooks: GlobalObject::null(),
};

fn put(dict: &Owned, key: *mut PyObject, value: &Owned) -> Option<()> {
    // SAFETY: live objects.
    if unsafe { ffi::PyDict_SetItem(dict.0, key, value.0) } < 0 { None } else { Some(()) }
}

/// The environ of a request: a copy of `base` with what the head says.
fn environ(head: &Head<'_, '_>, base: *mut PyObject) -> Option<Owned> {
    // SAFETY: a live dict.
    let environ = Owned::new(unsafe { ffi::PyDict_Copy(base) })?;
    put(&environ, WORDS.method.object(), &latin1(head.method.as_bytes())?)?;
    put_target(&environ, head.target)?;
    put_headers(&environ, head)?;
    // SAFETY: makes a list.
    put(&environ, WORDS.posthooks.object(), &Owned::new(unsafe { ffi::PyList_New(0) })?)?;
    Some(environ)
}

fn put_target(environ: &Owned, target: &str) -> Option<()> {
    // As the standard library: a path that begins like another host's must not redirect there.
    let target = if target.starts_with("//") {
        &target[target.len() - target.trim_start_matches('/').len() - 1..]
    } else {
        target
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let raw = latin1(path.as_bytes())?;
    put(environ, WORDS.raw_path.object(), &raw)?;
    if path.contains('%') {
        put(environ, WORDS.path.object(), &latin1(&::http::percent_decode(path.as_bytes()))?)?;
    } else {
        put(environ, WORDS.path.object(), &raw)?;
    }
    match query {
        Some(query) => put(environ, WORDS.query.object(), &latin1(query.as_bytes())?),
        None => Some(()),
    }
}

fn put_headers(environ: &Owned, head: &Head<'_, '_>) -> Option<()> {
    // SAFETY: a tuple with a place for each field, all of which are filled before anybody sees it; if one fails, the
    // interpreter skips empty places.
    let raw = Owned::new(unsafe { ffi::PyTuple_New(head.fields.len() as Py_ssize_t) })?;
    let mut typed = false;
    for (at, field) in head.fields.iter().enumerate() {
        let (name, key, place) = name_objects(field.name)?;
        let value = latin1(field.value)?;
        match place {
            Place::Joined => join(environ, &key, &value)?,
            // An empty type is one, as for stock; an empty length was refused.
            Place::First if field.name.len() == "content-type".len() => {
                if !typed {
                    put(environ, key.0, &value)?;
                }
                typed = true;
            }
            Place::First => put(environ, key.0, &value)?,
            Place::Nowhere => {}
        }
        let pair = tuple([name, value])?;
        // SAFETY: within the tuple.
        unsafe { ffi::PyTuple_SET_ITEM(raw.0, at as Py_ssize_t, pair.into_raw()) };
    }
    if !typed {
        put(environ, WORDS.content_type.object(), &Owned::borrowed(WORDS.plain_text.object()))?;
    }
    put(environ, WORDS.headers_raw.object(), &raw)
}

/// Adds a header; a repeated one goes behind the first, after a comma.
fn join(environ: &Owned, key: &Owned, value: &Owned) -> Option<()> {
    // SAFETY: live objects; the format takes two strings.
    unsafe {
        let size = ffi::PyDict_Size(environ.0);
        let there = ffi::PyDict_SetDefault(environ.0, key.0, value.0);
        if there.is_null() {
            return None;
        }
        if ffi::PyDict_Size(environ.0) != size {
            return Some(());
        }
        let joined = Owned::new(ffi::PyUnicode_FromFormat(c"%S,%S".as_ptr(), there, value.0))?;
        put(environ, key.0, &joined)
    }
}

fn flags(head: &Head<'_, '_>) -> usize {
    let persistent = !head.persistence.close && !head.framing.close && (head.minor == 1 || head.persistence.keep_alive);
    [
        (head.minor == 1, VERSION_1_1),
        (persistent, PERSISTENT),
        (head.framing.body == Body::Chunked, CHUNKED),
        (head.expects_continue, EXPECTS_CONTINUE),
        (head.persistence.keep_alive, ASKED_KEEP_ALIVE),
    ]
    .into_iter()
    .filter_map(|(holds, flag)| holds.then_some(flag))
    .sum()
}

fn length_object(framing: &Framing) -> Option<Owned> {
    match framing.body {
        // SAFETY: no arguments to get wrong.
        Body::Length(length) => Owned::new(unsafe { ffi::PyLong_FromUnsignedLongLong(length) }),
        _ => int(0),
    }
}

/// `http_request(buffer, base, limits)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn request(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[buffer, base, limit] = unsafe { arguments(args, count) }?;
        // SAFETY: reads the type.
        if unsafe { ffi::PyDict_Check(base) } == 0 {
            return type_error("the base of an environ is a dict");
        }
        let read = ::http::with_head(content(buffer)?, &limits(limit)?, |head| {
            tuple([
                environ(head, base)?,
                latin1(head.line)?,
                int(head.length)?,
                int(flags(head))?,
                length_object(&head.framing)?,
            ])
        });
        match read {
            Ok(Some(request)) => request,
            Ok(None) => Some(none()),
            Err(refusal) => refuse(refusal),
        }
    };
    finish(run())
}

/// `http_head(buffer, limits)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn head(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[buffer, limit] = unsafe { arguments(args, count) }?;
        let read = ::http::with_head(content(buffer)?, &limits(limit)?, |head| {
            // SAFETY: a list with a place for each field; if one fails, the interpreter skips empty places.
            let fields = Owned::new(unsafe { ffi::PyList_New(head.fields.len() as Py_ssize_t) })?;
            for (at, field) in head.fields.iter().enumerate() {
                let pair = tuple([latin1(field.name.as_bytes())?, latin1(field.value)?])?;
                // SAFETY: within the list.
                unsafe { ffi::PyList_SET_ITEM(fields.0, at as Py_ssize_t, pair.into_raw()) };
            }
            tuple([
                latin1(head.method.as_bytes())?,
                latin1(head.target.as_bytes())?,
                int(head.minor.into())?,
                fields,
                int(flags(head))?,
            ])
        });
        match read {
            Ok(Some(head)) => head,
            Ok(None) => Some(none()),
            Err(refusal) => refuse(refusal),
        }
    };
    finish(run())
}

/// `http_framing(headers, minor, tolerant)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn framing(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[headers, minor, tolerant] = unsafe { arguments(args, count) }?;
        let (minor, tolerant) = (u8::try_from(size_of(minor)?).unwrap_or(1), truth(tolerant)?);
        let mut fields = Vec::new();
        for_each_pair(headers, |name, value| {
            // What is no Latin-1 came from no request; it cannot be one of the fields that matter either.
            if let (Some(name), Some(value)) = (latin1_octets(name), latin1_octets(value)) {
                fields.push((String::from_utf8_lossy(name).into_owned(), trim_blanks(value).to_vec()));
            }
            Some(())
        })?;
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        match Framing::of(fields, minor, tolerant) {
            Ok(framing) => tuple([
                if framing.body == Body::None { none() } else { length_object(&framing)? },
                int((framing.body == Body::Chunked).into())?,
                int(framing.close.into())?,
            ]),
            Err(refusal) => refuse(refusal),
        }
    };
    finish(run())
}

/// Without the blanks around it that HTTP allows; other white space is the value's own, and makes it another one.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Calls `then` with each name and value of a sequence of pairs, both strings; other values become strings first.
fn for_each_pair(
    headers: *mut PyObject,
    mut then: impl FnMut(*mut PyObject, *mut PyObject) -> Option<()>,
) -> Option<()> {
    // SAFETY: the sequence is held, and so is each pair while code may run; the length is read anew each time.
    unsafe {
        let list = Owned::new(ffi::PySequence_Fast(headers, c"headers must be a list of pairs".as_ptr()))?;
        let mut at = 0;
        while at < ffi::PySequence_Fast_GET_SIZE(list.0) {
            let item = Owned::borrowed(*ffi::PySequence_Fast_ITEMS(list.0).offset(at));
            let pair = Owned::new(ffi::PySequence_Fast(item.0, c"a header must be a pair".as_ptr()))?;
            if ffi::PySequence_Fast_GET_SIZE(pair.0) != 2 {
                return value_error("a header must be a pair");
            }
            let items = ffi::PySequence_Fast_ITEMS(pair.0);
            let name = Owned::borrowed(*items);
            let value = Owned::borrowed(*items.offset(1));
            if !is_str(name.0) {
                return type_error("a header's name must be a string");
            }
            let value = if is_str(value.0) { value } else { Owned::new(ffi::PyObject_Str(value.0))? };
            then(name.0, value.0)?;
            at += 1;
        }
        Some(())
    }
}

/// Raises the UnicodeEncodeError that names the first character which is no Latin-1.
fn unencodable<T>(text: *mut PyObject, reason: &CStr) -> Option<T> {
    // SAFETY: a string that is alive; the format fits the arguments.
    unsafe {
        let length = ffi::PyUnicode_GET_LENGTH(text);
        let start = (0..length).find(|&at| ffi::PyUnicode_ReadChar(text, at) > 0xff).unwrap_or(0);
        let (name, end) = (c"latin-1".as_ptr(), start + 1);
        let arguments = Owned::new(ffi::Py_BuildValue(c"(sOnns)".as_ptr(), name, text, start, end, reason.as_ptr()))?;
        ffi::PyErr_SetObject(ffi::PyExc_UnicodeEncodeError, arguments.0);
    }
    None
}

/// Appends `name: value` and the end of the line.
fn write_field(name: *mut PyObject, value: *mut PyObject, capitalize: bool, out: &mut Vec<u8>) -> Option<usize> {
    let Some(name_text) = latin1_octets(name) else {
        return unencodable(name, c"header names are Latin-1 in WSGI (PEP 3333), and ASCII in HTTP");
    };
    let Some(text) = latin1_octets(value) else {
        return unencodable(
            value,
            c"header values are Latin-1 in WSGI (PEP 3333); RFC 8187 and percent-encoding carry other text",
        );
    };
    if !response::is_one_line(name_text) || !response::is_one_line(text) {
        return value_error("a response header must not contain the end of a line");
    }
    response::write_name(name_text, capitalize, out);
    out.extend_from_slice(b": ");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
    let is = |name: &str| name_text.eq_ignore_ascii_case(name.as_bytes());
    Some(match name_text.len() {
        4 if is("date") => HAS_DATE,
        14 if is("content-length") => HAS_LENGTH,
        10 if is("connection") && text.trim_ascii().eq_ignore_ascii_case(b"close") => HAS_CONNECTION | SAYS_CLOSE,
        10 if is("connection") => HAS_CONNECTION,
        _ => 0,
    })
}

/// `http_field(name, value)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn field(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[name, value] = unsafe { arguments(args, count) }?;
        // SAFETY: live objects.
        let [name, value] = unsafe { [Owned::new(ffi::PyObject_Str(name))?, Owned::new(ffi::PyObject_Str(value))?] };
        let mut out = Vec::new();
        write_field(name.0, value.0, false, &mut out)?;
        bytes(&out)
    };
    finish(run())
}

/// `http_response(protocol, status, headers, capitalize)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn response_head(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[protocol, status, headers, capitalize] = unsafe { arguments(args, count) }?;
        let capitalize = truth(capitalize)?;
        if !is_str(protocol) || !is_str(status) {
            return type_error("the status must be a string");
        }
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(latin1_octets(protocol).unwrap_or(b"HTTP/1.1"));
        out.push(b' ');
        let code = write_status(status, &mut out)?;
        let (mut flags, mut length) = (0, -1);
        for_each_pair(headers, |name, value| {
            let found = write_field(name, value, capitalize, &mut out)?;
            flags |= found;
            if found == HAS_LENGTH {
                let number = latin1_octets(value).and_then(|text| std::str::from_utf8(text).ok()?.parse::<i64>().ok());
                length = number.filter(|&number| number >= 0).unwrap_or(-1);
            }
            Some(())
        })?;
        // SAFETY: makes a number.
        let length = Owned::new(unsafe { ffi::PyLong_FromLongLong(length) })?;
        tuple([bytes(&out)?, int(code)?, int(flags)?, length])
    };
    finish(run())
}

/// The head says already how the body ends.
const NO_ENDING: i64 = -1;
/// The body comes in chunks.
const CHUNKED_ENDING: i64 = -2;

/// `http_finish(head, flags, ending, lines, body)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn finish_response(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[head, flags, ending, lines, body] = unsafe { arguments(args, count) }?;
        let ending = match number_of(ending)? {
            NO_ENDING => Ending::AsSaid,
            CHUNKED_ENDING => Ending::Chunked,
            length => Ending::Length(usize::try_from(length).unwrap_or(0)),
        };
        let (head, body) = (content(head)?, content(body)?);
        let mut out = Vec::with_capacity(head.len() + body.len() + 256);
        out.extend_from_slice(head);
        response::write_end(&mut out, size_of(flags)? & HAS_DATE != 0, ending, content(lines)?);
        out.extend_from_slice(body);
        bytes(&out)
    };
    finish(run())
}

/// Appends the status and the end of the line. Returns the status code.
fn write_status(status: *mut PyObject, out: &mut Vec<u8>) -> Option<usize> {
    let text = match latin1_octets(status) {
        Some(text) => text,
        // Stock sends a phrase in UTF-8; what Latin-1 cannot say still goes out so.
        None => {
            let mut size = 0;
            // SAFETY: a string, which keeps its UTF-8 form.
            let text = unsafe { ffi::PyUnicode_AsUTF8AndSize(status, &mut size) };
            if text.is_null() {
                return None;
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
    Some(code.into())
}

/// `http_chunks(buffer, state, limit)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn chunks(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[buffer, state, limit] = unsafe { arguments(args, count) }?;
        let whole = content(buffer)?;
        let limit = size_of(limit)?;
        let (mut decoder, mut input, mut data) = (Chunks::from_number(number_of(state)?), whole, Vec::new());
        while data.len() < limit {
            match decoder.step(&mut input, limit - data.len()) {
                Ok(Step::Data(piece)) => data.extend_from_slice(piece),
                Ok(_) => break,
                Err(error) => return value_error(&error.to_string()),
            }
        }
        // SAFETY: makes a number.
        let state = Owned::new(unsafe { ffi::PyLong_FromLongLong(decoder.to_number()) })?;
        tuple([bytes(&data)?, int(whole.len() - input.len())?, state])
    };
    finish(run())
}

/// `websocket_frame(buffer)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn frame(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[buffer] = unsafe { arguments(args, count) }?;
        let Some(frame) = websocket::frame(content(buffer)?) else {
            return Some(none());
        };
        let mask = match frame.mask {
            Some(mask) => bytes(&mask)?,
            None => none(),
        };
        // SAFETY: makes a number.
        let payload = Owned::new(unsafe { ffi::PyLong_FromUnsignedLongLong(frame.payload) })?;
        tuple([int(frame.first.into())?, mask, payload, int(frame.length)?])
    };
    finish(run())
}

fn mask_of(object: *mut PyObject) -> Option<[u8; 4]> {
    match content(object)?.try_into() {
        Ok(mask) => Some(mask),
        Err(_) => value_error("a mask has four octets"),
    }
}

/// A bytes object of `head` and `payload`, the latter masked.
fn masked(head: &[u8], payload: &[u8], mask: Option<[u8; 4]>, offset: usize) -> Option<Owned> {
    let size = head.len() + payload.len();
    // SAFETY: a fresh object, which nobody else sees while it is written.
    unsafe {
        let object = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
        let data = ffi::PyBytes_AS_STRING(object.0).cast_mut().cast::<u8>();
        ptr::copy_nonoverlapping(head.as_ptr(), data, head.len());
        ptr::copy_nonoverlapping(payload.as_ptr(), data.add(head.len()), payload.len());
        if let Some(mask) = mask {
            websocket::mask(std::slice::from_raw_parts_mut(data.add(head.len()), payload.len()), mask, offset);
        }
        Some(object)
    }
}

/// `websocket_mask(data, mask, offset)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn mask(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter.
        let &[data, mask, offset] = unsafe { arguments(args, count) }?;
        masked(b"", content(data)?, Some(mask_of(mask)?), size_of(offset)?)
    };
    finish(run())
}

/// `websocket_pack(first, payload, mask)`
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn pack(
    _: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    let run = || {
        // SAFETY: called by the interpreter; None lives for ever.
        let (&[first, payload, mask], nothing) = unsafe { (arguments(args, count)?, ffi::Py_None()) };
        let Ok(first) = u8::try_from(size_of(first)?) else {
            return value_error("the first octet of a frame is one octet");
        };
        let mask = if mask == nothing { None } else { Some(mask_of(mask)?) };
        let payload = content(payload)?;
        let mut head = Vec::with_capacity(14);
        websocket::write_header(first, mask, payload.len(), &mut head);
        masked(&head, payload, mask, 0)
    };
    finish(run())
}

static FUNCTIONS: Global<[PyMethodDef; 11]> = Global::new([const { PyMethodDef::zeroed() }; 11]);

/// Adds the functions, `HttpError` and the flags. Returns false with an exception.
///
/// # Safety
/// Called at import, once.
pub unsafe fn add_to(module: *mut PyObject) -> bool {
    // SAFETY: called once; names are literals.
    unsafe {
        *FUNCTIONS.get() = [
            fast_method(
                c"http_request",
                request,
                c"http_request(buffer, base, limits) -> tuple | None\n\nReads the request head that the bytes begin with. Returns \
                  the environ (a copy of the dict base with what the head says), the request line, the head's length, flags and \
                  the body's length; None while the head is incomplete. Raises HttpError if it must not be served. limits is \
                  (request line, header line, all headers, number of headers, whether to be tolerant).",
            ),
            fast_method(
                c"http_head",
                head,
                c"http_head(buffer, limits) -> tuple | None\n\nReads a request head as http_request, and returns the method, the \
                  target, the minor version, a list of (name, value) and flags.",
            ),
            fast_method(
                c"http_framing",
                framing,
                c"http_framing(headers, minor, tolerant) -> tuple\n\nReads off a request's headers where its body ends: its \
                  length, or None if there is no body; whether it is chunked; whether the connection must be closed after it.",
            ),
            fast_method(
                c"http_field",
                field,
                c"http_field(name, value) -> bytes\n\nThe line of a response header.",
            ),
            fast_method(
                c"http_response",
                response_head,
                c"http_response(protocol, status, headers, capitalize) -> tuple\n\nReturns the status line and the lines of the \
                  headers as bytes, the status code, flags, and the number in Content-Length or -1.",
            ),
            fast_method(
                c"http_finish",
                finish_response,
                c"http_finish(head, flags, ending, lines, body) -> bytes\n\nA response: the head and flags of http_response, a \
                  Date if it has none, Content-Length if ending is a length, chunked coding if it is HTTP_CHUNKED_ENDING, neither if it is \
                  HTTP_NO_ENDING; more lines, the empty line and the body, or what there is of it.",
            ),
            fast_method(
                c"http_chunks",
                chunks,
                c"http_chunks(buffer, state, limit) -> tuple\n\nDecodes chunks until the bytes are used up, the body is at its \
                  end (state -2), or limit bytes of data are there. Returns the data, how much of the buffer is used up, and the \
                  state for the next call. The first state is 0; a positive one says how much of a chunk's data is to come. \
                  Raises ValueError if the bytes are no chunks.",
            ),
            fast_method(
                c"websocket_frame",
                frame,
                c"websocket_frame(buffer) -> tuple | None\n\nReads a frame's header: its first byte, the mask or None, the \
                  payload's length and the header's; None while it is incomplete.",
            ),
            fast_method(
                c"websocket_mask",
                mask,
                c"websocket_mask(data, mask, offset) -> bytes\n\nMasks a part of a payload that begins at offset, or takes its \
                  mask away.",
            ),
            fast_method(
                c"websocket_pack",
                pack,
                c"websocket_pack(first, payload, mask) -> bytes\n\nA frame; mask may be None.",
            ),
            PyMethodDef::zeroed(),
        ];
        let words = [
            (&WORDS.method, c"REQUEST_METHOD"),
            (&WORDS.raw_path, c"RAW_PATH_INFO"),
            (&WORDS.path, c"PATH_INFO"),
            (&WORDS.query, c"QUERY_STRING"),
            (&WORDS.content_type, c"CONTENT_TYPE"),
            (&WORDS.plain_text, c"text/plain"),
            (&WORDS.headers_raw, c"headers_raw"),
            (&WORDS.posthooks, c"eventlet.posthooks"),
        ];
        for (slot, text) in words {
            slot.set(ffi::PyUnicode_InternFromString(text.as_ptr()));
            if slot.object().is_null() {
                return false;
            }
        }
        HTTP_ERROR.set(ffi::PyErr_NewException(
            c"greenloom.HttpError".as_ptr(),
            ffi::PyExc_ValueError,
            ptr::null_mut(),
        ));
        let flags: [(*const c_char, i64); 11] = [
            (c"HTTP_VERSION_1_1".as_ptr(), VERSION_1_1 as i64),
            (c"HTTP_PERSISTENT".as_ptr(), PERSISTENT as i64),
            (c"HTTP_CHUNKED".as_ptr(), CHUNKED as i64),
            (c"HTTP_EXPECTS_CONTINUE".as_ptr(), EXPECTS_CONTINUE as i64),
            (c"HTTP_ASKED_KEEP_ALIVE".as_ptr(), ASKED_KEEP_ALIVE as i64),
            (c"HTTP_HAS_DATE".as_ptr(), HAS_DATE as i64),
            (c"HTTP_HAS_LENGTH".as_ptr(), HAS_LENGTH as i64),
            (c"HTTP_HAS_CONNECTION".as_ptr(), HAS_CONNECTION as i64),
            (c"HTTP_SAYS_CLOSE".as_ptr(), SAYS_CLOSE as i64),
            (c"HTTP_NO_ENDING".as_ptr(), NO_ENDING),
            (c"HTTP_CHUNKED_ENDING".as_ptr(), CHUNKED_ENDING),
        ];
        let error = HTTP_ERROR.object();
        !error.is_null()
            && ffi::PyModule_AddObjectRef(module, c"HttpError".as_ptr(), error) == 0
            && ffi::PyModule_AddFunctions(module, FUNCTIONS.get().cast()) == 0
            && flags.into_iter().all(|(name, flag)| ffi::PyModule_AddIntConstant(module, name, flag as _) == 0)
    }
}
