//! Names that nobody else has: of messages, requests and reply queues.

use std::cell::RefCell;

use crate::random::Random;

thread_local! {
    static RANDOM: RefCell<Random> = RefCell::new(Random::new());
}

fn hex(word: u64, digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in word.to_be_bytes().into_iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
}

fn digits() -> [u8; 32] {
    let (high, low) = RANDOM.with_borrow_mut(|random| (random.next(), random.next()));
    let mut digits = [0; 32];
    hex(high, &mut digits[..16]);
    hex(low, &mut digits[16..]);
    digits
}

fn text(ascii: &[u8]) -> String {
    String::from_utf8(ascii.to_vec()).expect("digits are text")
}

/// 32 hexadecimal digits, as a UUID without its dashes.
pub(crate) fn unique() -> String {
    text(&digits())
}

/// `req-` and a UUID, as OpenStack's services name requests.
pub(crate) fn request_id() -> String {
    let digits = digits();
    let mut id = *b"req-00000000-0000-0000-0000-000000000000";
    let mut from = 0;
    for (at, length) in [(4, 8), (13, 4), (18, 4), (23, 4), (28, 12)] {
        id[at..at + length].copy_from_slice(&digits[from..from + length]);
        from += length;
    }
    text(&id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn ids_have_their_form_and_differ() {
        let ids: HashSet<String> = (0..10_000).map(|_| super::unique()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        let request = super::request_id();
        let lengths: Vec<usize> = request.split('-').map(str::len).collect();
        assert_eq!(lengths, [3, 8, 4, 4, 4, 12], "{request}");
        assert_ne!(request, super::request_id());
    }
}
