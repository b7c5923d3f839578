//! Request heads: what a request says, as an environ or in parts, and whether it says where its body ends.

use std::ptr;

use greenloom_http::{Body, Framing, Head, Limits, Refusal};

use super::pairs::for_each_pair;
use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::object::{Object, int, intern, latin1, put, size, tuple, unsigned};
use crate::py::{Args, Gil, Global, GlobalObject, Owned, Raised, Result, type_error};

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
pub fn fill(gil: Gil<'_>, module: Object<'_>) -> Result<()> {
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
    for (place, text) in words {
        intern(gil, place, text)?;
    }
    for (name, place) in &METHODS {
        place.set(latin1(gil, name.as_bytes())?);
    }
    // SAFETY: names are literals; the module is alive, and the class lives for ever; the token says that the lock is
    // held.
    unsafe {
        let (name, base) = (c"greenloom.HttpError".as_ptr(), ffi::PyExc_ValueError);
        HTTP_ERROR.set(Owned::new(ffi::PyErr_NewException(name, base, ptr::null_mut()))?);
        match ffi::PyModule_AddObjectRef(module.as_ptr(), c"HttpError".as_ptr(), HTTP_ERROR.object()) {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }
}

/// (request line, header line, all headers, how many headers, tolerant, strict)
pub fn limits(object: Object<'_>) -> Result<Limits> {
    let Some([request_line, header_line, headers, fields, tolerant, require_host]) = object.tuple_items() else {
        return type_error(object.gil(), "limits are a tuple of six");
    };
    Ok(Limits {
        request_line: request_line.size()?,
        header_line: header_line.size()?,
        headers: headers.size()?,
        fields: fields.size()?,
        tolerant: tolerant.truth()?,
        require_host: require_host.truth()?,
    })
}

/// Raises the HttpError of a request that must not be served.
#[cold]
pub fn refuse<T>(gil: Gil<'_>, refusal: Refusal) -> Result<T> {
    let arguments = tuple(
        gil,
        [
            int(gil, refusal.status().into())?,
            latin1(gil, refusal.phrase().as_bytes())?,
            latin1(gil, refusal.explanation().as_bytes())?,
        ],
    )?;
    // SAFETY: a class that lives for ever, and its arguments; the token says that the lock is held.
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
fn name_objects(gil: Gil<'_>, name: &str) -> Result<(Owned, Owned, Place)> {
    let hash = name.bytes().fold(name.len(), |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    // SAFETY: the token says that the lock is held, and nothing below runs Python code while the slot is borrowed:
    // strings are made and let go.
    let slot = unsafe { &mut (*CACHE.get())[hash % NAMES] };
    if !slot.raw.is_null() {
        // SAFETY: the slot keeps both until it is written below.
        let (raw, key) = unsafe { (Object::new(slot.raw), Object::new(slot.key)) };
        if raw.latin1_octets() == Some(name.as_bytes()) {
            return Ok((raw.owned(), key.owned(), slot.place));
        }
    }
    let raw = latin1(gil, name.as_bytes())?;
    let mut key = b"HTTP_".to_vec();
    key.extend(name.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }));
    let place = match &key[5..] {
        _ if name.contains('_') => Place::Nowhere,
        b"CONTENT_TYPE" | b"CONTENT_LENGTH" => Place::First,
        _ => Place::Joined,
    };
    let key = latin1(gil, if place == Place::First { &key[5..] } else { &key })?;
    if name.len() <= LONGEST_CACHED {
        for (old, new) in [(&mut slot.raw, &raw), (&mut slot.key, &key)] {
            let old = std::mem::replace(old, new.clone().into_raw());
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

/// The methods that most requests have.
static METHODS: [(&str, GlobalObject); 7] = [
    ("GET", GlobalObject::null()),
    ("POST", GlobalObject::null()),
    ("HEAD", GlobalObject::null()),
    ("PUT", GlobalObject::null()),
    ("DELETE", GlobalObject::null()),
    ("OPTIONS", GlobalObject::null()),
    ("PATCH", GlobalObject::null()),
];

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

/// A copy of `base` with the headers of a request: all of its environ that the connection and the request line do not
/// say.
pub fn with_headers(head: &Head<'_, '_>, base: Object<'_>) -> Result<Owned> {
    let environ = copy_of(base)?;
    put_headers(&environ, head)?;
    Ok(environ)
}

/// A copy of a dict.
pub fn copy_of(dict: Object<'_>) -> Result<Owned> {
    // SAFETY: alive, and a SystemError if it is no dict; the lock is held.
    unsafe { Owned::new(ffi::PyDict_Copy(dict.as_ptr())) }
}

/// Adds what the request line says to an environ that has the headers. Returns the method.
pub fn put_line(environ: &Owned, head: &Head<'_, '_>) -> Result<Owned> {
    let method = method_object(environ.gil(), head.method)?;
    put(environ, Object::word(&WORDS.method), &method)?;
    put_target(environ, head)?;
    Ok(method)
}

/// Completes an environ with what the connection has, and a place for hooks.
pub fn put_connection(environ: &Owned, connection: [Object<'_>; 5]) -> Result<()> {
    for (key, value) in WORDS.connection.iter().zip(connection) {
        put(environ, Object::word(key), &value.owned())?;
    }
    // SAFETY: the lock is held.
    put(environ, Object::word(&WORDS.posthooks), &unsafe { Owned::new(ffi::PyList_New(0)) }?)
}

fn method_object(gil: Gil<'_>, method: &str) -> Result<Owned> {
    match METHODS.iter().find(|(name, _)| *name == method) {
        Some((_, object)) => Ok(Object::word(object).owned()),
        None => latin1(gil, method.as_bytes()),
    }
}

/// Called after the headers: the server that a target in absolute form names goes before that of Host (RFC 9112,
/// 3.2.2).
fn put_target(environ: &Owned, head: &Head<'_, '_>) -> Result<()> {
    let text = |text: &[u8]| latin1(environ.gil(), text);
    let target = match greenloom_http::absolute_form(head.target) {
        Some((authority, target)) => {
            put(environ, Object::word(&WORDS.host), &text(authority.as_bytes())?)?;
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
    let raw = text(path.as_bytes())?;
    put(environ, Object::word(&WORDS.raw_path), &raw)?;
    if path.contains('%') {
        put(environ, Object::word(&WORDS.path), &text(&greenloom_http::percent_decode(path.as_bytes()))?)?;
    } else {
        put(environ, Object::word(&WORDS.path), &raw)?;
    }
    match query {
        Some(query) => put(environ, Object::word(&WORDS.query), &text(query.as_bytes())?),
        None => Ok(()),
    }
}

fn put_headers(environ: &Owned, head: &Head<'_, '_>) -> Result<()> {
    let gil = environ.gil();
    // SAFETY: a tuple with a place for each field, all of which are filled before anybody sees it; if one fails, the
    // interpreter skips empty places. The lock is held.
    let raw = unsafe { Owned::new(ffi::PyTuple_New(head.fields.len() as Py_ssize_t)) }?;
    let mut typed = false;
    for (at, field) in head.fields.iter().enumerate() {
        let (name, key, place) = name_objects(gil, field.name)?;
        let value = latin1(gil, field.value)?;
        match place {
            Place::Joined => join(environ, &key, &value)?,
            // An empty type is one, as for stock; an empty length was refused.
            Place::First if field.name.len() == "content-type".len() => {
                if !typed {
                    put(environ, Object::of(&key), &value)?;
                }
                typed = true;
            }
            Place::First => put(environ, Object::of(&key), &value)?,
            Place::Nowhere => {}
        }
        let pair = tuple(gil, [name, value])?;
        // SAFETY: within the tuple.
        unsafe { ffi::PyTuple_SET_ITEM(raw.as_ptr(), at as Py_ssize_t, pair.into_raw()) };
    }
    if !typed {
        put(environ, Object::word(&WORDS.content_type), &Object::word(&WORDS.plain_text).owned())?;
    }
    put(environ, Object::word(&WORDS.headers_raw), &raw)
}

/// Adds a header; a repeated one goes behind the first, after a comma; after a semicolon if it is a cookie, whose
/// values may have commas (RFC 6265 knows of one Cookie only, and RFC 9113 splits it so).
fn join(environ: &Owned, key: &Owned, value: &Owned) -> Result<()> {
    // SAFETY: live objects, with the lock held; what is there is a string, or a value of the dict that the environ was
    // copied from, and `%S` takes any object. The dict keeps it: nothing runs before it is read but `__str__` of it.
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
        let joined = Owned::new(ffi::PyUnicode_FromFormat(format.as_ptr(), there, value.as_ptr()))?;
        put(environ, Object::of(key), &joined)
    }
}

/// What a request's head says of the request and of the connection.
pub fn flags(head: &Head<'_, '_>) -> i64 {
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

fn length_object(gil: Gil<'_>, framing: &Framing) -> Result<Owned> {
    unsigned(gil, body_length(framing))
}

/// How long the body says to be; 0 if it does not.
pub fn body_length(framing: &Framing) -> u64 {
    match framing.body {
        Body::Length(length) => length,
        _ => 0,
    }
}

/// `http_request(buffer, base, limits, connection)`
pub fn request(args: Args<'_>) -> Result<Owned> {
    let [buffer, base, limit, connection] = args.exactly()?;
    let gil = args.gil();
    // SAFETY: reads the type of a live object.
    let is_dict = unsafe { ffi::PyDict_Check(base.as_ptr()) != 0 };
    let (true, Some(connection)) = (is_dict, connection.tuple_items()) else {
        return type_error(gil, "an environ is made of a dict and a tuple of five");
    };
    let read = greenloom_http::with_head(buffer.content()?, &limits(limit)?, |head| {
        let environ = with_headers(head, base)?;
        put_line(&environ, head)?;
        put_connection(&environ, connection)?;
        let items = [
            environ,
            latin1(gil, head.line)?,
            size(gil, head.length)?,
            int(gil, flags(head))?,
            length_object(gil, &head.framing)?,
        ];
        tuple(gil, items)
    });
    match read {
        Ok(Some(request)) => request,
        Ok(None) => Ok(Owned::none(gil)),
        Err(refusal) => refuse(gil, refusal),
    }
}

/// `http_head(buffer, limits)`
pub fn head(args: Args<'_>) -> Result<Owned> {
    let [buffer, limit] = args.exactly()?;
    let gil = args.gil();
    let read = greenloom_http::with_head(buffer.content()?, &limits(limit)?, |head| {
        // SAFETY: a list with a place for each field; if one fails, the interpreter skips empty places. The lock is
        // held.
        let fields = unsafe { Owned::new(ffi::PyList_New(head.fields.len() as Py_ssize_t)) }?;
        for (at, field) in head.fields.iter().enumerate() {
            let pair = tuple(gil, [latin1(gil, field.name.as_bytes())?, latin1(gil, field.value)?])?;
            // SAFETY: within the list.
            unsafe { ffi::PyList_SET_ITEM(fields.as_ptr(), at as Py_ssize_t, pair.into_raw()) };
        }
        let items = [
            latin1(gil, head.method.as_bytes())?,
            latin1(gil, head.target.as_bytes())?,
            int(gil, head.minor.into())?,
            fields,
            int(gil, flags(head))?,
        ];
        tuple(gil, items)
    });
    match read {
        Ok(Some(head)) => head,
        Ok(None) => Ok(Owned::none(gil)),
        Err(refusal) => refuse(gil, refusal),
    }
}

/// `http_framing(headers, minor, limits)`
pub fn framing(args: Args<'_>) -> Result<Owned> {
    let [headers, minor, limit] = args.exactly()?;
    let gil = args.gil();
    let (minor, limits) = (u8::try_from(minor.size()?).unwrap_or(1), limits(limit)?);
    let (mut fields, mut named) = (Vec::new(), true);
    for_each_pair(headers, |name, value| {
        // What is no Latin-1 came from no request; it cannot be one of the fields that matter either.
        if let (Some(name), Some(value)) = (name.latin1_octets(), value.latin1_octets()) {
            // Swift's own parser takes names that are no ASCII, for the metadata of users.
            named &= greenloom_http::response::is_name(name, greenloom_http::response::NameOctets::Latin1);
            fields.push((String::from_utf8_lossy(name).into_owned(), trim_blanks(value).to_vec()));
        }
        Ok(())
    })?;
    if !named {
        return refuse(gil, Refusal::FieldName);
    }
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
    match Framing::of(fields, minor, &limits) {
        Ok(framing) => {
            let length = if framing.body == Body::None { Owned::none(gil) } else { length_object(gil, &framing)? };
            let chunked = Owned::bool(gil, framing.body == Body::Chunked);
            tuple(gil, [length, chunked, Owned::bool(gil, framing.close)])
        }
        Err(refusal) => refuse(gil, refusal),
    }
}

/// Without the blanks around it that HTTP allows; other white space is the value's own, and makes it another one.
fn trim_blanks(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}
