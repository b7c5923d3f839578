//! How a connection begins: what is said until the broker takes methods, and what the two sides agree on.

use std::io;
use std::time::Duration;

use greenloom_amqp::{
    Bit, Malformed, Method, Table, Value,
    frame::{self, FramePayload, MIN_FRAME, PROTOCOL_HEADER},
};

use super::core::Limits;
use super::error::Error;
use super::stream::Stream;
use super::unsupported::Unsupported;
use super::url::{Broker, Options};

/// The protocol has 16 bits for it.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(u16::MAX as u64);

/// Connects and logs in. Parks meanwhile.
pub(super) fn shake_hands(host: &Broker, options: &Options) -> Result<(Stream, Limits, Buffer), Error> {
    let stream = Stream::connect(host, options)?;
    let mut talk = Handshake { stream, buffer: Buffer::new(options.frame_max.max(MIN_FRAME)) };
    talk.stream.write_all(PROTOCOL_HEADER)?;
    let takes_transient = talk.hear(|method| match method {
        Method::ConnectionStart { properties, mechanisms, .. }
            if mechanisms.split(|&byte| byte == b' ').any(|m| m == b"PLAIN") =>
        {
            Ok(takes_transient(&properties))
        }
        Method::ConnectionStart { .. } => Err(Unsupported::Login.into()),
        _ => Err(out_of_order()),
    })?;
    let login = format!("\0{}\0{}", host.user, host.password);
    let properties = std::borrow::Cow::Owned(client_properties());
    talk.say(&Method::ConnectionStartOk {
        properties,
        mechanism: "PLAIN",
        response: login.as_bytes(),
        locale: "en_US",
    })?;
    let limits = talk.hear(|method| match method {
        Method::ConnectionTune { channel_max, frame_max, heartbeat } => {
            Ok(Limits { takes_transient, ..agree(options, channel_max, frame_max, heartbeat) })
        }
        _ => Err(out_of_order()),
    })?;
    talk.say(&Method::ConnectionTuneOk {
        channel_max: limits.channel_max,
        frame_max: limits.frame_max,
        // Rounded up, as a smaller one would be none.
        heartbeat: limits.heartbeat.as_secs_f64().ceil() as u16,
    })?;
    talk.say(&Method::ConnectionOpen {
        virtual_host: &options.virtual_host,
        reserved_1: "",
        reserved_2: Bit::default(),
    })?;
    talk.hear(|method| match method {
        Method::ConnectionOpenOk { .. } => Ok(()),
        _ => Err(out_of_order()),
    })?;
    let Handshake { stream, buffer } = talk;
    // A peer that takes nothing for so long is as good as gone, even where there are no heartbeats.
    stream.set_write_timeout(limits.answer_timeout)?;
    Ok((stream, limits, buffer))
}

struct Handshake {
    stream: Stream,
    buffer: Buffer,
}

impl Handshake {
    fn say(&self, method: &Method<'_>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        frame::put_method(&mut bytes, 0, method);
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Parks until there is a method and hands it over.
    fn hear<R>(&mut self, take: impl FnOnce(Method<'_>) -> Result<R, Error>) -> Result<R, Error> {
        let frame_max = self.buffer.bytes.len() as u32 / 2;
        // Each turn either returns or reads; decoding again after a read is cheap enough for a handshake.
        while frame::decode(self.buffer.bytes(), frame_max)?.is_none() {
            match self.stream.read(self.buffer.space())? {
                0 => return Err(hung_up()),
                length => self.buffer.filled(length),
            }
        }
        let (frame, length) = frame::decode(self.buffer.bytes(), frame_max)?.ok_or_else(out_of_order)?;
        let result = match frame.payload {
            FramePayload::Method(Method::ConnectionClose { code, text, .. }) => {
                Err(Error::Connection { code, text: text.into_owned() })
            }
            FramePayload::Method(method) => take(method),
            _ => Err(out_of_order()),
        };
        self.buffer.consume(length);
        result
    }
}

fn out_of_order() -> Error {
    Malformed("a method out of order in the handshake").into()
}

fn agree(options: &Options, channel_max: u16, frame_max: u32, heartbeat: u16) -> Limits {
    let theirs = Duration::from_secs(heartbeat.into());
    Limits {
        channel_max: if channel_max == 0 { u16::MAX } else { channel_max },
        frame_max: if frame_max == 0 { options.frame_max } else { options.frame_max.min(frame_max) }.max(MIN_FRAME),
        // As oslo.messaging has it, none from this side means none at all.
        heartbeat: match theirs.is_zero() {
            true => options.heartbeat.min(LONGEST_HEARTBEAT),
            false => options.heartbeat.min(theirs),
        },
        answer_timeout: options.answer_timeout,
        takes_transient: true,
    }
}

/// RabbitMQ has deprecated them with 4.0, and will refuse them some day.
fn takes_transient(server: &Table) -> bool {
    let text = |name| server.get(name).and_then(Value::as_str);
    let major = text("version").and_then(|version| version.split('.').next()?.parse().ok());
    text("product") != Some("RabbitMQ") || major.is_none_or(|major: u32| major < 4)
}

fn client_properties() -> Table {
    let capabilities = [
        "publisher_confirms",
        "consumer_cancel_notify",
        "basic.nack",
        "connection.blocked",
        "authentication_failure_close",
    ];
    let capabilities = capabilities.into_iter().fold(Table::new(), |table, name| table.with(name, true));
    let program = std::env::args().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    Table::new()
        .with("product", "greenloom")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust")
        .with("connection_name", format!("{program}:{}", std::process::id()).as_str())
        .with("capabilities", capabilities)
}

pub(super) fn hung_up() -> Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the broker hung up").into()
}

/// What was read and not yet handled.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// For frames of up to `frame_max` bytes, with room to read several small ones at once.
    fn new(frame_max: u32) -> Buffer {
        Buffer { bytes: vec![0; 2 * frame_max as usize], start: 0, end: 0 }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn consume(&mut self, length: usize) {
        self.start += length;
    }

    /// Where to read to. There is always room: an unfinished frame takes less than half of the buffer.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end > self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    pub fn filled(&mut self, length: usize) {
        self.end += length;
    }
}
