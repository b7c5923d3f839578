//! A file descriptor with its registration, and the one loop in which green I/O waits: try, and on `WouldBlock` wait.
//!
//! Nothing is registered until an operation would have blocked; then it is once, edge-triggered, and stays so. From
//! then on the hub keeps the readiness, so that an operation known to block is not tried (see
//! [`greenloom_hub::Sources`]).
//!
//! Reading and writing each have a registration, which is the same one as long as both happen on one hub. When a
//! direction is used from another OS thread, it moves to the hub there. Keys fit one hub only, so a hub sees by the key
//! alone whether the source is its own; this holds in the child of a fork, too, whose hub begins with no sources.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use greenloom_hub::attempt::{Endpoint, Transfer, Tried, attempt};
use greenloom_hub::{Direction, SourceKey, TURN_EVERY, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::runtime::fd::{ended, wait_for};
use crate::runtime::park::prepare;
use crate::runtime::registry::{self, Message};
use crate::runtime::work::Work;
use crate::runtime::{here, try_here};
use crate::sleep::yield_now;

/// No key has these bits: there is no such slot.
const UNREGISTERED: u64 = u64::MAX - 1;
const CLOSED: u64 = u64::MAX;

pub(crate) struct Source<T: AsFd> {
    /// Gone only while `into_inner` takes it out.
    inner: Option<T>,
    /// The bits of each direction's key. Written under the lock of `homes`.
    keys: [AtomicU64; 2],
    /// The number of the hub at which each direction is registered.
    homes: Mutex<[u32; 2]>,
    /// In nanoseconds; 0 for none.
    timeouts: [AtomicU64; 2],
}

/// A stream inside of a [`Source`].
pub(crate) trait Stream: AsFd {
    const SHORT: Short;
}

/// What a transfer of fewer bytes than asked for tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// That the next one would block, as far as [`Transfer`] and the source agree: TCP.
    MeansBlocking,
    /// Nothing. A Unix socket also stops at passed file descriptors, a pipe at the end of a packet, and a terminal
    /// after a line.
    MeansNothing,
}

impl<T: AsFd> Source<T> {
    /// `inner` must not block.
    pub fn new(inner: T) -> Source<T> {
        Source {
            inner: Some(inner),
            keys: [const { AtomicU64::new(UNREGISTERED) }; 2],
            homes: Mutex::new([0; 2]),
            timeouts: [const { AtomicU64::new(0) }; 2],
        }
    }

    #[inline]
    pub fn inner(&self) -> &T {
        self.inner.as_ref().expect("only into_inner takes it out, and that consumes the source")
    }

    /// Deregisters it and gives it back, still non-blocking.
    pub fn into_inner(mut self) -> T {
        self.deregister(UNREGISTERED);
        self.inner.take().expect("nobody has taken it before")
    }

    /// Deregisters it for ever: present and later waiters get an error.
    pub fn close(&self) {
        self.deregister(CLOSED);
    }

    pub fn is_closed(&self) -> bool {
        self.keys[0].load(Ordering::Relaxed) == CLOSED
    }

    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        match self.timeouts[direction as usize].load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    pub fn set_timeout(&self, direction: Direction, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero; None means no timeout"));
        }
        let nanos = timeout.map_or(0, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.timeouts[direction as usize].store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// Tries `operation` until it does not block any more, and parks between the tries.
    #[inline]
    pub fn retry<R>(&self, direction: Direction, mut operation: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        count_operation();
        attempt(&Side { source: self, direction }, || match operation(self.inner()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Tried::WouldBlock,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Tried::Interrupted,
            result => Tried::Done(result),
        })?
    }

    /// Tries to receive a datagram as [`Source::retry`] does. Once the socket is shut down for reading there is none,
    /// and `end` says so: the system tells that to calls that wait, which these do not.
    pub fn receive<R>(
        &self,
        mut operation: impl FnMut(&T) -> io::Result<R>,
        end: impl Fn() -> io::Result<R>,
    ) -> io::Result<R> {
        self.retry(Direction::Read, |inner| match operation(inner) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_shut_down(inner.as_fd()) => end(),
            done => done,
        })
    }

