//! What comes from a broker, put together: bytes or frames in, events out. An event is a method, with its message if
//! it has one.
//!
//! ```text
//!   buffer(more), parse() -> frames -> events -> next()
//!              take(frame) -> event
//! ```
//!
//! What becomes of the octets is the caller's affair: each piece that is kept is made an object of the caller's kind
//! once. This is for a client that knows methods only as numbers and octets; what is in them it reads itself.

use std::collections::VecDeque;

use crate::frame::{BODY, HEADER, HEARTBEAT, METHOD, Raw, split};
use crate::wire::{Field, Malformed, Reader};

/// What is allocated for a body before it has come, at most: its size is only a claim.
const MAX_RESERVE: u64 = 1024 * 1024;

const RETURN: Name = (60, 50);
const DELIVER: Name = (60, 60);
const GET_OK: Name = (60, 71);

/// A class and a method in it.
pub type Name = (u16, u16);

/// A method, and what its message is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<O> {
    /// Where it came.
    pub channel: u16,
    /// Which method.
    pub name: Name,
    /// The whole payload of the method's frame: its name, and its arguments.
    pub arguments: O,
    /// The payload of the header's frame, and the body.
    pub content: Option<(O, O)>,
}

/// What frames led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<O> {
    /// An event.
    Event(Event<O>),
    /// They came out of order, or are none; in words.
    Unexpected(String),
}

/// A message under way.
#[derive(Debug)]
struct Partial<O> {
    name: Name,
    arguments: O,
    header: Option<O>,
    missing: u64,
    body: Vec<u8>,
}

/// A connection's input.
///
/// ```
/// use greenloom_amqp::events::{Events, Step};
/// use greenloom_amqp::{Method, frame};
///
/// let mut bytes = Vec::new();
/// frame::put_method(&mut bytes, 1, &Method::ChannelOpenOk { reserved: b"" });
/// let mut events = Events::new(4096);
/// for piece in bytes.chunks(5) {
///     assert_eq!(events.next(), Ok(None));
///     events.buffer(piece.len()).extend_from_slice(piece);
///     events.parse(|octets| Ok::<_, ()>(octets.to_vec())).unwrap();
/// }
/// let Ok(Some(Step::Event(event))) = events.next() else { panic!("a whole method is an event") };
/// assert_eq!((event.channel, event.name), (1, (20, 11)));
/// ```
#[derive(Debug)]
pub struct Events<O> {
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    start: usize,
    steps: VecDeque<Step<O>>,
    limit: u32,
    /// Bytes came that are no frames: there is no way on.
    broken: Option<Malformed>,
    /// The messages under way, by channel; there are few.
    partial: Vec<(u16, Partial<O>)>,
}

impl<O> Events<O> {
    /// Nothing has come yet. A frame of more than `limit` bytes is refused.
    pub fn new(limit: u32) -> Events<O> {
        Events { buffer: Vec::new(), start: 0, steps: VecDeque::new(), limit, broken: None, partial: Vec::new() }
    }

    /// The largest frame that is taken from now on, in bytes.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Where bytes that come are to be appended, with room for `more`. What is there already must stay.
    pub fn buffer(&mut self, more: usize) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(more);
        &mut self.buffer
    }

    /// Makes events of all whole frames in the buffer. Bytes that are no frames are told of by [`next`](Self::next),
    /// after the events before them.
    ///
    /// # Errors
    /// What `keep`, which makes objects of octets, returns.
    pub fn parse<E>(&mut self, mut keep: impl FnMut(&[u8]) -> Result<O, E>) -> Result<(), E> {
        // Taken out for the while, so that frames can be looked at while the rest changes.
        let buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        while self.broken.is_none() && result.is_ok() {
            match split(&buffer[self.start..], self.limit) {
                Ok(None) => break,
                Err(problem) => self.broken = Some(problem),
                Ok(Some((raw, length))) => {
                    self.start += length;
                    result = self.take(raw, &mut keep).map(|step| self.steps.extend(step));
                }
            }
        }
        self.buffer = buffer;
        result
    }

    /// The next event of what was parsed; `None` if more has to come.
    ///
    /// # Errors
    /// [`Malformed`]: what follows is no frame. It stays so.
    #[allow(clippy::should_implement_trait, reason = "there may be more after a `None`")]
    pub fn next(&mut self) -> Result<Option<Step<O>>, Malformed> {
        match (self.steps.pop_front(), self.broken) {
            (None, Some(problem)) => Err(problem),
            (step, _) => Ok(step),
        }
    }

    /// How many events [`next`](Self::next) will return.
    pub fn waiting(&self) -> usize {
        self.steps.len()
    }

    /// Takes a frame that somebody else has read.
    ///
    /// # Errors
    /// What `keep`, which makes objects of octets, returns.
    pub fn take<E>(&mut self, raw: Raw<'_>, mut keep: impl FnMut(&[u8]) -> Result<O, E>) -> Result<Option<Step<O>>, E> {
        let Raw { kind, channel, payload } = raw;
        if kind == HEARTBEAT {
            return Ok(None);
        }
        let place = self.partial.iter().position(|(other, _)| *other == channel);
        let expected = match place.map(|place| &self.partial[place].1.header) {
            None => METHOD,
            Some(None) => HEADER,
            Some(Some(_)) => BODY,
        };
        let place = match place {
            _ if kind != expected => {
                return unexpected(&format!("Received frame {kind} while expecting type: {expected}"));
            }
            None => return self.method(channel, payload, keep),
            Some(place) => place,
        };
        let partial = &mut self.partial[place].1;
        let whole = if kind == HEADER {
            let Ok(size) = size_in(payload) else { return unexpected("a content header is cut off") };
            partial.missing = size;
            partial.header = Some(keep(payload)?);
            if size > 0 {
                return Ok(None);
            }
            keep(b"")?
        } else {
            let Some(left) = partial.missing.checked_sub(payload.len() as u64) else {
                return unexpected("a body is longer than its header says");
            };
            if left == 0 && partial.body.is_empty() {
                // It came in one piece, as most do, and is copied once.
                keep(payload)?
            } else {
                if partial.body.is_empty() {
                    partial.body.reserve_exact(partial.missing.min(MAX_RESERVE) as usize);
                }
                partial.body.extend_from_slice(payload);
                partial.missing = left;
                if left > 0 {
                    return Ok(None);
                }
                keep(&partial.body)?
            }
        };
        let (_, Partial { name, arguments, header, .. }) = self.partial.swap_remove(place);
        Ok(Some(Step::Event(Event { channel, name, arguments, content: header.map(|header| (header, whole)) })))
    }

    fn method<E>(
        &mut self,
        channel: u16,
        payload: &[u8],
        mut keep: impl FnMut(&[u8]) -> Result<O, E>,
    ) -> Result<Option<Step<O>>, E> {
        let mut reader = Reader::new(payload);
        let (Ok(class), Ok(number)) = (u16::read(&mut reader), u16::read(&mut reader)) else {
            return unexpected("a method frame is cut off");
        };
        let (name, arguments) = ((class, number), keep(payload)?);
        if matches!(name, RETURN | DELIVER | GET_OK) {
            self.partial.push((channel, Partial { name, arguments, header: None, missing: 0, body: Vec::new() }));
            return Ok(None);
        }
        Ok(Some(Step::Event(Event { channel, name, arguments, content: None })))
    }
}

