//! One event, packed into two words, so that a ring of them can be read while it is written.
//!
//! ```text
//! word 0   time in nanoseconds, 56 bits: two years  | kind, 8 bits
//! word 1   thread, 32 bits                          | detail, 32 bits
//! ```
//!
//! Who runs is not said again with each event: what happens is done by the one that the last [`Kind::Run`] named.

/// A text by its number, which [`Writer::text`](crate::Writer::text) gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub(crate) u32);

/// Why somebody no longer runs: it gave way, and is ready to go on.
pub const READY: Text = Text(0);
/// Why somebody no longer runs: it has ended.
pub const ENDED: Text = Text(1);

/// How many texts have a meaning of their own.
pub(crate) const RESERVED: u32 = 2;

/// Who woke a waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wake {
    /// The one that runs.
    Thread,
    /// A timer.
    Timer,
    /// A file descriptor that became ready, or was closed.
    Io,
    /// Another OS thread.
    Elsewhere,
}

/// What kind of event a [`Record`] is, and what its `thread` and `detail` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `thread` runs from now on. `detail` is the [`Text`] of what the one before waits for, [`READY`] or [`ENDED`].
    Run,
    /// `thread` was made by the running one; `detail` is the [`Text`] of its name.
    Spawn,
    /// `thread` was there when recording began, with the name `detail`. [`Kind::Waits`] may follow.
    Exists,
    /// `thread`, which does not run, has been waiting for `detail`, a [`Text`].
    Waits,
    /// `thread` is ready again; `detail` is a [`Wake`].
    Wake,
    /// A timer fired, `detail` microseconds late.
    TimerLag,
    /// The blocking call of `thread` was in line for `detail` microseconds before an OS thread took it.
    BlockingQueued,
    /// The blocking call of `thread` ran for `detail` microseconds, until now.
    BlockingRan,
    /// The hub waited for the interpreter's lock for `detail` microseconds, until now.
    LockWait,
    /// The hub begins to wait for timers and I/O.
    Idle,
    /// It has waited.
    Busy,
    /// What ran last, until now, ran in the frames of `detail`, a [`Text`]: outermost first, with `;` between them.
    Stack,
}

const KINDS: [Kind; 12] = [
    Kind::Run,
    Kind::Spawn,
    Kind::Exists,
    Kind::Waits,
    Kind::Wake,
    Kind::TimerLag,
    Kind::BlockingQueued,
    Kind::BlockingRan,
    Kind::LockWait,
    Kind::Idle,
    Kind::Busy,
    Kind::Stack,
];

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Nanoseconds since recording began.
    pub time: u64,
    /// What happened.
    pub kind: Kind,
    /// To whom: the lower half of its number.
    pub thread: u32,
    /// See [`Kind`].
    pub detail: u32,
}

impl Kind {
    /// Its number, by which others may know it.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kind with a number.
    pub fn from_number(number: u8) -> Option<Kind> {
        KINDS.get(usize::from(number)).copied()
    }
}

impl Record {
    /// As two words.
    #[inline]
    pub fn pack(self) -> [u64; 2] {
        [self.time << 8 | self.kind as u64, u64::from(self.thread) << 32 | u64::from(self.detail)]
    }

    /// From two words; `None` of words that [`Record::pack`] did not make.
    #[inline]
    pub fn unpack([first, second]: [u64; 2]) -> Option<Record> {
        let kind = Kind::from_number(first as u8)?;
        Some(Record { time: first >> 8, kind, thread: (second >> 32) as u32, detail: second as u32 })
    }
}

impl Wake {
    pub(crate) fn from_detail(detail: u32) -> Wake {
        match detail {
            0 => Wake::Thread,
            1 => Wake::Timer,
            2 => Wake::Io,
            _ => Wake::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_from_its_words() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
            let record = Record { time: (1 << 56) - 1, kind, thread: u32::MAX, detail: 7 };
            assert_eq!(Record::unpack(record.pack()), Some(record));
        }
        assert_eq!(Record::unpack([0xff, 0]), None);
    }
}
