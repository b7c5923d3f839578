//! What the server does with requests that are as they should be, however they come.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use common::{field, limited, millis, serve, serve_with, tell};
use greenloom::net::{UnixListener, UnixStream};
use greenloom::sync::Event;
use greenloom::{sleep, spawn, yield_now};
use greenloom_web::http::{Method, Request, Response, StatusCode, header};
use greenloom_web::{Body, Incoming, Server, ServerOptions};

const POST: &str = "POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKS: &str =
    "PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: r\r\n\r\n";

#[test]
fn requests_split_at_every_octet_are_answered_alike() {
    let served = serve(tell);
    let all = [POST, CHUNKS, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    limited(|| {
        let expected = served.answer(all.as_bytes());
        assert_eq!(expected.matches("HTTP/1.1 200 OK").count(), 3);
        for part in ["POST /a?b=c hello", "PUT /c abcde", "GET / "] {
            assert!(expected.contains(part), "{expected}");
        }
        for cut in 1..all.len() {
            let mut client = served.connect();
            client.send(&all[..cut]);
            // The server reads the first part before the other is sent.
            sleep(Duration::from_micros(50));
            yield_now();
            client.send(&all[cut..]);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.rest(), expected, "cut at {cut}");
        }
    });
}

#[test]
fn a_request_that_comes_octet_by_octet_is_answered() {
    let served = serve(tell);
    limited(|| {
        let mut client = served.connect();
        for octet in [POST, CHUNKS].concat().as_bytes() {
            client.send([*octet]);
            yield_now();
        }
        assert_eq!(client.response().1, "POST /a?b=c hello");
        assert_eq!(client.response().1, "PUT /c abcde");
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = serve(tell);
    limited(|| {
        let mut client = served.connect();
        let all: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
        client.send(all);
        for n in 0..100 {
            assert_eq!(client.response().1, format!("GET /{n} "));
        }
        assert_eq!(served.server.stats().requests, 100);
        assert_eq!(served.server.stats().connections.accepted, 1);
    });
}

#[test]
fn a_connection_goes_on_as_its_version_and_its_fields_say() {
    let served = serve(tell);
    let cases = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: x, Close\r\n", false),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
    ];
    limited(|| {
        for (version, more, goes_on) in cases {
            let mut client = served.connect();
            client.send(format!("GET / {version}\r\nHost: x\r\n{more}\r\n"));
            let (head, _) = client.response();
            let said = field(&head, "connection");
            let expected = if !goes_on { Some("close") } else { (version == "HTTP/1.0").then_some("keep-alive") };
            assert_eq!(said, expected, "{version} {more}");
            if goes_on {
                client.send("GET /again HTTP/1.1\r\nHost: x\r\n\r\n");
                assert_eq!(client.response().1, "GET /again ");
            } else {
                assert_eq!(client.rest(), "");
            }
        }
    });
}

#[test]
fn bodies_end_as_their_kind_and_the_version_ask() {
    let served = serve(|request| {
        let streamed = || {
            Body::stream(|out| {
                out.write_all(b"one")?;
                out.flush()?;
                out.write_all(b"two")
            })
        };
        match request.uri().path() {
            "/bytes" => Response::new(Body::from("12345")),
            "/reader" => Response::new(Body::reader(&b"12345"[..])),
            "/sized" => Response::new(Body::sized(&b"12345678"[..], 5)),
            "/stream" => Response::new(streamed()),
            "/declared" => Response::builder().header(header::CONTENT_LENGTH, 6).body(streamed()).unwrap(),
            _ => Response::builder().status(StatusCode::NO_CONTENT).body(Body::empty()).unwrap(),
        }
    });
    let ask = |path: &str, version: &str| {
        served.answer(format!("GET {path} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
    };
    limited(|| {
        for (path, version, fields, body) in [
            ("/bytes", "1.1", "Content-Length: 5\r\n", "12345"),
            ("/reader", "1.1", "Transfer-Encoding: chunked\r\n", "5\r\n12345\r\n0\r\n\r\n"),
            ("/reader", "1.0", "", "12345"),
            ("/sized", "1.1", "Content-Length: 5\r\n", "12345"),
            ("/stream", "1.1", "Transfer-Encoding: chunked\r\n", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
            ("/stream", "1.0", "", "onetwo"),
            ("/declared", "1.1", "Content-Length: 6\r\n", "onetwo"),
            ("/none", "1.1", "", ""),
        ] {
            let answer = ask(path, version);
            let (head, got) = answer.split_once("\r\n\r\n").unwrap();
            let head = format!("{head}\r\n");
            assert_eq!(got, body, "{path} {version}");
            assert!(head.contains(fields), "{path} {version}: {head}");
            let framings = head.matches("Content-Length").count() + head.matches("Transfer-Encoding").count();
            assert_eq!(framings, usize::from(!fields.is_empty()), "{path} {version}: {head}");
            assert!(field(&head, "date").is_some_and(|date| date.ends_with(" GMT")));
        }
    });
}

#[test]
fn head_is_answered_with_the_fields_alone() {
    let served = serve(|request| match request.uri().path() {
        "/declared" => Response::builder().header(header::CONTENT_LENGTH, 1234).body(Body::empty()).unwrap(),
        "/stream" => Response::new(Body::stream(|_| panic!("nobody asked for it"))),
        _ => Response::new(Body::from("hello")),
    });
    limited(|| {
        let mut client = served.connect();
        for (path, expected) in [
            ("/", "Content-Length: 5"),
            ("/declared", "Content-Length: 1234"),
            ("/stream", "Transfer-Encoding: chunked"),
        ] {
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let head = client.until("\r\n\r\n");
            assert!(head.contains(expected), "{head}");
        }
        // Nothing else was sent: the next response is where it should be.
        client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(client.rest().starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn a_client_that_waits_for_100_is_told_when_the_body_is_read_and_not_before() {
    let served = serve(|request| match request.method() {
        &Method::PUT => Response::builder().status(StatusCode::CONFLICT).body(Body::empty()).unwrap(),
        _ if request.uri() == "/echo" => Response::new(Body::reader(request.into_body())),
        _ => tell(request),
    });
    limited(|| {
        let mut client = served.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("ok");
        assert_eq!(client.response().1, "POST / ok");
        client.send("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("ok");
        assert!(client.until("0\r\n\r\n").ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
        // Refused without reading: whether the body comes is unknown, so it ends.
        client.send("PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
        let (head, _) = client.response();
        assert!(head.starts_with("HTTP/1.1 409 Conflict\r\n"));
        assert_eq!(field(&head, "connection"), Some("close"));
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn a_short_body_that_nobody_reads_is_passed_over_and_a_long_one_ends_the_connection() {
    let served = serve(|_| Response::new(Body::from("unread")));
    limited(|| {
        let mut client = served.connect();
        for body in ["Content-Length: 3\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"] {
            client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{body}"));
            let (head, body) = client.response();
            assert_eq!((body.as_str(), field(&head, "connection")), ("unread", None));
        }
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc");
        let (head, _) = client.response();
        assert_eq!(field(&head, "connection"), Some("close"));
        // The client goes on sending and is not reset.
        for _ in 0..10 {
            client.send([b'x'; 1000]);
        }
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn a_body_that_outlives_its_request_is_not_taken_for_the_next_one() {
    let kept: Rc<RefCell<Vec<Incoming>>> = Rc::default();
    let keeping = Rc::clone(&kept);
    let served = serve(move |request| {
        keeping.borrow_mut().push(request.into_body());
        Response::new(Body::from("kept"))
    });
    limited(|| {
        let mut client = served.connect();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        client.response();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\ndef");
        client.response();
        for mut body in kept.take() {
            assert_eq!(body.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::NotConnected);
        }
    });
}

#[test]
fn a_client_that_has_said_all_reads_its_answer() {
    let served = serve(|request| {
        sleep(millis(5));
        tell(request)
    });
    let answer = limited(|| served.answer(POST.as_bytes()));
    assert!(answer.ends_with("POST /a?b=c hello"), "{answer}");
}

#[test]
fn a_large_body_arrives_whole_both_ways() {
    let served = serve(|request| Response::new(Body::reader(request.into_body())));
    limited(|| {
        let client = served.connect();
        let (mut reader, mut writer) = client.stream.into_split();
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let sent = body.clone();
        let sending = spawn(move || {
            write!(writer, "POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", sent.len()).unwrap();
            writer.write_all(&sent).unwrap();
        });
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).unwrap();
        sending.wait().unwrap();
        assert!(answer.ends_with(&body) && answer.len() < body.len() + 500);
    });
}

#[test]
fn a_body_that_fails_midway_ends_the_connection_without_its_end() {
    let served = serve(|request| match request.uri().path() {
        "/stream" => Response::new(Body::stream(|out| {
            out.write_all(b"begun")?;
            Err(std::io::Error::other("no more"))
        })),
        _ => Response::new(Body::sized(&b"123"[..], 5)),
    });
    limited(|| {
        let answer = served.answer(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(!answer.contains("0\r\n\r\n"), "{answer}");
        let answer = served.answer(b"GET /sized HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.ends_with("\r\n\r\n123"), "{answer}");
    });
}

#[test]
fn a_handler_that_panics_loses_its_connection_and_nothing_else() {
    let served = serve(|request| if request.uri() == "/panic" { panic!("as asked") } else { tell(request) });
    limited(|| {
        assert_eq!(served.answer(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n"), "");
        assert!(served.answer(POST.as_bytes()).ends_with("hello"));
        assert_eq!(served.server.stats().connections.panicked, 1);
    });
}

#[test]
fn a_shutdown_ends_idle_connections_and_answers_what_has_arrived() {
    let (begun, may_end) = (Rc::new(Event::<()>::new()), Rc::new(Event::<()>::new()));
    let signals = (Rc::clone(&begun), Rc::clone(&may_end));
    let served = serve(move |request| {
        if request.uri() == "/slow" {
            signals.0.send(()).unwrap();
            signals.1.wait().unwrap();
        }
        tell(request)
    });
    limited(|| {
        let (mut idle, mut fresh, mut busy) = (served.connect(), served.connect(), served.connect());
        idle.send(POST);
        idle.response();
        busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
        begun.wait().unwrap();
        while served.server.stats().connections.active < 3 {
            yield_now();
        }
        let ended = Rc::new(Cell::new(false));
        let told = Rc::clone(&ended);
        let others = spawn(move || {
            assert_eq!((idle.rest(), fresh.rest()), (String::new(), String::new()));
            assert!(!told.get());
            may_end.send(()).unwrap();
        });
        let drained = served.server.shutdown(common::LONG);
        ended.set(true);
        others.wait().unwrap();
        assert_eq!((drained.finished, drained.killed), (3, 0));
        let (head, body) = busy.response();
        assert_eq!((field(&head, "connection"), body.as_str()), (Some("close"), "GET /slow "));
    });
}

#[test]
fn a_request_that_is_there_when_a_shutdown_begins_is_answered() {
    let served = serve(tell);
    limited(|| {
        let mut client = served.connect();
        client.send(POST);
        client.response();
        // Sent, and not yet seen: the hub has not looked since.
        client.send(POST);
        let reading = spawn(move || client.rest());
        let drained = served.server.shutdown(common::LONG);
        assert_eq!(drained.killed, 0);
        let answer = reading.wait().unwrap();
        assert!(answer.ends_with("POST /a?b=c hello"), "{answer}");
    });
}

#[test]
fn what_is_not_done_at_the_deadline_is_killed() {
    let served = serve(|request| {
        request.body().stopping().wait();
        sleep(Duration::from_secs(3600));
        tell(request)
    });
    limited(|| {
        let mut client = served.connect();
        client.send(POST);
        while served.server.stats().requests == 0 {
            yield_now();
        }
        let drained = served.server.shutdown(millis(5));
        assert_eq!((drained.finished, drained.killed), (0, 1));
        assert_eq!(client.rest(), "");
    });
}

#[test]
fn unix_sockets_are_served_too() {
    let path = std::env::temp_dir().join(format!("greenloom-web-{}-served", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let server = Server::start(listener, tell).unwrap();
    limited(|| {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(POST.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("POST /a?b=c hello"));
    });
    drop(server);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let served = serve_with(ServerOptions::new().max_connections(1), tell);
    limited(|| {
        let (mut first, mut second) = (served.connect(), served.connect());
        first.send(POST);
        first.response();
        second.send(POST);
        sleep(millis(5));
        assert_eq!(served.server.stats().connections.accepted, 1);
        drop(first);
        assert_eq!(second.response().1, "POST /a?b=c hello");
    });
}

#[test]
fn the_request_has_all_fields_and_what_is_known_of_the_client() {
    let served = serve(|request: Request<Incoming>| {
        let peer = request.body().peer_addr().unwrap();
        let all: Vec<_> = request.headers().get_all("x-a").iter().map(|value| value.to_str().unwrap()).collect();
        let text =
            format!("{:?} {} {} {}", request.version(), all.join("|"), request.uri().query().unwrap(), peer.ip());
        Response::new(Body::from(text))
    });
    let answer = limited(|| served.answer(b"GET /p?q HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nx-a:  2 \r\n\r\n"));
    assert!(answer.ends_with("HTTP/1.1 1|2 q 127.0.0.1"), "{answer}");
}
