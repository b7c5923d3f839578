//! How green threads wait for file descriptors.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use greenloom_hub::attempt::{HasSources, park_at};
use greenloom_hub::{Direction, SourceKey, Sources, Time};

use super::here;
use super::node::Wake;
use super::park::{Ticket, Waker, prepare, prepare_shielded};
use super::state::Runtime;
use super::work::Work;

impl HasSources<Work> for Runtime {
    #[inline]
    fn with_sources<R>(&self, f: impl FnOnce(&mut Sources<Work>) -> R) -> Option<R> {
        self.with_core(|core| f(core.sources()))
    }
}

impl Runtime {
    /// Registers a file descriptor with the hub.
    pub fn add_source(&self, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        let added = self.with_core(|core| core.add_source(fd)).unwrap_or_else(|| Err(ended()));
        added.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => always_ready(fd),
            _ => error,
        })
    }

    /// The registration of this very file; made if there is none. Waiters on another file that had the same number, and
    /// was closed without a word, are told so.
    pub fn find_or_add_source(&self, fd: BorrowedFd<'_>) -> io::Result<SourceKey> {
        if let Some(key) = self.with_core(|core| core.find_open(fd)).unwrap_or_else(|| Err(ended()))? {
            return Ok(key);
        }
        if let Some(stale) = self.with_core(|core| core.sources().find(fd.as_raw_fd())).flatten() {
            self.remove_source(stale, None);
        }
        self.add_source(fd)
    }

    /// Forgets what is registered under a descriptor's number and tells its waiters that it was closed. If the
    /// descriptor is still open, or its file lives on through a duplicate, the poller forgets it too, where that can be
    /// done by number.
    pub fn forget_fd(&self, number: RawFd) {
        let Some(key) = self.with_core(|core| core.sources().find(number)).flatten() else { return };
        // ENOENT or EBADF: it has left by itself, or the number is another file's.
        let _ = self.with_core(|core| greenloom_fiber::epoll_forget(core.poller().as_fd(), number));
        self.remove_source(key, None);
    }
}

/// What is said where a hub has ended.
pub(crate) fn ended() -> io::Error {
    super::error::Refused::ThreadEnding.into()
}

#[cold]
fn always_ready(fd: BorrowedFd<'_>) -> io::Error {
    let number = fd.as_raw_fd();
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "file descriptor {number} cannot be waited for: a regular file or a directory is always ready. Read or \
             write it without waiting, or, where the disk is slow, on an OS thread with greenloom::blocking::run"
        ),
    )
}

/// Parks until the source is ready, or until `deadline`; returns at once if it is ready.
pub(crate) fn wait_for(key: SourceKey, direction: Direction, deadline: Option<Time>) -> io::Result<()> {
    match park_for(prepare()?, key, direction, |ticket, what| ticket.park(what, deadline))? {
        None | Some(Wake::Woken | Wake::Interrupted) => Ok(()),
        Some(Wake::TimedOut) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, "timed out waiting for the file descriptor"))
        }
        Some(Wake::Closed) => Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "the file descriptor was closed while this green thread waited on it",
        )),
    }
}

/// As [`wait_for`], without unwinding; `None` if the source is ready or gone.
pub(crate) fn wait_quietly(key: SourceKey, direction: Direction, deadline: Option<Time>) -> io::Result<Option<Wake>> {
    park_for(prepare_shielded()?, key, direction, |ticket, what| ticket.park_quietly(what, deadline))
}

#[inline]
fn park_for(
    ticket: Ticket,
    key: SourceKey,
    direction: Direction,
    park: impl FnOnce(Ticket, &'static str) -> Wake,
) -> io::Result<Option<Wake>> {
    let Waker { slot, ticket: number, .. } = ticket.waker();
    let mine = |work: &Work| matches!(work, Work::Wake { ticket, .. } if *ticket == number);
    let what = if direction == Direction::Read { "readable fd" } else { "writable fd" };
    let work = Work::Wake { slot, ticket: number };
    Ok(park_at(here(), (key, direction), work, mine, || park(ticket, what), |wake| *wake == Wake::Woken)?)
}
