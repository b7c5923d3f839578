//! What the OS thread that serves has open.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

use crate::peer::Peer;

/// What the listener is called in the epoll instance.
pub const LISTENER: u64 = 0;

/// The first connection there; those below are the OS thread's own.
const FIRST_PEER: u64 = 3;

/// How long connections are left alone that cannot be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// What is open.
pub struct Sockets {
    listener: UnixListener,
    _bell: UnixStream,
    pub dump: Option<UnixStream>,
    /// A descriptor in reserve: a program that has used up all of its own can be looked into by one.
    reserve: Option<OwnedFd>,
    /// Since when it is not waited for connections, if none can be taken.
    pub paused: Option<Instant>,
    pub peers: HashMap<u64, Peer>,
    pub next: u64,
}

/// Takes the lock of what is open, which a child of a fork takes away.
pub fn lock(sockets: &Mutex<Option<Sockets>>) -> MutexGuard<'_, Option<Sockets>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sockets {
    /// With no connection yet.
    pub fn new(listener: UnixListener, bell: UnixStream, dump: Option<UnixStream>) -> io::Result<Sockets> {
        let reserve = Some(listener.as_fd().try_clone_to_owned()?);
        Ok(Sockets { listener, _bell: bell, dump, reserve, paused: None, peers: HashMap::new(), next: FIRST_PEER })
    }

    /// The next that has connected.
    pub fn accept(&mut self, epoll: &OwnedFd) -> Option<UnixStream> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Some(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                // Where there was one in reserve there is room now.
                Err(error) if is_lack_of_descriptors(&error) && self.reserve.take().is_some() => {}
                // It would be told of it at once, over and over.
                Err(_) => {
                    self.paused = Some(Instant::now());
                    self.await_connections(epoll, EventFlags::empty());
                    return None;
                }
            }
        }
    }

    /// To be called now and then: there may be descriptors again, or whatever else there was not.
    pub fn renew_reserve(&mut self, epoll: &OwnedFd) {
        if self.reserve.is_none() {
            self.reserve = self.listener.as_fd().try_clone_to_owned().ok();
        }
        if self.reserve.is_some() && self.paused.is_some_and(|since| since.elapsed() >= PAUSE) {
            self.paused = None;
            self.await_connections(epoll, EventFlags::IN);
        }
    }

    fn await_connections(&self, epoll: &OwnedFd, wanted: EventFlags) {
        let _ = epoll::modify(epoll, &self.listener, epoll::EventData::new_u64(LISTENER), wanted);
    }
}

/// Of the process, or of the system.
fn is_lack_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
