//! The chunked coding of bodies (RFC 9112, section 7.1), as a state machine that is fed bytes and says which are data.
//!
//! Sizes are hexadecimal digits and nothing else, every line ends in CR LF, and a chunk's data is followed by it at
//! once. Extensions and trailers are dropped.

use std::fmt;

use memchr::memchr;

use crate::percent::hex;

/// The longest line of framing, its end included: a chunk's size with extensions, or a trailer.
pub const MAX_CHUNK_LINE: usize = 4096;

/// All trailers together.
const MAX_TRAILERS: u32 = 65536;

/// Why a body is no sequence of chunks. What follows on the connection cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkError {
    /// A chunk begins with something else than its size, or the size is beyond all measure.
    Size,
    /// A line of framing ends in a bare line feed, or has a carriage return inside.
    LineEnd,
    /// A chunk's data goes on after its size.
    DataEnd,
    /// A trailer is not a field.
    Trailer,
    /// A line of framing, or all trailers together, are too long.
    TooLong,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkError::Size => "a chunk's size must be a hexadecimal number",
            ChunkError::LineEnd => "a line of chunk framing must end in CR LF",
            ChunkError::DataEnd => "a chunk's data must end where its size says",
            ChunkError::Trailer => "a trailer is malformed",
            ChunkError::TooLong => "chunk framing is too long",
        })
    }
}

impl std::error::Error for ChunkError {}

/// One step through a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'i> {
    /// Data; never empty.
    Data(&'i [u8]),
    /// What is left of the input is a part of a line: give it again, with more behind it.
    More,
    /// The body is at its end. What is left of the input is the next request's.
    End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// So many octets of the chunk are still to come.
    Data(u64),
    DataEnd,
    /// So many octets of trailers have passed.
    Trailers(u32),
    End,
}

/// A decoder of one chunked body.
///
/// ```
/// use greenloom_http::{Chunks, Step};
///
/// let mut chunks = Chunks::default();
/// let mut input: &[u8] = b"3\r\nabc\r\n0\r\n\r\nGET";
/// assert_eq!(chunks.step(&mut input, usize::MAX), Ok(Step::Data(b"abc")));
/// assert_eq!(chunks.step(&mut input, usize::MAX), Ok(Step::End));
/// assert_eq!(input, b"GET");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunks {
    state: State,
}

impl Chunks {
    /// The next step. What is used up is taken from the front of `input`; data comes in pieces of at most `limit`
    /// octets.
    ///
    /// # Errors
    /// A [`ChunkError`] as soon as the bytes cannot become a chunked body any more.
    pub fn step<'i>(&mut self, input: &mut &'i [u8], limit: usize) -> Result<Step<'i>, ChunkError> {
        loop {
            match self.state {
                State::End => return Ok(Step::End),
                State::Data(left) if input.is_empty() || limit == 0 || left == 0 => return Ok(Step::More),
                State::Data(left) => {
                    let size = limit.min(input.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
                    let (data, rest) = input.split_at(size);
                    *input = rest;
                    let left = left - size as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Ok(Step::Data(data));
                }
                State::DataEnd => {
                    if !b"\r\n".starts_with(&input[..input.len().min(2)]) {
                        return Err(ChunkError::DataEnd);
                    }
                    if input.len() < 2 {
                        return Ok(Step::More);
                    }
                    *input = &input[2..];
                    self.state = State::Size;
                }
                State::Size => {
                    let Some((line, _)) = take_line(input)? else {
                        check_size_start(input)?;
                        return Ok(Step::More);
                    };
                    self.state = match size(line)? {
                        0 => State::Trailers(0),
                        size => State::Data(size),
                    };
                }
                State::Trailers(passed) => {
                    let Some((line, length)) = take_line(input)? else {
                        return Ok(Step::More);
                    };
                    self.state =
                        if line.is_empty() { State::End } else { State::Trailers(trailer(line, length, passed)?) };
                }
            }
        }
    }

    /// Whether the next bytes are data, and how many at most; 0 if they are a line of framing, or nothing.
    pub fn data_left(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }

    /// The state as one number, for who keeps it outside of Rust. 0 is the beginning.
    pub fn to_number(self) -> i64 {
        match self.state {
            State::Size => 0,
            // Sizes are held to this range when they are read.
            State::Data(left) => i64::try_from(left).unwrap_or(i64::MAX),
            State::DataEnd => -1,
            State::End => -2,
            State::Trailers(passed) => -3 - i64::from(passed),
        }
    }

    /// The state that [`to_number`](Self::to_number) gave.
    pub fn from_number(number: i64) -> Chunks {
        let state = match number {
            0 => State::Size,
            1.. => State::Data(number.unsigned_abs()),
            -1 => State::DataEnd,
            -2 => State::End,
            _ => State::Trailers(u32::try_from(-3 - number).unwrap_or(MAX_TRAILERS)),
        };
        Chunks { state }
    }
}

/// A line without its end, and its length with it; none if the line is not complete.
fn take_line<'i>(input: &mut &'i [u8]) -> Result<Option<(&'i [u8], usize)>, ChunkError> {
    let window = &input[..input.len().min(MAX_CHUNK_LINE)];
    let Some(end) = memchr(b'\n', window) else {
        return if window.len() == MAX_CHUNK_LINE { Err(ChunkError::TooLong) } else { Ok(None) };
    };
    let line = input[..end].strip_suffix(b"\r").ok_or(ChunkError::LineEnd)?;
    if memchr(b'\r', line).is_some() {
        return Err(ChunkError::LineEnd);
    }
    *input = &input[end + 1..];
    Ok(Some((line, end + 1)))
}