fn unexpected<O, E>(problem: &str) -> Result<Option<Step<O>>, E> {
    Ok(Some(Step::Unexpected(problem.into())))
}

/// A body's size, in its header.
fn size_in(header: &[u8]) -> Result<u64, Malformed> {
    let mut reader = Reader::new(header);
    reader.take(4)?;
    u64::read(&mut reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{put_frame, put_heartbeat};

    const DELIVERY: &[u8] = &[0, 60, 0, 60, 9, 9];

    fn header(size: u64) -> Vec<u8> {
        [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat()
    }

    fn put(bytes: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
        put_frame(bytes, kind, channel, |to| to.extend_from_slice(payload));
    }

    /// What comes of bytes that come in pieces of a size.
    fn all(bytes: &[u8], size: usize) -> (Vec<Step<Vec<u8>>>, Option<Malformed>) {
        let (mut events, mut steps) = (Events::new(4096), Vec::new());
        for piece in bytes.chunks(size) {
            events.buffer(piece.len()).extend_from_slice(piece);
            events.parse(|octets| Ok::<_, ()>(octets.to_vec())).unwrap();
            while let Ok(Some(step)) = events.next() {
                steps.push(step);
            }
        }
        (steps, events.next().err())
    }

    #[test]
    fn messages_of_two_channels_come_whole_however_they_are_cut() {
        let mut bytes = Vec::new();
        put(&mut bytes, METHOD, 1, DELIVERY);
        put(&mut bytes, METHOD, 2, DELIVERY);
        put(&mut bytes, HEADER, 1, &header(3));
        put_heartbeat(&mut bytes);
        put(&mut bytes, BODY, 1, b"a");
        put(&mut bytes, HEADER, 2, &header(0));
        put(&mut bytes, BODY, 1, b"bc");
        let event = |channel, size, body: &[u8]| {
            let content = Some((header(size), body.to_vec()));
            Step::Event(Event { channel, name: DELIVER, arguments: DELIVERY.to_vec(), content })
        };
        let expected = vec![event(2, 0, b""), event(1, 3, b"abc")];
        for size in [1, 2, 7, bytes.len()] {
            assert_eq!(all(&bytes, size), (expected.clone(), None), "in pieces of {size}");
        }
    }

    #[test]
    fn what_comes_out_of_order_is_told() {
        type Frames<'a> = &'a [(u8, &'a [u8])];
        let cases: [(Frames<'_>, &str); 5] = [
            (&[(BODY, b"x")], "Received frame 3 while expecting type: 1"),
            (&[(METHOD, b"\0\x3c\0")], "a method frame is cut off"),
            (&[(METHOD, DELIVERY), (METHOD, DELIVERY)], "Received frame 1 while expecting type: 2"),
            (&[(METHOD, DELIVERY), (HEADER, b"\0\x3c\0\0")], "a content header is cut off"),
            (&[(METHOD, DELIVERY), (HEADER, &header(1)), (BODY, b"xy")], "a body is longer than its header says"),
        ];
        for (frames, problem) in cases {
            let mut bytes = Vec::new();
            frames.iter().for_each(|(kind, payload)| put(&mut bytes, *kind, 1, payload));
            assert_eq!(all(&bytes, bytes.len()), (vec![Step::Unexpected(problem.into())], None));
        }
    }

    #[test]
    fn bytes_that_are_no_frames_are_told_of_after_the_events_before_them() {
        let mut bytes = Vec::new();
        put(&mut bytes, METHOD, 0, &[0, 10, 0, 60]);
        bytes.extend_from_slice(b"no frame");
        let (steps, problem) = all(&bytes, bytes.len());
        assert_eq!((steps.len(), problem), (1, Some(Malformed("a frame of an unknown kind"))));
    }
}
