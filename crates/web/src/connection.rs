//! A connection's octets: both directions, what was read ahead, TLS, and its orderly end.
//!
//! It must not know requests and responses.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::sync::CancellationToken;

use crate::input::Input;
use crate::options::ServerOptions;
use crate::socket::Socket;
#[cfg(feature = "tls")]
use crate::tls::Session;

/// How long, and for how many octets, a client that still sends is listened to before the connection is closed on it:
/// a closed one answers with a reset, which would take from the client what it was told.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_OCTETS: usize = 1 << 20;

pub(crate) struct Connection {
    pub socket: Rc<dyn Socket>,
    #[cfg(feature = "tls")]
    tls: Option<RefCell<Session>>,
    /// Borrowed while somebody waits for more.
    pub input: RefCell<Input>,
    pub options: Rc<ServerOptions>,
    pub stopping: CancellationToken,
    /// Whether nothing of a request has come since the last one.
    pub is_idle: Cell<bool>,
}

impl Connection {
    /// With the handshake of TLS, if there is to be one. Parks for it.
    pub fn open(
        socket: Rc<dyn Socket>,
        options: Rc<ServerOptions>,
        stopping: CancellationToken,
    ) -> io::Result<Connection> {
        socket.prepare()?;
        socket.limit_writes(Some(options.write_timeout))?;
        #[cfg(feature = "tls")]
        let tls = match &options.tls {
            Some(config) => Some(RefCell::new(Session::accept(config, &*socket, options.head_timeout)?)),
            None => None,
        };
        Ok(Connection {
            socket,
            #[cfg(feature = "tls")]
            tls,
            input: RefCell::default(),
            options,
            stopping,
            is_idle: Cell::new(true),
        })
    }

    pub fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer()
    }

    /// Reads from the client, past what was read ahead.
    #[inline]
    pub fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            return session.try_borrow_mut().map_err(busy)?.read(&*self.socket, buf);
        }
        self.socket.receive(buf)
    }

    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            return session.try_borrow_mut().map_err(busy)?.write(&*self.socket, bytes);
        }
        self.socket.send(bytes)
    }

    pub fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.send(bytes)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => bytes = &bytes[count..],
            }
        }
        Ok(())
    }

    /// Reads once into the input; returns how many octets came and whether a line feed is among them.
    pub fn fill(&self, timeout: Duration) -> io::Result<(usize, bool)> {
        self.socket.limit_reads(Some(timeout))?;
        let mut input = self.input.try_borrow_mut().map_err(busy)?;
        let fresh = input.fill(|buf| self.receive(buf))?;
        Ok((fresh.len(), fresh.contains(&b'\n')))
    }

    /// Ends the connection so that a client which may still send is not reset before it has read what it was told.
    pub fn linger(&self) {
        if self.end().is_err() {
            return;
        }
        let (end, mut octets) = (now() + LINGER, 0);
        let mut waste = [0; 4096];
        while octets < LINGER_OCTETS {
            let left = end.saturating_sub(now());
            if left.is_zero() || self.socket.limit_reads(Some(left)).is_err() {
                return;
            }
            match self.socket.receive(&mut waste) {
                Ok(count @ 1..) => octets += count,
                _ => return,
            }
        }
    }

    /// Says that nothing more will come.
    pub fn end(&self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(session) = &self.tls {
            session.try_borrow_mut().map_err(busy)?.end(&*self.socket)?;
        }
        self.socket.end(Shutdown::Write)
    }
}

/// Two green threads that want the same direction: the second gets an error, as with sockets.
pub(crate) fn busy<E>(_borrowed: E) -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another green thread is using this connection; use it in one at a time",
    )
}
