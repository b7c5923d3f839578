//! The primitive types of AMQP 0-9-1, read from a slice and appended to a buffer.
//!
//! Nothing here trusts a length: what a field claims is compared with what is there before anything is taken or
//! allocated.

use std::borrow::Cow;
use std::fmt;

/// What came in is not AMQP 0-9-1 as this client speaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(
    /// What is wrong.
    pub &'static str,
);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not AMQP 0-9-1: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Takes fields off the front of a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not taken yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow the last field.
    ///
    /// # Errors
    /// [`Malformed`], if something does.
    pub fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed("bytes after the last field")) }
    }

    /// Takes so many bytes.
    ///
    /// # Errors
    /// [`Malformed`], if there are fewer.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed("a field ends before its length"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes `N` bytes.
    ///
    /// # Errors
    /// [`Malformed`], if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Malformed("a field is cut off"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// A type that a method's field can have.
pub trait Field<'a>: Sized {
    /// Takes one off the front.
    ///
    /// # Errors
    /// [`Malformed`], if there is none.
    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends it. A short string that is too long is refused where it enters the client; see [`is_short`].
    fn put(&self, to: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($type:ty)*) => {
        $(impl Field<'_> for $type {
            #[inline]
            fn read(from: &mut Reader<'_>) -> Result<$type, Malformed> {
                Ok(<$type>::from_be_bytes(from.array()?))
            }

            #[inline]
            fn put(&self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_be_bytes());
            }
        })*
    };
}

numbers!(u8 i8 u16 i16 u32 i32 u64 i64 f32 f64);

/// A short string: at most 255 bytes, in UTF-8.
impl<'a> Field<'a> for &'a str {
    fn read(from: &mut Reader<'a>) -> Result<&'a str, Malformed> {
        let length = u8::read(from)?;
        std::str::from_utf8(from.take(length.into())?).map_err(|_| Malformed("a short string is not UTF-8"))
    }

    fn put(&self, to: &mut Vec<u8>) {
        let text = clipped(self);
        // It has been cut to fit.
        to.push(text.len() as u8);
        to.extend_from_slice(text.as_bytes());
    }
}

/// A short string of the peer's, whatever is in it: what is not UTF-8 is replaced, for it is only shown or compared.
impl<'a> Field<'a> for Cow<'a, str> {
    fn read(from: &mut Reader<'a>) -> Result<Cow<'a, str>, Malformed> {
        let length = u8::read(from)?;
        Ok(match String::from_utf8_lossy(from.take(length.into())?) {
            Cow::Owned(text) => Cow::Owned(clipped(&text).to_owned()),
            borrowed => borrowed,
        })
    }

    fn put(&self, to: &mut Vec<u8>) {
        (&**self).put(to);
    }
}

/// A long string: any bytes.
impl<'a> Field<'a> for &'a [u8] {
    fn read(from: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
        let length = u32::read(from)?;
        from.take(length as usize)
    }

    fn put(&self, to: &mut Vec<u8>) {
        (self.len() as u32).put(to);
        to.extend_from_slice(self);
    }
}

/// The longest beginning of `text` that a short string can hold: a frame stays well-formed whatever it is given.
fn clipped(text: &str) -> &str {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Whether `text` fits a short string, as names do.
pub fn is_short(text: &str) -> bool {
    text.len() <= 255
}

/// Flags that lie next to one another in one octet.
macro_rules! bits {
    ($($(#[$doc:meta])* $name:ident { $($field:ident = $bit:literal),+ })*) => {
        $($(#[$doc])*
        #[allow(missing_docs, reason = "named as the specification names them")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(pub $field: bool,)+
        }

        impl Field<'_> for $name {
            fn read(from: &mut Reader<'_>) -> Result<$name, Malformed> {
                let octet = u8::read(from)?;
                Ok($name { $($field: octet & (1 << $bit) != 0,)+ })
            }

            fn put(&self, to: &mut Vec<u8>) {
                to.push($((self.$field as u8) << $bit)|+);
            }
        })*
    };
}
pub(crate) use bits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_length_claims_has_to_be_there() {
        assert_eq!(<&str>::read(&mut Reader::new(b"\x05abc")), Err(Malformed("a field ends before its length")));
        assert_eq!(
            <&[u8]>::read(&mut Reader::new(b"\xff\xff\xff\xffabc")),
            Err(Malformed("a field ends before its length"))
        );
        assert_eq!(u32::read(&mut Reader::new(b"\x00\x01")), Err(Malformed("a field is cut off")));
    }

    #[test]
    fn a_short_string_is_cut_at_a_character() {
        let mut out = Vec::new();
        "ä".repeat(200).as_str().put(&mut out);
        assert_eq!(<&str>::read(&mut Reader::new(&out)).unwrap(), "ä".repeat(127));
    }
}
