//! Waiting for readiness: epoll and an eventfd as the bell.
//!
//! This file is the backend. One for another system is another file with the same functions: `new`, `add`, `change`,
//! `remove`, `wait`, `bell`; and what the child of a fork inherits is closed, used and rung by number only if it is
//! provably ours.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

/// The slot of the number under which events of the bell arrive; sources never have it.
const BELL: u64 = u32::MAX as u64;

/// Whether events with this number are those of a bell.
fn is_bell(number: u64) -> bool {
    number & BELL == BELL
}

static NEXT_MARK: AtomicU32 = AtomicU32::new(0);

const MILLISECOND: Duration = Duration::from_millis(1);

/// How events are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Once for each change, in both directions.
    Edge,
    /// Again and again, as long as the file descriptor is ready in the directions named.
    Level {
        /// Whether to report that it can be read.
        read: bool,
        /// Whether to report that it can be written.
        write: bool,
    },
}

impl Mode {
    fn flags(self) -> EventFlags {
        match self {
            Mode::Edge => EventFlags::IN | EventFlags::PRI | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET,
            Mode::Level { read, write } => {
                let mut flags = EventFlags::empty();
                flags.set(EventFlags::IN | EventFlags::RDHUP, read);
                flags.set(EventFlags::OUT, write);
                flags
            }
        }
    }
}

/// What happened to a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The number the source was added with.
    pub number: u64,
    /// It can be read, or would report an error or the end.
    pub read: bool,
    /// It can be written, or would report an error.
    pub write: bool,
    /// Nothing more will arrive: the peer has shut down its side, or there is an error. Reading does not block any
    /// more.
    pub read_closed: bool,
    /// There is urgent data, at which reads stop. Only in [`Mode::Edge`].
    pub urgent: bool,
}

/// An epoll instance.
///
/// Once its numbers may be other files' — in the child of a fork, which inherits them, and after [`Poller::doubt`] —
/// its descriptors are closed only if they are provably still its own: the program may have closed them by their
/// numbers and opened something else there. What cannot be proven is left open; better a descriptor too many than
/// somebody else's file closed.
pub struct Poller {
    /// Gone only once it was dropped.
    epoll: Option<OwnedFd>,
    bell: Arc<Bell>,
    /// The number of the bell's events: no other poller has it.
    mark: u64,
}

/// What ends a wait.
struct Bell {
    /// Gone once the child of a fork has closed it, though others may still hold the bell.
    fd: Mutex<Option<OwnedFd>>,
    process: Pid,
    /// Its number may be another file's now.
    doubted: AtomicBool,
}

impl Bell {
    fn is_surely_ours(&self) -> bool {
        self.process == getpid() && !self.doubted.load(Ordering::Relaxed)
    }

