//! Brokers that do not keep to the protocol: the connection ends with an error that says what was wrong, and nobody who
//! waits on it hangs.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use greenloom::spawn;
use greenloom_rpc::amqp::frame::{Frame, FramePayload, decode};
use greenloom_rpc::amqp::{Bit, Connection, Error, Header, Method, Options, Properties, QueueFlags, Table};

const PATIENCE: Duration = Duration::from_secs(20);

fn method(channel: u16, method: Method<'_>) -> Vec<u8> {
    bytes(Frame { channel, payload: FramePayload::Method(method) })
}

fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// What the client has sent, a frame at a time.
struct Heard {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Heard {
    fn next(&mut self) {
        loop {
            if let Some((_, length)) = decode(&self.bytes, 1 << 20).unwrap() {
                self.bytes.drain(..length);
                return;
            }
            let mut buf = [0; 4096];
            let length = self.stream.read(&mut buf).unwrap();
            assert!(length > 0, "the client went away");
            self.bytes.extend_from_slice(&buf[..length]);
        }
    }
}

/// A broker that goes through the handshake, opens a channel, and answers the next method with `answer`.
fn broker(answer: Vec<u8>) -> Options {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Heard { stream: stream.try_clone().unwrap(), bytes: Vec::new() };
        stream.read_exact(&mut [0; 8]).unwrap();
        let properties = Cow::Owned(Table::new());
        let start = Method::ConnectionStart { major: 0, minor: 9, properties, mechanisms: b"PLAIN", locales: b"en_US" };
        stream.write_all(&method(0, start)).unwrap();
        heard.next();
        let tune = Method::ConnectionTune { channel_max: 10, frame_max: 4096, heartbeat: 0 };
        stream.write_all(&method(0, tune)).unwrap();
        heard.next();
        heard.next();
        stream.write_all(&method(0, Method::ConnectionOpenOk { reserved: "" })).unwrap();
        heard.next();
        stream.write_all(&method(1, Method::ChannelOpenOk { reserved: b"" })).unwrap();
        heard.next();
        stream.write_all(&answer).unwrap();
        // It stays, and says nothing more.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    format!("amqp://127.0.0.1:{port}/").parse().unwrap()
}

/// The error that a declaration ends with when it is answered so.
fn declare(answer: Vec<u8>) -> Error {
    let options = broker(answer);
    let connection = Connection::open(&options.brokers[0], &options).unwrap();
    let channel = connection.open_channel().unwrap();
    let declared = spawn(move || channel.declare_queue("q", QueueFlags::default(), &Table::new()));
    let ended = greenloom::timeout(PATIENCE, || connection.wait_ended()).expect("the connection ends");
    let error = declared.wait().unwrap().unwrap_err();
    assert_eq!(error.to_string(), ended.to_string());
    error
}

fn deliver() -> Vec<u8> {
    let redelivered = Bit::default();
    method(1, Method::BasicDeliver { tag: "1", delivery: 1, redelivered, exchange: "".into(), routing_key: "q".into() })
}

fn header(body_size: u64) -> Vec<u8> {
    bytes(Frame { channel: 1, payload: FramePayload::Header(Header { body_size, properties: Properties::default() }) })
}

fn body(channel: u16, piece: &[u8]) -> Vec<u8> {
    bytes(Frame { channel, payload: FramePayload::Body(piece) })
}

#[test]
fn what_is_out_of_order_or_out_of_bounds_ends_the_connection() {
    let answer_for_another = method(7, Method::QueueDeclareOk { queue: "q", messages: 0, consumers: 0 });
    for (answer, problem) in [
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), "a frame of an unknown kind"),
        (b"\x01\x00\x01\x00\x00\x20\x00".to_vec(), "a frame that is larger than agreed"),
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x0b!".to_vec(), "a frame without its end"),
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x32\x00\x0b\xce".to_vec(), "a field is cut off"),
        (b"\x01\x00\x01\x00\x00\x00\x04\x00\x63\x00\x63\xce".to_vec(), "a method that this client does not know"),
        (answer_for_another, "a frame on a channel that is not open"),
        (method(0, Method::QueueBindOk {}), "an unexpected method on channel 0"),
        (method(1, Method::ChannelOpen { reserved: "" }), "an unexpected method on a channel"),
        (body(0, b"x"), "content on channel 0"),
        (body(1, b"x"), "a body without a header"),
        (header(1), "a content header out of order"),
        ([deliver(), header(1), header(1)].concat(), "a content header out of order"),
        ([deliver(), deliver()].concat(), "a method in the middle of a message"),
        ([deliver(), header(2), body(1, b"xyz")].concat(), "a body that is longer than its header says"),
        ([deliver(), header(u64::MAX)].concat(), "a message of more than 512 MiB"),
        (
            method(
                1,
                Method::BasicDeliver {
                    tag: "?",
                    delivery: 1,
                    redelivered: Bit::default(),
                    exchange: "".into(),
                    routing_key: "".into(),
                },
            ),
            "a consumer that this client does not have",
        ),
    ] {
        let error = declare(answer);
        assert!(matches!(error, Error::Malformed(_)), "{problem}: {error}");
        assert_eq!(error.to_string(), format!("not AMQP 0-9-1: {problem}"));
    }
}

#[test]
fn a_broker_that_leaves_in_order_is_quoted() {
    let close = Method::ConnectionClose { code: 320, text: "going down".into(), class: 0, method: 0 };
    let error = declare(method(0, close));
    assert_eq!(error.to_string(), "the broker closed the connection: 320 going down");
    assert!(error.is_loss());
}

#[test]
fn confirms_for_what_was_never_sent_and_deliveries_for_nobody_do_no_harm() {
    let all = Bit { set: true };
    let answer = [
        method(1, Method::BasicAck { delivery: u64::MAX, multiple: all }),
        method(1, Method::BasicAck { delivery: 0, multiple: all }),
        [deliver(), header(1), body(1, b"x")].concat(),
        method(1, Method::QueueDeclareOk { queue: "q", messages: 3, consumers: 0 }),
    ]
    .concat();
    let options = broker(answer);
    let connection = Connection::open(&options.brokers[0], &options).unwrap();
    let channel = connection.open_channel().unwrap();
    assert_eq!(channel.declare_queue("q", QueueFlags::default(), &Table::new()).unwrap().messages, 3);
}
