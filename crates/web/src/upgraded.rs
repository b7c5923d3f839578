//! What a connection is after the end of HTTP on it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::CancellationToken;

use crate::connection::{Connection, busy};

/// The stream of a connection that has left HTTP; see [`Body::upgrade`](crate::Body::upgrade). It begins with what the
/// client sent behind its request.
///
/// It has no timeouts at first. A shutdown of the server cancels [`stopping`](Upgraded::stopping) and kills the green
/// thread at the deadline.
pub struct Upgraded(Rc<Connection>);

impl Upgraded {
    pub(crate) fn new(connection: Rc<Connection>) -> io::Result<Upgraded> {
        let upgraded = Upgraded(connection);
        upgraded.set_read_timeout(None)?;
        upgraded.set_write_timeout(None)?;
        Ok(upgraded)
    }

    /// Sets how long one read waits, or one write, before it fails as `TimedOut`.
    ///
    /// # Errors
    /// `InvalidInput` for a timeout of zero.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.socket.limit_reads(timeout)
    }

    /// As [`set_read_timeout`](Upgraded::set_read_timeout), for writes.
    ///
    /// # Errors
    /// As there.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.0.socket.limit_writes(timeout)
    }

    /// Where the client is; none over a Unix socket.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.0.peer()
    }

    /// Cancelled when the server shuts down.
    pub fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }
}

impl Read for Upgraded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut input = self.0.input.try_borrow_mut().map_err(busy)?;
        if input.is_empty() { self.0.receive(buf) } else { Ok(input.take(buf)) }
    }
}

impl Write for Upgraded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded").field("peer", &self.peer_addr()).finish_non_exhaustive()
    }
}