    fn ring(&self) {
        if !self.is_surely_ours() {
            // The child of a fork, or closed by its number: nobody waits here, and that may be another file's.
            return;
        }
        if let Some(fd) = &*self.fd.lock().unwrap_or_else(PoisonError::into_inner) {
            // EAGAIN means that the counter is at its maximum, and rung.
            let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        if !self.is_surely_ours() {
            leak(self.fd.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        if !self.bell.is_surely_ours() && self.close_proven().is_none() {
            leak(self.epoll.take());
        }
    }
}

/// Forgets a descriptor without closing it.
fn leak(fd: Option<OwnedFd>) {
    let _ = fd.map(IntoRawFd::into_raw_fd);
}

/// What a wait brought.
pub struct Events(Vec<epoll::Event>);

impl Events {
    /// Room for what one wait brings.
    pub fn new() -> Events {
        Events(Vec::with_capacity(256))
    }

    /// The events, but for the bell's.
    pub fn iter(&self) -> impl Iterator<Item = Readiness> + '_ {
        self.0.iter().filter_map(|event| {
            let (number, flags) = (event.data.u64(), event.flags);
            if is_bell(number) {
                // Edge-triggered: the counter need not be read.
                return None;
            }
            let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            Some(Readiness {
                number,
                read: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                write: broken || flags.contains(EventFlags::OUT),
                read_closed: broken || flags.contains(EventFlags::RDHUP),
                urgent: flags.contains(EventFlags::PRI),
            })
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Default for Events {
    fn default() -> Events {
        Events::new()
    }
}

impl Poller {
    /// A poller with nothing in it.
    ///
    /// # Errors
    /// Those of `epoll_create1` and `eventfd`, such as too many open files.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mark = u64::from(NEXT_MARK.fetch_add(1, Ordering::Relaxed)) << 32 | BELL;
        epoll::add(&epoll, &bell, EventData::new_u64(mark), EventFlags::IN | EventFlags::ET)?;
        let bell = Bell { fd: Mutex::new(Some(bell)), process: getpid(), doubted: AtomicBool::new(false) };
        Ok(Poller { epoll: Some(epoll), bell: Arc::new(bell), mark })
    }

    /// Whether its number is still that of the epoll instance. A program may close descriptors that it does not know,
    /// with `closerange` say.
    #[cold]
    pub fn is_intact(&self) -> bool {
        let bell = self.bell.fd.lock().unwrap_or_else(PoisonError::into_inner);
        bell.as_ref().is_some_and(|bell| self.holds(bell))
    }

    /// Its numbers may be other files' now: from here on they are used and closed only if they are provably its own.
    pub fn doubt(&self) {
        self.bell.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether the system's account of the epoll instance shows our mark beside the bell's number.
    fn holds(&self, bell: &OwnedFd) -> bool {
        let number = bell.as_raw_fd();
        let epoll = self.epoll().as_raw_fd();
        let Ok(account) = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")) else { return false };
        account.lines().any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            matches!(words[..], ["tfd:", tfd, "events:", _, "data:", mark, ..]
                if tfd.parse() == Ok(number) && u64::from_str_radix(mark, 16) == Ok(self.mark))
        })
    }

    /// Closes what is provably its own; `None` if the epoll instance is not. To add the bell again fails with `EEXIST`
    /// if, and only if, its number's file is the one that is in.
    #[cold]
    fn close_proven(&mut self) -> Option<()> {
        let fd = Arc::clone(&self.bell);
        // Whoever held it when the process was forked is not here to let it go.
        let mut bell = fd.fd.try_lock().ok()?;
        self.holds(bell.as_ref()?).then_some(())?;
        let epoll = self.epoll.take()?;
        match epoll::add(&epoll, bell.as_ref()?, EventData::new_u64(self.mark), EventFlags::empty()) {
            Err(Errno::EXIST) => drop(bell.take()),
            // Another file has the number now. It was in for a moment, asking for nothing.
            Ok(()) => drop(epoll::delete(&epoll, bell.as_ref()?)),
            Err(_) => {}
        }
        Some(())
    }

    fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_ref().expect("only its drop takes it").as_fd()
    }

    /// Adds a file descriptor; events carry `number`. One that is in already gets the new number and mode.
    ///
    /// # Errors
    /// Those of `epoll_ctl`: `EPERM` for a file that is always ready, such as a regular one; `ENOSPC` and `ENOMEM`.
    pub fn add(&self, fd: BorrowedFd<'_>, number: u64, mode: Mode) -> io::Result<()> {
        match epoll::add(self.epoll(), fd, EventData::new_u64(number), mode.flags()) {
            Err(Errno::EXIST) => self.change(fd, number, mode),
            result => Ok(result?),
        }
    }

    /// Changes how a file descriptor that is in is reported.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn change(&self, fd: BorrowedFd<'_>, number: u64, mode: Mode) -> io::Result<()> {
        Ok(epoll::modify(self.epoll(), fd, EventData::new_u64(number), mode.flags())?)
    }

    /// Removes a file descriptor.
    ///
    /// # Errors
    /// Those of `epoll_ctl`: `ENOENT` if it is not in.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        if self.bell.process != getpid() {
            // The child of a fork shares its parent's epoll instance: the parent goes on watching.
            return Ok(());
        }
        Ok(epoll::delete(self.epoll(), fd)?)
    }

    /// Waits for events, at most `timeout` (`None`: as long as it takes), and puts them into `events` in place of what
    /// was there. A signal ends the wait early, and it may end up to a millisecond early by itself; it never ends late.
    /// Returns whether a signal ended it.
    ///
    /// # Errors
    /// Those of `epoll_wait` and `ppoll` but for `EINTR`.
    pub fn wait(&self, timeout: Option<Duration>, events: &mut Events) -> io::Result<bool> {
        events.0.clear();
        let mut by_signal = false;
        let timeout = match timeout {
            // epoll_wait counts in milliseconds (epoll_pwait2 needs Linux 5.11). The rest is waited for with ppoll.
            Some(rest) if !rest.is_zero() && rest < MILLISECOND => {
                let mut epoll = [PollFd::from_borrowed_fd(self.epoll(), PollFlags::IN)];
                match poll(&mut epoll, Some(&Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() })) {
                    Ok(_) => {}
                    Err(Errno::INTR) => by_signal = true,
                    Err(error) => return Err(error.into()),
                }
                Some(Duration::ZERO)
            }
            Some(timeout) => Some(Duration::from_millis(timeout.as_millis().try_into().unwrap_or(i32::MAX as u64))),
            None => None,
        };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match epoll::wait(self.epoll(), spare_capacity(&mut events.0), timeout.as_ref()) {
            Ok(_) => Ok(by_signal),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Something that ends the present or the next wait when it is called, from any OS thread.
    pub fn bell(&self) -> impl Fn() + Send + Sync + 'static + use<> {
        let bell = Arc::clone(&self.bell);
        move || bell.ring()
    }
}

/// The epoll instance, readable when a wait would bring something: so it can be part of another poller.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll()
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll()).finish_non_exhaustive()
    }
}
