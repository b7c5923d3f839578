//! Heads of responses: what may be sent, how names are spelled, what every head ends with.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::head::connection_options;

/// What may be in a token.
static TOKEN: [bool; 256] = token_or(false);
/// The same and octets beyond ASCII.
static LATIN1: [bool; 256] = token_or(true);

const fn token_or(latin1: bool) -> [bool; 256] {
    let (mut table, mut byte) = ([latin1; 256], 0);
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(byte as u8,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
}

/// Whether `byte` may be in a method or in the name of a field (RFC 9110's `tchar`).
pub fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Of which octets the name of a field is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameOctets {
    /// Those of a token, as the standard says.
    Token,
    /// Those beyond ASCII, too, as WSGI has it and some programs need.
    Latin1,
}

/// Whether `text` may be the name of a field.
///
/// ```
/// use greenloom_http::response::NameOctets::{Latin1, Token};
/// use greenloom_http::response::is_name;
///
/// assert!(is_name(b"X-Request_Id", Token) && !is_name(b"X Request", Latin1) && !is_name(b"", Latin1));
/// assert!(is_name(b"X-\xe9", Latin1) && !is_name(b"X-\xe9", Token));
/// ```
pub fn is_name(text: &[u8], octets: NameOctets) -> bool {
    let table = match octets {
        NameOctets::Token => &TOKEN,
        NameOctets::Latin1 => &LATIN1,
    };
    !text.is_empty() && text.iter().all(|&byte| table[usize::from(byte)])
}

/// Whether the value of a Connection field has the option `close`.
pub fn says_close(value: &[u8]) -> bool {
    connection_options(value).any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// Whether `text` may be sent in a status line or as a field's name or value: nothing in it can end the line.
pub fn is_one_line(text: &[u8]) -> bool {
    // For a short text the search takes longer to begin than this to end.
    if text.len() < 32 {
        return !text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    }
    memchr::memchr3(b'\r', b'\n', 0, text).is_none()
}

/// ASCII letters as capital ones, and as small ones.
static UPPER: [u8; 256] = letters(true);
static LOWER: [u8; 256] = letters(false);

const fn letters(upper: bool) -> [u8; 256] {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < 256 {
        table[byte] = if upper { (byte as u8).to_ascii_uppercase() } else { (byte as u8).to_ascii_lowercase() };
        byte += 1;
    }
    table
}

/// How the name of a field is spelled. Only ASCII letters change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As it was given.
    AsGiven,
    /// Each word between hyphens with a capital first letter and small ones after it.
    Capitalized,
}

/// Writes a field's name to `out`.
///
/// ```
/// use greenloom_http::response::{Spelling, write_name};
///
/// let mut out = Vec::new();
/// write_name(b"x-rEQUEST-id", Spelling::Capitalized, &mut out);
/// assert_eq!(out, b"X-Request-Id");
/// ```
pub fn write_name(name: &[u8], spelling: Spelling, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name);
    if spelling == Spelling::AsGiven {
        return;
    }
    let mut letters = &UPPER;
    for byte in &mut out[start..] {
        *byte = letters[usize::from(*byte)];
        letters = if *byte == b'-' { &UPPER } else { &LOWER };
    }
}

/// How the body of a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As its head says already, or without a word: with the connection, or at once.
    AsSaid,
    /// After so many octets.
    Length(usize),
    /// With the empty chunk.
    Chunked,
}

/// Whether a head has a Date already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Date {
    /// It has one.
    Given,
    /// It gets that of now.
    #[default]
    Now,
}

/// Appends what a head lacks to `out`: a Date, how the body ends, `more` lines, and the empty line.
pub fn write_end(out: &mut Vec<u8>, date: Date, ending: Ending, more: &[u8]) {
    if date == Date::Now {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(&now());
        out.extend_from_slice(b"\r\n");
    }
    match ending {
        Ending::AsSaid => {}
        Ending::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            write_number(length, out);
            out.extend_from_slice(b"\r\n");
        }
        Ending::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
    }
    out.extend_from_slice(more);
    out.extend_from_slice(b"\r\n");
}

fn write_number(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The date of now. It is made once a second.
fn now() -> [u8; 29] {
    thread_local! {
        static LAST: Cell<(u64, [u8; 29])> = const { Cell::new((u64::MAX, [0; 29])) };
    }
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (last, text) = LAST.get();
    if last == seconds {
        return text;
    }
    let text = date(seconds);
    LAST.set((seconds, text));
    text
}

/// A Unix time as HTTP writes dates: `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// ```
/// assert_eq!(&greenloom_http::response::date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn date(seconds: u64) -> [u8; 29] {
    const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    const MONTHS: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    let (days, time) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    text[8..11].copy_from_slice(MONTHS[month - 1]);
    let pairs =
        [(5, day), (12, year / 100), (14, year % 100), (17, time / 3600), (20, time / 60 % 60), (23, time % 60)];
    for (at, number) in pairs {
        text[at] = b'0' + (number / 10 % 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    }
    text
}

/// Year, month and day of a day counted from 1970, in the calendar of 400-year cycles that begin in March.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month as usize, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_at_the_edges_of_months_and_centuries() {
        let cases: [(u64, &str); 6] = [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(std::str::from_utf8(&date(seconds)), Ok(expected));
        }
    }

    #[test]
    fn names_and_lines_are_what_they_may_be_at_any_length() {
        for length in [1, 5, 31, 32, 33, 100] {
            let plain = vec![b'a'; length];
            assert!(is_name(&plain, NameOctets::Token) && is_one_line(&plain));
            for at in [0, length / 2, length - 1] {
                for byte in 0..=255 {
                    let mut text = plain.clone();
                    text[at] = byte;
                    assert_eq!(is_one_line(&text), !b"\r\n\0".contains(&byte), "{byte} at {at} of {length}");
                    assert_eq!(is_name(&text, NameOctets::Token), is_token(byte));
                    assert_eq!(is_name(&text, NameOctets::Latin1), is_token(byte) || byte >= 0x80);
                }
            }
        }
    }

    #[test]
    fn names_are_spelled_by_their_words() {
        let spelled = |name: &[u8], spelling| {
            let mut out = b"before-".to_vec();
            write_name(name, spelling, &mut out);
            out.split_off(7)
        };
        let name = b"wWW-x--\xe9A_b-3C";
        assert_eq!(spelled(name, Spelling::Capitalized), b"Www-X--\xe9a_b-3c");
        assert_eq!(spelled(name, Spelling::AsGiven), name);
    }

    #[test]
    fn the_end_of_a_head_has_what_was_missing() {
        let end = |date, ending| {
            let mut out = Vec::new();
            write_end(&mut out, date, ending, b"A: b\r\n");
            String::from_utf8(out).unwrap()
        };
        assert_eq!(end(Date::Given, Ending::Length(0)), "Content-Length: 0\r\nA: b\r\n\r\n");
        assert_eq!(end(Date::Given, Ending::Length(1234567890)), "Content-Length: 1234567890\r\nA: b\r\n\r\n");
        assert_eq!(end(Date::Given, Ending::Chunked), "Transfer-Encoding: chunked\r\nA: b\r\n\r\n");
        assert_eq!(end(Date::Given, Ending::AsSaid), "A: b\r\n\r\n");
        assert!(end(Date::Now, Ending::AsSaid).starts_with("Date: "));
    }
}
