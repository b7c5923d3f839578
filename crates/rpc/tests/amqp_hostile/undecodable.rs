//! Messages that cannot be decoded, or only by who knows what others write.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use greenloom_rpc::amqp::frame::{Frame, FramePayload};
use greenloom_rpc::amqp::{
    Connection, Error as AmqpError, Header, Message, Method, Options, Properties, QueueFlags, Table, Value,
};
use greenloom_rpc::transport::Address;
use greenloom_rpc::{Endpoint, Fanout, create_connection, open_transport};
use serde_json::json;

use crate::fake::{Broker, Peer, Published, Script, Then, bytes, method};

const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes of properties that have only headers.
fn headers(fields: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x20, 0];
    bytes.extend_from_slice(&(fields.len() as u32).to_be_bytes());
    bytes.extend_from_slice(fields);
    bytes
}

fn nested(depth: usize) -> Vec<u8> {
    let mut fields = b"\x01xt\x01".to_vec();
    for _ in 0..depth {
        let mut outer = b"\x01aF".to_vec();
        outer.extend_from_slice(&(fields.len() as u32).to_be_bytes());
        outer.extend_from_slice(&fields);
        fields = outer;
    }
    fields
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = greenloom::timeout(PATIENCE, || {
        while !holds() {
            greenloom::sleep(Duration::from_millis(5));
        }
    });
    waited.unwrap_or_else(|_| panic!("{what}: it did not come true"));
}

#[test]
fn a_message_that_cannot_be_decoded_is_buried_and_the_connection_lives() {
    let broker = Broker::start(Script::default());
    let server = create_connection(&broker.url("")).unwrap();
    let done = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&done);
    let note = move |_: &(), _: &_, args: serde_json::Value| {
        noted.borrow_mut().push(args["name"].as_str().unwrap().to_owned());
        Ok(())
    };
    server.create_consumer("topic", [Endpoint::builder().method("note", note).build()], Fanout::Ignore).unwrap();
    server.consume_in_threads().unwrap();
    let deliver = |name: &str, properties: &[u8]| {
        let request = json!({"method": "note", "args": {"name": name}});
        assert!(broker.deliver("topic", properties, request.to_string().as_bytes()), "{name}");
    };
    let served = [
        // As py-amqp writes whole numbers beyond 32 bits.
        ("long", headers(b"\x01nL\x00\x00\x00\x01\x00\x00\x00\x00")),
        ("nested", headers(&nested(20))),
        ("nested deeper", headers(&nested(2_000))),
        ("unknown type", headers(b"\x01a?whatever")),
        ("header name", headers(b"\x02\xff\xfet\x01")),
        ("cut off inside", headers(b"\x01nl\x00")),
    ];
    for (name, properties) in &served {
        deliver(name, properties);
        wait_until(name, || done.borrow().iter().any(|seen| seen == name));
    }
    let undecodable: [(&str, &[u8]); 3] =
        [("message id", b"\x00\x80\x03\xff\xfe\xfd"), ("flags", b"\x00\x01\x00\x00"), ("cut off", b"\x80\x00\x09x")];
    for (number, (name, properties)) in undecodable.into_iter().enumerate() {
        deliver(name, properties);
        wait_until(name, || broker.published("topic.dead").len() == number + 1);
        let buried = broker.published("topic.dead").pop().unwrap();
        let headers = buried.properties.headers.unwrap();
        let reason = headers.get("x-greenloom-reason").and_then(Value::as_str).unwrap();
        assert!(reason.contains("not AMQP 0-9-1"), "{name}: {reason}");
        assert_eq!(headers.get("x-greenloom-properties"), Some(&Value::Bytes(properties.to_vec())), "{name}");
        assert!(String::from_utf8_lossy(&buried.body).contains(name));
    }
    deliver("last", &[0, 0]);
    wait_until("last", || done.borrow().iter().any(|seen| seen == "last"));
    assert_eq!(done.borrow().len(), served.len() + 1);
    assert_eq!(broker.connections(), 2, "no connection was lost");
}

#[test]
fn names_of_the_broker_s_that_are_no_text_end_no_connection() {
    let broker = Broker::start(Script::default());
    let options: Options = broker.url("").parse().unwrap();
    let connection = Connection::open(&options.brokers[0], &options).unwrap();
    let channel = connection.open_channel().unwrap();
    let consumer = channel.consume("q").unwrap();
    // A delivery with an exchange and a key that are not UTF-8.
    let mut payload = vec![0, 60, 0, 60, 1, b'1'];
    payload.extend_from_slice(&1u64.to_be_bytes());
    payload.extend_from_slice(b"\x00\x02\xff\xfe\x01\xff");
    let mut bytes = crate::fake::raw_frame(1, 1, &payload);
    bytes.extend(crate::fake::raw_header(1, 0, &[0, 0]));
    broker.say_to_consumer("q", &bytes);
    let delivery = consumer.next(PATIENCE).unwrap();
    assert_eq!(&*delivery.routing_key, "\u{fffd}");
    assert!(connection.ended().is_none());
}

