//! Properties of the AMQP codec: what is written is read back, and what is cut off, changed or made up is an error or a
//! wait for more, never a panic.

use std::borrow::Cow;

use greenloom_amqp::frame::{Frame, FramePayload, MIN_FRAME, decode};
use greenloom_amqp::{
    Bit, ConsumeBits, ExchangeBits, Header, Malformed, Method, NackBits, Properties, PublishBits, QueueBits, Table,
    Value,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const MAX: u32 = 128 * 1024;

fn short() -> impl Strategy<Value = String> {
    // Up to 60 characters of up to four bytes.
    ".{0,60}"
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i8>().prop_map(Value::I8),
        any::<u8>().prop_map(Value::U8),
        any::<i16>().prop_map(Value::I16),
        any::<u16>().prop_map(Value::U16),
        any::<i32>().prop_map(Value::I32),
        any::<u32>().prop_map(Value::U32),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::Timestamp),
        (-1e30f32..1e30).prop_map(Value::F32),
        (-1e300f64..1e300).prop_map(Value::F64),
        (any::<u8>(), any::<u32>()).prop_map(|(scale, digits)| Value::Decimal { scale, digits }),
        ".{0,200}".prop_map(Value::Text),
        vec(any::<u8>(), 0..100).prop_map(Value::Bytes),
        Just(Value::Void),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![vec(inner.clone(), 0..6).prop_map(Value::Array), table_of(inner).prop_map(Value::Table)]
    })
}

fn table_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Table> {
    vec((short(), values), 0..6)
        .prop_map(|entries| entries.into_iter().fold(Table::new(), |table, (name, value)| table.with(&name, value)))
}

prop_compose! {
    fn properties()(
        content_type in option::of(short()),
        headers in option::of(table_of(value())),
        delivery_mode in option::of(any::<u8>()),
        correlation_id in option::of(short()),
        expiration in option::of(short()),
        timestamp in option::of(any::<u64>()),
        cluster_id in option::of(short()),
    ) -> Properties {
        let rest = Properties::default();
        Properties { content_type, headers, delivery_mode, correlation_id, expiration, timestamp, cluster_id, ..rest }
    }
}

/// Some method of each shape, of these fields.
fn method<'a>(which: u8, number: u64, flags: [bool; 4], texts: &'a [String; 3], table: &'a Table) -> Method<'a> {
    let [first, second, third] = texts.each_ref().map(String::as_str);
    let [a, b, c, d] = flags;
    let table = Cow::Borrowed(table);
    match which % 12 {
        0 => Method::BasicPublish {
            reserved: 0,
            exchange: first,
            routing_key: second,
            bits: PublishBits { mandatory: a, immediate: b },
        },
        1 => Method::BasicDeliver {
            tag: first,
            delivery: number,
            redelivered: Bit { set: a },
            exchange: second.into(),
            routing_key: third.into(),
        },
        2 => Method::BasicAck { delivery: number, multiple: Bit { set: a } },
        3 => Method::BasicNack { delivery: number, bits: NackBits { multiple: a, requeue: b } },
        4 => Method::QueueDeclare {
            reserved: 0,
            queue: first,
            bits: QueueBits { passive: a, durable: b, exclusive: c, auto_delete: d, nowait: a },
            arguments: table,
        },
        5 => Method::ExchangeDeclare {
            reserved: 0,
            exchange: first,
            kind: second,
            bits: ExchangeBits { passive: a, durable: b, auto_delete: c, internal: d, nowait: a },
            arguments: table,
        },
        6 => Method::BasicConsume {
            reserved: 0,
            queue: first,
            tag: second,
            bits: ConsumeBits { no_local: a, no_ack: b, exclusive: c, nowait: d },
            arguments: table,
        },
        7 => Method::ConnectionStartOk {
            properties: table,
            mechanism: first,
            response: second.as_bytes(),
            locale: third,
        },
        8 => Method::ConnectionTune { channel_max: number as u16, frame_max: number as u32, heartbeat: number as u16 },
        9 => Method::ChannelClose { code: number as u16, text: first.into(), class: 60, method: 40 },
        10 => Method::QueueDeclareOk { queue: first, messages: number as u32, consumers: number as u32 },
        _ => Method::ConnectionCloseOk {},
    }
}

