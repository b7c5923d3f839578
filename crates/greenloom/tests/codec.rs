//! Frames over streams: in any pieces, with any interruptions, and within their limits.

mod common;

use std::io::{self, ErrorKind, Read, Write};

use common::{millis, pair};
use greenloom::codec::{Decoder, Encoder, Framed, LengthDelimited, Lines};
use greenloom::{sleep, spawn, timeout};
use proptest::prelude::*;

/// Gives its bytes in pieces of these lengths, and then one by one.
struct Pieces {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths.pop().unwrap_or(1).clamp(1, buf.len()).min(self.bytes.len());
        buf[..length].copy_from_slice(&self.bytes[..length]);
        self.bytes.drain(..length);
        Ok(length)
    }
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    Framed::new(bytes, Lines::new()).map(Result::unwrap).collect()
}

#[test]
fn lines_end_with_either_end_and_the_last_one_may_have_none() {
    assert_eq!(lines_of(b"one\ntwo\r\n\nfo\rur\r\nfive"), ["one", "two", "", "fo\rur", "five"]);
    assert_eq!(lines_of(b""), [""; 0]);
    assert_eq!(lines_of("gr\u{fc}n\n".as_bytes()), ["gr\u{fc}n"]);
}

#[test]
fn a_line_too_long_or_no_utf8_is_an_error_at_once() {
    struct Endless;
    impl Read for Endless {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            buf.fill(b'a');
            Ok(buf.len())
        }
    }
    let error = Framed::new(Endless, Lines::with_limit(100)).receive().unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::InvalidData, "a line is longer than 100 bytes"));
    let mut exact = Framed::new(&b"12345\r\n123456\n"[..], Lines::with_limit(5));
    assert_eq!(exact.receive().unwrap().unwrap(), "12345");
    assert_eq!(exact.receive().unwrap_err().kind(), ErrorKind::InvalidData);
    let error = Framed::new(&b"\xff\n"[..], Lines::new()).receive().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let mut written = Framed::new(Vec::new(), Lines::new());
    assert_eq!(written.send("a\nb").unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(written.stream().is_empty());
}

#[test]
fn messages_have_limits_and_their_end_is_no_message() {
    let mut ends = Framed::new(&b"\0\0\0\x02ab\0\0\0\x05abc"[..], LengthDelimited::new());
    assert_eq!(ends.receive().unwrap().unwrap(), b"ab");
    assert_eq!(ends.receive().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    let mut large = Framed::new(&b"\xff\xff\xff\xff"[..], LengthDelimited::new());
    let error = large.receive().unwrap_err();
    assert!(error.to_string().contains("4294967295 bytes"), "{error}");
    let mut written = Framed::new(Vec::new(), LengthDelimited::new().length_bytes(1));
    assert!(written.send([0; 256]).is_err());
    written.send([7; 2]).unwrap();
    assert_eq!(written.stream(), &[2, 7, 7]);
    let mut written = Framed::new(Vec::new(), LengthDelimited::new().little_endian().length_bytes(3).limit(9));
    assert!(written.feed([0; 10]).is_err());
    written.send([7]).unwrap();
    assert_eq!(written.stream(), &[1, 0, 0, 7]);
    let (rest, bytes) = Framed::new(&b"abc"[..], Lines::new()).into_parts();
    assert_eq!((rest, bytes), (&b"abc"[..], vec![]));
}

#[test]
fn what_was_read_before_a_timeout_is_there_for_the_next_call() {
    let (mut client, server) = pair();
    let writes = spawn(move || {
        for piece in ["first ha", "lf\nsec", "ond\n"] {
            client.write_all(piece.as_bytes()).unwrap();
            sleep(millis(12));
        }
    });
    let mut lines = Framed::new(server, Lines::new());
    let (mut got, mut interrupted) = (Vec::new(), 0);
    while got.len() < 2 {
        match timeout(millis(3), || lines.receive()) {
            Ok(line) => got.extend(line.unwrap()),
            Err(_) => interrupted += 1,
        }
    }
    assert_eq!(got, ["first half", "second"]);
    assert!(interrupted > 0);
    writes.wait().unwrap();
}

#[test]
fn what_was_not_written_before_a_timeout_is_written_by_the_next_call() {
    let (client, mut server) = pair();
    let mut messages = Framed::new(client, LengthDelimited::new());
    let large = vec![b'x'; 4 << 20];
    while timeout(millis(2), || messages.send(&large)).is_ok() {}
    let reads = spawn(move || {
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).unwrap();
        bytes
    });
    messages.send(b"last").unwrap();
    drop(messages);
    let bytes = reads.wait().unwrap();
    let mut read = Framed::new(&bytes[..], LengthDelimited::new());
    let mut last = Vec::new();
    while let Some(message) = read.receive().unwrap() {
        assert!(message == large || message == b"last");
        last = message;
    }
    assert_eq!(last, b"last");
}

#[test]
fn a_format_of_ones_own_is_a_decoder_and_an_encoder() {
    /// Bytes that each stand for themselves, but for zero, which ends the stream.
    #[derive(Debug)]
    struct Bytes;
    impl Decoder for Bytes {
        type Item = u8;
        fn decode(&mut self, bytes: &[u8], _end: bool) -> io::Result<Option<(u8, usize)>> {
            Ok(bytes.first().map(|byte| (*byte, 1)))
        }
    }
    impl Encoder<u8> for Bytes {
        fn encode(&mut self, item: u8, bytes: &mut Vec<u8>) -> io::Result<()> {
            bytes.push(item);
            Ok(())
        }
    }
    assert_eq!(Framed::new(&[1, 2][..], Bytes).map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    let mut written = Framed::new(Vec::new(), Bytes);
    written.feed(1).unwrap();
    assert!(written.stream().is_empty());
    written.flush().unwrap();
    assert_eq!(written.stream(), &[1]);
}

proptest! {
    #[test]
    fn messages_come_through_in_any_pieces(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        lengths in prop::collection::vec(1..700usize, 0..30),
        length_bytes in 2..=8usize,
        little in any::<bool>(),
    ) {
        let codec = LengthDelimited::new().length_bytes(length_bytes);
        let codec = if little { codec.little_endian() } else { codec };
        let mut written = Framed::new(Vec::new(), codec.clone());
        for message in &messages {
            written.feed(message).unwrap();
        }
        written.flush().unwrap();
        let bytes = written.into_parts().0;
        let read: Vec<_> = Framed::new(Pieces { bytes, lengths }, codec).map(Result::unwrap).collect();
        prop_assert_eq!(read, messages);
    }

    #[test]
    fn lines_come_through_in_any_pieces(
        lines in prop::collection::vec("[a-z\u{e4}\u{20ac} ]{0,30}", 0..20),
        lengths in prop::collection::vec(1..60usize, 0..30),
    ) {
        let mut written = Framed::new(Vec::new(), Lines::new());
        for line in &lines {
            written.feed(line).unwrap();
        }
        written.flush().unwrap();
        let bytes = written.into_parts().0;
        let read: Vec<_> = Framed::new(Pieces { bytes, lengths }, Lines::new()).map(Result::unwrap).collect();
        prop_assert_eq!(read, lines);
    }
}
