//! Names that nobody else has: of messages, requests and reply queues.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use crate::random::Random;

thread_local! {
    static RANDOM: RefCell<Random> = RefCell::new(Random::new());
}

/// A name of that many characters, which takes no allocation. Aligned, so that it is compared, copied and seen to be
/// text in words.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(align(8))]
pub(crate) struct Name<const LENGTH: usize>([u8; LENGTH]);

/// 32 hexadecimal digits, as a UUID without its dashes.
pub(crate) type Unique = Name<32>;
/// `req-` and a UUID, as OpenStack's services name requests.
pub(crate) type RequestId = Name<40>;

impl<const LENGTH: usize> Deref for Name<LENGTH> {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).expect("it is made of text")
    }
}

impl<const LENGTH: usize> TryFrom<&str> for Name<LENGTH> {
    type Error = std::array::TryFromSliceError;

    /// A text of just that length.
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.as_bytes().try_into().map(Name)
    }
}

impl<const LENGTH: usize> Hash for Name<LENGTH> {
    /// Of its first characters: they are random.
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0.as_chunks::<8>().0.iter().take(2) {
            state.write_u64(u64::from_ne_bytes(*word));
        }
    }
}

impl<const LENGTH: usize> fmt::Debug for Name<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        str::fmt(self, f)
    }
}

impl<const LENGTH: usize> fmt::Display for Name<LENGTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The hexadecimal digits of 32 bits, all at once: each half byte gets a byte, and what is above 9 is moved to the
/// letters.
fn hex(word: u32) -> [u8; 8] {
    let mut spread = u64::from(word);
    spread = (spread << 16 | spread) & 0x0000_FFFF_0000_FFFF;
    spread = (spread << 8 | spread) & 0x00FF_00FF_00FF_00FF;
    spread = (spread << 4 | spread) & 0x0F0F_0F0F_0F0F_0F0F;
    let above_9 = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + above_9 * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

fn digits() -> [u8; 32] {
    let (high, low) = RANDOM.with_borrow_mut(|random| (random.next(), random.next()));
    let mut digits = [0; 32];
    let words = [high >> 32, high, low >> 32, low];
    for (word, digits) in words.into_iter().zip(digits.as_chunks_mut::<8>().0) {
        *digits = hex(word as u32);
    }
    digits
}

/// One that nobody else has.
pub(crate) fn unique() -> Unique {
    Name(digits())
}

/// One that nobody else has.
pub(crate) fn request_id() -> RequestId {
    let digits = digits();
    let mut id = *b"req-00000000-0000-0000-0000-000000000000";
    let mut from = 0;
    for (at, length) in [(4, 8), (13, 4), (18, 4), (23, 4), (28, 12)] {
        id[at..at + length].copy_from_slice(&digits[from..from + length]);
        from += length;
    }
    Name(id)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Unique, hex};

    #[test]
    fn digits_are_those_of_the_number() {
        for word in [0, 1, 0x0123_4567, 0x89ab_cdef, 0xa0b9_c8d7, u32::MAX] {
            assert_eq!(hex(word), format!("{word:08x}").as_bytes());
        }
    }

    #[test]
    fn ids_have_their_form_and_differ() {
        let ids: HashSet<Unique> = (0..10_000).map(|_| super::unique()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
        let request = super::request_id();
        let lengths: Vec<usize> = request.split('-').map(str::len).collect();
        assert_eq!(lengths, [3, 8, 4, 4, 4, 12], "{request}");
        assert_ne!(request, super::request_id());
    }
}
