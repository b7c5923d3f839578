//! Frames: lines, messages with a length before them, and headers of websocket frames. In whatever pieces the bytes
//! come, the frames are the same, and what was read is read again from what is written of it.
#![no_main]

use std::fmt::Debug;
use std::io::{self, ErrorKind, Read};

use greenloom::codec::{Decoder, Encoder, Framed, LengthDelimited, Lines};
use greenloom_http::websocket;
use libfuzzer_sys::fuzz_target;

/// Bytes that come so many at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(buf.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(count);
        buf[..count].copy_from_slice(piece);
        self.bytes = rest;
        Ok(count)
    }
}

/// The frames, and why there are no more of them if that is not the end.
fn frames<C: Decoder>(codec: C, bytes: &[u8], size: usize) -> (Vec<C::Item>, Option<ErrorKind>) {
    let (mut frames, mut framed) = (Vec::new(), Framed::new(Pieces { bytes, size }, codec));
    loop {
        match framed.receive() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.kind())),
        }
    }
}

fn check<C>(codec: impl Fn() -> C, bytes: &[u8], size: usize, is_written_as_read: impl Fn(&C::Item) -> bool)
where
    C: Decoder + Encoder<<C as Decoder>::Item>,
    C::Item: Clone + Debug + PartialEq,
{
    let (whole, error) = frames(codec(), bytes, usize::MAX);
    let (pieces, error_of_pieces) = frames(codec(), bytes, size);
    assert_eq!((&whole, error), (&pieces, error_of_pieces));
    let whole: Vec<_> = whole.into_iter().filter(is_written_as_read).collect();
    let mut written = Vec::new();
    whole.iter().for_each(|frame| codec().encode(frame.clone(), &mut written).expect("what was read can be written"));
    assert_eq!(frames(codec(), &written, size), (whole, None));
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let size = 1 + usize::from(first >> 2);
    // A carriage return before the line feed belongs to the end of the line.
    check(|| Lines::with_limit(40), bytes, size, |line| !line.ends_with('\r'));
    let length_bytes = 1 + usize::from(first & 3);
    check(|| LengthDelimited::new().length_bytes(length_bytes).limit(200), bytes, size, |_| true);

    if let Some(frame) = websocket::frame(bytes) {
        let mut header = Vec::new();
        if let Ok(payload) = usize::try_from(frame.payload) {
            websocket::write_header(frame.first, frame.mask, payload, &mut header);
            let again = websocket::frame(&header).expect("a whole header was written");
            assert_eq!((again.first, again.mask, again.payload), (frame.first, frame.mask, frame.payload));
            assert_eq!(again.length, header.len());
        }
    }
});
