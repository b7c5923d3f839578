//! The bodies of requests.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::rc::Rc;

use greenloom::sync::CancellationToken;
use strict::{Chunks, Step};

use crate::connection::{Connection, busy};

/// A body that nobody has read is passed over up to this size, in so many reads; a connection with a longer one is
/// closed.
const SKIPPED: u64 = 64 * 1024;
const SKIPPING_READS: usize = 64;

/// The body of the request that a connection is at.
pub(crate) struct Receiving {
    pub connection: Rc<Connection>,
    /// Counts the requests, so that a body that outlives its own is not taken for the next one's.
    number: Cell<u64>,
    left: Cell<Left>,
    /// Octets of data so far.
    octets: Cell<u64>,
    /// Whether the client waits to be told to go on.
    awaits_continue: Cell<bool>,
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Length(u64),
    Chunked(Chunks),
    /// It cannot be read any further, so nobody knows where the next request begins.
    Broken,
}

impl Receiving {
    pub fn new(connection: Connection) -> Receiving {
        Receiving {
            connection: Rc::new(connection),
            number: Cell::new(0),
            left: Cell::new(Left::Length(0)),
            octets: Cell::new(0),
            awaits_continue: Cell::new(false),
        }
    }

    /// The next request's body.
    pub fn begin(self: &Rc<Receiving>, body: strict::Body, awaits_continue: bool) -> Incoming {
        self.number.set(self.number.get() + 1);
        self.left.set(match body {
            strict::Body::None => Left::Length(0),
            strict::Body::Length(length) => Left::Length(length),
            strict::Body::Chunked => Left::Chunked(Chunks::default()),
        });
        self.octets.set(0);
        self.awaits_continue.set(awaits_continue && !self.is_at_end());
        Incoming { receiving: Rc::clone(self), number: self.number.get() }
    }

    pub fn is_at_end(&self) -> bool {
        self.left.get() == Left::Length(0)
    }

    /// Tells a client that waits for it to send the body, before a response that may read it as it goes.
    pub fn go_on(&self) -> io::Result<()> {
        if self.awaits_continue.take() {
            self.connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(())
    }

    /// Whether there may be another request once this one is answered. Asked before the response, which says so.
    pub fn may_go_on(&self) -> bool {
        !self.awaits_continue.get()
            && match self.left.get() {
                Left::Length(left) => left <= SKIPPED,
                Left::Chunked(_) => true,
                Left::Broken => false,
            }
    }

    /// Passes over what is left, if that is not much; returns whether the next request can be read.
    pub fn finish(&self) -> bool {
        // Who still has the body reads it no more.
        self.number.set(self.number.get() + 1);
        self.is_at_end() || self.skip()
    }

    /// A call of its own, so that a request without a body does not clear the memory into which one is read.
    #[cold]
    #[inline(never)]
    fn skip(&self) -> bool {
        let mut waste = [0; 4096];
        for _ in 0..SKIPPING_READS {
            if self.is_at_end() || !matches!(self.read(&mut waste), Ok(1..)) {
                break;
            }
        }
        self.is_at_end()
    }

    fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.is_at_end() {
            return Ok(0);
        }
        self.go_on()?;
        let (connection, left) = (&self.connection, self.left.get());
        connection.socket.limit_reads(Some(connection.options.body_timeout))?;
        match left {
            Left::Length(left) => self.read_length(buf, left),
            Left::Chunked(chunks) => self.read_chunks(buf, chunks),
            Left::Broken => Err(io::Error::new(io::ErrorKind::InvalidData, "the body of the request is broken")),
        }
    }

