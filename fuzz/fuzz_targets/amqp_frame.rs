//! AMQP frames: whatever the bytes, each is a frame within the limit, an error, or not yet complete; and what was read
//! is written as what reads the same.
#![no_main]

use greenloom_rpc::amqp::frame::{MIN_FRAME, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((frame, length))) = decode(rest, MIN_FRAME) {
        assert!(0 < length && length <= rest.len() && length <= MIN_FRAME as usize);
        assert_eq!(decode(&rest[..length - 1], MIN_FRAME), Ok(None), "a frame that is cut off is not yet complete");
        let mut written = Vec::new();
        frame.encode(&mut written);
        let (again, all) = decode(&written, MIN_FRAME + 64).expect("what was read can be written").expect("all of it");
        assert_eq!(all, written.len());
        // Compared as text, for one NaN is not another.
        assert_eq!(format!("{again:?}"), format!("{frame:?}"));
        rest = &rest[length..];
    }
});
