//! The bridge, by what goes over its sockets, on a bus in memory.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant};

use greenloom::inspect;
use greenloom_rpc::bridge::Bridge;
use serde_json::{Value, json};

const OPEN: u8 = 0;
const SEND: u8 = 1;
const REPLIES: u8 = 2;
const REPLY: u8 = 3;
const FLUSH: u8 = 4;
const DONE_UP_TO: u8 = 5;
const DONE: u8 = 6;
const AGAIN: u8 = 7;
const STOP: u8 = 8;
const FORGET: u8 = 9;
const WORKED: u8 = 10;

const READY: u8 = 0;
const DONE_SAID: u8 = 1;
const FAILED: u8 = 2;
const ANSWER: u8 = 3;
const DELIVERY: u8 = 4;
const STOPPED: u8 = 5;
const LOG: u8 = 6;

const MANDATORY: u8 = 1;
const ENVELOPE: u8 = 2;
const DECLARE: u8 = 4;
const RESENT: u8 = 8;

/// A program's end of a socket.
struct Program(UnixStream);

type Frame = (u8, u64, Vec<u8>);

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes()[..], text.as_bytes()].concat()
}

impl Program {
    fn unopened() -> Program {
        static BRIDGE: OnceLock<Bridge> = OnceLock::new();
        let bridge = BRIDGE.get_or_init(|| {
            let (give, made) = mpsc::channel();
            std::thread::spawn(move || Bridge::serve(|bridge| give.send(bridge).unwrap()));
            made.recv().unwrap()
        });
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(bridge.attach(theirs));
        Program(ours)
    }

    fn open(opening: &Value) -> Program {
        let mut program = Program::unopened();
        program.say(OPEN, 0, opening.to_string().as_bytes());
        assert_eq!(program.hear().0, READY);
        program
    }

    /// The driver of a test: one for each bus.
    fn session(bus: &str) -> Value {
        let number = bus.bytes().fold(0, |number: u32, byte| number.wrapping_mul(31).wrapping_add(byte.into()));
        json!({"session": number, "url": format!("memory://{bus}")})
    }

    fn client(bus: &str) -> Program {
        Program::open(&Program::session(bus))
    }

    fn intake(bus: &str, from: Value, once: bool) -> Program {
        let mut opening = Program::session(bus);
        opening["intake"] = json!({"from": from, "prefetch": 10, "once": once});
        Program::open(&opening)
    }

    fn say(&mut self, kind: u8, number: u64, body: &[u8]) {
        let length = (body.len() as u32 + 9).to_le_bytes();
        self.0.write_all(&[&length[..], &[kind], &number.to_le_bytes(), body].concat()).unwrap();
    }

    /// The next frame that is no record for the log, which may be of another test; nothing at the end.
    fn try_hear(&mut self) -> Option<Frame> {
        loop {
            let frame = self.try_hear_all()?;
            if frame.0 != LOG {
                return Some(frame);
            }
        }
    }

    fn try_hear_all(&mut self) -> Option<Frame> {
        let mut head = [0; 13];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_le_bytes(*head.first_chunk().unwrap()) as usize;
        let mut body = vec![0; length - 9];
        self.0.read_exact(&mut body).unwrap();
        Some((head[4], u64::from_le_bytes(head[5..].try_into().unwrap()), body))
    }

    fn hear(&mut self) -> Frame {
        self.try_hear().expect("a frame")
    }

    fn send(&mut self, number: u64, flags: u8, to: &Value, message: &Value) -> Frame {
        let limits = [0; 16];
        let id = message["_msg_id"].as_str().unwrap_or_default();
        let (to, message) = (text(&to.to_string()), message.to_string());
        let body = [&[flags][..], &limits, &to, &text(id), message.as_bytes()].concat();
        self.say(SEND, number, &body);
        let heard = self.hear();
        assert_eq!(heard.1, number);
        heard
    }

    fn hear_delivery(&mut self) -> Delivery {
        let (kind, number, body) = self.hear();
        assert_eq!(kind, DELIVERY, "{}", String::from_utf8_lossy(&body));
        let timeout = f64::from_le_bytes(*body.first_chunk().unwrap());
        let (mut names, mut rest) = (Vec::new(), &body[8..]);
        for _ in 0..3 {
            let (length, after) = rest.split_first_chunk().unwrap();
            let (name, after) = after.split_at(u16::from_le_bytes(*length).into());
            names.push(String::from_utf8(name.to_vec()).unwrap());
            rest = after;
        }
        Delivery { number, timeout, names, parts: serde_json::from_slice(rest).unwrap() }
    }
}

struct Delivery {
    number: u64,
    timeout: f64,
    names: Vec<String>,
    parts: Value,
}

