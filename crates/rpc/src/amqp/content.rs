//! A message that comes in: a method, a header, and its body in as many pieces as it takes.

use std::sync::Arc;

use greenloom_amqp::{Header, Malformed, Properties};

/// A larger message is refused as malformed. RabbitMQ itself takes no more.
const MAX_BODY: u64 = 512 * 1024 * 1024;
/// What is allocated for a body before it has come, at most: its size is only a claim.
const MAX_RESERVE: u64 = 1024 * 1024;

/// The method that a message comes with.
#[derive(Debug)]
pub(super) enum Start {
    Delivery { consumer: u64, tag: u64, redelivered: bool, exchange: Box<str>, routing_key: Box<str> },
    Return { code: u16, text: String, exchange: Box<str>, routing_key: Box<str> },
}

/// A message that is complete.
#[derive(Debug)]
pub(super) struct Whole {
    pub start: Start,
    pub properties: Properties,
    pub body: Arc<[u8]>,
}

/// What there is of a message.
#[derive(Debug, Default)]
#[allow(clippy::large_enum_variant, reason = "a channel has one, and a box would be made for each message")]
pub(super) enum Content {
    /// None is under way.
    #[default]
    None,
    Started(Start),
    Filling {
        start: Start,
        properties: Properties,
        missing: u64,
        body: Vec<u8>,
    },
}

impl Content {
    pub fn is_under_way(&self) -> bool {
        !matches!(self, Content::None)
    }

    /// Takes a header. Returns the message if it has no body.
    pub fn header(&mut self, header: Header) -> Result<Option<Whole>, Malformed> {
        let Content::Started(start) = std::mem::take(self) else {
            return Err(Malformed("a content header out of order"));
        };
        let Header { body_size, properties } = header;
        if body_size > MAX_BODY {
            return Err(Malformed("a message of more than 512 MiB"));
        }
        if body_size == 0 {
            return Ok(Some(Whole { start, properties, body: Arc::default() }));
        }
        *self = Content::Filling { start, properties, missing: body_size, body: Vec::new() };
        Ok(None)
    }

    /// Takes a piece of the body. Returns the message if it was the last one.
    pub fn piece(&mut self, piece: &[u8]) -> Result<Option<Whole>, Malformed> {
        let Content::Filling { start, properties, missing, mut body } = std::mem::take(self) else {
            return Err(Malformed("a body without a header"));
        };
        let left = missing.checked_sub(piece.len() as u64);
        let left = left.ok_or(Malformed("a body that is longer than its header says"))?;
        if left == 0 && body.is_empty() {
            // It came in one piece, as most do, and is copied once.
            return Ok(Some(Whole { start, properties, body: Arc::from(piece) }));
        }
        if body.is_empty() {
            body.reserve_exact(missing.min(MAX_RESERVE) as usize);
        }
        body.extend_from_slice(piece);
        if left == 0 {
            return Ok(Some(Whole { start, properties, body: Arc::from(body) }));
        }
        *self = Content::Filling { start, properties, missing: left, body };
        Ok(None)
    }
}