    fn read_length(&self, buf: &mut [u8], left: u64) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let buf = &mut buf[..wanted];
        let mut input = self.connection.input.try_borrow_mut().map_err(busy)?;
        let count = if input.is_empty() { self.connection.receive(buf)? } else { input.take(buf) };
        if count == 0 {
            return Err(self.break_off(io::ErrorKind::UnexpectedEof, "the request's body ends before its length"));
        }
        self.left.set(Left::Length(left - count as u64));
        Ok(count)
    }

    fn read_chunks(&self, buf: &mut [u8], mut chunks: Chunks) -> io::Result<usize> {
        let mut input = self.connection.input.try_borrow_mut().map_err(busy)?;
        loop {
            let (mut unread, before) = (input.unread(), input.unread().len());
            let step = chunks.step(&mut unread, buf.len());
            let used = before - unread.len();
            let count = match step {
                Ok(Step::Data(data)) => {
                    buf[..data.len()].copy_from_slice(data);
                    Some(data.len())
                }
                Ok(Step::More) => None,
                Ok(Step::End) => Some(0),
                Err(error) => {
                    self.left.set(Left::Broken);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            };
            input.consume(used);
            self.left.set(if count == Some(0) { Left::Length(0) } else { Left::Chunked(chunks) });
            if let Some(count) = count {
                return self.counted(count);
            }
            if input.fill(|buf| self.connection.receive(buf))?.is_empty() {
                return Err(
                    self.break_off(io::ErrorKind::UnexpectedEof, "the request's body ends before its last chunk")
                );
            }
        }
    }

    fn counted(&self, count: usize) -> io::Result<usize> {
        self.octets.set(self.octets.get() + count as u64);
        if self.octets.get() > self.connection.options.max_body {
            return Err(
                self.break_off(io::ErrorKind::FileTooLarge, "the request's body is longer than is allowed here")
            );
        }
        Ok(count)
    }

    fn break_off(&self, kind: io::ErrorKind, message: &'static str) -> io::Error {
        self.left.set(Left::Broken);
        io::Error::new(kind, message)
    }
}

/// The body of a request, to be read, and what is known of its connection.
///
/// It is read from the client as the handler reads it. What a handler leaves unread is passed over if it is short;
/// behind a longer one the connection is closed. A client that waits for a response 100 gets it at the first read.
pub struct Incoming {
    receiving: Rc<Receiving>,
    number: u64,
}

impl Incoming {
    /// All of it.
    ///
    /// ```
    /// use greenloom_web::{Body, Incoming, http::{Request, Response, StatusCode}};
    ///
    /// fn handler(request: Request<Incoming>) -> Response<Body> {
    ///     let Ok(body) = request.into_body().read_up_to(1 << 20) else {
    ///         let mut response = Response::default();
    ///         *response.status_mut() = StatusCode::BAD_REQUEST;
    ///         return response;
    ///     };
    ///     Response::new(Body::from(format!("{} octets", body.len())))
    /// }
    /// ```
    ///
    /// # Errors
    /// `FileTooLarge` when it has more than `limit` octets; those of reading: `TimedOut`, `UnexpectedEof`, and
    /// `InvalidData` where chunks are malformed.
    pub fn read_up_to(mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let more_than_allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        self.by_ref().take(more_than_allowed).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "the request's body is longer than is allowed here",
            ));
        }
        Ok(bytes)
    }

    /// How many octets are left to be read; none if the body comes in chunks.
    pub fn len_left(&self) -> Option<u64> {
        match self.receiving.left.get() {
            _ if self.is_over() => Some(0),
            Left::Length(left) => Some(left),
            Left::Chunked(_) | Left::Broken => None,
        }
    }

    /// Where the client is; none over a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.receiving.connection.peer()
    }

    /// Cancelled when the server shuts down: for handlers that take long.
    pub fn stopping(&self) -> &CancellationToken {
        &self.receiving.connection.stopping
    }

    fn is_over(&self) -> bool {
        self.number != self.receiving.number.get()
    }
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.is_over() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the request is answered; its body is gone"));
        }
        self.receiving.read(buf)
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("left", &self.receiving.left.get()).finish_non_exhaustive()
    }
}
