//! Names that nobody else has: of messages, requests and reply queues.

use std::cell::RefCell;
use std::fmt::Write;

use crate::random::Random;

thread_local! {
    static RANDOM: RefCell<Random> = RefCell::new(Random::new());
}

fn bits() -> (u64, u64) {
    RANDOM.with_borrow_mut(|random| (random.next(), random.next()))
}

/// 32 hexadecimal digits, as a UUID without its dashes.
pub(crate) fn unique() -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (high, low) = bits();
    let digit = |word: u64, at: u32| char::from(DIGITS[(word >> (60 - 4 * at)) as usize & 15]);
    (0..16).map(|at| digit(high, at)).chain((0..16).map(|at| digit(low, at))).collect()
}

/// `req-` and a UUID, as OpenStack's services name requests.
pub(crate) fn request_id() -> String {
    let digits = unique();
    let mut id = String::with_capacity(40);
    let parts = (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
    // Writing to a string does not fail.
    let _ = write!(id, "req-{}-{}-{}-{}-{}", parts.0, parts.1, parts.2, parts.3, parts.4);
    id
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
    }
}
