//! Where a server of the echo listens, and how it tells.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Where the servers listen: any free port of the loopback.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Clients that may wait to be accepted; as many as the largest figure opens in one go.
pub const BACKLOG: i32 = 4096;

/// What the line begins with that tells the measurement where a server listens; the address follows.
pub const ANNOUNCEMENT: &str = "listening on ";

/// Tells the measurement where this server listens.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{ANNOUNCEMENT}{address}")?;
    out.flush()
}
