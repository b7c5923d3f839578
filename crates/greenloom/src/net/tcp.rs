//! TCP.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use greenloom_hub::Direction;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, acceptfrom_with, bind, listen, socket_with, sockopt};

use super::ToSocketAddrs;
use super::dns::first_of;
use super::io_type::io_type;
use super::source::{Short, Source, Stream};

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A TCP connection. Mirrors [`std::net::TcpStream`].
///
/// ```
/// use greenloom::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let (mut server, _from) = listener.accept()?;
/// client.write_all(b"ping")?;
/// let mut text = [0; 4];
/// server.read_exact(&mut text)?;
/// assert_eq!(&text, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpStream {
    source: Source<net::TcpStream>,
}

io_type!(TcpStream(net::TcpStream): Read Write Split);

impl Stream for net::TcpStream {
    const SHORT: Short = Short::MeansBlocking;
}

impl TcpStream {
    /// Connects to the first of the addresses that accepts. Parks meanwhile.
    ///
    /// # Errors
    /// That of the last address: `ConnectionRefused`, `TimedOut` when the system gives up, ...; those of the look-up.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        first_of(address, |address| connect(address, None))
    }

    /// As [`TcpStream::connect`], waiting at most `timeout`, which starts anew for each of the addresses.
    ///
    /// # Errors
    /// As [`TcpStream::connect`]; `TimedOut`; `InvalidInput` for a timeout of zero.
    ///
    /// ```
    /// use greenloom::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// TcpStream::connect_timeout(listener.local_addr()?, Duration::from_secs(5))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_timeout(address: impl ToSocketAddrs, timeout: Duration) -> io::Result<TcpStream> {
        first_of(address, |address| connect(address, Some(timeout)))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// Those of `getpeername`: `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }

    /// Reads without taking what is read. Parks until there is something.
    ///
    /// # Errors
    /// As `read`.
    ///
    /// ```
    /// use greenloom::net::{TcpListener, TcpStream};
    /// use std::io::Write;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let mut client = TcpStream::connect(listener.local_addr()?)?;
    /// client.write_all(b"x")?;
    /// let (server, _) = listener.accept()?;
    /// let mut byte = [0];
    /// assert_eq!(server.peek(&mut byte)?, 1);
    /// assert_eq!(server.peek(&mut byte)?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.retry(Direction::Read, |stream| stream.peek(buf))
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.as_std().nodelay()
    }

    /// Sends small writes at once (`TCP_NODELAY`). Off by default.
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.as_std().set_nodelay(on)
    }

    /// After which idle time the system probes whether the other end still lives; `None` when it does not.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn keepalive(&self) -> io::Result<Option<Duration>> {
        if !sockopt::socket_keepalive(self)? {
            return Ok(None);
        }
        Ok(Some(sockopt::tcp_keepidle(self)?))
    }

    /// Has the system probe whether the other end still lives, after `idle`, in whole seconds (`SO_KEEPALIVE`,
    /// `TCP_KEEPIDLE`).
    ///
    /// # Errors
    /// Those of `setsockopt`: `InvalidInput` for less than a second.
    ///
    /// ```
    /// use greenloom::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_keepalive(Some(Duration::from_secs(60)))?;
    /// assert_eq!(stream.keepalive()?, Some(Duration::from_secs(60)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        if let Some(idle) = idle {
            sockopt::set_tcp_keepidle(self, idle)?;
        }
        Ok(sockopt::set_socket_keepalive(self, idle.is_some())?)
    }

    /// How often the probes of [`TcpStream::set_keepalive`] are repeated and after how many without an answer the
    /// connection is given up (`TCP_KEEPINTVL`, in whole seconds, and `TCP_KEEPCNT`).
    ///
    /// # Errors
    /// Those of `setsockopt`.
    pub fn set_keepalive_probes(&self, every: Duration, count: u32) -> io::Result<()> {
        sockopt::set_tcp_keepintvl(self, every)?;
        Ok(sockopt::set_tcp_keepcnt(self, count)?)
    }
}

