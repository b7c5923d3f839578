//! Request heads, chunked bodies and the framing of both, compared with a strict and slow reading of the grammar; in
//! one piece and in two.
#![no_main]

#[path = "../../crates/http/tests/reference/mod.rs"]
mod reference;

use greenloom_http::{Chunks, Refusal, Step};
use libfuzzer_sys::fuzz_target;

/// The data of a chunked body that comes in two pieces, and its length; none if it is not whole.
fn chunks(bytes: &[u8], cut: usize) -> Result<Option<(Vec<u8>, usize)>, greenloom_http::ChunkError> {
    let (mut number, mut used, mut data) = (0, 0, Vec::new());
    for end in [cut.min(bytes.len()), bytes.len()] {
        let mut decoder = Chunks::from_number(number);
        let mut input = &bytes[used..end];
        loop {
            match decoder.step(&mut input, 7)? {
                Step::Data(piece) => data.extend_from_slice(piece),
                Step::More => break,
                Step::End => return Ok(Some((data, end - input.len()))),
            }
        }
        used = end - input.len();
        number = decoder.to_number();
    }
    Ok(None)
}

fuzz_target!(|bytes: &[u8]| {
    // Lines and counts beyond the limits are refused; the reference has no limits.
    if bytes.len() < 4000 {
        let ours = reference::ours(bytes);
        match reference::head(bytes) {
            Ok(Some(expected)) if expected.fields.len() <= 100 => assert_eq!(ours, Ok(Some(expected))),
            Ok(Some(_)) => assert_eq!(ours, Err(Refusal::TooManyFields)),
            Ok(None) => assert!(!matches!(ours, Ok(Some(_)))),
            Err(()) => assert!(ours.is_err()),
        }
        let cut = bytes.first().copied().unwrap_or_default().into();
        let ours = chunks(bytes, cut);
        match reference::chunks(bytes) {
            Ok(Some(expected)) => assert_eq!(ours, Ok(Some(expected))),
            Ok(None) => assert!(!matches!(ours, Ok(Some(_)))),
            Err(()) => assert!(ours.is_err()),
        }
    }
});
