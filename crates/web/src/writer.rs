//! The body of a response on its way out.

use std::fmt;
use std::io::{self, Write};

use crate::connection::Connection;

/// What is collected before it is sent.
pub(crate) const FULL: usize = 16 * 1024;

/// How the octets of a body are told from what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many are left to be written.
    Length(u64),
    Chunked,
    /// They end with the connection.
    ToTheEnd,
}

/// Where a body is written that is made while it is sent; see [`Body::stream`](crate::Body::stream).
///
/// What is written is collected, up to 16 KiB; `flush` sends it now. Writing parks while the client is slow, and fails
/// when it is gone.
pub struct BodyWriter<'c> {
    connection: &'c Connection,
    /// What is to be sent before the data: the head, at first.
    out: &'c mut Vec<u8>,
    /// Data of the next chunk; of other bodies it is in `out`.
    chunk: Vec<u8>,
    framing: Framing,
}

impl<'c> BodyWriter<'c> {
    pub(crate) fn new(connection: &'c Connection, out: &'c mut Vec<u8>, framing: Framing) -> BodyWriter<'c> {
        BodyWriter { connection, out, chunk: Vec::new(), framing }
    }

    fn send(&mut self) -> io::Result<()> {
        if !self.chunk.is_empty() {
            write!(self.out, "{:x}\r\n", self.chunk.len())?;
            self.out.append(&mut self.chunk);
            self.out.extend_from_slice(b"\r\n");
        }
        let sent = self.connection.send_all(self.out);
        self.out.clear();
        sent
    }

    /// The end of the body.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if let Framing::Length(left @ 1..) = self.framing {
            let message = format!("the body of a response ends {left} octets before its Content-Length");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        if self.framing == Framing::Chunked {
            if !self.chunk.is_empty() {
                write!(self.out, "{:x}\r\n", self.chunk.len())?;
                self.out.append(&mut self.chunk);
                self.out.extend_from_slice(b"\r\n");
            }
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        self.send()
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.framing {
            Framing::Length(left) => {
                let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                    let message = "the body of a response is longer than its Content-Length";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
                };
                *left = rest;
                self.out.extend_from_slice(bytes);
            }
            Framing::ToTheEnd => self.out.extend_from_slice(bytes),
            Framing::Chunked => self.chunk.extend_from_slice(bytes),
        }
        if self.out.len() + self.chunk.len() >= FULL {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter").field("framing", &self.framing).finish_non_exhaustive()
    }
}
