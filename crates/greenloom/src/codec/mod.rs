//! Frames over streams of bytes: lines, messages with their length before them, or a format of one's own.
//!
//! Semantics: `tokio_util::codec`, over anything that reads and writes: a socket, TLS, a pipe.
//!
//! ```
//! use greenloom::{codec::{Framed, Lines}, net::UnixStream, spawn};
//!
//! let (ours, theirs) = UnixStream::pair()?;
//! let server = spawn(move || {
//!     let mut lines = Framed::new(theirs, Lines::new());
//!     while let Some(line) = lines.receive()? {
//!         lines.send(line.to_uppercase())?;
//!     }
//!     Ok::<(), std::io::Error>(())
//! });
//! let mut lines = Framed::new(ours, Lines::new());
//! lines.send("hello")?;
//! assert_eq!(lines.receive()?.as_deref(), Some("HELLO"));
//! drop(lines);
//! server.wait().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod length_delimited;
mod lines;

use std::fmt;
use std::io::{self, Read, Write};

pub use length_delimited::LengthDelimited;
pub use lines::Lines;

/// Finds the frames in a stream of bytes.
pub trait Decoder {
    /// What a frame is read as.
    type Item;

    /// The first frame of `bytes` and how many bytes it takes with all that belongs to it; `None` if there is more to
    /// come. At the `end` nothing more comes: what is left is a frame, nothing, or an error.
    ///
    /// # Errors
    /// When the bytes are none of the format. It is told to the reader, and what was read stays: one that can go on
    /// behind such a frame returns it as an item of its own.
    fn decode(&mut self, bytes: &[u8], end: bool) -> io::Result<Option<(Self::Item, usize)>>;
}

/// Writes frames.
pub trait Encoder<Item> {
    /// Appends the bytes of a frame.
    ///
    /// # Errors
    /// When the item cannot be written in this format; nothing may have been appended then.
    fn encode(&mut self, item: Item, bytes: &mut Vec<u8>) -> io::Result<()>;
}

/// A stream of frames over a stream of bytes; see the [module](self).
///
/// It may be interrupted: what was read before a timeout or an error is there for the next
/// [`receive`](Framed::receive), and what was not written for the next [`send`](Framed::send) or
/// [`flush`](Framed::flush).
pub struct Framed<S, C> {
    stream: S,
    codec: C,
    /// What was read; the frames before `start` were taken.
    read: Vec<u8>,
    start: usize,
    end: bool,
    /// What is to be written.
    write: Vec<u8>,
}

const READ_AT_ONCE: usize = 8 * 1024;

impl<S, C> Framed<S, C> {
    /// Frames over `stream`, in the format of `codec`.
    pub fn new(stream: S, codec: C) -> Framed<S, C> {
        Framed { stream, codec, read: Vec::new(), start: 0, end: false, write: Vec::new() }
    }

    /// The stream. Reading from it takes bytes away from the frames.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, and what was read from it and not taken as frames.
    pub fn into_parts(mut self) -> (S, Vec<u8>) {
        self.read.drain(..self.start);
        (self.stream, self.read)
    }
}

impl<S: Read, C: Decoder> Framed<S, C> {
    /// Parks until there is a frame and returns it; `None` at the end of the stream.
    ///
    /// # Errors
    /// Those of reading and of the codec; `UnexpectedEof` when the stream ends within a frame.
    pub fn receive(&mut self) -> io::Result<Option<C::Item>> {
        loop {
            if let Some((item, length)) = self.codec.decode(&self.read[self.start..], self.end)? {
                self.start += length;
                if self.start == self.read.len() {
                    self.read.clear();
                    self.start = 0;
                }
                return Ok(Some(item));
            }
            if self.end {
                return if self.start == self.read.len() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.read.drain(..self.start);
        self.start = 0;
        let mut bytes = [0; READ_AT_ONCE];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end = true,
            Ok(count) => self.read.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl<S: Write, C> Framed<S, C> {
    /// Writes a frame and flushes. Parks while there is no room for it.
    ///
    /// # Errors
    /// Those of the codec, after which nothing of the frame is written; those of writing.
    pub fn send<Item>(&mut self, item: Item) -> io::Result<()>
    where
        C: Encoder<Item>,
    {
        self.feed(item)?;
        self.flush()
    }

    /// As [`Framed::send`], but the frame stays in the buffer until the next [`flush`](Framed::flush) or `send`. Never
    /// waits.
    ///
    /// # Errors
    /// Those of the codec.
    pub fn feed<Item>(&mut self, item: Item) -> io::Result<()>
    where
        C: Encoder<Item>,
    {
        let before = self.write.len();
        self.codec.encode(item, &mut self.write).inspect_err(|_| self.write.truncate(before))
    }

    /// Writes what is in the buffer and flushes the stream.
    ///
    /// # Errors
    /// Those of writing; what was not written stays.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.write.is_empty() {
            match self.stream.write(&self.write) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.write.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.flush()
    }
}

/// The frames, until the end of the stream or an error.
impl<S: Read, C: Decoder> Iterator for Framed<S, C> {
    type Item = io::Result<C::Item>;

    fn next(&mut self) -> Option<io::Result<C::Item>> {
        self.receive().transpose()
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Framed<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").field("stream", &self.stream).field("codec", &self.codec).finish_non_exhaustive()
    }
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
