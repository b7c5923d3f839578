//! Green sockets: what blocks parks the green thread, and its OS thread goes on with another one.
//!
//! The types mirror those of [`std::net`] and [`std::os::unix::net`] and implement [`Read`](std::io::Read) and
//! [`Write`](std::io::Write), for references too, so libraries that are generic over them (rustls, tungstenite, ...)
//! run unchanged. std's documentation tells what a method does that is described in half a line here.
//!
//! ```
//! use greenloom::net;
//! use std::io::{Read, Write};
//!
//! let listener = net::listen("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = greenloom::spawn(move || {
//!     let (mut stream, _) = listener.accept()?;
//!     stream.write_all(b"hello")
//! });
//! let mut text = String::new();
//! net::connect(address)?.read_to_string(&mut text)?;
//! assert_eq!(text, "hello");
//! server.wait().unwrap()?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # How an operation waits
//!
//! It is tried first. Only when it would block is the file descriptor registered with the hub, once, and the green
//! thread parked. From then on a request and its answer cost one `recv`, one `send` and a share of an `epoll_wait`.
//!
//! # Rules for all types
//!
//! - One green thread may wait in each direction; a second one gets an error of kind
//!   [`ResourceBusy`](std::io::ErrorKind::ResourceBusy).
//! - A timeout that passes is an error of kind [`TimedOut`](std::io::ErrorKind::TimedOut). There is none by default.
//!   The scope [`timeout`](crate::timeout()) works around any operation as well.
//! - `close` may be called while others wait: they get an error of kind
//!   [`NotConnected`](std::io::ErrorKind::NotConnected) at once. Dropping closes, too.
//! - They are `Send` and `Sync`. A direction belongs to the hub that waited in it last; used from another OS thread, it
//!   moves there. The halves of a stream may be on two hubs.
//! - Where parking is refused (in a function that the hub calls; in a destructor during a panic) what would have to
//!   wait is an error of kind [`Unsupported`](std::io::ErrorKind::Unsupported).
//! - An operation that never blocks still lets others run, every [`greenloom_hub::TURN_EVERY`] operations.

use std::io;

mod dns;
pub(crate) mod io_type;
mod serve;
mod server;
pub(crate) mod source;
mod split;
mod tcp;
mod udp;
mod unix;
pub(crate) mod waitable;

pub use dns::{Addresses, ToSocketAddrs, resolve};
pub use serve::{Listener, serve};
pub use server::{Drained, Server, ServerStats};
pub use split::{NotOneStream, OwnedReadHalf, OwnedWriteHalf, ReadHalf, Split, WriteHalf};
pub use tcp::{Incoming, ListenOptions, TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
pub use waitable::Waitable;

/// Listens for TCP connections; the same as [`TcpListener::bind`].
///
/// Semantics: eventlet's `listen`.
///
/// # Errors
/// Those of [`TcpListener::bind`].
///
/// ```
/// let listener = greenloom::net::listen("127.0.0.1:0")?;
/// assert_ne!(listener.local_addr()?.port(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn listen(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Connects over TCP; the same as [`TcpStream::connect`].
///
/// Semantics: eventlet's `connect`.
///
/// # Errors
/// Those of [`TcpStream::connect`].
///
/// ```
/// let listener = greenloom::net::listen("127.0.0.1:0")?;
/// let stream = greenloom::net::connect(listener.local_addr()?)?;
/// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
    TcpStream::connect(address)
}