fn size(line: &[u8]) -> Result<u64, ChunkError> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits == 0 || digits > 16 {
        return Err(ChunkError::Size);
    }
    let (digits, extension) = line.split_at(digits);
    if !extension.is_empty() && extension.iter().find(|&&byte| !is_blank(byte)) != Some(&b';') {
        return Err(ChunkError::Size);
    }
    let size = digits.iter().filter_map(|&digit| hex(digit)).fold(0, |size, digit| size << 4 | u64::from(digit));
    // Signed numbers count positions in most of what reads this.
    if i64::try_from(size).is_err() { Err(ChunkError::Size) } else { Ok(size) }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// An incomplete line that cannot become a size is refused at once: its end may never come.
fn check_size_start(input: &[u8]) -> Result<(), ChunkError> {
    match input.first() {
        Some(byte) if !byte.is_ascii_hexdigit() => Err(ChunkError::Size),
        _ => Ok(()),
    }
}

/// Holds a trailer to the form of a field. Returns the size of all trailers up to it.
fn trailer(line: &[u8], length: usize, passed: u32) -> Result<u32, ChunkError> {
    let colon = memchr(b':', line).ok_or(ChunkError::Trailer)?;
    let (name, value) = line.split_at(colon);
    if !crate::response::is_name(name, crate::response::NameOctets::Token) {
        return Err(ChunkError::Trailer);
    }
    if value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(ChunkError::Trailer);
    }
    let passed = passed.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
    if passed > MAX_TRAILERS { Err(ChunkError::TooLong) } else { Ok(passed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decoded<'i> = (Vec<u8>, &'i [u8]);

    /// All data, and what is left behind the end; none while the body is incomplete.
    fn decode(mut input: &[u8]) -> Result<Option<Decoded<'_>>, ChunkError> {
        let mut chunks = Chunks::default();
        let mut data = Vec::new();
        loop {
            match chunks.step(&mut input, usize::MAX)? {
                Step::Data(piece) => data.extend_from_slice(piece),
                Step::More => return Ok(None),
                Step::End => return Ok(Some((data, input))),
            }
        }
    }

    #[test]
    fn data_of_all_chunks_comes_and_the_next_request_stays() {
        let body = b"4;a=b\r\nwiki\r\nA \t; \0dirt\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\nGET / HTTP/1.1";
        assert_eq!(decode(body), Ok(Some((b"wiki0123456789".to_vec(), &b"GET / HTTP/1.1"[..]))));
    }

    #[test]
    fn framing_that_two_readers_could_read_differently_is_refused() {
        let cases: [(&[u8], ChunkError); 21] = [
            (b"\r\n", ChunkError::Size),
            (b"0x4\r\nwiki\r\n", ChunkError::Size),
            (b"+4\r\nwiki\r\n", ChunkError::Size),
            (b"-4\r\nwiki\r\n", ChunkError::Size),
            (b" 4\r\nwiki\r\n", ChunkError::Size),
            (b"4 \r\nwiki\r\n", ChunkError::Size),
            (b"4_0\r\nwiki\r\n", ChunkError::Size),
            (b"4,\r\nwiki\r\n", ChunkError::Size),
            (b"4\x0c;\r\nwiki\r\n", ChunkError::Size),
            (b"g", ChunkError::Size),
            (b"ffffffffffffffff\r\n", ChunkError::Size),
            (b"00000000000000004\r\nwiki\r\n", ChunkError::Size),
            (b"4\nwiki\r\n", ChunkError::LineEnd),
            (b"4;a\nwiki\r\n", ChunkError::LineEnd),
            (b"4;a\rb\r\nwiki\r\n", ChunkError::LineEnd),
            (b"4\r\nwikis\r\n", ChunkError::DataEnd),
            (b"4\r\nwiki\n", ChunkError::DataEnd),
            (b"0\r\nno field\r\n\r\n", ChunkError::Trailer),
            (b"0\r\nX : 1\r\n\r\n", ChunkError::Trailer),
            (b"0\r\n folded: 1\r\n\r\n", ChunkError::Trailer),
            (b"0\r\nX: 1\n\r\n", ChunkError::LineEnd),
        ];
        for (body, error) in cases {
            assert_eq!(decode(body), Err(error), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn framing_without_end_is_refused() {
        assert_eq!(decode(&[b"4;".to_vec(), vec![b'x'; MAX_CHUNK_LINE]].concat()), Err(ChunkError::TooLong));
        let trailers = b"X: 123456789012345678901234567890\r\n".repeat(3000);
        assert_eq!(decode(&[b"0\r\n".to_vec(), trailers].concat()), Err(ChunkError::TooLong));
    }

    #[test]
    fn every_state_survives_as_a_number() {
        const END: i64 = -2;
        let body: &[u8] = b"5\r\nhello\r\n0\r\nA: b\r\n\r\n";
        let (mut kept, mut number) = (Chunks::default(), 0);
        let (mut given, mut rest) = (0, body);
        while number != END {
            given += 1;
            let mut input = &body[body.len() - rest.len()..given];
            let mut chunks = Chunks::from_number(number);
            assert_eq!(chunks, kept);
            while let Step::Data(_) = chunks.step(&mut input, 1).unwrap() {}
            rest = &body[given - input.len()..];
            number = chunks.to_number();
            kept = chunks;
        }
        assert_eq!(given, body.len());
    }
}
