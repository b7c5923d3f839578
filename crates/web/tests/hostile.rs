//! What the server does with clients that are slow, wrong, or out to harm.

mod common;

use common::{field, limited, millis, serve, serve_with, tell};
use greenloom::{sleep, spawn};
use greenloom_web::http::Response;
use greenloom_web::{Body, ServerOptions};
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn what_two_servers_could_read_differently_is_refused_and_nothing_behind_it_is_served() {
    let served = serve(tell);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let cases = [
        ("a length beside chunks", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400),
        ("two lengths", post("Content-Length: 0\r\nContent-Length: 33\r\n"), 400),
        ("two equal lengths", post("Content-Length: 0\r\nContent-Length: 0\r\n"), 400),
        ("a list of lengths", post("Content-Length: 0, 0\r\n"), 400),
        ("a signed length", post("Content-Length: +0\r\n"), 400),
        ("a length in hexadecimal", post("Content-Length: 0x0\r\n"), 400),
        ("chunked twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n", 400),
        ("chunked that is none", post("Transfer-Encoding: xchunked\r\n"), 400),
        ("a coding behind chunked", post("Transfer-Encoding: chunked, identity\r\n"), 400),
        ("an unknown coding", post("Transfer-Encoding: identity\r\n"), 501),
        ("a space before the colon", post("Content-Length : 0\r\n"), 400),
        ("a folded line", post("X: a\r\n Content-Length: 33\r\n"), 400),
        ("a bare line feed", "POST / HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n".to_owned(), 400),
        ("a bare carriage return", post("X: a\rContent-Length: 33\r\n"), 400),
        ("an octet 0", post("X: a\0b\r\n"), 400),
        ("two hosts", post("Host: y\r\n"), 400),
        ("no host", "POST / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("a host that is none", "POST / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), 400),
        ("another protocol", "POST / HTTP/2.0\r\nHost: x\r\n\r\n".to_owned(), 505),
        ("no version", "POST /\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("a target with a space", "POST /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 505),
    ];
    limited(|| {
        for (name, request, status) in cases {
            let answer = served.answer(format!("{request}{hidden}").as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
            assert_eq!(field(&answer, "connection"), Some("close"), "{name}");
            assert!(!answer.contains("/hidden"), "{name}: {answer}");
        }
        let stats = served.server.stats();
        assert_eq!((stats.requests, stats.refused), (0, 21));
    });
}

#[test]
fn chunks_that_two_servers_could_read_differently_end_the_connection() {
    let served = serve(tell);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";
    limited(|| {
        for chunks in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "-1\r\n\r\n",
            "3;\ra\r\nabc\r\n0\r\n\r\n",
        ] {
            let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            let answer = served.answer(format!("{head}{chunks}{hidden}").as_bytes());
            assert!(answer.ends_with("POST / InvalidData"), "{chunks:?}: {answer}");
            assert_eq!(field(&answer, "connection"), Some("close"));
        }
    });
}

#[test]
fn a_field_of_a_response_cannot_smuggle_a_framing_of_its_own() {
    let served = serve(|_| {
        let response = Response::builder().header("Content-Length", 1).header("Transfer-Encoding", "chunked");
        response.body(Body::from("hello")).unwrap()
    });
    limited(|| {
        let mut client = served.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let (head, body) = client.response();
        assert_eq!(body, "hello");
        assert_eq!(head.to_lowercase().matches("content-length").count(), 1);
        assert!(!head.to_lowercase().contains("transfer-encoding"));
    });
}

#[test]
fn heads_beyond_the_limits_are_refused_before_they_are_whole() {
    let served = serve_with(ServerOptions::new().max_head(4000).max_fields(10), tell);
    let line = |length: usize| "a".repeat(length);
    limited(|| {
        for (name, request, status) in [
            ("a long target", format!("GET /{}", line(8000)), 414),
            ("a long field", format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", line(8000)), 400),
            ("many fields", format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(11)), 431),
        ] {
            let mut client = served.connect();
            client.send(request);
            assert!(client.rest().starts_with(&format!("HTTP/1.1 {status} ")), "{name}");
        }
    });
}

#[test]
fn a_body_beyond_the_limit_is_refused_by_its_length_and_broken_off_in_chunks() {
    let served = serve_with(ServerOptions::new().max_body(4), tell);
    limited(|| {
        let answer = served.answer(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        assert!(answer.starts_with("HTTP/1.1 413 Content Too Large\r\n"));
        let chunks =
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let answer = served.answer(chunks);
        assert!(answer.ends_with("POST / FileTooLarge"), "{answer}");
        assert_eq!(field(&answer, "connection"), Some("close"));
    });
}

#[test]
fn a_head_that_comes_too_slowly_is_told_so_and_a_silent_client_is_not() {
    let options = ServerOptions::new().head_timeout(millis(40)).keep_alive(millis(60));
    let served = serve_with(options, tell);
    limited(|| {
        let mut silent = served.connect();
        assert_eq!(silent.rest(), "");
        let slow = served.connect();
        let (mut reader, mut writer) = (slow.stream.try_clone().unwrap(), slow.stream.try_clone().unwrap());
        let dripping = spawn(move || {
            for octet in "GET / HTTP/1.1\r\nHost: x\r\nX: ".bytes().chain(std::iter::repeat(b'a')) {
                if writer.write_all(&[octet]).is_err() {
                    return;
                }
                sleep(millis(2));
            }
        });
        let mut answer = [0; 24];
        reader.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408 Request Tim");
        dripping.kill();
        slow.stream.close();
    });
}

#[test]
fn a_body_that_stops_coming_is_an_error_for_the_handler() {
    let served = serve_with(ServerOptions::new().body_timeout(millis(20)), tell);
    limited(|| {
        let mut client = served.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
        assert_eq!(client.response().1, "POST / TimedOut");
        let answer = served.answer(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
        assert!(answer.ends_with("POST / UnexpectedEof"), "{answer}");
    });
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let options = ServerOptions::new().write_timeout(millis(50));
    let served = serve_with(options, |_| Response::new(Body::from(vec![b'x'; 64 << 20])));
    limited(|| {
        let mut client = served.connect();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        while served.server.stats().connections.finished == 0 {
            sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_client_that_is_gone_ends_its_connection_in_every_state() {
    let served = serve(|request| Response::new(Body::reader(request.into_body())));
    let whole = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    limited(|| {
        for end in 0..=whole.len() {
            let mut client = served.connect();
            client.send(&whole[..end]);
        }
        while served.server.stats().connections.finished < whole.len() as u64 + 1 {
            sleep(millis(1));
        }
        assert_eq!(served.server.stats().connections.panicked, 0);
    });
}
