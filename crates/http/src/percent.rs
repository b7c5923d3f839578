//! Percent-encoding of request targets.

use std::borrow::Cow;

use memchr::memchr;

/// `text` with each `%` and two hexadecimal digits as the octet they name. Anything else behind a `%` stays as it is,
/// as Python's `urllib.parse.unquote_to_bytes` has it.
///
/// ```
/// assert_eq!(*greenloom_http::percent_decode(b"/a%20b%zz%4"), *b"/a b%zz%4");
/// ```
pub fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'%', text) else {
        return Cow::Borrowed(text);
    };
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    while let [byte, tail @ ..] = rest {
        match octet(rest) {
            Some(value) => {
                decoded.push(value);
                rest = &rest[3..];
            }
            None => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(decoded)
}

fn octet(text: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = text else {
        return None;
    };
    Some((hex(high)? << 4) | hex(low)?)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
