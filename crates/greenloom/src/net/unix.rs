//! Unix sockets.
//!
//! Two operations on them can be refused for lack of room on the other side without any event that would tell when
//! there is room: connecting to a listener whose backlog is full, and sending to a full datagram socket one is not
//! connected to. Both are tried again after a pause.

use std::io;
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;
use std::time::Duration;

use greenloom_hub::Direction;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use super::Listener;
use super::io_type::io_type;
use super::source::{Short, Source, Stream};
use crate::runtime::here;
use crate::runtime::park::prepare;

/// A Unix stream. Mirrors [`std::os::unix::net::UnixStream`].
///
/// ```
/// use greenloom::net::UnixStream;
/// use std::io::{Read, Write};
///
/// let (mut ours, mut theirs) = UnixStream::pair()?;
/// ours.write_all(b"ping")?;
/// let mut text = [0; 4];
/// theirs.read_exact(&mut text)?;
/// assert_eq!(&text, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixStream {
    source: Source<net::UnixStream>,
}

io_type!(UnixStream(net::UnixStream): Read Write Split);

impl Stream for net::UnixStream {
    const SHORT: Short = Short::MeansNothing;
}

impl UnixStream {
    /// Connects to the listener at `path`. Parks while its backlog is full.
    ///
    /// # Errors
    /// Those of `connect`: `NotFound`, `ConnectionRefused`, `PermissionDenied`.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        connect(&SocketAddrUnix::new(path.as_ref())?)
    }

    /// As [`UnixStream::connect`], to an address, which may be an abstract one.
    ///
    /// # Errors
    /// As [`UnixStream::connect`]; `InvalidInput` for an unnamed address.
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        use std::os::linux::net::SocketAddrExt;
        let address = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => SocketAddrUnix::new(path)?,
            (None, Some(name)) => SocketAddrUnix::new_abstract_name(name)?,
            (None, None) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "an unnamed address")),
        };
        connect(&address)
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    /// Those of `socketpair`: too many open files.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
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
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }
}

fn connect(address: &SocketAddrUnix) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    with_pauses(None, || Ok(rustix::net::connect(&socket, address)?))?;
    Ok(UnixStream { source: Source::new(socket.into()) })
}

/// A Unix socket that accepts connections. Mirrors [`std::os::unix::net::UnixListener`].
///
/// ```
/// use greenloom::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("greenloom-doc-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path)?;
/// let (server, _from) = listener.accept()?;
/// std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixListener {
    source: Source<net::UnixListener>,
}

io_type!(UnixListener(net::UnixListener): Accept);

impl UnixListener {
    /// Listens at `path`, which must not exist and is not removed afterwards.
    ///
    /// # Errors
    /// Those of `bind`: `AddrInUse`, `PermissionDenied`, `NotFound`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::from_std(net::UnixListener::bind(path)?)
    }

    /// As [`UnixListener::bind`], at an address, which may be an abstract one.
    ///
    /// # Errors
    /// As [`UnixListener::bind`].
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::from_std(net::UnixListener::bind_addr(address)?)
    }

    /// Parks until there is a connection and takes it.
    ///
    /// # Errors
    /// Those of `accept4`: too many open files leaves the connection where it is, for a later call; `TimedOut` after
    /// [`UnixListener::set_timeout`].
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, from) = self.source.retry(Direction::Read, |listener| listener.accept())?;
        Ok((UnixStream::from_std(stream)?, from))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    type Address = SocketAddr;

    fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.accept()
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }
}

/// A Unix datagram socket. Mirrors [`std::os::unix::net::UnixDatagram`].
///
/// ```
/// use greenloom::net::UnixDatagram;
///
/// let (ours, theirs) = UnixDatagram::pair()?;
/// ours.send(b"ping")?;
/// assert_eq!(theirs.recv(&mut [0; 16])?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UnixDatagram {
    source: Source<net::UnixDatagram>,
}

io_type!(UnixDatagram(net::UnixDatagram): Datagrams);

impl UnixDatagram {
    /// A socket at `path`, which must not exist and is not removed afterwards.
    ///
    /// # Errors
    /// Those of `bind`: `AddrInUse`, `PermissionDenied`, `NotFound`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::bind(path)?)
    }

    /// A socket without a name, which can send.
    ///
    /// # Errors
    /// Those of `socket`: too many open files.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// Those of `socketpair`: too many open files.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Makes the socket at `path` the peer of [`UnixDatagram::send`] and [`UnixDatagram::recv`].
    ///
    /// # Errors
    /// Those of `connect`: `NotFound`, `ConnectionRefused`, `PermissionDenied`.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.as_std().connect(path)
    }

    /// Sends a datagram to the socket at `path`. Parks while there is no room for it.
    ///
    /// # Errors
    /// Those of `sendto`; `TimedOut`.
    pub fn send_to(&self, datagram: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        with_pauses(self.write_timeout(), || self.as_std().send_to(datagram, path.as_ref()))
    }

    /// Receives a datagram; returns its length and where it came from. Parks until there is one. What does not fit is
    /// lost.
    ///
    /// # Errors
    /// Those of `recvfrom`; `TimedOut`.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.receive(|socket| socket.recv_from(buf), || Ok((0, SocketAddr::from_pathname("")?)))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().local_addr()
    }

    /// The address it is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.as_std().peer_addr()
    }
}

/// Tries `operation` until there is room, with pauses from 1 to 32 ms.
fn with_pauses<R>(timeout: Option<Duration>, mut operation: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    let started = here().now();
    let mut pause = Duration::from_millis(1);
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => return result,
        }
        let now = here().now();
        let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(now.since(started)));
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "timed out waiting for room on the other side"));
        }
        prepare()?.park("room on the other side", Some(now + pause.min(left)));
        pause = (pause * 2).min(Duration::from_millis(32));
    }
}