fn encoded(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// It is read back whole, waits for more wherever it is cut off, and takes what it takes when more follows.
fn round_trip(frame: &Frame<'_>) -> Result<(), TestCaseError> {
    let mut bytes = encoded(frame);
    let length = bytes.len();
    prop_assert_eq!(decode(&bytes, MAX), Ok(Some((frame.clone(), length))));
    for cut in [0, 1, 3, 6, 7, length / 2, length - 1] {
        prop_assert_eq!(decode(&bytes[..cut.min(length - 1)], MAX), Ok(None));
    }
    bytes.extend_from_slice(b"more");
    prop_assert_eq!(decode(&bytes, MAX).unwrap().unwrap().1, length);
    prop_assert_eq!(decode(&bytes[..length], length as u32 - 1), Err(too_large()));
    bytes[length - 1] ^= 1;
    prop_assert!(decode(&bytes, MAX).is_err());
    Ok(())
}

fn too_large() -> Malformed {
    decode(&[1, 0, 0, 0xff, 0xff, 0xff, 0xff], MIN_FRAME).unwrap_err()
}

proptest! {
    #[test]
    fn methods_are_read_as_they_were_written(
        which in any::<u8>(),
        channel in any::<u16>(),
        number in any::<u64>(),
        flags in any::<[bool; 4]>(),
        texts in [short(), short(), short()],
        table in table_of(value()),
    ) {
        round_trip(&Frame { channel, payload: FramePayload::Method(method(which, number, flags, &texts, &table)) })?;
    }

    #[test]
    fn headers_and_bodies_are_read_as_they_were_written(
        channel in any::<u16>(),
        body_size in any::<u64>(),
        properties in properties(),
        body in vec(any::<u8>(), 0..3_000),
    ) {
        round_trip(&Frame { channel, payload: FramePayload::Header(Header { body_size, properties }) })?;
        round_trip(&Frame { channel, payload: FramePayload::Body(&body) })?;
    }

    #[test]
    fn a_changed_byte_is_never_more_than_an_error(
        which in any::<u8>(),
        texts in [short(), short(), short()],
        table in table_of(value()),
        properties in properties(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let method = FramePayload::Method(method(which, 1, [true; 4], &texts, &table));
        for payload in [method, FramePayload::Header(Header { body_size: 1, properties: properties.clone() })] {
            let mut bytes = encoded(&Frame { channel: 1, payload });
            let at = at.index(bytes.len());
            bytes[at] = byte;
            // What is still a frame is written as what it was read from, but for texts that are no UTF-8.
            if let Ok(Some((frame, length))) = decode(&bytes, MAX) {
                let again = encoded(&frame);
                prop_assert!(length == bytes.len() && decode(&again, MAX).is_ok());
            }
        }
    }

    #[test]
    fn bytes_of_no_meaning_are_never_more_than_an_error(kind in 0..10u8, bytes in vec(any::<u8>(), 0..300)) {
        let mut frame = vec![kind, 0, 1];
        frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        frame.extend_from_slice(&bytes);
        frame.push(0xCE);
        let _ = decode(&frame, MAX);
        let _ = decode(&bytes, MAX);
    }
}

#[test]
fn a_claim_of_more_than_was_agreed_is_refused_before_it_has_come() {
    assert_eq!(decode(b"\x03\x00\x01\x00\x02\x00\x00", MAX), Err(too_large()));
    assert_eq!(decode(b"\x03\x00\x01\x00\x01\xff\xf8", MAX), Ok(None));
}

#[test]
fn a_server_of_another_version_is_named() {
    let error = decode(b"AMQP\x00\x01\x00\x00", MAX).unwrap_err();
    assert_eq!(error.to_string(), "not AMQP 0-9-1: the peer wants another version");
}