fn topic(topic: &str) -> Value {
    json!({"exchange": "openstack", "topic": topic})
}

#[test]
fn a_request_arrives_in_parts_and_its_answer_comes_back() {
    let mut server = Program::intake("calls", json!([topic("agents")]), true);
    let mut client = Program::client("calls");
    client.say(REPLIES, 1, b"");
    let (kind, 1, queue) = client.hear() else { panic!() };
    assert_eq!(kind, DONE_SAID);
    let queue = String::from_utf8(queue).unwrap();
    let request = json!({
        "method": "sync", "args": {"n": 1}, "_context_user": "me", "_unique_id": "u1", "_msg_id": "m1",
        "_reply_q": queue, "_timeout": 4,
    });
    assert_eq!(client.send(2, ENVELOPE, &topic("agents"), &request).0, DONE_SAID);

    let delivery = server.hear_delivery();
    assert_eq!((delivery.timeout, &delivery.names[..]), (4.0, &["u1".into(), "m1".into(), queue.clone()][..]));
    assert_eq!(delivery.parts, json!([{"user": "me"}, {"method": "sync", "args": {"n": 1}}]));
    server.say(DONE_UP_TO, delivery.number, b"");

    let mut answers = Program::client("calls");
    let patience = 5f64.to_le_bytes();
    for (answer, bits, data) in [
        (json!({"result": null, "failure": null, "ending": false, "_msg_id": "m1"}), 0, "null"),
        (json!({"result": [1], "failure": null, "ending": true, "_msg_id": "m1"}), 1, "[1]"),
        (json!({"result": null, "failure": "{}", "ending": true, "_msg_id": "m1"}), 3, "{}"),
    ] {
        answers.say(REPLY, 0, &[&patience[..], &text(&queue), answer.to_string().as_bytes()].concat());
        assert_eq!(client.hear(), (ANSWER, bits, [text("m1"), data.into()].concat()));
    }
    answers.say(FLUSH, 9, b"");
    assert_eq!(answers.hear(), (DONE_SAID, 9, vec![]));
}

#[test]
fn a_request_that_comes_twice_is_handed_over_once_and_a_notification_may_come_again() {
    let mut client = Program::client("twice");
    let note = |id: &str| json!({"event": 1, "_unique_id": id});
    let mut server = Program::intake("twice", json!([topic("once")]), true);
    for (number, id) in ["a", "a", "b"].into_iter().enumerate() {
        assert_eq!(client.send(number as u64, ENVELOPE, &topic("once"), &note(id)).0, DONE_SAID);
    }
    assert_eq!(server.hear_delivery().names[0], "a");
    let (LOG, _, record) = server.try_hear_all().unwrap() else { panic!("no record of what was thrown away") };
    assert!(String::from_utf8(record).unwrap().contains("was here before: a"));
    assert_eq!(server.hear_delivery().names[0], "b");

    // Nobody listens yet, and it has no envelope.
    assert_eq!(client.send(3, DECLARE, &topic("notes"), &note("c")).0, DONE_SAID);
    let mut listener = Program::intake("twice", json!([topic("notes")]), false);
    let first = listener.hear_delivery();
    listener.say(AGAIN, first.number, b"");
    let second = listener.hear_delivery();
    assert_eq!((&first.names[0], &second.names[0]), (&"c".to_owned(), &"c".to_owned()));
    listener.say(DONE, second.number, b"");
    listener.say(STOP, 0, b"");
    assert_eq!(listener.hear().0, STOPPED);
}

#[test]
fn what_is_sent_to_nobody_is_an_error_if_it_has_to_arrive() {
    let mut client = Program::client("nobody");
    let message = json!({"method": "x"});
    assert_eq!(client.send(1, ENVELOPE, &topic("agents"), &message).0, DONE_SAID);
    let (kind, _, why) = client.send(2, ENVELOPE | MANDATORY, &topic("agents"), &message);
    assert_eq!((kind, why[0]), (FAILED, 4));
    assert_eq!(String::from_utf8_lossy(&why[1..]), "nobody has listened on agents");
}

#[test]
fn what_a_listener_has_not_done_with_goes_to_the_next_one() {
    let mut client = Program::client("next");
    let mut first = Program::intake("next", json!([topic("agents")]), true);
    assert_eq!(client.send(1, ENVELOPE, &topic("agents"), &json!({"n": 1, "_unique_id": "a"})).0, DONE_SAID);
    assert_eq!(first.hear_delivery().names[0], "a");
    drop(first);
    let mut second = Program::intake("next", json!([topic("agents")]), true);
    assert_eq!(second.hear_delivery().names[0], "a");
}

