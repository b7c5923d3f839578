//! Fields of responses: what may be sent, and how names are spelled.

/// Whether `byte` may be in a method or in the name of a field (RFC 9110's `tchar`).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether `text` may be sent in a status line or as a field's name or value: nothing in it can end the line.
pub fn is_one_line(text: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, text).is_none()
}

/// Writes a field's name to `out`; each word between hyphens gets a capital first letter and small ones after it if
/// `capitalize` asks for it. Only ASCII letters change.
///
/// ```
/// let mut out = Vec::new();
/// http::response::write_name(b"x-rEQUEST-id", true, &mut out);
/// assert_eq!(out, b"X-Request-Id");
/// ```
pub fn write_name(name: &[u8], capitalize: bool, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name);
    if !capitalize {
        return;
    }
    let mut first = true;
    for byte in &mut out[start..] {
        *byte = if first { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
        first = *byte == b'-';
    }
}
