//! Frames: the pieces in which everything travels.
//!
//! ```text
//!  0      1         3             7              7 + size
//!  +------+---------+-------------+--------------+------+
//!  | kind | channel | size        | payload      | 0xCE |
//!  +------+---------+-------------+--------------+------+
//! ```
//!
//! A frame is never larger than the two sides have agreed on, so what has to be kept of an unfinished one is bounded.

use super::method::Method;
use super::properties::{Header, Properties};
use super::wire::{Field, Malformed, Reader};

/// The kind of a frame with a method.
pub const METHOD: u8 = 1;
/// The kind of a frame with the beginning of a message.
pub const HEADER: u8 = 2;
/// The kind of a frame with a piece of a message.
pub const BODY: u8 = 3;
/// The kind of a frame that only says that its sender is alive.
pub const HEARTBEAT: u8 = 8;
const END: u8 = 0xCE;

const HEAD_SIZE: usize = 7;
/// What a frame takes beside its payload, in bytes.
pub const OVERHEAD: usize = HEAD_SIZE + 1;

/// The smallest limit for frames that the specification allows, in bytes; what holds before the peers agree on more.
pub const MIN_FRAME: u32 = 4096;

/// What a client sends first.
pub const PROTOCOL_HEADER: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// A frame, borrowed from the buffer it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame<'a> {
    /// 0 is the connection itself.
    pub channel: u16,
    /// What is in it.
    pub payload: FramePayload<'a>,
}

/// What is in a frame.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "a frame lives for the length of a function call")]
pub enum FramePayload<'a> {
    /// A method.
    Method(Method<'a>),
    /// The beginning of a message: its size and properties.
    Header(Header),
    /// A piece of a message.
    Body(&'a [u8]),
    /// I am alive.
    Heartbeat,
}

/// A frame that was not looked into, borrowed from the buffer it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// [`METHOD`], [`HEADER`], [`BODY`] or [`HEARTBEAT`].
    pub kind: u8,
    /// 0 is the connection itself.
    pub channel: u16,
    /// What is in it.
    pub payload: &'a [u8],
}

/// The first frame in `bytes` and how many bytes it takes, or `None` if it is not yet complete.
///
/// # Errors
/// [`Malformed`], also for a frame of more than `max` bytes.
pub fn split(bytes: &[u8], max: u32) -> Result<Option<(Raw<'_>, usize)>, Malformed> {
    let mut head = Reader::new(bytes);
    let Ok(kind) = u8::read(&mut head) else { return Ok(None) };
    if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
        return Err(if kind == b'A' {
            Malformed("the peer wants another version")
        } else {
            Malformed("a frame of an unknown kind")
        });
    }
    let (Ok(channel), Ok(size)) = (u16::read(&mut head), u32::read(&mut head)) else { return Ok(None) };
    if size as usize + OVERHEAD > max as usize {
        return Err(Malformed("a frame that is larger than agreed"));
    }
    let length = size as usize + OVERHEAD;
    if bytes.len() < length {
        return Ok(None);
    }
    if bytes[length - 1] != END {
        return Err(Malformed("a frame without its end"));
    }
    Ok(Some((Raw { kind, channel, payload: &bytes[HEAD_SIZE..length - 1] }, length)))
}

/// The first frame in `bytes`, looked into, and how many bytes it takes, or `None` if it is not yet complete.
///
/// # Errors
/// [`Malformed`], also for a frame of more than `max` bytes.
pub fn decode(bytes: &[u8], max: u32) -> Result<Option<(Frame<'_>, usize)>, Malformed> {
    let Some((Raw { kind, channel, payload }, length)) = split(bytes, max)? else { return Ok(None) };
    Ok(Some((Frame { channel, payload: decode_payload(kind, payload)? }, length)))
}

fn decode_payload(kind: u8, bytes: &[u8]) -> Result<FramePayload<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let payload = match kind {
        METHOD => FramePayload::Method(Method::read(&mut reader)?),
        HEADER => FramePayload::Header(Header::read(&mut reader)?),
        BODY => return Ok(FramePayload::Body(bytes)),
        // What a heartbeat carries is of no interest.
        _ => return Ok(FramePayload::Heartbeat),
    };
    reader.finish()?;
    Ok(payload)
}

impl Frame<'_> {
    /// Appends it.
    pub fn encode(&self, to: &mut Vec<u8>) {
        match &self.payload {
            FramePayload::Method(method) => put_method(to, self.channel, method),
            FramePayload::Header(header) => {
                put_frame(to, HEADER, self.channel, |to| Header::put(to, header.body_size, &header.properties));
            }
            FramePayload::Body(bytes) => put_frame(to, BODY, self.channel, |to| to.extend_from_slice(bytes)),
            FramePayload::Heartbeat => put_frame(to, HEARTBEAT, self.channel, |_| {}),
        }
    }
}

/// Appends a frame with a method.
pub fn put_method(to: &mut Vec<u8>, channel: u16, method: &Method<'_>) {
    put_frame(to, METHOD, channel, |to| method.put(to));
}

/// A message's header and body, after its method. Returns whether the header fits a frame; if not, nothing more is
/// appended.
pub fn put_content(to: &mut Vec<u8>, channel: u16, properties: &Properties, body: &[u8], frame_max: u32) -> bool {
    let start = to.len();
    put_frame(to, HEADER, channel, |to| Header::put(to, body.len() as u64, properties));
    if to.len() - start > frame_max as usize {
        return false;
    }
    for piece in body.chunks(frame_max as usize - OVERHEAD) {
        put_frame(to, BODY, channel, |to| to.extend_from_slice(piece));
    }
    true
}

/// Appends a heartbeat.
pub fn put_heartbeat(to: &mut Vec<u8>) {
    put_frame(to, HEARTBEAT, 0, |_| {});
}

/// Appends a frame whose payload is what `payload` appends.
pub fn put_frame(to: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    kind.put(to);
    channel.put(to);
    let at = to.len();
    to.extend_from_slice(&[0; 4]);
    payload(to);
    let size = (to.len() - at - 4) as u32;
    to[at..at + 4].copy_from_slice(&size.to_be_bytes());
    to.push(END);
}
