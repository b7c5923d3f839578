//! Request heads: the request line and the fields, up to the empty line.
//!
//! `httparse` does the reading. What it would let pass and a request smuggler could use, bare line feeds above all, is
//! refused here, and so is what exceeds the [`Limits`].

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};
use memchr::{memchr, memchr_iter};

use crate::framing::Collector;
use crate::target::names_a_server;
use crate::{Framing, Limits, Refusal};

/// As many fields as fit into a head's place on the stack; more of them, if they are allowed, take one allocation. Few
/// clients send more, and a green thread that waits for its next request keeps the pages that the last one has touched.
const FIELDS_ON_STACK: usize = 24;

/// What a request's Connection field and its version say of the connection's future.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Persistence {
    /// `close` was asked for, or follows from what else was.
    pub close: bool,
    /// `keep-alive` was asked for, as clients of HTTP/1.0 do.
    pub keep_alive: bool,
}

impl Persistence {
    fn field(&mut self, value: &[u8]) {
        for option in connection_options(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// The options that the value of a Connection field lists.
pub(crate) fn connection_options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// A request head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub struct Head<'h, 'b> {
    /// The method, in the client's spelling.
    pub method: &'b str,
    /// The request target, undecoded.
    pub target: &'b str,
    /// The version to speak is HTTP/1.`minor`, 0 or 1; a client of a later minor version is spoken to in 1.1 (RFC 9110,
    /// 2.5).
    pub minor: u8,
    /// The fields in their order. Values have no white space around them.
    pub fields: &'h [Header<'b>],
    /// Where the body ends.
    pub framing: Framing,
    /// What the client asks of the connection.
    pub persistence: Persistence,
    /// Whether the client waits for a 100 response before it sends the body; one of HTTP/1.0 does not know of it.
    pub expects_continue: bool,
    /// The request line as it came, without the end of the line.
    pub line: &'b [u8],
    /// How many octets the head takes, from the start of the buffer, empty lines before it included.
    pub length: usize,
}

/// Reads the head that `buffer` begins with and hands it to `then`. `Ok(None)` while the head is incomplete.
///
/// # Errors
/// A [`Refusal`] as soon as the bytes cannot become a head any more.
///
/// ```
/// use greenloom_http::{Body, Limits, with_head};
///
/// let bytes = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
/// let read = with_head(bytes, &Limits::default(), |head| {
///     assert_eq!((head.method, head.target, head.minor), ("POST", "/a?b", 1));
///     assert_eq!(head.framing.body, Body::Length(2));
///     head.length
/// });
/// assert_eq!(read, Ok(Some(bytes.len() - 2)));
/// assert_eq!(with_head(&bytes[..30], &Limits::default(), |_| ()), Ok(None));
/// ```
pub fn with_head<R>(
    buffer: &[u8],
    limits: &Limits,
    then: impl FnOnce(&Head<'_, '_>) -> R,
) -> Result<Option<R>, Refusal> {
    let mut then = Some(then);
    let mut once = |head: &Head<'_, '_>| then.take().expect("a head is handed on once")(head);
    let done = read(buffer, limits, &mut once);
    if !matches!(done, Err(Refusal::Version)) {
        return done;
    }
    let Some(at) = later_minor(buffer) else { return done };
    let mut known = buffer[..buffer.len().min(limits.longest())].to_vec();
    known[at] = b'1';
    read(&known, limits, &mut |head| {
        // The line is shown as it came.
        let start = head.line.as_ptr() as usize - known.as_ptr() as usize;
        once(&Head { line: &buffer[start..start + head.line.len()], ..*head })
    })
}

/// Where the digit of a minor version later than 1 is.
fn later_minor(buffer: &[u8]) -> Option<usize> {
    let start = buffer.iter().position(|byte| !b"\r\n".contains(byte))?;
    let line = &buffer[start..];
    let line = &line[..memchr(b'\n', line).unwrap_or(line.len())];
    let version = memchr_iter(b' ', line).nth(1)? + 1;
    let digit = line[version..].strip_prefix(b"HTTP/1.")?.first()?;
    (b'2'..=b'9').contains(digit).then_some(start + version + b"HTTP/1.".len())
}

fn read<R>(buffer: &[u8], limits: &Limits, then: &mut impl FnMut(&Head<'_, '_>) -> R) -> Result<Option<R>, Refusal> {
    let mut on_stack = [const { MaybeUninit::uninit() }; FIELDS_ON_STACK];
    match parse(buffer, limits, &mut on_stack[..limits.fields.min(FIELDS_ON_STACK)]) {
        Err(Refusal::TooManyFields) if limits.fields > FIELDS_ON_STACK => {}
        done => return Ok(done?.map(|head| then(&head))),
    }
    let mut on_heap = vec![MaybeUninit::uninit(); limits.fields];
    Ok(parse(buffer, limits, &mut on_heap)?.map(|head| then(&head)))
}

fn parse<'h, 'b>(
    buffer: &'b [u8],
    limits: &Limits,
    slots: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<Head<'h, 'b>>, Refusal> {
    let buffer = &buffer[..buffer.len().min(limits.longest())];
    let mut request = Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(buffer, slots).map_err(refusal_of)? {
        Status::Complete(length) => length,
        Status::Partial => {
            check_lines(buffer, limits)?;
            return Ok(None);
        }
    };
    let line = check_lines(&buffer[..length], limits)?;
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(Refusal::RequestLine);
    };
    if !names_a_server(target) {
        return Err(Refusal::RequestLine);
    }
    let fields: &'h [Header<'b>] = request.headers;
    let mut framing = Collector::default();
    let mut persistence = Persistence::default();
    let mut expects_continue = false;
    for field in fields {
        framing.field(field.name, field.value)?;
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => persistence.field(field.value),
            6 if field.name.eq_ignore_ascii_case("expect") => {
                expects_continue = field.value.eq_ignore_ascii_case(b"100-continue");
            }
            _ => {}
        }
    }
    let framing = framing.finish(minor, limits)?;
    if minor == 0 && expects_continue {
        // It will not be told to go on, and nobody knows whether its body comes unless it is read.
        (expects_continue, persistence.close) = (false, true);
    }
    Ok(Some(Head { method, target, minor, fields, framing, persistence, expects_continue, line, length }))
}

