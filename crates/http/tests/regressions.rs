//! What was once wrong.

use greenloom_http::{Body, Framing, Limits, Refusal, with_head};

fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

#[test]
fn chunks_of_an_old_client_end_its_connection() {
    let head = b"POST / HTTP/1.0\r\nTransfer-Encoding: Chunked\r\n\r\n";
    let framing = with_head(head, &Limits::default(), |head| head.framing);
    assert_eq!(framing, Ok(Some(Framing { body: Body::Chunked, close: true })));
}

#[test]
fn a_later_minor_version_is_served_as_1_1_and_shown_as_it_came() {
    for start in ["", "\r\n"] {
        let bytes = format!("{start}GET /a HTTP/1.2\r\nHost: x\r\n\r\nrest");
        let read = with_head(bytes.as_bytes(), &Limits::default(), |head| {
            assert_eq!((head.method, head.target, head.minor, head.line), ("GET", "/a", 1, &b"GET /a HTTP/1.2"[..]));
            assert_eq!((head.fields[0].name, head.fields[0].value), ("Host", &b"x"[..]));
            head.length
        });
        assert_eq!(read, Ok(Some(bytes.len() - 4)));
        assert_eq!(with_head(&bytes.as_bytes()[..bytes.len() - 5], &Limits::default(), |_| ()), Ok(None));
    }
}

#[test]
fn a_host_is_asked_for_only_if_the_limits_say_so_and_only_of_1_1() {
    let limits = Limits { require_host: true, ..Limits::default() };
    let read = |head: &str| with_head(head.as_bytes(), &limits, |_| ());
    assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(Refusal::Host));
    assert_eq!(read("GET / HTTP/1.3\r\n\r\n"), Err(Refusal::Host));
    assert_eq!(read("GET / HTTP/1.1\r\nHost:\r\n\r\n"), Ok(Some(())));
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Ok(Some(())));
    assert_eq!(with_head(&get(""), &Limits::default(), |_| ()), Ok(Some(())));
}

#[test]
fn an_old_client_is_not_told_to_continue_and_its_connection_ends() {
    let expects = |version: &str| {
        let head = format!("POST / HTTP/{version}\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n");
        with_head(head.as_bytes(), &Limits::default(), |head| (head.expects_continue, head.persistence.close))
    };
    assert_eq!((expects("1.0"), expects("1.1")), (Ok(Some((false, true))), Ok(Some((true, false)))));
}
