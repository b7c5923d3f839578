//! What the drop-in `amqp` for Python makes of a broker's bytes: whatever comes, and however it is cut, nothing panics,
//! the events are the same, and nothing that was only claimed is allocated.
//!
//! The first byte says how long the pieces are, the second whether frames are put around the rest: bytes at random are
//! no frames mostly.

#![no_main]

use greenloom_amqp::Malformed;
use greenloom_amqp::events::{Events, Step};
use greenloom_amqp::frame::put_frame;
use libfuzzer_sys::fuzz_target;

const LIMIT: u32 = 4096;

fn all(bytes: &[u8], size: usize) -> (Vec<Step<Vec<u8>>>, Option<Malformed>) {
    let (mut events, mut steps) = (Events::new(LIMIT), Vec::new());
    for piece in bytes.chunks(size) {
        events.buffer(piece.len()).extend_from_slice(piece);
        let Ok(()) = events.parse(|octets| Ok::<_, std::convert::Infallible>(octets.to_vec()));
        while let Ok(Some(step)) = events.next() {
            steps.push(step);
        }
    }
    (steps, events.next().err())
}

/// Frames of what comes: a byte for kind and channel, one for the length, and the payload.
fn framed(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let [head, length, more @ ..] = rest {
        let (payload, after) = more.split_at((*length as usize).min(more.len()));
        let kind = [1, 2, 3, 8][usize::from(head & 3)];
        put_frame(&mut bytes, kind, u16::from(head >> 2 & 3), |to| to.extend_from_slice(payload));
        rest = after;
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let [size, shape, rest @ ..] = data else { return };
    let bytes = if shape & 1 == 0 { rest.to_vec() } else { framed(rest) };
    let whole = all(&bytes, bytes.len().max(1));
    assert_eq!(all(&bytes, usize::from(*size).max(1)), whole);
    let kept = whole.0.iter().map(|step| match step {
        Step::Event(event) => {
            event.arguments.len() + event.content.as_ref().map_or(0, |(header, body)| header.len() + body.len())
        }
        Step::Unexpected(_) => 0,
    });
    assert!(kept.sum::<usize>() <= bytes.len());
});
