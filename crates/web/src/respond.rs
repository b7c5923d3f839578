//! Responses on their way out: the head, how the body ends, and whether the connection goes on.

use std::io::{self, Read, Write};
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header};
use strict::response::{Date, Ending, says_close, write_end};

use crate::body::{Body, Kind};
use crate::incoming::Receiving;
use crate::upgraded::Upgraded;
use crate::writer::{BodyWriter, FULL, Framing};

/// What of a request the response depends on.
pub(crate) struct Asked {
    pub method: Method,
    pub minor: u8,
    /// Whether the client would have another request on this connection.
    pub goes_on: bool,
}

/// What becomes of the connection.
pub(crate) enum After {
    Next,
    Close,
    Upgrade(Box<dyn FnOnce(Upgraded)>),
}

/// What of a response's fields this module has to know.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    date: Date,
    close: bool,
}

/// Sends a response. `out` is room that is used again.
pub(crate) fn respond(
    receiving: &Rc<Receiving>,
    asked: &Asked,
    response: Response<Body>,
    out: &mut Vec<u8>,
) -> io::Result<After> {
    let (mut parts, Body(mut body)) = response.into_parts();
    let switches = parts.status == StatusCode::SWITCHING_PROTOCOLS
        || (asked.method == Method::CONNECT && parts.status.is_success());
    if parts.status.is_informational() && !switches || switches != matches!(body, Kind::Upgrade(_)) {
        // No client would know what to make of it.
        (parts.status, parts.headers) = (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new());
        body = Kind::Bytes(Bytes::new());
    }
    if matches!(body, Kind::Reader(..) | Kind::Writer(_)) {
        receiving.go_on()?;
    }
    out.clear();
    write_status(parts.status, out);
    let fields = write_fields(&parts.headers, out);
    let is_bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let sends_nothing = is_bodiless || asked.method == Method::HEAD;
    let said = fields.length.filter(|_| parts.status != StatusCode::NO_CONTENT);
    let length = match &body {
        Kind::Upgrade(_) => None,
        Kind::Bytes(bytes) if sends_nothing && bytes.is_empty() && said.is_some() => said,
        Kind::Bytes(_) if is_bodiless => said,
        Kind::Bytes(bytes) => Some(bytes.len() as u64),
        Kind::Reader(_, length) => length.or(said),
        Kind::Writer(_) => said,
    };
    let framing = match (length, asked.minor) {
        (Some(length), _) => Framing::Length(length),
        (None, 1) => Framing::Chunked,
        (None, _) => Framing::ToTheEnd,
    };
    let upgrades = matches!(body, Kind::Upgrade(_));
    let goes_on = asked.goes_on
        && !fields.close
        && !receiving.connection.stopping.is_cancelled()
        && receiving.may_go_on()
        && (framing != Framing::ToTheEnd || sends_nothing);
    let ending = match framing {
        Framing::Length(length) => Ending::Length(usize::try_from(length).unwrap_or(usize::MAX)),
        Framing::Chunked if !is_bodiless && !upgrades => Ending::Chunked,
        _ => Ending::AsSaid,
    };
    let more: &[u8] = match (goes_on, asked.minor) {
        _ if upgrades => b"",
        (false, _) => b"Connection: close\r\n",
        (true, 0) => b"Connection: keep-alive\r\n",
        (true, _) => b"",
    };
    write_end(out, fields.date, ending, more);
    let connection = &receiving.connection;
    match body {
        Kind::Upgrade(then) => {
            connection.send_all(out)?;
            return Ok(After::Upgrade(then));
        }
        _ if sends_nothing => connection.send_all(out)?,
        Kind::Bytes(bytes) if bytes.len() < FULL => {
            out.extend_from_slice(&bytes);
            connection.send_all(out)?;
        }
        Kind::Bytes(bytes) => {
            connection.send_all(out)?;
            connection.send_all(&bytes)?;
        }
        Kind::Reader(reader, _) => {
            let mut writer = BodyWriter::new(connection, out, framing);
            copy(reader, length, &mut writer)?;
            writer.finish()?;
        }
        Kind::Writer(write) => {
            let mut writer = BodyWriter::new(connection, out, framing);
            write(&mut writer)?;
            writer.finish()?;
        }
    }
    Ok(if goes_on { After::Next } else { After::Close })
}

/// Copies as the octets come, each piece sent at once: a reader may wait for the next one.
fn copy(mut reader: Box<dyn Read>, length: Option<u64>, writer: &mut BodyWriter<'_>) -> io::Result<()> {
    let mut left = length.unwrap_or(u64::MAX);
    let mut buffer = vec![0; FULL];
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match reader.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_all(&buffer[..count])?;
                writer.flush()?;
                left -= count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A response to what was no request, after which the connection is closed.
pub(crate) fn refusal(status: u16, phrase: &str, explanation: &str) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain\r\n").into_bytes();
    write_end(&mut out, Date::Now, Ending::Length(explanation.len() + 1), b"Connection: close\r\n");
    out.extend_from_slice(explanation.as_bytes());
    out.push(b'\n');
    out
}

fn write_status(status: StatusCode, out: &mut Vec<u8>) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the fields, but for those about how the body ends.
fn write_fields(headers: &HeaderMap, out: &mut Vec<u8>) -> Fields {
    let mut fields = Fields::default();
    for (name, value) in headers {
        if name == header::CONTENT_LENGTH {
            fields.length = value.to_str().ok().and_then(|length| length.parse().ok());
            continue;
        }
        if name == header::TRANSFER_ENCODING {
            continue;
        }
        if name == header::CONNECTION && says_close(value.as_bytes()) {
            // Said below, once.
            fields.close = true;
            continue;
        }
        if name == header::DATE {
            fields.date = Date::Given;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    fields
}
