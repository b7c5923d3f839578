//! A second opinion on request heads and chunked bodies: RFC 9112's grammar word for word, slow and without clever
//! steps. The property tests and the fuzz target `http_request` compare the crate with it.

use greenloom_http::{Body, Limits, Refusal, with_head};

/// What a request head says.
#[derive(Debug, PartialEq, Eq)]
pub struct Reference {
    /// The method.
    pub method: Vec<u8>,
    /// The request target.
    pub target: Vec<u8>,
    /// The minor version.
    pub minor: u8,
    /// Names and trimmed values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the body ends.
    pub body: Body,
    /// The head's length.
    pub length: usize,
}

fn token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

/// What the crate says that a request head says.
pub fn ours(bytes: &[u8]) -> Result<Option<Reference>, Refusal> {
    with_head(bytes, &Limits::default(), |head| Reference {
        method: head.method.as_bytes().to_vec(),
        target: head.target.as_bytes().to_vec(),
        minor: head.minor,
        fields: head.fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect(),
        body: head.framing.body,
        length: head.length,
    })
}

/// The head that `bytes` begin with: `None` if it is not there or not whole, `Err` if it must not be served.
pub fn head(bytes: &[u8]) -> Result<Option<Reference>, ()> {
    let mut start = 0;
    while bytes[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let Some(end) = find(&bytes[start..], b"\r\n\r\n") else { return Ok(None) };
    let length = start + end + 4;
    let text = &bytes[start..start + end];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) {
        return Err(());
    }
    let words: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    let &[method, target, version] = words.as_slice() else { return Err(()) };
    let visible = |byte: &u8| *byte > b' ' && *byte != 127;
    if !token(method) || target.is_empty() || !target.iter().all(visible) || std::str::from_utf8(target).is_err() {
        return Err(());
    }
    let minor = match version {
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => 1,
        _ => return Err(()),
    };
    let mut fields = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|&byte| byte == b':').ok_or(())?;
        let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
        let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 127);
        if !token(name) || !value.iter().all(allowed) {
            return Err(());
        }
        fields.push((name.to_vec(), value.to_vec()));
    }
    if !has_server(target) {
        return Err(());
    }
    let body = body(&fields)?;
    Ok(Some(Reference { method: method.to_vec(), target: target.to_vec(), minor, fields, body, length }))
}

fn host(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else { return false };
    // The last colon outside of brackets begins the port.
    let (name, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], &text[at + 1..]),
        _ => (text, ""),
    };
    let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let mut rest = inner.unwrap_or(name);
    while let Some(at) = rest.find('%') {
        let escape = rest.get(at + 1..at + 3).unwrap_or_default();
        if escape.len() != 2 || !escape.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        let (before, after) = (&rest[..at], &rest[at + 3..]);
        if !before.chars().all(|char| host_char(char, inner.is_some())) {
            return false;
        }
        rest = after;
    }
    inner != Some("")
        && rest.chars().all(|char| host_char(char, inner.is_some()))
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

fn host_char(char: char, in_brackets: bool) -> bool {
    char.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(char) || (in_brackets && char == ':')
}

/// Whether a target that begins with `http://` or `https://` has a server behind it.
fn has_server(target: &[u8]) -> bool {
    let text = String::from_utf8_lossy(target).into_owned();
    let lower = text.to_ascii_lowercase();
    let Some(scheme) = ["http://", "https://"].iter().find(|scheme| lower.starts_with(*scheme)) else { return true };
    let rest = &text[scheme.len()..];
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !authority.is_empty() && !authority.starts_with(':') && host(authority.as_bytes())
}

fn body(fields: &[(Vec<u8>, Vec<u8>)]) -> Result<Body, ()> {
    let all = |wanted: &[u8]| -> Vec<&[u8]> {
        fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_slice()).collect()
    };
    if !matches!(all(b"host").as_slice(), [] | [_]) || !all(b"host").iter().all(|value| host(value)) {
        return Err(());
    }
    match (all(b"transfer-encoding").as_slice(), all(b"content-length").as_slice()) {
        ([], []) => Ok(Body::None),
        ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(length).map_err(drop)?.parse().map(Body::Length).map_err(drop)
        }
        _ => Err(()),
    }
}

/// A chunked body's data, and its length with all framing: `None` if it is not whole.
pub fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let (mut at, mut data) = (0, Vec::new());
    let line = |at: usize| -> Result<Option<&[u8]>, ()> {
        let Some(end) = bytes[at..].iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        match &bytes[at..at + end] {
            [line @ .., b'\r'] if !line.contains(&b'\r') => Ok(Some(line)),
            _ => Err(()),
        }
    };
    loop {
        let Some(head) = line(at)? else { return Ok(None) };
        at += head.len() + 2;
        let digits = head.split(|byte| b"; \t".contains(byte)).next().unwrap_or_default();
        let behind = trim(&head[digits.len()..]);
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(());
        }
        if head.len() > digits.len() && behind.first() != Some(&b';') {
            return Err(());
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).map_err(drop)?, 16).map_err(drop)?;
        if size > i64::MAX as u64 {
            return Err(());
        }
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).map_err(drop)?;
        let Some(after) = bytes[at..].get(size..) else { return Ok(None) };
        data.extend_from_slice(&bytes[at..at + size]);
        match after {
            [b'\r', b'\n', ..] => at += size + 2,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(()),
        }
    }
    loop {
        let Some(trailer) = line(at)? else { return Ok(None) };
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Ok(Some((data, at)));
        }
        let colon = trailer.iter().position(|&byte| byte == b':').ok_or(())?;
        let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 127);
        if !token(&trailer[..colon]) || !trailer[colon..].iter().all(allowed) {
            return Err(());
        }
    }
}