fn connect(address: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
    let stream = TcpStream { source: Source::new(net::TcpStream::from(socket(address)?)) };
    stream.source.set_timeout(Direction::Write, timeout)?;
    stream.source.retry(Direction::Write, |stream| match rustix::net::connect(stream, &address) {
        // It goes on by itself; called again, connect tells what came of it.
        Err(Errno::INPROGRESS | Errno::ALREADY) => Err(io::ErrorKind::WouldBlock.into()),
        Err(Errno::ISCONN) | Ok(()) => Ok(()),
        Err(errno) => Err(errno.into()),
    })?;
    stream.source.set_timeout(Direction::Write, None)?;
    Ok(stream)
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    Ok(socket_with(family, SocketType::STREAM, FLAGS, None)?)
}

/// A TCP socket that accepts connections. Mirrors [`std::net::TcpListener`].
///
/// ```
/// use greenloom::{net::{TcpListener, TcpStream}, spawn};
/// use std::io::{Read, Write};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let client = spawn(move || TcpStream::connect(address)?.write_all(b"hello"));
/// let (mut stream, _) = listener.accept()?; // parks
/// let mut said = String::new();
/// stream.read_to_string(&mut said)?;
/// assert_eq!(said, "hello");
/// client.wait().expect("it does not panic")?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct TcpListener {
    source: Source<net::TcpListener>,
}

io_type!(TcpListener(net::TcpListener): Accept);

impl TcpListener {
    /// Listens at the first of the addresses that can be had, with the defaults of [`ListenOptions`].
    ///
    /// # Errors
    /// That of the last address: `AddrInUse`, `PermissionDenied`, ...; those of the look-up.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        ListenOptions::new().bind(address)
    }

    /// Parks until there is a connection and takes it.
    ///
    /// # Errors
    /// Those of `accept4`: too many open files leaves the connection where it is, for a later call; `TimedOut` after
    /// [`TcpListener::set_timeout`].
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (fd, from) = self.source.retry(Direction::Read, |listener| Ok(acceptfrom_with(listener, FLAGS)?))?;
        let from = from.and_then(|from| from.try_into().ok()).ok_or(io::ErrorKind::InvalidData)?;
        Ok((TcpStream { source: Source::new(fd.into()) }, from))
    }

    /// The connections, one after another, for ever.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }
}

/// The connections of a listener; see [`TcpListener::incoming`].
#[derive(Debug)]
#[must_use = "iterators are lazy: connections are accepted as they are asked for"]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// How to listen for TCP connections.
///
/// ```
/// use greenloom::net::ListenOptions;
///
/// // Two hubs, each with a socket of its own; the system deals the connections out.
/// let first = ListenOptions::new().reuse_port(true).bind("127.0.0.1:0")?;
/// let second = ListenOptions::new().reuse_port(true).backlog(64).bind(first.local_addr()?)?;
/// assert_eq!(first.local_addr()?, second.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they bind"]
pub struct ListenOptions {
    backlog: i32,
    reuse_port: bool,
}

impl ListenOptions {
    /// A backlog of 1,024 connections, `SO_REUSEADDR` set and `SO_REUSEPORT` not.
    pub fn new() -> ListenOptions {
        ListenOptions { backlog: 1024, reuse_port: false }
    }

    /// How many connections may wait to be accepted. The system has a limit of its own (`net.core.somaxconn`).
    pub fn backlog(mut self, connections: i32) -> ListenOptions {
        self.backlog = connections;
        self
    }

    /// Whether several sockets may listen at the address, of one hub each for example (`SO_REUSEPORT`).
    pub fn reuse_port(mut self, on: bool) -> ListenOptions {
        self.reuse_port = on;
        self
    }

    /// Listens at the first of the addresses that can be had.
    ///
    /// # Errors
    /// As [`TcpListener::bind`].
    pub fn bind(&self, address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_of(address, |address| {
            let socket = socket(address)?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            if self.reuse_port {
                sockopt::set_socket_reuseport(&socket, true)?;
            }
            bind(&socket, &address)?;
            listen(&socket, self.backlog)?;
            Ok(TcpListener { source: Source::new(socket.into()) })
        })
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}
