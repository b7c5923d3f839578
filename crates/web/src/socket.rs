//! What a connection runs over: a green stream, seen from several places at once.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use greenloom::net::{TcpStream, UnixStream};

/// A stream that an HTTP connection can run over: [`TcpStream`] and [`UnixStream`]. It cannot be implemented elsewhere.
pub trait Socket: sealed::Sealed {}

impl Socket for TcpStream {}
impl Socket for UnixStream {}

pub(crate) mod sealed {
    use super::*;

    /// All by reference: a shutdown ends the wait of another green thread.
    pub trait Sealed: 'static {
        fn receive(&self, buf: &mut [u8]) -> io::Result<usize>;
        fn send(&self, bytes: &[u8]) -> io::Result<usize>;
        fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()>;
        fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()>;
        fn end(&self, how: Shutdown) -> io::Result<()>;
        fn peer(&self) -> Option<SocketAddr>;
        /// Called once, before anything is read.
        fn prepare(&self) -> io::Result<()>;
    }

    impl Sealed for TcpStream {
        #[inline]
        fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
            { self }.read(buf)
        }

        #[inline]
        fn send(&self, bytes: &[u8]) -> io::Result<usize> {
            { self }.write(bytes)
        }

        fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_read_timeout(timeout)
        }

        fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_write_timeout(timeout)
        }

        fn end(&self, how: Shutdown) -> io::Result<()> {
            self.shutdown(how)
        }

        fn peer(&self) -> Option<SocketAddr> {
            self.peer_addr().ok()
        }

        fn prepare(&self) -> io::Result<()> {
            // A response is written at once, or in pieces that are meant to be seen.
            self.set_nodelay(true)
        }
    }

    impl Sealed for UnixStream {
        fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
            { self }.read(buf)
        }

        fn send(&self, bytes: &[u8]) -> io::Result<usize> {
            { self }.write(bytes)
        }

        fn limit_reads(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_read_timeout(timeout)
        }

        fn limit_writes(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.set_write_timeout(timeout)
        }

        fn end(&self, how: Shutdown) -> io::Result<()> {
            self.shutdown(how)
        }

        fn peer(&self) -> Option<SocketAddr> {
            None
        }

        fn prepare(&self) -> io::Result<()> {
            Ok(())
        }
    }
}
