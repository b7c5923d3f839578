//! Lines of UTF-8.

use std::io;

use super::{Decoder, Encoder, invalid};

/// Lines of UTF-8, which end with a line feed, or with a carriage return and a line feed; neither is part of the item.
/// The last line may have no end. Written with a line feed.
///
/// Semantics: tokio's `LinesCodec`, but with a limit unless one asks for none.
#[derive(Clone, Debug)]
pub struct Lines {
    longest: usize,
    /// How many of the bytes that are there have no line feed, so that none is looked at twice.
    searched: usize,
}

impl Lines {
    /// Lines of at most 64 KiB.
    pub fn new() -> Lines {
        Lines::with_limit(64 * 1024)
    }

    /// Lines of at most `longest` bytes without their ends. A longer one is an error of kind `InvalidData`, before all
    /// of it was read, and the connection is of no more use.
    ///
    /// ```
    /// use greenloom::codec::{Framed, Lines};
    ///
    /// let mut lines = Framed::new(&b"short\r\nmuch too long\n"[..], Lines::with_limit(5));
    /// assert_eq!(lines.receive()?.as_deref(), Some("short"));
    /// assert_eq!(lines.receive().unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn with_limit(longest: usize) -> Lines {
        Lines { longest, searched: 0 }
    }

    fn line(&mut self, bytes: &[u8], taken: usize) -> io::Result<Option<(String, usize)>> {
        let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if line.len() > self.longest {
            return Err(self.too_long());
        }
        self.searched = 0;
        let line = std::str::from_utf8(line).map_err(|_| invalid("a line is not UTF-8"))?;
        Ok(Some((line.to_owned(), taken)))
    }

    fn too_long(&self) -> io::Error {
        invalid(format!("a line is longer than {} bytes", self.longest))
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::new()
    }
}

impl Decoder for Lines {
    type Item = String;

    fn decode(&mut self, bytes: &[u8], end: bool) -> io::Result<Option<(String, usize)>> {
        let searched = self.searched.min(bytes.len());
        if let Some(found) = bytes[searched..].iter().position(|byte| *byte == b'\n') {
            let length = searched + found;
            return self.line(&bytes[..length], length + 1);
        }
        if end && !bytes.is_empty() {
            return self.line(bytes, bytes.len());
        }
        self.searched = bytes.len();
        // A carriage return may be the beginning of the end.
        if bytes.len() > self.longest.saturating_add(1) {
            return Err(self.too_long());
        }
        Ok(None)
    }
}

impl<T: AsRef<str>> Encoder<T> for Lines {
    fn encode(&mut self, line: T, bytes: &mut Vec<u8>) -> io::Result<()> {
        let line = line.as_ref();
        if line.contains('\n') {
            return Err(invalid("a line has a line feed in it"));
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        Ok(())
    }
}
