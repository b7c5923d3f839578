//! UDP.

use std::io;
use std::net::{self, SocketAddr};

use greenloom_hub::Direction;

use super::ToSocketAddrs;
use super::dns::first_of;
use super::io_type::io_type;
use super::source::Source;

/// A UDP socket. Mirrors [`std::net::UdpSocket`]; options such as broadcast and multicast are set through
/// [`UdpSocket::as_std`].
///
/// ```
/// use greenloom::net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0")?;
/// let client = UdpSocket::bind("127.0.0.1:0")?;
/// client.send_to(b"ping", server.local_addr()?)?;
/// let mut buf = [0; 1500];
/// let (length, from) = server.recv_from(&mut buf)?;
/// assert_eq!((&buf[..length], from), (&b"ping"[..], client.local_addr()?));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct UdpSocket {
    source: Source<net::UdpSocket>,
}

io_type!(UdpSocket(net::UdpSocket): Datagrams);

impl UdpSocket {
    /// Binds to the first of the addresses that can be had.
    ///
    /// # Errors
    /// That of the last address: `AddrInUse`, `PermissionDenied`, ...; those of the look-up.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_of(address, |address| UdpSocket::from_std(net::UdpSocket::bind(address)?))
    }

    /// Makes the first of the addresses that can be had the peer of [`UdpSocket::send`] and [`UdpSocket::recv`].
    ///
    /// # Errors
    /// Those of `connect` and of the look-up.
    ///
    /// ```
    /// use greenloom::net::UdpSocket;
    ///
    /// let server = UdpSocket::bind("127.0.0.1:0")?;
    /// let client = UdpSocket::bind("127.0.0.1:0")?;
    /// client.connect(server.local_addr()?)?;
    /// client.send(b"ping")?;
    /// assert_eq!(server.recv(&mut [0; 1500])?, 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        first_of(address, |address| self.as_std().connect(address))
    }

    /// Sends a datagram to the first of the addresses. Parks while there is no room for it.
    ///
    /// # Errors
    /// Those of `sendto` and of the look-up; `TimedOut`.
    pub fn send_to(&self, datagram: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput)?;
        self.source.retry(Direction::Write, |socket| socket.send_to(datagram, address))
    }

    /// Receives a datagram; returns its length and where it came from. Parks until there is one. What does not fit is
    /// lost.
    ///
    /// # Errors
    /// Those of `recvfrom`; `TimedOut`; `InvalidInput`, as of std, when the socket is shut down for reading: nobody has
    /// sent that.
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.receive(|socket| socket.recv_from(buf), || Err(io::ErrorKind::InvalidInput.into()))
    }

    /// As [`UdpSocket::recv`], but the datagram stays to be received again.
    ///
    /// # Errors
    /// As [`UdpSocket::recv`].
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.source.receive(|socket| socket.peek(buf), || Ok(0))
    }

    /// As [`UdpSocket::recv_from`], but the datagram stays to be received again.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`].
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.source.receive(|socket| socket.peek_from(buf), || Err(io::ErrorKind::InvalidInput.into()))
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
