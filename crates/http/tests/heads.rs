//! Single request heads: what is served, what is refused and why, and the limits.

use greenloom_http::{Body, Framing, Limits, Persistence, Refusal, with_head};

fn refusal(bytes: &[u8]) -> Option<Refusal> {
    with_head(bytes, &Limits::default(), |_| ()).err()
}

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

#[test]
fn what_a_smuggler_sends_is_refused() {
    let cases = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Refusal::ContentLength),
        ("Content-Length: 5, 5\r\n", Refusal::ContentLength),
        ("Content-Length: +5\r\n", Refusal::ContentLength),
        ("Content-Length: 5_0\r\n", Refusal::ContentLength),
        ("Content-Length: 0x5\r\n", Refusal::ContentLength),
        ("Content-Length: \r\n", Refusal::ContentLength),
        ("Content-Length: -1\r\n", Refusal::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", Refusal::ContentLength),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: gzip\r\n", Refusal::UnknownEncoding),
        ("Transfer-Encoding: \r\n", Refusal::UnknownEncoding),
        ("Transfer-Encoding : chunked\r\n", Refusal::FieldName),
        ("X: a\r\n folded\r\n", Refusal::FieldName),
        ("X: a\rTransfer-Encoding: chunked\r\n", Refusal::FieldValue),
        ("X: a\nTransfer-Encoding: chunked\r\n", Refusal::LineEnd),
        ("X: a\0b\r\n", Refusal::FieldValue),
        (": a\r\n", Refusal::FieldName),
        ("Host: a\r\nHost: b\r\n", Refusal::Host),
        ("Host: a b\r\n", Refusal::Host),
        ("Host: a, b\r\n", Refusal::Host),
        ("Host: user@a\r\n", Refusal::Host),
        ("Host: a/b\r\n", Refusal::Host),
        ("Host: a:http\r\n", Refusal::Host),
        ("Host: [::1\r\n", Refusal::Host),
    ];
    for (fields, expected) in cases {
        assert_eq!(refusal(&get(fields)), Some(expected), "{}", fields.escape_debug());
    }
}

#[test]
fn malformed_request_lines_are_refused() {
    let cases = [
        ("GET /\r\n\r\n", Refusal::RequestLine),
        ("GET  / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        ("G T / HTTP/1.1\r\n\r\n", Refusal::Version),
        ("GET / HTTP/1.10\r\n\r\n", Refusal::LineEnd),
        ("GET / HTTP/0.9\r\n\r\n", Refusal::Version),
        ("GET http://user@host/ HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        ("GET http:///a HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        ("GET / HTTP/2.0\r\n\r\n", Refusal::Version),
        ("\x16\x03\x01\x02", Refusal::RequestLine),
    ];
    for (head, expected) in cases {
        assert_eq!(refusal(head.as_bytes()), Some(expected), "{}", head.escape_debug());
    }
}

#[test]
fn a_tolerant_reader_takes_bare_line_feeds_and_lets_chunks_win() {
    let limits = Limits { tolerant: true, ..Limits::default() };
    let head = b"POST / HTTP/1.1\nContent-Length: 3\nTransfer-Encoding: chunked\n\n";
    let framing = with_head(head, &limits, |head| head.framing);
    assert_eq!(framing, Ok(Some(Framing { body: Body::Chunked, close: true })));
}

#[test]
fn options_of_the_connection_are_found_in_lists() {
    let persistence = |fields: &str| with_head(&get(fields), &Limits::default(), |head| head.persistence);
    let close = Persistence { close: true, keep_alive: false };
    assert_eq!(persistence("Connection: x, Close\r\n"), Ok(Some(close)));
    assert_eq!(persistence("connection: keep-alive\r\n"), Ok(Some(Persistence { close: false, keep_alive: true })));
    assert_eq!(persistence("Connection: closed\r\n"), Ok(Some(Persistence::default())));
}

#[test]
fn limits_hold_to_the_octet_for_whole_heads_and_for_beginnings() {
    let limits = Limits { request_line: 30, header_line: 20, headers: 60, fields: 4, ..Limits::default() };
    let check = |head: String| with_head(head.as_bytes(), &limits, |_| ());
    let target = |size: usize| "x".repeat(size);
    assert_eq!(check(format!("GET {} HTTP/1.1\r\n\r\n", target(14))), Ok(Some(())));
    assert_eq!(check(format!("GET {} HTTP/1.1\r\n\r\n", target(15))), Err(Refusal::RequestLineTooLong));
    assert_eq!(check(format!("GET {}", target(26))), Err(Refusal::RequestLineTooLong));
    assert_eq!(check(format!("{}GET", "\r\n".repeat(14))), Err(Refusal::RequestLineTooLong));
    assert_eq!(check(format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", target(14))), Ok(Some(())));
    assert_eq!(check(format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", target(15))), Err(Refusal::HeaderLineTooLong));
    assert_eq!(check(format!("GET / HTTP/1.1\r\nA: {}", target(17))), Err(Refusal::HeaderLineTooLong));
    assert_eq!(
        check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: 45678901234\r\n".repeat(4))),
        Err(Refusal::HeadersTooLarge)
    );
    assert_eq!(check(format!("GET / HTTP/1.1\r\n{}", "A: 45678901234\r\n".repeat(4))), Err(Refusal::HeadersTooLarge));
    assert_eq!(check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(4))), Ok(Some(())));
    assert_eq!(check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5))), Err(Refusal::TooManyFields));
}

#[test]
fn many_fields_are_read_if_they_are_allowed() {
    let limits = Limits { fields: 1000, ..Limits::default() };
    let count = with_head(&get(&"A: b\r\n".repeat(1000)), &limits, |head| head.fields.len());
    assert_eq!(count, Ok(Some(1000)));
    assert_eq!(with_head(&get(&"A: b\r\n".repeat(1001)), &limits, |_| ()), Err(Refusal::TooManyFields));
}

#[test]
fn what_follows_the_head_is_not_looked_at() {
    let bytes = [get("Content-Length: 3\r\n"), b"\n\n\0".to_vec()].concat();
    assert_eq!(with_head(&bytes, &Limits::default(), |head| head.length), Ok(Some(bytes.len() - 3)));
}
