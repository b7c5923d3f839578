//! Request heads: what a request says, as an environ or in parts, and whether it says where its body ends.

use std::ptr;

use ::http::{Body, Framing, Head, Limits, Refusal};

use super::objects::{
    arguments, borrow, content, for_each_pair, int, latin1, latin1_octets, own, put, size, size_of, truth, tuple,
    unsigned,
};
use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::{Args, Global, GlobalObject, Owned, Raised, Result, assumed, type_error};

/// The client speaks HTTP/1.1.
pub const VERSION_1_1: i64 = 1;
/// The connection may serve another request, as far as the client is concerned.
pub const PERSISTENT: i64 = 2;
/// The body comes in chunks.
pub const CHUNKED: i64 = 4;
/// The client waits for a 100 response before it sends the body.
pub const EXPECTS_CONTINUE: i64 = 8;
/// The client asked for keep-alive by name.
pub const ASKED_KEEP_ALIVE: i64 = 16;

/// Raised for a request that must not be served, with the status code, its phrase and an explanation.
static HTTP_ERROR: GlobalObject = GlobalObject::null();

/// Called at import.
pub fn fill(module: *mut PyObject) -> Result<()> {
    let words = [
        (&WORDS.method, c"REQUEST_METHOD"),
        (&WORDS.raw_path, c"RAW_PATH_INFO"),
        (&WORDS.path, c"PATH_INFO"),
        (&WORDS.query, c"QUERY_STRING"),
        (&WORDS.host, c"HTTP_HOST"),
        (&WORDS.cookie, c"HTTP_COOKIE"),
        (&WORDS.content_type, c"CONTENT_TYPE"),
        (&WORDS.plain_text, c"text/plain"),
        (&WORDS.headers_raw, c"headers_raw"),
        (&WORDS.posthooks, c"eventlet.posthooks"),
        (&WORDS.connection[0], c"SERVER_NAME"),
        (&WORDS.connection[1], c"SERVER_PORT"),
        (&WORDS.connection[2], c"REMOTE_ADDR"),
        (&WORDS.connection[3], c"REMOTE_PORT"),
        (&WORDS.connection[4], c"eventlet.set_idle"),
    ];
    // SAFETY: names are literals; the class lives for ever.
    unsafe {
        for (slot, text) in words {
            slot.set(own(ffi::PyUnicode_InternFromString(text.as_ptr()))?.into_raw());
        }
        let (name, base) = (c"greenloom.HttpError".as_ptr(), ffi::PyExc_ValueError);
        HTTP_ERROR.set(own(ffi::PyErr_NewException(name, base, ptr::null_mut()))?.into_raw());
        match ffi::PyModule_AddObjectRef(module, c"HttpError".as_ptr(), HTTP_ERROR.object()) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

/// (request line, header line, all headers, how many headers, tolerant, strict)
fn limits(object: *mut PyObject) -> Result<Limits> {
    // SAFETY: checked to be a tuple of six.
    let item = |place| unsafe { ffi::PyTuple_GetItem(object, place) };
    // SAFETY: a live object.
    if unsafe { ffi::PyTuple_Check(object) == 0 || ffi::PyTuple_Size(object) != 6 } {
        return type_error(assumed(), "limits are a tuple of six");
    }
    Ok(Limits {
        request_line: size_of(item(0))?,
        header_line: size_of(item(1))?,
        headers: size_of(item(2))?,
        fields: size_of(item(3))?,
        tolerant: truth(item(4))?,
        require_host: truth(item(5))?,
    })
}

fn refuse<T>(refusal: Refusal) -> Result<T> {
    let arguments = tuple([
        int(refusal.status().into())?,
        latin1(refusal.phrase().as_bytes())?,
        latin1(refusal.explanation().as_bytes())?,
    ])?;
    // SAFETY: a class and its arguments.
    unsafe { ffi::PyErr_SetObject(HTTP_ERROR.object(), arguments.as_ptr()) };
    Err(Raised)
}

/// What becomes of a request's header in the environ.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// `HTTP_` and the name; several are joined with commas, cookies with semicolons.
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
fn name_objects(name: &str) -> Result<(Owned, Owned, Place)> {
    let hash = name.bytes().fold(name.len(), |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    // SAFETY: the interpreter's lock is held, and nothing below runs Python code while the slot is borrowed: strings
    // are made and let go.
    let slot = unsafe { &mut (*CACHE.get())[hash % NAMES] };
    if !slot.raw.is_null() && latin1_octets(slot.raw) == Some(name.as_bytes()) {
        return Ok((borrow(slot.raw), borrow(slot.key), slot.place));
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
            let old = std::mem::replace(old, borrow(new.as_ptr()).into_raw());
            // SAFETY: the slot's reference; a string's end runs no code.
            unsafe { ffi::xdecref(old) };
        }
        slot.place = place;
    }
    Ok((raw, key, place))
}

/// Keys and values that every environ has.
struct Words {
    method: GlobalObject,
    raw_path: GlobalObject,
    path: GlobalObject,
    query: GlobalObject,
    host: GlobalObject,
    cookie: GlobalObject,
    content_type: GlobalObject,
    plain_text: GlobalObject,
    headers_raw: GlobalObject,
    posthooks: GlobalObject,
    /// What a connection has: the server's name and port, the client's, and what calls it idle.
    connection: [GlobalObject; 5],
}

static WORDS: Words = Words {
    method: GlobalObject::null(),
    raw_path: GlobalObject::null(),
    path: GlobalObject::null(),
    query: GlobalObject::null(),
    host: GlobalObject::null(),
    cookie: GlobalObject::null(),
    content_type: GlobalObject::null(),
    plain_text: GlobalObject::null(),
    headers_raw: GlobalObject::null(),
    posthooks: GlobalObject::null(),
    connection: [const { GlobalObject::null() }; 5],
};

/// The environ of a request: a copy of `base` with what the connection has and the head says.
fn environ(head: &Head<'_, '_>, base: *mut PyObject, connection: &[*mut PyObject; 5]) -> Result<Owned> {
    // SAFETY: a live dict.
    let environ = own(unsafe { ffi::PyDict_Copy(base) })?;
    for (key, &value) in WORDS.connection.iter().zip(connection) {
        put(&environ, key.object(), &borrow(value))?;
    }
    put(&environ, WORDS.method.object(), &latin1(head.method.as_bytes())?)?;
    put_headers(&environ, head)?;
    put_target(&environ, head)?;
    // SAFETY: makes a list.
    put(&environ, WORDS.posthooks.object(), &own(unsafe { ffi::PyList_New(0) })?)?;
    Ok(environ)
}

/// Called after the headers: the server that a target in absolute form names goes before that of Host (RFC 9112,
/// 3.2.2).
fn put_target(environ: &Owned, head: &Head<'_, '_>) -> Result<()> {
    let target = match ::http::absolute_form(head.target) {
        Some((authority, target)) => {
            put(environ, WORDS.host.object(), &latin1(authority.as_bytes())?)?;
            target
        }
        None => head.target,
    };
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
    let path = match path {
        "" if head.method == "OPTIONS" && query.is_none() => "*",
        "" => "/",
        path => path,
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
        None => Ok(()),
    }
}

fn put_headers(environ: &Owned, head: &Head<'_, '_>) -> Result<()> {
    // SAFETY: a tuple with a place for each field, all of which are filled before anybody sees it; if one fails, the
    // interpreter skips empty places.
    let raw = own(unsafe { ffi::PyTuple_New(head.fields.len() as Py_ssize_t) })?;
    let mut typed = false;
    for (at, field) in head.fields.iter().enumerate() {
        let (name, key, place) = name_objects(field.name)?;
        let value = latin1(field.value)?;
        match place {
            Place::Joined => join(environ, &key, &value)?,
            // An empty type is one, as for stock; an empty length was refused.
            Place::First if field.name.len() == "content-type".len() => {
                if !typed {
                    put(environ, key.as_ptr(), &value)?;
                }
                typed = true;
            }
            Place::First => put(environ, key.as_ptr(), &value)?,
            Place::Nowhere => {}
        }
        let pair = tuple([name, value])?;
        // SAFETY: within the tuple.
        unsafe { ffi::PyTuple_SET_ITEM(raw.as_ptr(), at as Py_ssize_t, pair.into_raw()) };
    }
    if !typed {
        put(environ, WORDS.content_type.object(), &borrow(WORDS.plain_text.object()))?;
    }
    put(environ, WORDS.headers_raw.object(), &raw)
}

/// Adds a header; a repeated one goes behind the first, after a comma; after a semicolon if it is a cookie, whose
/// values may have commas (RFC 6265 knows of one Cookie only, and RFC 9113 splits it so).
fn join(environ: &Owned, key: &Owned, value: &Owned) -> Result<()> {
    // SAFETY: live objects; the format takes two strings.
    unsafe {
        let size = ffi::PyDict_Size(environ.as_ptr());
        let there = ffi::PyDict_SetDefault(environ.as_ptr(), key.as_ptr(), value.as_ptr());
        if there.is_null() {
            return Err(Raised);
        }
        if ffi::PyDict_Size(environ.as_ptr()) != size {
            return Ok(());
        }
        let is_cookie = ffi::PyUnicode_Compare(key.as_ptr(), WORDS.cookie.object()) == 0;
        let format = if is_cookie { c"%S; %S" } else { c"%S,%S" };
        let joined = own(ffi::PyUnicode_FromFormat(format.as_ptr(), there, value.as_ptr()))?;
        put(environ, key.as_ptr(), &joined)
    }
}

fn flags(head: &Head<'_, '_>) -> i64 {
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

fn length_object(framing: &Framing) -> Result<Owned> {
    match framing.body {
        Body::Length(length) => unsigned(length),
        _ => int(0),
    }
}

/// `http_request(buffer, base, limits, connection)`
pub fn request(args: Args<'_>) -> Result<Owned> {
    let [buffer, base, limit, connection] = arguments(args)?;
    // SAFETY: reads the types, and of a tuple its items, which it keeps.
    let connection = unsafe {
        if ffi::PyDict_Check(base) == 0 || ffi::PyTuple_Check(connection) == 0 || ffi::PyTuple_Size(connection) != 5 {
            return type_error(assumed(), "an environ is made of a dict and a tuple of five");
        }
        [0, 1, 2, 3, 4].map(|place| ffi::PyTuple_GET_ITEM(connection, place))
    };
    let read = ::http::with_head(content(buffer)?, &limits(limit)?, |head| {
        tuple([
            environ(head, base, &connection)?,
            latin1(head.line)?,
            size(head.length)?,
            int(flags(head))?,
            length_object(&head.framing)?,
        ])
    });
    match read {
        Ok(Some(request)) => request,
        Ok(None) => Ok(Owned::none(assumed())),
        Err(refusal) => refuse(refusal),
    }
}

/// `http_head(buffer, limits)`
pub fn head(args: Args<'_>) -> Result<Owned> {
    let [buffer, limit] = arguments(args)?;
    let read = ::http::with_head(content(buffer)?, &limits(limit)?, |head| {
        // SAFETY: a list with a place for each field; if one fails, the interpreter skips empty places.
        let fields = own(unsafe { ffi::PyList_New(head.fields.len() as Py_ssize_t) })?;
        for (at, field) in head.fields.iter().enumerate() {
            let pair = tuple([latin1(field.name.as_bytes())?, latin1(field.value)?])?;
            // SAFETY: within the list.
            unsafe { ffi::PyList_SET_ITEM(fields.as_ptr(), at as Py_ssize_t, pair.into_raw()) };
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
        Ok(None) => Ok(Owned::none(assumed())),
        Err(refusal) => refuse(refusal),
    }
}

/// `http_framing(headers, minor, limits)`
pub fn framing(args: Args<'_>) -> Result<Owned> {
    let [headers, minor, limit] = arguments(args)?;
    let (minor, limits) = (u8::try_from(size_of(minor)?).unwrap_or(1), limits(limit)?);
    let (mut fields, mut named) = (Vec::new(), true);
    for_each_pair(headers, |name, value| {
        // What is no Latin-1 came from no request; it cannot be one of the fields that matter either.
        if let (Some(name), Some(value)) = (latin1_octets(name), latin1_octets(value)) {
            // Swift's own parser takes names that are no ASCII, for the metadata of users.
            named &= ::http::response::is_name(name, true);
            fields.push((String::from_utf8_lossy(name).into_owned(), trim_blanks(value).to_vec()));
        }
        Ok(())
    })?;
    if !named {
        return refuse(Refusal::FieldName);
    }
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    match Framing::of(fields, minor, &limits) {
        Ok(framing) => tuple([
            if framing.body == Body::None { Owned::none(assumed()) } else { length_object(&framing)? },
            Owned::bool(assumed(), framing.body == Body::Chunked),
            Owned::bool(assumed(), framing.close),
        ]),
        Err(refusal) => refuse(refusal),
    }
}

/// Without the blanks around it that HTTP allows; other white space is the value's own, and makes it another one.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
