//! What names a server: the Host field, and a request target in absolute form (RFC 9112, section 3.2).

/// Whether `value` may be a Host: a name or address and perhaps a port, by RFC 3986's grammar; it may be empty.
///
/// ```
/// use greenloom_http::is_host;
///
/// assert!(is_host(b"example.org:8080") && is_host(b"[::1]:80") && is_host(b""));
/// assert!(!is_host(b"a b") && !is_host(b"user@host") && !is_host(b"host:port"));
/// ```
pub fn is_host(value: &[u8]) -> bool {
    let (name, rest) = match value {
        [b'[', literal @ ..] => match literal.iter().position(|&byte| byte == b']') {
            Some(end) if end > 0 => (&literal[..end], &literal[end + 1..]),
            _ => return false,
        },
        _ => value.split_at(value.iter().position(|&byte| byte == b':').unwrap_or(value.len())),
    };
    let is_literal = value.first() == Some(&b'[');
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    is_name(name, is_literal) && (rest.is_empty() || matches!(rest, [b':', port @ ..] if is_port(port)))
}

/// Octets of a name, or of an address in brackets, which has colons too.
fn is_name(mut name: &[u8], is_literal: bool) -> bool {
    while let [byte, rest @ ..] = name {
        name = match (*byte, rest) {
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~', _) => rest,
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=', _) => rest,
            (b'%', [high, low, rest @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            (b':', _) if is_literal => rest,
            _ => return false,
        };
    }
    true
}

/// The authority of a target in absolute form, and what follows it; none for the other forms and other schemes.
///
/// ```
/// assert_eq!(greenloom_http::absolute_form("HTTP://host:80/a?b"), Some(("host:80", "/a?b")));
/// assert_eq!(greenloom_http::absolute_form("https://host"), Some(("host", "")));
/// assert_eq!(greenloom_http::absolute_form("/a?http://host/"), None);
/// ```
pub fn absolute_form(target: &str) -> Option<(&str, &str)> {
    if target.starts_with('/') {
        return None;
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    Some(rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
}

/// Whether a target that is in absolute form names a server.
pub(crate) fn names_a_server(target: &str) -> bool {
    absolute_form(target).is_none_or(|(authority, _)| {
        !authority.is_empty() && !authority.starts_with(':') && is_host(authority.as_bytes())
    })
}
