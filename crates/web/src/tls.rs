//! The server's side of TLS, by rustls, over a socket that is used by reference.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use greenloom::hub::now;
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::socket::Socket;

pub(crate) struct Session(ServerConnection);

impl Session {
    /// Makes the handshake, in all within the limit.
    pub fn accept(config: &Arc<ServerConfig>, socket: &dyn Socket, limit: Duration) -> io::Result<Session> {
        let mut session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        let end = now().saturating_add(limit);
        while session.is_handshaking() {
            let left = end.saturating_sub(now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            socket.limit_reads(Some(left))?;
            if session.wants_write() {
                session.write_tls(&mut Plain(socket))?;
                continue;
            }
            if session.read_tls(&mut Plain(socket))? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Err(error) = session.process_new_packets() {
                // The alert that says why.
                let _ = session.write_tls(&mut Plain(socket));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(Session(session))
    }

    pub fn read(&mut self, socket: &dyn Socket, buf: &mut [u8]) -> io::Result<usize> {
        Stream::new(&mut self.0, &mut Plain(socket)).read(buf)
    }

    pub fn write(&mut self, socket: &dyn Socket, bytes: &[u8]) -> io::Result<usize> {
        Stream::new(&mut self.0, &mut Plain(socket)).write(bytes)
    }

    /// Tells the client that nothing more comes, so that it knows the end from a cut.
    pub fn end(&mut self, socket: &dyn Socket) -> io::Result<()> {
        self.0.send_close_notify();
        while self.0.wants_write() {
            self.0.write_tls(&mut Plain(socket))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session")
    }
}

/// The socket as rustls wants it.
struct Plain<'s>(&'s dyn Socket);

impl Read for Plain<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.receive(buf)
    }
}

impl Write for Plain<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
