//! A hub's events: a ring of fixed size, which its OS thread writes and any other may read.
//!
//! The writer knows nothing of readers. It never waits and never looks whether there is room: the newest events take
//! the place of the oldest. A reader copies what has come since it last looked, and then looks whether the writer has
//! come around meanwhile; what may have been overwritten is dropped, and counted.
//!
//! ```text
//!   written           the next to be written; what is in its place now is no longer to be trusted
//!      v
//! [ 8 ][ 9 ][ 2 ][ 3 ][ 4 ][ 5 ][ 6 ][ 7 ]        capacity 8, `written` is 10
//! ```
//!
//! It is made of chunks, each of which gets its memory when the writer first comes to it: a large ring costs no pause
//! when it is made, and a short recording little memory.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};

use crate::record::{Kind, Record, Text, Wake};
use crate::texts::{Finder, Texts};

/// A ring for at least `capacity` events of 16 bytes, and what it is called on a timeline.
///
/// ```
/// let (writer, mut reader) = greenloom_trace::ring(2, "hub 0");
/// let name = writer.text("worker");
/// for id in 0..5 {
///     writer.spawn(0, id, name);
/// }
/// let taken = reader.take();
/// assert_eq!((taken.dropped, taken.records.len()), (4, 1)); // the one that is next to be overwritten is not trusted
/// ```
pub fn ring(capacity: usize, name: impl Into<String>) -> (Writer, Reader) {
    let capacity = capacity.max(1).next_power_of_two();
    let chunk = capacity.min(CHUNK);
    let chunks = (0..capacity / chunk).map(|_| OnceLock::new()).collect();
    let (written, texts) = (AtomicU64::new(0), Texts::default());
    let shared = Arc::new(Shared { name: name.into(), chunk, chunks, written, texts });
    let reader = Reader { shared: Arc::clone(&shared), read: 0, end: u64::MAX, texts: 0, are_addresses: false };
    let (finder, known) = (RefCell::default(), RefCell::default());
    (Writer { shared, written: Cell::new(0), finder, known, last_known: Cell::new((0, 0, Text(0))) }, reader)
}

/// Events of a chunk at most: 16 KB, for an OS thread that has little to tell.
const CHUNK: usize = 1 << 10;

#[derive(Debug)]
struct Shared {
    name: String,
    /// Events of a chunk, a power of two.
    chunk: usize,
    /// As many as a power of two, each of two words an event.
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
    /// How many events were written.
    written: AtomicU64,
    texts: Texts,
}

impl Shared {
    fn capacity(&self) -> u64 {
        (self.chunk * self.chunks.len()) as u64
    }

    /// The two words of an event, of which there may be none yet.
    #[inline]
    fn place(&self, number: u64) -> &[AtomicU64] {
        let number = number as usize;
        let chunk = &self.chunks[(number / self.chunk) & (self.chunks.len() - 1)];
        let words = match chunk.get() {
            Some(words) => words,
            None => chunk.get_or_init(|| self.make_chunk()),
        };
        &words[2 * (number & (self.chunk - 1))..][..2]
    }

    #[cold]
    fn make_chunk(&self) -> Box<[AtomicU64]> {
        (0..2 * self.chunk).map(|_| AtomicU64::new(0)).collect()
    }
}

/// Writes the events of one hub. It stays on the hub's OS thread. Times are in nanoseconds since recording began,
/// or in ticks, whose length is known to whoever reads ([`Taken::with_ticks_of`]).
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    written: Cell<u64>,
    finder: RefCell<Finder>,
    known: RefCell<Vec<(usize, usize, Text)>>,
    last_known: Cell<(usize, usize, Text)>,
}

impl Writer {
    /// The number of a text.
    pub fn text(&self, text: &str) -> Text {
        self.finder.borrow_mut().find(text, &self.shared.texts)
    }

    /// The number of a text that lives for ever, found by its address.
    #[inline]
    pub fn static_text(&self, text: &'static str) -> Text {
        let (address, length) = (text.as_ptr() as usize, text.len());
        let (last_address, last_length, number) = self.last_known.get();
        if (last_address, last_length) == (address, length) {
            return number;
        }
        let number = self.known_text(text, address, length);
        self.last_known.set((address, length, number));
        number
    }

    fn known_text(&self, text: &str, address: usize, length: usize) -> Text {
        // There are some dozens of them.
        let known = self.known.borrow().iter().find(|known| (known.0, known.1) == (address, length)).copied();
        if let Some((_, _, number)) = known {
            return number;
        }
        let number = self.text(text);
        self.known.borrow_mut().push((address, length, number));
        number
    }

