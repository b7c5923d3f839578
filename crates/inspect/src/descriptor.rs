//! File descriptors in words: who is at the other end.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::net::{SocketAddrAny, SocketAddrUnix, getpeername, getsockname};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// What a descriptor is: a socket with its peer, or what the system calls it.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use std::os::fd::AsFd;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let stream = TcpStream::connect(address)?;
/// let words = greenloom_inspect::descriptor::words;
/// assert_eq!(words(stream.as_fd()), format!("peer {address}"));
/// assert_eq!(words(listener.as_fd()), format!("at {address}"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn words(fd: BorrowedFd<'_>) -> String {
    words_called(fd, fd.as_raw_fd())
}

fn words_called(fd: BorrowedFd<'_>, number: RawFd) -> String {
    if let Ok(peer) = getpeername(fd) {
        return peer.map_or_else(|| "peer unknown".into(), |peer| format!("peer {}", address(peer)));
    }
    if let Ok(own) = getsockname(fd) {
        return format!("at {}", address(own));
    }
    named(number)
}

/// As [`words`], of a descriptor of this process by its number, of which a copy is looked at.
///
/// ```
/// use std::os::fd::AsRawFd;
///
/// let file = std::fs::File::open("/dev/null")?;
/// assert_eq!(greenloom_inspect::descriptor::words_of_number(file.as_raw_fd()), "/dev/null");
/// assert_eq!(greenloom_inspect::descriptor::words_of_number(-1), "closed");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn words_of_number(number: RawFd) -> String {
    if number < 0 {
        return "closed".into();
    }
    let process = || pidfd_open(getpid(), PidfdFlags::empty());
    match process().and_then(|process| pidfd_getfd(process, number, PidfdGetfdFlags::empty())) {
        Ok(copy) => words_called(copy.as_fd(), number),
        // It is not allowed to some in containers.
        Err(_) => named(number),
    }
}

fn named(number: RawFd) -> String {
    let name = fs::read_link(format!("/proc/self/fd/{number}"));
    name.map_or_else(|_| "closed".into(), |name| name.to_string_lossy().into_owned())
}

fn address(address: SocketAddrAny) -> String {
    if let Ok(address) = SocketAddr::try_from(address.clone()) {
        return address.to_string();
    }
    let unix = SocketAddrUnix::try_from(address).ok();
    let name = unix.as_ref().and_then(|unix| unix.path());
    name.map_or_else(|| "an unnamed socket".into(), |name| name.to_string_lossy().into_owned())
}
