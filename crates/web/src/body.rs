//! The bodies of responses.

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;

use crate::upgraded::Upgraded;
use crate::writer::BodyWriter;

type Writing = dyn FnOnce(&mut BodyWriter<'_>) -> io::Result<()>;

/// The body of a response: octets that are there, a reader, or a function that writes them.
///
/// One that has a length goes with a `Content-Length`, others in chunks, or, to a client of HTTP/1.0, to the end of the
/// connection. A body that fails midway ends the connection, so that the client sees that something is missing.
pub struct Body(pub(crate) Kind);

pub(crate) enum Kind {
    Bytes(Bytes),
    Reader(Box<dyn Read>, Option<u64>),
    Writer(Box<Writing>),
    Upgrade(Box<dyn FnOnce(Upgraded)>),
}

impl Body {
    /// Nothing.
    pub fn empty() -> Body {
        Body(Kind::Bytes(Bytes::new()))
    }

    /// What `reader` reads, to its end. It is read in the connection's green thread while the response is sent.
    ///
    /// ```
    /// use greenloom_web::{Body, Incoming, http::{Request, Response}};
    ///
    /// fn echo(request: Request<Incoming>) -> Response<Body> {
    ///     Response::new(Body::reader(request.into_body()))
    /// }
    /// ```
    pub fn reader(reader: impl Read + 'static) -> Body {
        Body(Kind::Reader(Box::new(reader), None))
    }

    /// The first `length` octets that `reader` reads; if there are fewer, the body fails.
    pub fn sized(reader: impl Read + 'static, length: u64) -> Body {
        Body(Kind::Reader(Box::new(reader), Some(length)))
    }

    /// What `write` writes. It runs in the connection's green thread, after the head of the response is made, and may
    /// take its time: server-sent events are a body of this kind.
    ///
    /// ```
    /// use greenloom_web::{Body, http::Response};
    /// use std::io::Write;
    /// use std::time::Duration;
    ///
    /// fn ticks() -> Response<Body> {
    ///     Response::new(Body::stream(|out| {
    ///         for tick in 0..10 {
    ///             writeln!(out, "tick {tick}")?;
    ///             out.flush()?;
    ///             greenloom::sleep(Duration::from_secs(1));
    ///         }
    ///         Ok(())
    ///     }))
    /// }
    /// ```
    pub fn stream(write: impl FnOnce(&mut BodyWriter<'_>) -> io::Result<()> + 'static) -> Body {
        Body(Kind::Writer(Box::new(write)))
    }

    /// No body, but the end of HTTP on this connection: after the head, `then` has the stream to itself. It is for
    /// responses 101, and for 2xx to `CONNECT`; with other ones the client is told of an error 500.
    ///
    /// ```
    /// use greenloom_web::{Body, http::{Response, StatusCode, header}};
    ///
    /// let response = Response::builder()
    ///     .status(StatusCode::SWITCHING_PROTOCOLS)
    ///     .header(header::CONNECTION, "upgrade")
    ///     .header(header::UPGRADE, "echo")
    ///     .body(Body::upgrade(|mut stream| {
    ///         let mut bytes = [0; 512];
    ///         while let Ok(count @ 1..) = std::io::Read::read(&mut stream, &mut bytes) {
    ///             let _ = std::io::Write::write_all(&mut stream, &bytes[..count]);
    ///         }
    ///     }));
    /// # assert!(response.is_ok());
    /// ```
    pub fn upgrade(then: impl FnOnce(Upgraded) + 'static) -> Body {
        Body(Kind::Upgrade(Box::new(then)))
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body(Kind::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(Kind::Bytes(bytes.into()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body(Kind::Bytes(text.into()))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body(Kind::Bytes(Bytes::from_static(text.as_bytes())))
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Body {
        Body(Kind::Bytes(Bytes::from_static(bytes)))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Bytes(bytes) => f.debug_tuple("Body").field(bytes).finish(),
            Kind::Reader(_, length) => f.debug_struct("Body").field("length", length).finish_non_exhaustive(),
            Kind::Writer(_) | Kind::Upgrade(_) => f.debug_struct("Body").finish_non_exhaustive(),
        }
    }
}
