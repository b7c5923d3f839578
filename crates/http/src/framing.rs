//! Where a request's body ends: RFC 9112, section 6, without its leniencies.

use crate::{Limits, Refusal, is_host};

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many octets.
    Length(u64),
    /// Chunks, up to the empty one; see [`Chunks`](crate::Chunks).
    Chunked,
}

/// What the fields of a request say about its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// How the body is delimited.
    pub body: Body,
    /// Whether the connection has to be closed after this request: HTTP/1.0 does not know of chunks, and a length
    /// beside them means that somebody on the way may have read the request otherwise.
    pub close: bool,
}

/// Collects the fields that matter while they pass.
#[derive(Default)]
pub(crate) struct Collector {
    length: Option<u64>,
    chunked: bool,
    host: bool,
}

impl Collector {
    /// Looks at one field, whose value has no white space around it.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) -> Result<(), Refusal> {
        // By length first: most fields are none of these.
        match name.len() {
            14 if name.eq_ignore_ascii_case("content-length") => self.content_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.transfer_encoding(value),
            4 if name.eq_ignore_ascii_case("host") => self.host(value),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = digits(value).ok_or(Refusal::ContentLength)?;
        if self.length.replace(length).is_some() {
            return Err(Refusal::ContentLength);
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::TransferEncoding);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let mentions_chunked = value.windows(7).any(|word| word.eq_ignore_ascii_case(b"chunked"));
        Err(if mentions_chunked { Refusal::TransferEncoding } else { Refusal::UnknownEncoding })
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.host, true) || !is_host(value) {
            return Err(Refusal::Host);
        }
        Ok(())
    }

    /// What all fields together say.
    pub(crate) fn finish(self, minor: u8, limits: &Limits) -> Result<Framing, Refusal> {
        if limits.require_host && minor > 0 && !self.host {
            return Err(Refusal::Host);
        }
        match (self.chunked, self.length) {
            (true, Some(_)) if !limits.tolerant => Err(Refusal::LengthAndEncoding),
            (true, length) => Ok(Framing { body: Body::Chunked, close: minor == 0 || length.is_some() }),
            (false, Some(length)) => Ok(Framing { body: Body::Length(length), close: false }),
            (false, None) => Ok(Framing { body: Body::None, close: false }),
        }
    }
}

/// A number in digits and nothing else; none if it does not fit.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

impl Framing {
    /// What `fields` (names and values, without white space around the values) say, for a request of version 1.`minor`.
    ///
    /// # Errors
    /// A [`Refusal`] where they leave a doubt: a repeated or malformed length, an unknown coding, both at once, a bad
    /// Host. [`Limits::tolerant`] lets both at once pass, and the chunks count.
    ///
    /// ```
    /// use greenloom_http::{Body, Framing, Limits, Refusal};
    ///
    /// let read = |fields: &[(&str, &[u8])]| Framing::of(fields.iter().copied(), 1, &Limits::default());
    /// assert_eq!(read(&[("Content-Length", b"5")]).unwrap().body, Body::Length(5));
    /// assert_eq!(read(&[("Content-Length", b"+5")]), Err(Refusal::ContentLength));
    /// ```
    pub fn of<'f>(
        fields: impl Iterator<Item = (&'f str, &'f [u8])>,
        minor: u8,
        limits: &Limits,
    ) -> Result<Framing, Refusal> {
        let mut collector = Collector::default();
        for (name, value) in fields {
            collector.field(name, value)?;
        }
        collector.finish(minor, limits)
    }
}
