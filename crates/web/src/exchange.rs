//! The life of a connection: a request is read, handled and answered; then the next one.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use greenloom::hub::now;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use std::net::Shutdown;
use strict::{Head, Refusal, with_head};

use crate::body::Body;
use crate::incoming::{Incoming, Receiving};
use crate::respond::{After, Asked, refusal, respond};
use crate::upgraded::Upgraded;

/// What runs for each request.
pub(crate) type Handler = dyn Fn(Request<Incoming>) -> Response<Body>;

/// A head is read again when it has a line more, or so many octets.
const READ_AGAIN: usize = 512;

/// What was read where a request was expected.
enum Next {
    Request(Box<Request<Incoming>>, Asked),
    /// It is not served, and neither is what follows.
    Refused(Vec<u8>),
    End,
}

/// Serves one connection to its end. `counted` is told of each request, and whether it is served.
pub(crate) fn serve(receiving: &Rc<Receiving>, handler: &Handler, counted: &dyn Fn(bool)) -> io::Result<()> {
    let connection = &receiving.connection;
    let mut out = Vec::new();
    loop {
        let (request, asked) = match next(receiving)? {
            Next::Request(request, asked) => (request, asked),
            Next::Refused(response) => {
                counted(false);
                connection.send_all(&response)?;
                connection.linger();
                return Ok(());
            }
            Next::End => return connection.end(),
        };
        counted(true);
        let response = handler(*request);
        match respond(receiving, &asked, response, &mut out)? {
            After::Next if receiving.finish() => {}
            After::Upgrade(then) => {
                then(Upgraded::new(Rc::clone(connection))?);
                return connection.end();
            }
            // A client that did not ask for the end may be sending already.
            After::Next | After::Close if asked.goes_on || !receiving.is_at_end() => {
                connection.linger();
                return Ok(());
            }
            After::Next | After::Close => return connection.end(),
        }
    }
}

/// Waits for a request and reads its head.
fn next(receiving: &Rc<Receiving>) -> io::Result<Next> {
    let (connection, options) = (&receiving.connection, &*receiving.connection.options);
    let mut until = None;
    let mut unlooked = connection.input.borrow().unread().len();
    let mut has_line = true;
    loop {
        if (has_line && unlooked > 0) || unlooked >= READ_AGAIN {
            unlooked = 0;
            match read(receiving) {
                Ok(Some(next)) => return Ok(next),
                Ok(None) => {}
                Err(why) => return Ok(Next::Refused(refusal(why.status(), why.phrase(), why.explanation()))),
            }
        }
        let is_idle = connection.input.borrow().is_empty();
        let wait = if is_idle {
            connection.is_idle.set(true);
            if connection.stopping.is_cancelled() {
                // What has arrived is served, and no more.
                let _ = connection.socket.end(Shutdown::Read);
            }
            options.keep_alive
        } else {
            until.get_or_insert_with(|| now().saturating_add(options.head_timeout)).saturating_sub(now())
        };
        let got = if wait.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { connection.fill(wait) };
        connection.is_idle.set(false);
        match got {
            // What there is of a head cannot be answered.
            Ok((0, _)) => return Ok(Next::End),
            Ok((count, line)) => (unlooked, has_line) = (unlooked + count, line),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && is_idle => return Ok(Next::End),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Ok(Next::Refused(refusal(408, "Request Timeout", "The request's head took too long")));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The request that the input begins with, if it is all there.
fn read(receiving: &Rc<Receiving>) -> Result<Option<Next>, Refusal> {
    let options = &*receiving.connection.options;
    let mut input = receiving.connection.input.borrow_mut();
    let Some((length, next)) = with_head(input.unread(), &options.limits, |head| (head.length, made(receiving, head)))?
    else {
        return Ok(None);
    };
    input.consume(length);
    next.map(Some)
}

fn made(receiving: &Rc<Receiving>, head: &Head<'_, '_>) -> Result<Next, Refusal> {
    let (framing, asks) = (head.framing, head.persistence);
    if matches!(framing.body, strict::Body::Length(length) if length > receiving.connection.options.max_body) {
        let explanation = "The request's body is longer than is allowed here";
        return Ok(Next::Refused(refusal(413, "Content Too Large", explanation)));
    }
    let goes_on = !framing.close && !asks.close && (head.minor == 1 || asks.keep_alive);
    let method = Method::from_bytes(head.method.as_bytes()).map_err(|_| Refusal::RequestLine)?;
    let asked = Asked { method: method.clone(), minor: head.minor, goes_on };
    let (uri, headers) = fields(head)?;
    let mut request = Request::new(receiving.begin(framing.body, head.expects_continue));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = if head.minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    Ok(Next::Request(Box::new(request), asked))
}

/// The target and the fields, which share one allocation.
fn fields(head: &Head<'_, '_>) -> Result<(Uri, HeaderMap), Refusal> {
    let values = head.fields.iter().map(|field| field.value.len()).sum::<usize>();
    let mut shared = Vec::with_capacity(head.target.len() + values);
    shared.extend_from_slice(head.target.as_bytes());
    head.fields.iter().for_each(|field| shared.extend_from_slice(field.value));
    let shared = Bytes::from(shared);
    let uri = Uri::from_maybe_shared(shared.slice(..head.target.len())).map_err(|_| Refusal::RequestLine)?;
    let mut headers = HeaderMap::with_capacity(head.fields.len());
    let mut at = head.target.len();
    for field in head.fields {
        let end = at + field.value.len();
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::FieldName)?;
        let value = HeaderValue::from_maybe_shared(shared.slice(at..end)).map_err(|_| Refusal::FieldValue)?;
        headers.append(name, value);
        at = end;
    }
    Ok((uri, headers))
}
