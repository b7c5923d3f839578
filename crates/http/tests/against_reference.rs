//! Heads and chunked bodies, made of pieces that lie near the edges of the grammar, compared with the reference.

mod reference;

use greenloom_http::{ChunkError, Chunks, Step, websocket};
use proptest::collection::vec;
use proptest::prelude::*;
use reference::ours;

fn our_chunks(mut input: &[u8], limit: usize) -> Result<Option<(Vec<u8>, usize)>, ChunkError> {
    let (whole, mut chunks, mut data) = (input.len(), Chunks::default(), Vec::new());
    loop {
        match chunks.step(&mut input, limit)? {
            Step::Data(piece) => data.extend_from_slice(piece),
            Step::More => return Ok(None),
            Step::End => return Ok(Some((data, whole - input.len()))),
        }
    }
}

/// Pieces of which most orders are nonsense, and some are requests.
fn head_bytes() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        8 => Just("GET / HTTP/1.1\r\n"), 2 => Just("POST /a?b HTTP/1.0\r\n"), 1 => Just("GET  / HTTP/1.1\r\n"),
        1 => Just("GET /\r\n"), 1 => Just("GET / HTTP/1.1 \r\n"), 1 => Just("GET / HTTP/1.1\n"),
        1 => Just("G(T / HTTP/1.1\r\n"),
        1 => Just("\r\nGET / HTTP/1.1\r\n"), 1 => Just("GET / HTTP/2.0\r\n"), 1 => Just("GET /\t HTTP/1.1\r\n"),
        1 => Just("GET /\u{e9} HTTP/1.1\r\n"), 1 => Just("get / http/1.1\r\n"), 1 => Just("\nGET / HTTP/1.1\r\n"),
        1 => Just("GET / HTTP/1.2\r\n"), 1 => Just("\r\nGET / HTTP/1.9\r\n"), 1 => Just("GET / HTTP/1.10\r\n"),
        1 => Just("GET http://a:8/b HTTP/1.1\r\n"), 1 => Just("GET HTTPS://a HTTP/1.1\r\n"),
        1 => Just("GET http://a@b/ HTTP/1.1\r\n"),
        1 => Just("GET http:///b HTTP/1.1\r\n"), 1 => Just("GET http://[::1]?x HTTP/1.1\r\n"),
    ];
    let name = prop_oneof![
        4 => Just("Host"), 4 => Just("Content-Length"), 4 => Just("Transfer-Encoding"), 2 => Just("X-a_b"),
        1 => Just("Bad Name"), 1 => Just("Content-Length "), 1 => Just(" Folded"), 1 => Just(""), 1 => Just("X\u{0}"),
        1 => Just("transfer-encoding"),
    ];
    let colon = prop_oneof![6 => Just(": "), 2 => Just(":"), 1 => Just(":\t "), 1 => Just("")];
    let value = prop_oneof![
        3 => Just("5"), 3 => Just("chunked"), 1 => Just("0"), 1 => Just("+5"), 1 => Just("5,5"), 1 => Just(""),
        1 => Just("Chunked"), 1 => Just("gzip, chunked"), 1 => Just("\u{b}chunked"),
        1 => Just("99999999999999999999"), 1 => Just("a\rb"),
        1 => Just("a\u{7f}"), 1 => Just("caf\u{e9} "), 1 => Just("a:8"), 1 => Just("[::1]:8"), 1 => Just("[]"),
        1 => Just("a b"), 1 => Just("a:b"), 1 => Just("%41"), 1 => Just("a%4"),
    ];
    let end =
        prop_oneof![20 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n"), 1 => Just(" \r\n")];
    let field = (name, colon, value, end).prop_map(|(name, colon, value, end)| [name, colon, value, end].concat());
    (start, vec(field, 0..4), prop_oneof![6 => Just("\r\n"), 1 => Just("\n"), 1 => Just("")], Just("rest"))
        .prop_map(|(start, fields, end, rest)| [start, &fields.concat(), end, rest].concat().into_bytes())
}

fn chunk_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => Just("3\r\nabc\r\n"), 6 => Just("0\r\n\r\n"), 2 => Just("0\r\n"), 2 => Just("X: y\r\n"), 2 => Just("\r\n"),
        1 => Just("3\n"), 1 => Just("3;x=y\r\nabc\r\n"), 1 => Just("3 \r\nabc\r\n"), 1 => Just("3 ;\r\nabc\r\n"),
        1 => Just("0x3\r\nabc\r\n"),
        1 => Just("3\r\nabcd\r\n"), 1 => Just("a\r\n"), 1 => Just("0123456789"), 1 => Just("7fffffffffffffff\r\n"),
        1 => Just("ffffffffffffffff\r\n"), 1 => Just("3;\rx\r\nabc\r\n"), 1 => Just("B ad: y\r\n"),
        1 => Just("3\r\nabc\n"),
    ];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_head_is_served_exactly_if_the_grammar_allows_it(bytes in head_bytes()) {
        // What is not whole may be refused early: the reference looks at whole heads only.
        match reference::head(&bytes) {
            Ok(Some(expected)) => prop_assert_eq!(ours(&bytes), Ok(Some(expected))),
            Ok(None) => prop_assert!(!matches!(ours(&bytes), Ok(Some(_)))),
            Err(()) => prop_assert!(ours(&bytes).is_err()),
        }
    }

    #[test]
    fn a_beginning_of_a_served_head_is_incomplete(bytes in head_bytes()) {
        if let Ok(Some(head)) = ours(&bytes) {
            for end in 0..head.length {
                prop_assert_eq!(ours(&bytes[..end]), Ok(None));
            }
        }
    }

    #[test]
    fn chunks_are_decoded_exactly_if_the_grammar_allows_it(bytes in chunk_bytes(), limit in 1_usize..9) {
        match reference::chunks(&bytes) {
            Ok(Some(expected)) => prop_assert_eq!(our_chunks(&bytes, limit), Ok(Some(expected))),
            Ok(None) => prop_assert!(!matches!(our_chunks(&bytes, limit), Ok(Some(_)))),
            Err(()) => prop_assert!(our_chunks(&bytes, limit).is_err()),
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_never_more_than_there_are(bytes in vec(any::<u8>(), 0..300)) {
        if let Ok(Some(head)) = ours(&bytes) {
            prop_assert!(head.length <= bytes.len());
        }
        let _ = our_chunks(&bytes, 7);
        if let Some(frame) = websocket::frame(&bytes) {
            prop_assert!(frame.length <= bytes.len());
            let mut header = Vec::new();
            // A header in the shortest form reads as it was written.
            websocket::write_header(frame.first, frame.mask, frame.payload as usize, &mut header);
            prop_assert_eq!(websocket::frame(&header).map(|again| (again.first, again.mask, again.payload)),
                Some((frame.first, frame.mask, frame.payload)));
        }
    }

    #[test]
    fn masking_in_any_pieces_is_masking_octet_by_octet(
        data in vec(any::<u8>(), 0..100), key in any::<[u8; 4]>(), cut in 0_usize..100,
    ) {
        let expected: Vec<u8> = data.iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        let mut masked = data;
        let cut = cut.min(masked.len());
        let (first, second) = masked.split_at_mut(cut);
        websocket::mask(first, key, 0);
        websocket::mask(second, key, cut);
        prop_assert_eq!(masked, expected);
    }
}