    /// For `select`: leaves `work` where the next edge finds it; returns whether an operation would not block now, so
    /// that there is nothing to wait for.
    pub fn begin_waiting(&self, direction: Direction, work: Work) -> io::Result<bool> {
        let events = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        let mut fds = [PollFd::new(self.inner(), events)];
        if self.is_closed() || !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(0)) {
            return Ok(true);
        }
        let key = self.registered(direction)?;
        let waits = here().with_core(|core| {
            core.sources().would_block(key, direction);
            core.sources().wait(key, direction, work)
        });
        Ok(!waits.ok_or_else(ended)??)
    }

    /// For `select`: takes the work back that this ticket belongs to, if it is still there.
    pub fn stop_waiting(&self, direction: Direction, ticket: u64) {
        let mine = |work: &Work| matches!(work, Work::Choice { ticket: other, .. } if *other == ticket);
        let key = self.key(direction);
        // Dropped outside of the borrow.
        let _work = here().with_core(|core| core.sources().stop_waiting(key, direction, mine));
    }

    #[inline]
    fn key(&self, direction: Direction) -> SourceKey {
        SourceKey::from_bits(self.keys[direction as usize].load(Ordering::Relaxed))
    }

    /// The key at this OS thread's hub.
    #[inline]
    fn registered(&self, direction: Direction) -> io::Result<SourceKey> {
        let key = self.key(direction);
        let runtime = here();
        runtime.renew_after_fork();
        let here = runtime.with_core(|core| core.sources().contains(key));
        if here == Some(true) { Ok(key) } else { self.register(direction) }
    }

    /// Registers a direction, whose operation has just been refused, at this OS thread's hub.
    #[cold]
    fn register(&self, direction: Direction) -> io::Result<SourceKey> {
        let mut homes = self.homes();
        let old = self.key(direction);
        if old.to_bits() == CLOSED {
            return Err(closed());
        }
        let other = self.key(opposite(direction));
        let runtime = here();
        let home = std::mem::replace(&mut homes[direction as usize], runtime.id());
        if old.to_bits() != UNREGISTERED && old != other {
            // A hub that is gone has forgotten it.
            let _ = registry::send(home, Message::RemoveSource(old));
        }
        let shared = runtime.with_core(|core| core.sources().contains(other)) == Some(true);
        let key = if shared { other } else { runtime.add_source(self.inner().as_fd())? };
        // If it has become ready since, the poller says so at its next turn: it looks when it registers.
        runtime.with_core(|core| core.sources().would_block(key, direction));
        self.keys[direction as usize].store(key.to_bits(), Ordering::Relaxed);
        Ok(key)
    }

    /// Ends directions of a socket, and lets who waits there try again: of a Unix socket whose buffer is full, no event
    /// tells that nothing can be written any more.
    pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        use std::net::Shutdown::{Both, Read, Write};
        let how = match how {
            Read => rustix::net::Shutdown::Read,
            Write => rustix::net::Shutdown::Write,
            Both => rustix::net::Shutdown::Both,
        };
        rustix::net::shutdown(self.inner(), how)?;
        let homes = *self.homes();
        for direction in [Direction::Read, Direction::Write] {
            rouse(homes[direction as usize], self.key(direction), direction);
        }
        Ok(())
    }

    fn deregister(&self, mark: u64) {
        let homes = self.homes();
        let [read, write] = [0, 1].map(|direction| self.keys[direction].swap(mark, Ordering::Relaxed));
        remove(homes[0], read, self.inner().as_fd());
        if write != read {
            remove(homes[1], write, self.inner().as_fd());
        }
    }

    fn homes(&self) -> MutexGuard<'_, [u32; 2]> {
        // Numbers are whole at any time.
        self.homes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Stream> Source<T> {
    #[inline]
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize>
    where
        for<'a> &'a T: Read,
    {
        let transfer = Transfer::of(buf.len());
        self.transfer(Direction::Read, transfer, |mut inner| inner.read(buf))
    }

    pub fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>
    where
        for<'a> &'a T: Read,
    {
        let transfer = Transfer::of_all(bufs.iter().map(|buf| buf.len()));
        self.transfer(Direction::Read, transfer, |mut inner| inner.read_vectored(bufs))
    }

    #[inline]
    pub fn write(&self, buf: &[u8]) -> io::Result<usize>
    where
        for<'a> &'a T: Write,
    {
        self.transfer(Direction::Write, Transfer::of(buf.len()), |mut inner| inner.write(buf))
    }

    pub fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>
    where
        for<'a> &'a T: Write,
    {
        let transfer = Transfer::of_all(bufs.iter().map(|buf| buf.len()));
        self.transfer(Direction::Write, transfer, |mut inner| inner.write_vectored(bufs))
    }

    #[inline]
    fn transfer(
        &self,
        direction: Direction,
        transfer: Transfer,
        operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if transfer.is_empty() {
            return if self.is_closed() { Err(closed()) } else { Ok(0) };
        }
        let done = self.retry(direction, operation)?;
        if T::SHORT == Short::MeansBlocking && transfer.proves_blocking(done) {
            let key = self.key(direction);
            here().with_core(|core| core.sources().clear_ready(key, direction));
        }
        Ok(done)
    }
}

