//! A file descriptor with its registration, and the one loop in which green I/O waits: try, and on `WouldBlock` wait.
//!
//! Nothing is registered until an operation would have blocked; then it is once, edge-triggered, and stays so. From then
//! on the hub keeps the readiness, so that an operation known to block is not tried (see [`hub::Sources`]).
//!
//! Reading and writing each have a registration, which is the same one as long as both happen on one hub. When a
//! direction is used from another OS thread, it moves to the hub there. Keys fit one hub only, so a hub sees by the key
//! alone whether the source is its own; this holds in the child of a fork, too, whose hub begins with no sources.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub::{Direction, SourceKey, TURN_EVERY};

use crate::hub::{Message, State, send_message, wait_for, with_hub};
use crate::park::prepare;
use crate::thread::yield_now;

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
    /// Whether a transfer of fewer bytes than asked for tells that the kernel's buffer is empty, or full. A Unix socket also
    /// stops at passed file descriptors, and a terminal after a line.
    const SHORT_MEANS_WAIT: bool;
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

    /// Deregisters it for ever: who waits, and whoever comes later, gets an error.
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
        let mut deadline = None;
        loop {
            if self.is_ready(direction)? {
                match operation(self.inner()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.would_block(direction),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => return result,
                }
            }
            if deadline.is_none()
                && let Some(timeout) = self.timeout(direction)
            {
                deadline = Some(with_hub(|hub| hub.now()) + timeout);
            }
            let key = self.registered(direction)?;
            OPERATIONS.set(0);
            wait_for(key, direction, deadline)?;
        }
    }

    #[inline]
    fn key(&self, direction: Direction) -> SourceKey {
        SourceKey::from_bits(self.keys[direction as usize].load(Ordering::Relaxed))
    }

    /// Whether an operation is worth a try, as far as this hub knows.
    #[inline]
    fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        let key = self.key(direction);
        if key.to_bits() == CLOSED {
            return Err(closed());
        }
        Ok(with_hub(|hub| hub.with_core(|core| core.sources().is_ready(key, direction))))
    }

    #[inline]
    fn clear_ready(&self, direction: Direction) {
        let key = self.key(direction);
        with_hub(|hub| hub.with_core(|core| core.sources().clear_ready(key, direction)));
    }

    #[inline]
    fn would_block(&self, direction: Direction) {
        let key = self.key(direction);
        with_hub(|hub| hub.with_core(|core| core.sources().would_block(key, direction)));
    }

    /// The key at this OS thread's hub.
    #[inline]
    fn registered(&self, direction: Direction) -> io::Result<SourceKey> {
        let key = self.key(direction);
        let here = with_hub(|hub| {
            hub.renew_after_fork();
            hub.with_core(|core| core.sources().contains(key))
        });
        if here { Ok(key) } else { self.register(direction) }
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
        let key = with_hub(|hub| {
            let home = std::mem::replace(&mut homes[direction as usize], hub.id());
            if old.to_bits() != UNREGISTERED && old != other {
                // A hub that is gone has forgotten it.
                let _ = send_message(home, Message::RemoveSource(old));
            }
            hub.with_core(|core| {
                let key = if core.sources().contains(other) { other } else { core.add_source(self.inner().as_fd())? };
                // If it has become ready since, the poller says so at its next turn: it looks when it registers.
                core.sources().would_block(key, direction);
                Ok::<_, io::Error>(key)
            })
        })?;
        self.keys[direction as usize].store(key.to_bits(), Ordering::Relaxed);
        Ok(key)
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
        let wanted = buf.len();
        self.transfer(Direction::Read, wanted, |mut inner| inner.read(buf))
    }

    pub fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>
    where
        for<'a> &'a T: Read,
    {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.transfer(Direction::Read, wanted, |mut inner| inner.read_vectored(bufs))
    }

    #[inline]
    pub fn write(&self, buf: &[u8]) -> io::Result<usize>
    where
        for<'a> &'a T: Write,
    {
        self.transfer(Direction::Write, buf.len(), |mut inner| inner.write(buf))
    }

    pub fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize>
    where
        for<'a> &'a T: Write,
    {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.transfer(Direction::Write, wanted, |mut inner| inner.write_vectored(bufs))
    }

    #[inline]
    fn transfer(
        &self,
        direction: Direction,
        wanted: usize,
        operation: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let done = self.retry(direction, operation)?;
        // None at all is the end, or was asked for.
        if T::SHORT_MEANS_WAIT && 0 < done && done < wanted {
            self.clear_ready(direction);
        }
        Ok(done)
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

fn remove(home: u32, key: u64, fd: BorrowedFd<'_>) {
    if matches!(key, UNREGISTERED | CLOSED) {
        return;
    }
    let key = SourceKey::from_bits(key);
    let here = State::try_with(|hub| {
        let here = hub.id() == home;
        if here {
            hub.remove_source(key, Some(fd));
        }
        here
    });
    if here != Some(true) {
        // A hub that is gone has forgotten it.
        let _ = send_message(home, Message::RemoveSource(key));
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

/// One whose operations never block would keep everybody else from running, so it gives way now and then: before it does
/// anything, because a kill or a timeout may end it here.
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
        with_hub(|hub| hub.turn_soon());
        yield_now();
    }
}

/// What all types of green I/O have, for one with a field `source: Source<$std>`; then what is named after the colon.
macro_rules! io_type {
    ($type:ident($std:ty): $($more:ident)*) => {
        impl $type {
            /// Takes over what std opened, and makes it non-blocking.
            ///
            /// # Errors
            /// Those of `ioctl`.
            pub fn from_std(std: $std) -> std::io::Result<$type> {
                rustix::io::ioctl_fionbio(&std, true)?;
                Ok($type { source: $crate::net::source::Source::new(std) })
            }

            /// Gives it to std, blocking, as std's users expect. Clones of it block from then on, too.
            ///
            /// # Errors
            /// Those of `ioctl`.
            pub fn into_std(self) -> std::io::Result<$std> {
                let std = self.source.into_inner();
                rustix::io::ioctl_fionbio(&std, false)?;
                Ok(std)
            }

            /// It as std's type, for what has no method here. It is non-blocking, and must stay so.
            pub fn as_std(&self) -> &$std {
                self.source.inner()
            }

            /// Another handle of the same, with its own timeouts and its own registration.
            ///
            /// # Errors
            /// Those of `fcntl`: too many open files.
            pub fn try_clone(&self) -> std::io::Result<$type> {
                Ok($type { source: $crate::net::source::Source::new(self.as_std().try_clone()?) })
            }

            /// Closes it while others may hold references to it: whoever waits on it gets an error of kind `NotConnected`
            /// at once, and so does everyone later. A socket is shut down; the descriptor itself goes with the drop.
            pub fn close(&self) {
                self.source.close();
                // It fails for what is no socket or not connected any more.
                let _ = rustix::net::shutdown(self, rustix::net::Shutdown::Both);
            }

            /// Whether this program has closed it.
            pub fn is_closed(&self) -> bool {
                self.source.is_closed()
            }
        }

        impl std::os::fd::AsFd for $type {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&self.source)
            }
        }

        impl std::os::fd::AsRawFd for $type {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(self))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.source.fmt(f)
            }
        }

        $($crate::net::source::io_type!(@$more $type);)*
    };
    (@Read $type:ident) => {
        $crate::net::source::io_type!(@ReadFor $type);
        $crate::net::source::io_type!(@ReadFor &$type);
        $crate::net::source::io_type!(@Timeout $type, Direction::Read, read_timeout, set_read_timeout, "read");
    };
    (@Write $type:ident) => {
        $crate::net::source::io_type!(@WriteFor $type);
        $crate::net::source::io_type!(@WriteFor &$type);
        $crate::net::source::io_type!(@Timeout $type, Direction::Write, write_timeout, set_write_timeout, "write");
    };
    (@Datagrams $type:ident) => {
        $crate::net::source::io_type!(@Timeout $type, Direction::Read, read_timeout, set_read_timeout, "receive");
        $crate::net::source::io_type!(@Timeout $type, Direction::Write, write_timeout, set_write_timeout, "send");

        impl $type {
            /// Sends a datagram to the peer it is connected to. Parks while there is no room for it.
            ///
            /// # Errors
            /// Those of `send`: `NotConnected`, `ConnectionRefused` when the peer said so of an earlier one; `TimedOut`.
            pub fn send(&self, datagram: &[u8]) -> std::io::Result<usize> {
                self.source.retry(Direction::Write, |socket| socket.send(datagram))
            }

            /// Receives a datagram and returns its length. Parks until there is one. What does not fit is lost.
            ///
            /// # Errors
            /// Those of `recv`: `ConnectionRefused` when the peer said so of an earlier one; `TimedOut`.
            pub fn recv(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.retry(Direction::Read, |socket| socket.recv(buf))
            }

            /// Ends reading, writing or both.
            ///
            /// # Errors
            /// `NotConnected`.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                $crate::net::source::shutdown(self, how)
            }
        }
    };
    (@Accept $type:ident) => {
        $crate::net::source::io_type!(@Timeout $type, Direction::Read, timeout, set_timeout, "accept");
    };
    (@Split $type:ident) => {
        impl $type {
            /// Ends reading, writing or both. The peer then reads the end.
            ///
            /// # Errors
            /// `NotConnected`.
            pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                $crate::net::source::shutdown(self, how)
            }

            /// The pending error, taken (`SO_ERROR`).
            ///
            /// # Errors
            /// Those of `getsockopt`.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.as_std().take_error()
            }

            /// Halves that borrow the stream, to tell its reader from its writer.
            pub fn split(&self) -> ($crate::net::ReadHalf<'_, Self>, $crate::net::WriteHalf<'_, Self>) {
                $crate::net::split::split(self)
            }

            /// Halves that share the stream, for two green threads, which may be on two hubs. The write half's drop ends
            /// writing.
            ///
            /// ```
            /// use greenloom::net::UnixStream;
            /// use std::io::{Read, Write};
            ///
            /// let (ours, theirs) = UnixStream::pair()?;
            /// let (mut reader, mut writer) = ours.into_split();
            /// let echo = greenloom::spawn(move || std::io::copy(&mut &theirs, &mut &theirs));
            /// greenloom::spawn(move || writer.write_all(b"there and back"));
            /// let mut text = String::new();
            /// reader.read_to_string(&mut text)?;
            /// assert_eq!(text, "there and back");
            /// assert_eq!(echo.wait().unwrap()?, 14);
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn into_split(self) -> ($crate::net::OwnedReadHalf<Self>, $crate::net::OwnedWriteHalf<Self>) {
                $crate::net::split::into_split(self)
            }
        }

        impl $crate::net::Split for $type {
            fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
                self.shutdown(how)
            }
        }
    };
    (@Timeout $type:ident, $direction:expr, $get:ident, $set:ident, $what:literal) => {
        impl $type {
            #[doc = concat!("The longest that one ", $what, " waits.")]
            pub fn $get(&self) -> Option<std::time::Duration> {
                self.source.timeout($direction)
            }

            #[doc = concat!(
                "Sets the longest that one ", $what, " waits before it fails as `TimedOut`; it can be tried again. `None`, the default: for ever."
            )]
            ///
            /// # Errors
            /// `InvalidInput` for a timeout of zero.
            pub fn $set(&self, timeout: Option<std::time::Duration>) -> std::io::Result<()> {
                self.source.set_timeout($direction, timeout)
            }
        }
    };
    (@ReadFor $type:ty) => {
        impl std::io::Read for $type {
            #[inline]
            fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
                self.source.read(buf)
            }

            fn read_vectored(&mut self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
                self.source.read_vectored(bufs)
            }
        }
    };
    (@WriteFor $type:ty) => {
        impl std::io::Write for $type {
            #[inline]
            fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
                self.source.write(buf)
            }

            fn write_vectored(&mut self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
                self.source.write_vectored(bufs)
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
    };
}
pub(crate) use io_type;

pub(crate) fn shutdown(socket: impl AsFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => rustix::net::Shutdown::Read,
        Shutdown::Write => rustix::net::Shutdown::Write,
        Shutdown::Both => rustix::net::Shutdown::Both,
    };
    Ok(rustix::net::shutdown(socket, how)?)
}