#[test]
fn what_makes_no_sense_ends_that_socket_and_no_other() {
    let mut good = Program::client("sense");
    for opening in ["", "{}", "[", r#"{"session": 7, "url": "pigeon://"}"#, r#"{"session": 1, "url": 1}"#] {
        let mut bad = Program::unopened();
        bad.say(OPEN, 0, opening.as_bytes());
        assert_eq!(bad.hear().0, FAILED, "{opening}");
        assert_eq!(bad.try_hear(), None);
    }
    for bytes in [&[0; 4][..], &[255; 13], &[9, 0, 0, 0, SEND, 0, 0, 0, 0, 0, 0, 0, 0]] {
        let mut bad = Program::unopened();
        bad.0.write_all(bytes).unwrap();
        assert_eq!(bad.try_hear(), None);
    }
    let mut cut = Program::client("sense");
    cut.say(SEND, 1, &[0; 5]);
    assert_eq!(cut.try_hear(), None);
    assert_eq!(good.send(1, ENVELOPE, &topic("agents"), &json!({})).0, DONE_SAID);
}

/// What the page of metrics says, once it says so: counts come from the bridge's OS thread.
fn is_told(sample: &str, holds: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let page = inspect::metrics();
        let value = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok());
        if value.is_some_and(&holds) {
            return;
        }
        assert!(Instant::now() < deadline, "{sample}\n{page}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_programs_send_and_take_is_on_the_page_of_metrics() {
    let mut server = Program::intake("counted", json!([topic("counted")]), true);
    let mut client = Program::client("counted");
    client.say(REPLIES, 1, b"");
    let queue = String::from_utf8(client.hear().2).unwrap();
    let call = |id: &str| json!({"method": "m", "args": {}, "_unique_id": id, "_msg_id": id, "_reply_q": queue});
    for (number, id) in ["c1", "c2", "c3"].into_iter().enumerate() {
        assert_eq!(client.send(number as u64, ENVELOPE, &topic("counted"), &call(id)).0, DONE_SAID);
    }
    let cast = json!({"method": "m", "args": {}, "_unique_id": "c4"});
    assert_eq!(client.send(4, ENVELOPE | RESENT, &topic("counted"), &cast).0, DONE_SAID);
    (0..4).for_each(|_| drop(server.hear_delivery()));
    // Other tests call meanwhile, too.
    is_told("rpc_client_waiting", |waiting| waiting >= 3.0);
    is_told("messaging_client_sent_messages_total{messaging_operation_name=\"cast\"}", |casts| casts >= 1.0);
    is_told("messaging_client_resent_messages_total", |resent| resent >= 1.0);
    let of_topic = "{messaging_destination_name=\"counted\"";
    is_told(&format!("messaging_client_consumed_messages_total{of_topic}}}"), |received| received == 4.0);
    is_told(&format!("rpc_server_active_requests{of_topic}}}"), |active| active == 4.0);

    // The first is answered, and with it the server is done with two; of the others nobody waits for an answer.
    let worked = |failed: u8, seconds: f64| [&[failed][..], &seconds.to_le_bytes(), &text("m")].concat();
    server.say(WORKED, 0, &[worked(0, 0.25), worked(1, 1.25)].concat());
    let answer = json!({"result": 1, "failure": null, "ending": true, "_msg_id": "c1"}).to_string();
    client.say(REPLY, 0, &[&5f64.to_le_bytes()[..], &text(&queue), answer.as_bytes()].concat());
    assert_eq!(client.hear().0, ANSWER);
    client.say(FORGET, 1, b"c2");
    client.say(FORGET, 2, b"c3");
    // Forgotten already.
    client.say(FORGET, 1, b"c1");
    is_told("rpc_client_call_duration_seconds_count", |calls| calls >= 1.0);
    is_told("rpc_client_failures_total{error_type=\"timeout\"}", |late| late >= 1.0);
    is_told("rpc_client_failures_total{error_type=\"undelivered\"}", |undelivered| undelivered >= 1.0);
    is_told(&format!("rpc_server_active_requests{of_topic}}}"), |active| active == 2.0);
    let of_method = format!("{of_topic},rpc_method=\"m\"");
    is_told(&format!("rpc_server_call_duration_seconds_count{of_method}}}"), |worked| worked == 2.0);
    is_told(&format!("rpc_server_call_duration_seconds_sum{of_method}}}"), |seconds| seconds == 1.5);
    is_told(&format!("rpc_server_failures_total{of_method},error_type=\"failure\"}}"), |failed| failed == 1.0);
    is_told(&format!("messaging_queue_messages{of_topic},state=\"ready\"}}"), |ready| ready == 0.0);
}
