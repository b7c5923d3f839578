//! File descriptors that work waits on.
//!
//! A source is registered once and stays registered, edge-triggered, until it is removed. Readiness is kept per
//! direction, so an operation costs no system call beyond itself:
//!
//! - *ready* means "try it": set at first and by each edge;
//! - *not ready* means "wait": set when an operation would have blocked, or when a short read emptied the buffer. It is
//!   sound to wait then, because whatever arrives later makes an edge, and edges are only seen between two pieces of
//!   work;
//! - *closed for reading* is for ever: after the peer's end no more edges come, so reading never waits again;
//! - *urgent* is for ever, too: reads stop at urgent data, so a short one no longer tells that the buffer is empty.
//!   Whatever arrives before a read either was reported with it, or is an edge that is still to be seen.
//!
//! The number that events carry has the slot in its low half and a generation in its high half. A slot that is used
//! again has another generation, so an event for a descriptor that was closed, dupped or reused wakes nobody.

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use slab::Slab;

use crate::poller::{Mode, Poller, Readiness};

/// Reading or writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Wait until it can be read.
    Read,
    /// Wait until it can be written.
    Write,
}

/// Names a registered file descriptor, among those of all pollers of the process: a key means nothing to another poller
/// than its own. Keys are not used again for 2^32 registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    slot: u32,
    generation: u32,
}

