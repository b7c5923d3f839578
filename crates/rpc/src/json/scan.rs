//! Looks over JSON without reading it: how deep it is, where its parts are. Loops only, so no depth is too much.

use std::borrow::Cow;

use serde::de::Error as _;
use serde_json::{Error, Result};

use super::text;

/// How deep a value is nested, or a little more.
pub(crate) fn nesting(json: &str) -> usize {
    // The two differ in this bit. Counted in bytes, a chunk takes a few instructions.
    let count = |chunk: &[u8]| usize::from(chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>());
    let brackets: usize = json.as_bytes().chunks(128).map(count).sum();
    if brackets <= super::SHALLOW {
        return brackets;
    }
    let (mut depth, mut deepest, mut at) = (0usize, 0, 0);
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = end_of_text(bytes, at).unwrap_or(bytes.len()),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Whether there may be something in it that only Python writes.
pub(super) fn is_of_python(json: &str) -> bool {
    let halves = || json.match_indices("\\u").any(|(at, _)| json[at + 2..].starts_with(['d', 'D']));
    // A number that is too large for a float is infinite in Python.
    json.contains("NaN") || json.contains("Infinity") || json.contains(['e', 'E']) || halves()
}

/// The names of an object with the text of their values. A name that is no text for Rust is left as it is written.
pub(crate) fn entries(json: &str) -> Result<Vec<(Cow<'_, str>, &str)>> {
    let mut cursor = Cursor::new(json);
    let mut entries = Vec::with_capacity(8);
    cursor.expect(b'{')?;
    if cursor.take(b'}') {
        return cursor.finish().map(|()| entries);
    }
    loop {
        let name = cursor.text()?;
        cursor.expect(b':')?;
        let name = text(name).ok().flatten().unwrap_or(Cow::Borrowed(name));
        entries.push((name, cursor.value()?));
        if cursor.take(b'}') {
            return cursor.finish().map(|()| entries);
        }
        cursor.expect(b',')?;
    }
}

/// The place behind a text whose first character is at `at`.
fn end_of_text(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        match bytes[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// A place in JSON.
pub(super) struct Cursor<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(json: &'a str) -> Cursor<'a> {
        Cursor { json, at: 0 }
    }

    /// The next character that is no space, which is not taken.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = &self.json.as_bytes()[self.at..];
        if let Some(byte @ b'!'..) = rest.first() {
            return Some(*byte);
        }
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += spaces;
        rest.get(spaces).copied()
    }

    pub fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    pub fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take(byte) { Ok(()) } else { Err(self.problem(&format!("expected {:?}", char::from(byte)))) }
    }

    /// Nothing may follow.
    pub fn finish(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.problem("something follows the value")) }
    }

    /// A text, with its quotes.
    pub fn text(&mut self) -> Result<&'a str> {
        self.expect(b'"')?;
        let begin = self.at - 1;
        let end = end_of_text(self.json.as_bytes(), self.at).filter(|end| *end <= self.json.len());
        self.at = end.ok_or_else(|| self.problem("a text without an end"))?;
        Ok(&self.json[begin..self.at])
    }

    /// A number, or a word such as `null`.
    pub fn word(&mut self) -> Result<&'a str> {
        self.peek();
        let rest = &self.json[self.at..];
        let length = rest.find(|it: char| !(it.is_ascii_alphanumeric() || "+-.".contains(it))).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.problem("expected a value"));
        }
        self.at += length;
        Ok(&rest[..length])
    }

    /// Any value.
    pub fn value(&mut self) -> Result<&'a str> {
        match self.peek() {
            Some(b'"') => return self.text(),
            Some(b'[' | b'{') => {}
            _ => return self.word(),
        }
        let (begin, bytes) = (self.at, self.json.as_bytes());
        let mut depth = 0usize;
        while let Some(byte) = bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'"' => self.at = end_of_text(bytes, self.at).unwrap_or(bytes.len()),
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(&self.json[begin..self.at]);
            }
        }
        Err(self.problem("a value without an end"))
    }

    pub fn problem(&self, what: &str) -> Error {
        Error::custom(format!("{what} at byte {}", self.at.min(self.json.len())))
    }
}