    /// `thread` runs; the one before waits for `waits_for`, or is [`READY`](crate::READY) or [`ENDED`](crate::ENDED).
    #[inline]
    pub fn run(&self, time: u64, thread: u64, waits_for: Text) {
        self.write(time, Kind::Run, thread, waits_for.0);
    }

    /// The running one has made `thread`.
    #[inline]
    pub fn spawn(&self, time: u64, thread: u64, name: Text) {
        self.write(time, Kind::Spawn, thread, name.0);
    }

    /// `thread` was there before, and waits for `waits_for`, if it does.
    pub fn exists(&self, time: u64, thread: u64, name: Text, waits_for: Option<Text>) {
        self.write(time, Kind::Exists, thread, name.0);
        if let Some(waits_for) = waits_for {
            self.write(time, Kind::Waits, thread, waits_for.0);
        }
    }

    /// `thread` is ready again.
    #[inline]
    pub fn wake(&self, time: u64, thread: u64, by: Wake) {
        self.write(time, Kind::Wake, thread, by as u32);
    }

    /// A timer has fired, this late.
    #[inline]
    pub fn timer_lag(&self, time: u64, late: u64) {
        self.write(time, Kind::TimerLag, 0, microseconds(late));
    }

    /// The blocking call of `thread` is over: it was in line first, and then ran.
    pub fn blocking(&self, time: u64, thread: u64, queued: u64, ran: u64) {
        self.write(time, Kind::BlockingQueued, thread, microseconds(queued));
        self.write(time, Kind::BlockingRan, thread, microseconds(ran));
    }

    /// The hub has waited this long for the interpreter's lock.
    pub fn lock_wait(&self, time: u64, waited: u64) {
        self.write(time, Kind::LockWait, 0, microseconds(waited));
    }

    /// The hub begins to wait for timers and I/O.
    pub fn idle(&self, time: u64) {
        self.write(time, Kind::Idle, 0, 0);
    }

    /// It has waited.
    pub fn busy(&self, time: u64) {
        self.write(time, Kind::Busy, 0, 0);
    }

    /// The running one has been in these frames since it last began to run.
    pub fn stack(&self, time: u64, frames: Text) {
        self.write(time, Kind::Stack, 0, frames.0);
    }

    #[inline]
    fn write(&self, time: u64, kind: Kind, thread: u64, detail: u32) {
        let record = Record { time, kind, thread: thread as u32, detail };
        let number = self.written.get();
        // A reader that sees one of the new words sees also that this place is being written.
        fence(Ordering::Release);
        for (place, word) in self.shared.place(number).iter().zip(record.pack()) {
            place.store(word, Ordering::Relaxed);
        }
        self.written.set(number + 1);
        self.shared.written.store(number + 1, Ordering::Release);
    }
}

fn microseconds(nanoseconds: u64) -> u32 {
    u32::try_from(nanoseconds / 1000).unwrap_or(u32::MAX)
}

/// Reads the events of one hub, on any OS thread.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    read: u64,
    /// Nothing is read from this number on.
    end: u64,
    texts: usize,
    are_addresses: bool,
}

/// What [`Reader::take`] found.
#[derive(Clone, Debug)]
pub struct Taken {
    /// What the ring is called.
    pub name: String,
    /// Whether green threads are known by their addresses, which are nothing to show.
    pub are_addresses: bool,
    /// Texts that are new, each of which has the number after that of the one before.
    pub texts: Vec<Box<str>>,
    /// How many events came before these and were overwritten before they were read.
    pub dropped: u64,
    /// The events, oldest first.
    pub records: Vec<Record>,
}

impl Reader {
    /// Of a writer that knows green threads by their addresses: the timeline gives them numbers, in the order in which
    /// it meets them.
    pub fn with_addresses(mut self) -> Reader {
        self.are_addresses = true;
        self
    }

    /// What was written since the last call, or is left of it. It waits for nobody.
    pub fn take(&mut self) -> Taken {
        self.take_at_most(usize::MAX, usize::MAX)
    }