#[test]
fn what_is_published_is_what_the_own_reader_takes() {
    let broker = Broker::start(Script::default());
    let options: Options = broker.url("").parse().unwrap();
    let connection = Connection::open(&options.brokers[0], &options).unwrap();
    let channel = connection.open_channel().unwrap();
    channel.confirm_select().unwrap();
    let nested = |depth: usize| (0..depth).fold(Table::new(), |inner, _| Table::new().with("a", inner));
    let publish = |depth: usize| {
        let properties = Properties { headers: Some(nested(depth)), ..Properties::default() };
        let message = Message { exchange: "", routing_key: "q", mandatory: false, properties: &properties, body: b"" };
        channel.publish(message)?.wait(PATIENCE)
    };
    publish(16).unwrap();
    let read = broker.published("q").pop().unwrap().properties.headers.unwrap();
    assert_eq!(read, nested(16));
    for depth in [17, 300] {
        let error = publish(depth).unwrap_err();
        assert!(matches!(error, AmqpError::Unsupported(_)), "{depth}: {error}");
        let arguments = nested(depth);
        let error = channel.declare_queue("q", QueueFlags::default(), &arguments).unwrap_err();
        assert!(matches!(error, AmqpError::Unsupported(_)), "{depth}: {error}");
    }
    publish(0).unwrap();
    assert_eq!(broker.published("q").len(), 2);
}

#[test]
fn a_quorum_queue_s_counts_of_rabbitmq_4_3_are_tries() {
    let broker = Broker::start(Script::default());
    let transport = open_transport(&broker.url("rabbit_quorum_queue=true")).unwrap();
    let topic = Address::Topic { exchange: "openstack".into(), topic: "topic".into() };
    let listener = transport.listen(&[topic], 1).unwrap();
    for (fields, tries) in [
        (&b""[..], 0),
        (b"\x10x-delivery-countl\x00\x00\x00\x00\x00\x00\x00\x02", 2),
        (b"\x10x-acquired-countl\x00\x00\x00\x00\x00\x00\x00\x03", 3),
        (
            b"\x10x-acquired-countl\x00\x00\x00\x00\x00\x00\x00\x03\
              \x10x-delivery-countl\x00\x00\x00\x00\x00\x00\x00\x01",
            3,
        ),
    ] {
        assert!(broker.deliver("topic", &headers(fields), b"x"));
        let incoming = greenloom::timeout(PATIENCE, || listener.next()).unwrap().unwrap();
        assert_eq!(incoming.tries, tries);
        incoming.settle.ack().unwrap();
    }
}

#[test]
fn properties_that_could_not_be_read_are_sent_on_as_they_came() {
    // Nobody has a queue for what is sent on.
    let publish = |peer: &mut Peer, published: &Published| {
        let (exchange, routing_key) = (published.exchange.as_str().into(), published.routing_key.as_str().into());
        let returned = Method::BasicReturn { code: 312, text: "NO_ROUTE".into(), exchange, routing_key };
        peer.say(&method(published.channel, returned));
        let header = Header { body_size: 0, properties: published.properties.clone() };
        peer.say(&bytes(Frame { channel: published.channel, payload: FramePayload::Header(header) }));
        Then::Usual
    };
    let broker = Broker::start(Script { publish: Box::new(publish), ..Script::default() });
    let options: Options = broker.url("").parse().unwrap();
    let channel = Connection::open(&options.brokers[0], &options).unwrap().open_channel().unwrap();
    channel.confirm_select().unwrap();
    let consumer = channel.consume("q").unwrap();
    let damaged = b"\x00\x80\x01\xff";
    assert!(broker.deliver("q", damaged, b""));
    let properties = consumer.next(PATIENCE).unwrap().properties.clone();
    assert_eq!(properties.unread.as_ref().unwrap().bytes, damaged);
    let message = Message { exchange: "", routing_key: "on", mandatory: true, properties: &properties, body: b"" };
    let outcome = channel.publish(message).unwrap().wait(PATIENCE);
    assert!(matches!(outcome, Err(AmqpError::Unroutable { .. })), "{outcome:?}");
    assert_eq!(broker.published("on")[0].properties, properties);
}
