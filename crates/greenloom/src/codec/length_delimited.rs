//! Messages with their length before them.

use std::io;

use super::{Decoder, Encoder, invalid};

/// Messages of bytes, each behind its length: a big-endian number of four bytes, unless something else is said.
///
/// Semantics: tokio's `LengthDelimitedCodec` with its defaults.
///
/// ```
/// use greenloom::codec::{Framed, LengthDelimited};
///
/// let mut written = Framed::new(Vec::new(), LengthDelimited::new());
/// written.send(b"two")?;
/// assert_eq!(written.stream(), b"\0\0\0\x03two");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LengthDelimited {
    length_bytes: usize,
    little_endian: bool,
    longest: usize,
}

impl LengthDelimited {
    /// A length of four bytes, big-endian, and messages of at most 8 MiB.
    pub fn new() -> LengthDelimited {
        LengthDelimited { length_bytes: 4, little_endian: false, longest: 8 * 1024 * 1024 }
    }

    /// How many bytes the length has.
    ///
    /// # Panics
    /// Unless it is one to eight.
    pub fn length_bytes(mut self, count: usize) -> LengthDelimited {
        assert!((1..=8).contains(&count), "a length has one to eight bytes");
        self.length_bytes = count;
        self
    }

    /// The length's lowest byte comes first.
    pub fn little_endian(mut self) -> LengthDelimited {
        self.little_endian = true;
        self
    }

    /// How many bytes a message has at most. A longer one is an error of kind `InvalidData`, before any of it was read.
    pub fn limit(mut self, longest: usize) -> LengthDelimited {
        self.longest = longest;
        self
    }

    fn check(&self, length: u64) -> io::Result<usize> {
        let fits = usize::try_from(length).ok().filter(|length| *length <= self.longest);
        fits.ok_or_else(|| invalid(format!("a message of {length} bytes; {} are allowed", self.longest)))
    }
}

impl Default for LengthDelimited {
    fn default() -> LengthDelimited {
        LengthDelimited::new()
    }
}

impl Decoder for LengthDelimited {
    type Item = Vec<u8>;

    fn decode(&mut self, bytes: &[u8], _end: bool) -> io::Result<Option<(Vec<u8>, usize)>> {
        let Some((head, body)) = bytes.split_at_checked(self.length_bytes) else { return Ok(None) };
        let digit = |length: u64, byte: &u8| length << 8 | u64::from(*byte);
        let length = if self.little_endian { head.iter().rev().fold(0, digit) } else { head.iter().fold(0, digit) };
        let length = self.check(length)?;
        Ok(body.get(..length).map(|message| (message.to_vec(), self.length_bytes + length)))
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for LengthDelimited {
    fn encode(&mut self, message: T, bytes: &mut Vec<u8>) -> io::Result<()> {
        let message = message.as_ref();
        let length = message.len() as u64;
        self.check(length)?;
        if self.length_bytes < 8 && length >> (8 * self.length_bytes) > 0 {
            return Err(invalid(format!("a length of {} bytes cannot say {length}", self.length_bytes)));
        }
        if self.little_endian {
            bytes.extend_from_slice(&length.to_le_bytes()[..self.length_bytes]);
        } else {
            bytes.extend_from_slice(&length.to_be_bytes()[8 - self.length_bytes..]);
        }
        bytes.extend_from_slice(message);
        Ok(())
    }
}
