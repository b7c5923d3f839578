//! Names to addresses without blocking the hub: `getaddrinfo` runs on the [blocking pool](crate::blocking), and what is
//! an address already does not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::option;
use std::vec;

use crate::blocking;

/// The addresses that a name has.
#[derive(Clone, Debug)]
pub struct Addresses(option::IntoIter<SocketAddr>, vec::IntoIter<SocketAddr>);

impl From<SocketAddr> for Addresses {
    fn from(address: SocketAddr) -> Addresses {
        Addresses(Some(address).into_iter(), Vec::new().into_iter())
    }
}

impl From<Vec<SocketAddr>> for Addresses {
    fn from(addresses: Vec<SocketAddr>) -> Addresses {
        Addresses(None.into_iter(), addresses.into_iter())
    }
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        self.0.next().or_else(|| self.1.next())
    }
}

/// What names one or more socket addresses: the same types as for [`std::net::ToSocketAddrs`].
///
/// ```
/// use greenloom::net::ToSocketAddrs;
///
/// let mut addresses = "127.0.0.1:80".to_socket_addrs()?;
/// assert_eq!(addresses.next(), Some(([127, 0, 0, 1], 80).into()));
/// assert_eq!(addresses.next(), None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses. Parks while a name is looked up; with numbers there is nothing to look up.
    ///
    /// # Errors
    /// Those of the look-up: `InvalidInput` for text that is no name and port; what `getaddrinfo` says, as std tells
    /// it.
    fn to_socket_addrs(&self) -> io::Result<Addresses>;
}

macro_rules! numeric {
    ($($type:ty),+) => {
        $(impl ToSocketAddrs for $type {
            fn to_socket_addrs(&self) -> io::Result<Addresses> {
                Ok(SocketAddr::from(*self).into())
            }
        })+
    };
}

numeric!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        Ok(self.to_vec().into())
    }
}

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(SocketAddr::new(ip, port).into()),
            Err(_) => look_up((host.to_owned(), port)),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        match self.parse::<SocketAddr>() {
            Ok(address) => Ok(address.into()),
            Err(_) => look_up(self.to_owned()),
        }
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        self.as_str().to_socket_addrs()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self) -> io::Result<Addresses> {
        (**self).to_socket_addrs()
    }
}

/// The addresses of a host, without repeats, in the order in which the system prefers them. Parks meanwhile; `host` as
/// a number is returned as it is.
///
/// Semantics: `getaddrinfo`, as [`std::net::ToSocketAddrs`] calls it.
///
/// # Errors
/// Those of `getaddrinfo`.
///
/// ```
/// assert!(greenloom::net::resolve("localhost")?.iter().all(|address| address.is_loopback()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut found = Vec::new();
    for address in (host, 0).to_socket_addrs()? {
        if !found.contains(&address.ip()) {
            found.push(address.ip());
        }
    }
    Ok(found)
}

fn look_up(name: impl std::net::ToSocketAddrs + Send + 'static) -> io::Result<Addresses> {
    let addresses = blocking::run(move || Ok::<_, io::Error>(name.to_socket_addrs()?.collect::<Vec<_>>()))??;
    Ok(addresses.into())
}

/// Calls `f` with each address until it succeeds; returns the last error.
pub(super) fn first_of<R>(
    address: impl ToSocketAddrs,
    mut f: impl FnMut(SocketAddr) -> io::Result<R>,
) -> io::Result<R> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no addresses");
    for address in address.to_socket_addrs()? {
        match f(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = error,
        }
    }
    Err(last)
}
