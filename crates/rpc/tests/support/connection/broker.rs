//! The other end of the connection: what it says, and what it makes of what it hears.

use std::borrow::Cow;
use std::io::{Read, Write};

use greenloom::net::TcpStream;
use greenloom::timeout;
use greenloom_rpc::amqp::frame::{Frame, FramePayload, decode};
use greenloom_rpc::amqp::{Bit, Header, Method, NackBits, Properties, Table};

use super::{ASIDE, PATIENCE};

pub fn frame(what: u8, channel: u16, number: u64, tag: u64, returned: Option<u64>, filler: u8) -> Option<Vec<u8>> {
    let multiple = Bit { set: what.is_ascii_uppercase() };
    let consumer = number.to_string();
    let piece = vec![filler; number as usize];
    let payload = FramePayload::Method(match what {
        b'd' | b'D' => Method::BasicDeliver {
            tag: if what == b'd' { &consumer } else { "1" },
            delivery: if what == b'd' { tag } else { number },
            redelivered: Bit::default(),
            exchange: "".into(),
            routing_key: "q".into(),
        },
        b'r' => Method::BasicReturn { code: 312, text: "".into(), exchange: "".into(), routing_key: "q".into() },
        b'a' | b'A' => Method::BasicAck { delivery: number, multiple },
        b'n' | b'N' => {
            let bits = NackBits { multiple: multiple.set, requeue: false };
            Method::BasicNack { delivery: number, bits }
        }
        b'z' => Method::BasicCancel { tag: &consumer, nowait: Bit { set: true } },
        b'c' => Method::ChannelClose { code: 406, text: "".into(), class: 0, method: 0 },
        b'k' => Method::ChannelCloseOk {},
        b'x' => Method::ConnectionClose { code: 320, text: "".into(), class: 0, method: 0 },
        b'X' => Method::ConnectionCloseOk {},
        b'l' => Method::ConnectionBlocked { reason: "".into() },
        b'u' => Method::ConnectionUnblocked {},
        b'q' => Method::QueueDeclareOk { queue: "q", messages: 0, consumers: 0 },
        b'm' => Method::ChannelOpen { reserved: "" },
        b'h' | b'b' | b'p' | b'g' => {
            let message_id = returned.map(|number| number.to_string());
            let header = Header { body_size: number, properties: Properties { message_id, ..Properties::default() } };
            let payload = match what {
                b'h' => FramePayload::Header(header),
                b'b' => FramePayload::Body(&piece),
                b'p' => FramePayload::Heartbeat,
                _ => {
                    let [high, low] = channel.to_be_bytes();
                    return Some(vec![1, high, low, 0, 0, 0, 4, 0, 99, 0, number as u8, 0xCE]);
                }
            };
            return Some(bytes(Frame { channel, payload }));
        }
        _ => return None,
    });
    Some(bytes(Frame { channel, payload }))
}

pub fn bytes(frame: Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

/// The other end of the connection.
pub struct Broker {
    pub stream: TcpStream,
    pub bytes: Vec<u8>,
}

/// What the client has said.
pub struct Said {
    pub channel: u16,
    pub what: What,
    pub answer: Option<Vec<u8>>,
    /// Whether it asks if all was handled.
    pub asks: bool,
}

pub enum What {
    Settled { tag: u64, multiple: bool, acknowledged: bool },
    CloseOk,
    Other,
}

impl Broker {
    pub fn shake_hands(&mut self) {
        self.stream.read_exact(&mut [0; 8]).unwrap();
        let properties = Cow::Owned(Table::new());
        let start = Method::ConnectionStart { major: 0, minor: 9, properties, mechanisms: b"PLAIN", locales: b"en_US" };
        let tune = Method::ConnectionTune { channel_max: 10, frame_max: 4096, heartbeat: 0 };
        for method in [start, tune, Method::ConnectionOpenOk { reserved: "" }] {
            self.stream.write_all(&bytes(Frame { channel: 0, payload: FramePayload::Method(method) })).unwrap();
        }
    }

    /// Answers what the client says, until it asks aside; nothing if it has gone.
    pub fn serve(&mut self, mut hear: impl FnMut(&Said)) -> Option<()> {
        loop {
            let said = timeout(PATIENCE, || self.next()).expect("the client says something")?;
            if said.asks {
                return Some(());
            }
            if let Some(answer) = &said.answer {
                self.stream.write_all(answer).unwrap();
            }
            hear(&said);
        }
    }

    pub fn answer_aside(&mut self) {
        let method = Method::QueueDeclareOk { queue: "q", messages: 0, consumers: 0 };
        let answer = bytes(Frame { channel: ASIDE, payload: FramePayload::Method(method) });
        // A client that has heard enough has hung up.
        let _ = self.stream.write_all(&answer);
    }

    pub fn next(&mut self) -> Option<Said> {
        loop {
            if let Some((frame, length)) = decode(&self.bytes, 1 << 20).expect("the client speaks AMQP") {
                let said = understand(&frame);
                self.bytes.drain(..length);
                return Some(said);
            }
            let mut buf = [0; 8192];
            match self.stream.read(&mut buf) {
                Ok(length @ 1..) => self.bytes.extend_from_slice(&buf[..length]),
                _ => return None,
            }
        }
    }
}

pub fn understand(frame: &Frame<'_>) -> Said {
    let channel = frame.channel;
    let (mut what, mut answer, mut asks) = (What::Other, None, false);
    if let FramePayload::Method(method) = &frame.payload {
        match method {
            Method::ChannelOpen { .. } => answer = Some(Method::ChannelOpenOk { reserved: b"" }),
            Method::ConfirmSelect { .. } => answer = Some(Method::ConfirmSelectOk {}),
            Method::BasicConsume { .. } => answer = Some(Method::BasicConsumeOk { tag: "1" }),
            Method::QueueDeclare { .. } => asks = true,
            Method::BasicAck { delivery, multiple } => {
                what = What::Settled { tag: *delivery, multiple: multiple.set, acknowledged: true };
            }
            Method::BasicNack { delivery, bits } => {
                what = What::Settled { tag: *delivery, multiple: bits.multiple, acknowledged: false };
            }
            Method::ChannelCloseOk {} => what = What::CloseOk,
            _ => {}
        }
    }
    let answer = answer.map(|method| bytes(Frame { channel, payload: FramePayload::Method(method) }));
    Said { channel, what, answer, asks }
}
