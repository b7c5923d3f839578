//! The rings of a recording, read bit by bit by one that follows the program.

use crate::ring::{Reader, Taken};

/// The rings. Those that begin later are pushed later.
///
/// ```
/// use greenloom_trace::{READY, Readers, ring};
///
/// let (writer, reader) = ring(16, "hub 0");
/// let mut readers = Readers::default();
/// readers.push(reader);
/// (0..10).for_each(|number| writer.run(number, number, READY));
/// assert_eq!(readers.take_at_most(6, 1.0)[0].records.len(), 6);
/// assert_eq!(readers.take_at_most(6, 1.0)[0].records.len(), 4);
/// assert!(readers.take_at_most(6, 1.0).is_empty() && !readers.has_more());
/// ```
#[derive(Debug, Default)]
pub struct Readers {
    all: Vec<Reader>,
    /// Who is read first next time: one that writes all the time keeps none from being read.
    next: usize,
}

/// Bytes of texts that are taken at once, about.
const TEXT_BYTES: usize = 1 << 20;

impl Readers {
    /// One more.
    pub fn push(&mut self, reader: Reader) {
        self.all.push(reader);
    }

    /// What was written since the last call, at most so many events of all, with times in nanoseconds: a tick of the
    /// writers takes `tick` of them.
    pub fn take_at_most(&mut self, events: usize, tick: f64) -> Vec<Taken> {
        let (mut events, mut bytes) = (events, TEXT_BYTES);
        let mut found = Vec::new();
        let count = self.all.len();
        for turn in 0..count {
            let place = (self.next + turn) % count;
            let taken = self.all[place].take_at_most(events, bytes);
            events -= taken.records.len();
            bytes = bytes.saturating_sub(taken.texts.iter().map(|text| text.len().max(1)).sum());
            if !taken.is_empty() {
                found.push(taken.with_ticks_of(tick));
            }
            if events == 0 || bytes == 0 {
                self.next = (place + 1) % count;
                break;
            }
        }
        found
    }

    /// As [`take_at_most`](Readers::take_at_most), all of it.
    pub fn take(&mut self, tick: f64) -> Vec<Taken> {
        self.all.iter_mut().map(|reader| reader.take().with_ticks_of(tick)).collect()
    }

    /// Whether there is something to take.
    pub fn has_more(&self) -> bool {
        self.all.iter().any(Reader::has_more)
    }

    /// What is written from now on is not read.
    pub fn end_here(&mut self) {
        self.all.iter_mut().for_each(Reader::end_here);
    }
}