impl SourceKey {
    /// The key as one number.
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The key that [`SourceKey::to_bits`] made this number of.
    pub fn from_bits(bits: u64) -> SourceKey {
        SourceKey { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// One count for all pollers, so that a key that was left behind by a move to another OS thread fits nothing there.
static NEXT_GENERATION: AtomicU32 = AtomicU32::new(1);

/// Somebody waits on this direction of the file descriptor already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// The registered file descriptors of one poller.
pub struct Sources<W> {
    slots: Slab<Source<W>>,
    /// The newest source of each file descriptor.
    by_fd: Vec<Option<SourceKey>>,
    waiting: usize,
}

struct Source<W> {
    fd: RawFd,
    generation: u32,
    read: Side<W>,
    write: Side<W>,
    read_closed: bool,
    /// Urgent data has come once. Reads stop before and behind it, so that a short one tells nothing from then on.
    urgent: bool,
}

struct Side<W> {
    ready: bool,
    waiter: Waiter<W>,
}

enum Waiter<W> {
    None,
    /// Told once, then gone.
    Once(W),
    /// Told as long as the file descriptor is ready, by making this work anew each time.
    Listener(Box<dyn Fn() -> W>),
}

impl<W> Waiter<W> {
    fn is_none(&self) -> bool {
        matches!(self, Waiter::None)
    }

    fn listens(&self) -> bool {
        matches!(self, Waiter::Listener(_))
    }
}

impl<W> Source<W> {
    fn side(&mut self, direction: Direction) -> &mut Side<W> {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    fn mode(&self) -> Mode {
        match (self.read.waiter.listens(), self.write.waiter.listens()) {
            (false, false) => Mode::Edge,
            (read, write) => {
                Mode::Level { read: read || !self.read.waiter.is_none(), write: write || !self.write.waiter.is_none() }
            }
        }
    }
}

impl<W> Sources<W> {
    /// None.
    pub fn new() -> Sources<W> {
        Sources { slots: Slab::new(), by_fd: Vec::new(), waiting: 0 }
    }

    /// Registers a file descriptor, ready in both directions until an operation says otherwise.
    ///
    /// # Errors
    /// Those of [`Poller::add`].
    pub fn add(&mut self, poller: &Poller, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        let entry = self.slots.vacant_entry();
        let slot = u32::try_from(entry.key()).map_err(|_| io::Error::other("2^32 file descriptors are registered"))?;
        let key = SourceKey { slot, generation: NEXT_GENERATION.fetch_add(1, Ordering::Relaxed) };
        poller.add(fd, key.to_bits(), Mode::Edge)?;
        let side = || Side { ready: true, waiter: Waiter::None };
        let fd = fd.as_raw_fd();
        entry.insert(Source {
            fd,
            generation: key.generation,
            read: side(),
            write: side(),
            read_closed: false,
            urgent: false,
        });
        let index = usize::try_from(fd).expect("an open file descriptor is not negative");
        if self.by_fd.len() <= index {
            self.by_fd.resize(index + 1, None);
        }
        self.by_fd[index] = Some(key);
        Ok(key)
    }

    /// The key of this very file, if the newest source of the descriptor's number is it and not a file that was closed.
    ///
    /// # Errors
    /// Those of [`Poller::change`].
    pub fn find_open(&mut self, poller: &Poller, fd: BorrowedFd<'_>) -> io::Result<Option<SourceKey>> {
        let Some(key) = self.find(fd.as_raw_fd()) else { return Ok(None) };
        let Some(source) = self.get(key) else { return Ok(None) };
        let mode = source.mode();
        match poller.change(fd, key.to_bits(), mode) {
            Ok(()) => Ok(Some(key)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest source registered for a file descriptor's number.
    pub fn find(&self, fd: RawFd) -> Option<SourceKey> {
        *self.by_fd.get(usize::try_from(fd).ok()?)?
    }

    /// Forgets a source and returns the work that waited on it. Give `fd` while the file descriptor is open, so that
    /// the poller forgets it too; one that is closed has left the poller by itself.
    pub fn remove(&mut self, poller: &Poller, key: SourceKey, fd: Option<BorrowedFd<'_>>) -> [Option<W>; 2] {
        if self.get(key).is_none() {
            return [None, None];
        }
        let source = self.slots.remove(key.slot as usize);
        let index = usize::try_from(source.fd).expect("it was registered");
        if self.by_fd[index] == Some(key) {
            self.by_fd[index] = None;
            if let Some(fd) = fd {
                // ENOENT or EBADF: it has left by itself.
                let _ = poller.remove(fd);
            }
        }
        [source.read.waiter, source.write.waiter].map(|waiter| match waiter {
            Waiter::None => None,
            Waiter::Once(work) => {
                self.waiting -= 1;
                Some(work)
            }
            Waiter::Listener(make) => {
                self.waiting -= 1;
                Some(make())
            }
        })
    }

    /// Whether an operation in this direction is worth a try. A source that is gone is: the operation will say why.
    #[inline]
    pub fn is_ready(&mut self, key: SourceKey, direction: Direction) -> bool {
        self.get(key).is_none_or(|source| source.side(direction).ready)
    }

    /// Notes that a transfer of fewer bytes than asked for took all there was, or filled all the room. If urgent data
    /// has come, a short read proves nothing, and nothing is noted.
    #[inline]
    pub fn clear_ready(&mut self, key: SourceKey, direction: Direction) {
        if let Some(source) = self.get(key) {
            let ready = direction == Direction::Read && (source.read_closed || source.urgent);
            source.side(direction).ready = ready;
        }
    }

    /// Makes the next [`wait`](Sources::wait) wait for an edge, unless reading never blocks again.
    #[inline]
    pub fn expect_edge(&mut self, key: SourceKey, direction: Direction) {
        if let Some(source) = self.get(key) {
            let ready = direction == Direction::Read && source.read_closed;
            source.side(direction).ready = ready;
        }
    }

    /// Notes that an operation has just said that it would block. It knows better than earlier events did: an error
    /// that was reported and fetched leaves a socket that can be used again.
    #[inline]
    pub fn would_block(&mut self, key: SourceKey, direction: Direction) {
        if let Some(source) = self.get(key) {
            if direction == Direction::Read {
                source.read_closed = false;
            }
            source.side(direction).ready = false;
        }
    }

    /// Whether the source still exists.
    pub fn contains(&mut self, key: SourceKey) -> bool {
        self.get(key).is_some()
    }

    /// Puts work where the next edge finds it. Returns `false` if the source is gone or ready, so that there is nothing
    /// to wait for.
    ///
    /// # Errors
    /// [`Busy`] when somebody waits there already.
    pub fn wait(&mut self, key: SourceKey, direction: Direction, work: W) -> Result<bool, Busy> {
        let Some(source) = self.get(key) else { return Ok(false) };
        let side = source.side(direction);
        if !side.waiter.is_none() {
            return Err(Busy);
        }
        if side.ready {
            return Ok(false);
        }
        side.waiter = Waiter::Once(work);
        self.waiting += 1;
        Ok(true)
    }

    /// Takes back work that waits and was not told, if it is `mine`: a waiter that was told may leave late, when
    /// somebody else waits already.
    pub fn stop_waiting(&mut self, key: SourceKey, direction: Direction, mine: impl FnOnce(&W) -> bool) -> Option<W> {
        let side = self.get(key)?.side(direction);
        match mem::replace(&mut side.waiter, Waiter::None) {
            Waiter::Once(work) if mine(&work) => {
                self.waiting -= 1;
                Some(work)
            }
            other => {
                side.waiter = other;
                None
            }
        }
    }

    /// Sets or removes what is told, again and again, while the file descriptor is ready in a direction.
    ///
    /// # Errors
    /// Those of [`Poller::change`]; [`Busy`], as an `io::Error` of kind `ResourceBusy`, when somebody waits there
    /// already.
    pub fn listen(
        &mut self,
        poller: &Poller,
        key: SourceKey,
        fd: BorrowedFd<'_>,
        direction: Direction,
        make: Option<Box<dyn Fn() -> W>>,
    ) -> io::Result<()> {
        let Some(source) = self.get(key) else { return Ok(()) };
        let side = source.side(direction);
        let change: isize = match (&side.waiter, &make) {
            (Waiter::None, Some(_)) => 1,
            (Waiter::Listener(_), None) => -1,
            (Waiter::None, None) => return Ok(()),
            (_, _) => return Err(Busy.into()),
        };
        side.waiter = make.map_or(Waiter::None, Waiter::Listener);
        let (mode, number) = (source.mode(), key.to_bits());
        self.waiting = self.waiting.wrapping_add_signed(change);
        poller.change(fd, number, mode)
    }

    /// Takes note of an event and hands the work that it wakes to `fire`.
    pub fn report(&mut self, event: Readiness, mut fire: impl FnMut(W)) {
        let Some(source) = self.get(SourceKey::from_bits(event.number)) else { return };
        source.read_closed |= event.read_closed;
        source.urgent |= event.urgent;
        let mut told = 0;
        for (ready, side) in [(event.read, &mut source.read), (event.write, &mut source.write)] {
            if !ready {
                continue;
            }
            side.ready = true;
            match &side.waiter {
                Waiter::None => {}
                Waiter::Listener(make) => fire(make()),
                Waiter::Once(_) => {
                    if let Waiter::Once(work) = mem::replace(&mut side.waiter, Waiter::None) {
                        told += 1;
                        fire(work);
                    }
                }
            }
        }
        self.waiting -= told;
    }

    /// As if an edge had come: something was done in this very process that may end a wait, a write at the other end,
    /// say. Returns the work that waits. It may find nothing, and then waits again, for the edge. Listeners are left
    /// to the poller, which tells them the truth.
    pub fn expect(&mut self, key: SourceKey, direction: Direction) -> Option<W> {
        let side = self.get(key)?.side(direction);
        match mem::replace(&mut side.waiter, Waiter::None) {
            Waiter::Once(work) => {
                side.ready = true;
                self.waiting -= 1;
                Some(work)
            }
            other => {
                side.waiter = other;
                None
            }
        }
    }

    /// All work that waits, listeners' included.
    pub fn into_waiting(self) -> Vec<W> {
        let sides = self.slots.into_iter().flat_map(|(_, source)| [source.read.waiter, source.write.waiter]);
        sides
            .filter_map(|waiter| match waiter {
                Waiter::None => None,
                Waiter::Once(work) => Some(work),
                Waiter::Listener(make) => Some(make()),
            })
            .collect()
    }

    /// How many wait, listeners included.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// What waits once for descriptors, from a place on: the place behind, the descriptor, the direction and the work.
    pub fn waiting_from(&self, place: usize) -> impl Iterator<Item = (usize, RawFd, Direction, &W)> {
        (place..self.slots.capacity()).filter_map(|place| Some((place, self.slots.get(place)?))).flat_map(
            |(place, source)| {
                let sides = [(Direction::Read, &source.read), (Direction::Write, &source.write)];
                sides.into_iter().filter_map(move |(direction, side)| match &side.waiter {
                    Waiter::Once(work) => Some((place + 1, source.fd, direction, work)),
                    _ => None,
                })
            },
        )
    }

    /// How many file descriptors are registered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[inline]
    fn get(&mut self, key: SourceKey) -> Option<&mut Source<W>> {
        self.slots.get_mut(key.slot as usize).filter(|source| source.generation == key.generation)
    }
}

impl From<Busy> for io::Error {
    fn from(_: Busy) -> io::Error {
        io::Error::new(io::ErrorKind::ResourceBusy, Busy)
    }
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "another green thread waits in this direction of the same file descriptor already; one reader and one \
             writer at a time",
        )
    }
}

impl std::error::Error for Busy {}

impl<W> Default for Sources<W> {
    fn default() -> Sources<W> {
        Sources::new()
    }
}

impl<W> fmt::Debug for Sources<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("len", &self.len()).field("waiting", &self.waiting).finish()
    }
}