    /// As [`take`](Reader::take), the oldest of it: at most so many events, and about so many bytes of new texts. With
    /// more texts than that, it takes some of them and no event, as the events name them.
    pub fn take_at_most(&mut self, events: usize, text_bytes: usize) -> Taken {
        let shared = &*self.shared;
        let known = shared.texts.len();
        let texts = shared.texts.since(self.texts, text_bytes);
        self.texts += texts.len();
        let mut taken = Taken::of(self, texts);
        if self.texts < known {
            return taken;
        }
        let written = shared.written.load(Ordering::Acquire);
        let oldest = written.saturating_sub(shared.capacity());
        let end = written.min(self.end).min(self.read.max(oldest).saturating_add(events as u64));
        let first = self.read.max(oldest).min(end);
        let words: Vec<[u64; 2]> = (first..end)
            .map(|number| {
                let place = shared.place(number);
                [place[0].load(Ordering::Relaxed), place[1].load(Ordering::Relaxed)]
            })
            .collect();
        // With the fence of the writer: whoever has read a new word sees here that its place is being written.
        fence(Ordering::Acquire);
        let written_since = shared.written.load(Ordering::Relaxed);
        let trusted = (written_since + 1).saturating_sub(shared.capacity()).clamp(first, end);
        taken.dropped = trusted - self.read;
        self.read = end;
        taken.records = words[(trusted - first) as usize..].iter().filter_map(|words| Record::unpack(*words)).collect();
        // After the events: whatever they name is there.
        let named = shared.texts.since(self.texts, usize::MAX);
        self.texts += named.len();
        taken.texts.extend(named);
        taken
    }

    /// Whether there is something to take.
    pub fn has_more(&self) -> bool {
        self.read < self.shared.written.load(Ordering::Acquire).min(self.end)
    }

    /// What is written from now on is not read.
    pub fn end_here(&mut self) {
        self.end = self.shared.written.load(Ordering::Acquire);
    }
}

impl Taken {
    fn of(reader: &Reader, texts: Vec<Box<str>>) -> Taken {
        let name = reader.shared.name.clone();
        Taken { name, are_addresses: reader.are_addresses, texts, dropped: 0, records: Vec::new() }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.dropped == 0 && self.records.is_empty()
    }

    /// The same, of a writer whose times are ticks of so many nanoseconds.
    pub fn with_ticks_of(mut self, nanoseconds: f64) -> Taken {
        for record in &mut self.records {
            record.time = (record.time as f64 * nanoseconds) as u64;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::READY;

    #[test]
    fn what_is_overwritten_is_counted_and_the_newest_stay() {
        let (writer, mut reader) = ring(8, "hub");
        for number in 0..20 {
            writer.run(number, number, Text(0));
        }
        let taken = reader.take();
        assert_eq!(taken.dropped, 13);
        assert_eq!(taken.records.iter().map(|record| record.time).collect::<Vec<_>>(), (13..20).collect::<Vec<_>>());
        assert_eq!((reader.take().dropped, reader.take().records.len()), (0, 0));
    }

    #[test]
    fn a_reader_beside_the_writer_sees_each_event_whole_or_counts_it() {
        let (writer, mut reader) = ring(64, "hub");
        const EVENTS: u64 = 200_000;
        let writing = std::thread::spawn(move || (0..EVENTS).for_each(|number| writer.run(number, number, Text(7))));
        let (mut seen, mut next) = (0, 0);
        while next < EVENTS {
            let taken = reader.take();
            next += taken.dropped;
            for record in &taken.records {
                assert_eq!((record.time, record.thread, record.detail), (next, next as u32, 7));
                next += 1;
            }
            seen += taken.records.len();
        }
        writing.join().unwrap();
        assert!(seen >= 63);
    }

    #[test]
    fn one_that_reads_in_small_pieces_reads_the_same() {
        let (writer, mut reader) = ring(64, "hub");
        for number in 0..20 {
            writer.run(number, number, writer.text(&"x".repeat(number as usize + 1)));
        }
        reader.end_here();
        writer.run(99, 99, READY);
        let (mut times, mut texts, mut named) = (Vec::new(), 0, Vec::new());
        while reader.has_more() {
            let taken = reader.take_at_most(7, 50);
            assert!(taken.records.len() <= 7 && taken.texts.iter().map(|text| text.len()).sum::<usize>() < 50 + 20);
            texts += taken.texts.len();
            times.extend(taken.records.iter().map(|record| record.time));
            named.extend(taken.records.iter().map(|record| (record.detail as usize) < texts + 2));
        }
        assert_eq!(times, (0..20).collect::<Vec<_>>());
        assert!(named.into_iter().all(|is_named| is_named));
        assert!(reader.take().is_empty());
    }

    #[test]
    fn a_text_has_one_number_wherever_it_lies() {
        let (writer, mut reader) = ring(8, "hub");
        let here = writer.static_text("sleep");
        assert_eq!(here, writer.text(&String::from("sleep")));
        assert_ne!(here, writer.static_text("queue"));
        assert_eq!(here, writer.static_text("sleep"));
        assert_eq!(reader.take().texts, [Box::from("sleep"), Box::from("queue")]);
        assert!(reader.take().texts.is_empty());
    }
}
