//! What was read from a connection and is not used yet.

use std::io;

/// Octets by which the buffer grows, and which it has at the beginning.
const STEP: usize = 4096;

/// A buffer that is filled at its end and used from its front.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes so many octets, which are there, from the front.
    pub fn consume(&mut self, count: usize) {
        self.start += count;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Moves what fits from the front to `buf`.
    pub fn take(&mut self, buf: &mut [u8]) -> usize {
        let count = buf.len().min(self.end - self.start);
        buf[..count].copy_from_slice(&self.unread()[..count]);
        self.consume(count);
        count
    }

    /// Reads once more to the end of the buffer, by `read`, and returns what came.
    pub fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<&[u8]> {
        if self.start > 0 && self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.bytes.len() {
            self.bytes.resize((2 * self.end).max(STEP), 0);
        }
        let count = read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(&self.bytes[self.end - count..self.end])
    }
}