/// One direction of a source, whose operation is attempted.
struct Side<'a, T: AsFd> {
    source: &'a Source<T>,
    direction: Direction,
}

impl<T: AsFd> Endpoint for Side<'_, T> {
    type Error = io::Error;

    #[inline]
    fn is_ready(&self) -> io::Result<bool> {
        let key = self.source.key(self.direction);
        if key.to_bits() == CLOSED {
            return Err(closed());
        }
        // Where the hub has ended, an operation can still be tried.
        Ok(here().with_core(|core| core.sources().is_ready(key, self.direction)).unwrap_or(true))
    }

    #[inline]
    fn would_block(&self) {
        let key = self.source.key(self.direction);
        here().with_core(|core| core.sources().would_block(key, self.direction));
    }

    fn deadline(&self) -> Option<Time> {
        self.source.timeout(self.direction).map(|timeout| here().now() + timeout)
    }

    #[inline]
    fn wait(&self, deadline: Option<Time>) -> io::Result<()> {
        let key = self.source.registered(self.direction)?;
        OPERATIONS.set(0);
        wait_for(key, self.direction, deadline)
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        // Before the descriptor closes, so that its number is free of us when it is used again.
        if self.inner.is_some() {
            self.deregister(CLOSED);
        }
    }
}

impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner().as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Whether a datagram socket was shut down for reading.
fn is_shut_down(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::RDHUP)];
    matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1)) && fds[0].revents().contains(PollFlags::RDHUP)
}

fn remove(home: u32, key: u64, fd: BorrowedFd<'_>) {
    if matches!(key, UNREGISTERED | CLOSED) {
        return;
    }
    let key = SourceKey::from_bits(key);
    match try_here() {
        Some(runtime) if runtime.id() == home => runtime.remove_source(key, Some(fd)),
        // A hub that is gone has forgotten it.
        _ => drop(registry::send(home, Message::RemoveSource(key))),
    }
}

fn rouse(home: u32, key: SourceKey, direction: Direction) {
    match try_here() {
        Some(runtime) if runtime.id() == home => runtime.rouse_source(key, direction),
        // Nobody waits at a hub that is gone.
        _ => drop(registry::send(home, Message::RouseSource(key, direction))),
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Read => Direction::Write,
        Direction::Write => Direction::Read,
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "it was closed by this program")
}

thread_local! {
    /// Operations since one last waited.
    static OPERATIONS: Cell<u32> = const { Cell::new(0) };
}

/// One whose operations never block would keep everybody else from running, so it gives way now and then: before it
/// does anything, because a kill or a timeout may end it here.
#[inline]
fn count_operation() {
    let operations = OPERATIONS.get() + 1;
    OPERATIONS.set(operations);
    if operations > TURN_EVERY {
        give_way();
    }
}

#[cold]
fn give_way() {
    OPERATIONS.set(0);
    // Where parking is refused there is nobody to give way to.
    if prepare().is_ok() {
        here().turn_soon();
        yield_now();
    }
}