fn refusal_of(error: Error) -> Refusal {
    match error {
        Error::HeaderName => Refusal::FieldName,
        Error::HeaderValue => Refusal::FieldValue,
        Error::TooManyHeaders => Refusal::TooManyFields,
        Error::Version => Refusal::Version,
        Error::NewLine => Refusal::LineEnd,
        _ => Refusal::RequestLine,
    }
}

/// Holds the lines of a head, or of the beginning of one, to the limits and to CR LF. Returns the request line without
/// its end, or what there is of it.
fn check_lines<'b>(head: &'b [u8], limits: &Limits) -> Result<&'b [u8], Refusal> {
    let mut request_line: Option<&[u8]> = None;
    let (mut start, mut headers) = (0, 0);
    for end in memchr_iter(b'\n', head) {
        let line = &head[start..end];
        let ended = line.strip_suffix(b"\r");
        if ended.is_none() && !limits.tolerant {
            return Err(Refusal::LineEnd);
        }
        let (text, size) = (ended.unwrap_or(line), end + 1 - start);
        start = end + 1;
        if request_line.is_some() {
            headers += size;
            check_header_line(size, headers, limits)?;
        } else if start >= limits.request_line {
            // Counted from the start, so that empty lines do not come free.
            return Err(Refusal::RequestLineTooLong);
        } else if !text.is_empty() {
            request_line = Some(text);
        }
    }
    let rest = head.len() - start;
    if request_line.is_some() {
        check_header_line(rest, headers + rest, limits)?;
    } else if head.len() >= limits.request_line {
        return Err(Refusal::RequestLineTooLong);
    }
    Ok(request_line.unwrap_or(&head[start..]))
}

fn check_header_line(size: usize, headers: usize, limits: &Limits) -> Result<(), Refusal> {
    if size >= limits.header_line {
        return Err(Refusal::HeaderLineTooLong);
    }
    if headers > limits.headers {
        return Err(Refusal::HeadersTooLarge);
    }
    Ok(())
}
