//! Forwards connections to another address, until Ctrl-C; then those that are open have ten seconds to end.
//!
//!     cargo run --example port_forwarder -- 127.0.0.1:8080 example.org:80

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use greenloom::io::copy_bidirectional;
use greenloom::net::{self, Server, TcpStream};
use greenloom::signal::{Signal, Signals};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: port_forwarder FROM TO, both as host:port"));
    };
    let signals = Signals::new([Signal::INT, Signal::TERM])?;
    let (server, address) = start(&from, to)?;
    println!("forwarding {address}");
    let signal = signals.wait()?;
    let drained = server.shutdown(Duration::from_secs(10));
    println!("{signal}: {} connections ended, {} were cut", drained.finished, drained.killed);
    Ok(())
}

/// Begins to forward; returns where it listens.
pub fn start(from: &str, to: String) -> io::Result<(Server, SocketAddr)> {
    let listener = net::listen(from)?;
    let address = listener.local_addr()?;
    let server = Server::start(listener, 1_000, move |client: TcpStream, from, _stopping| {
        let forwarded = TcpStream::connect_timeout(to.as_str(), Duration::from_secs(10))
            .and_then(|server| copy_bidirectional(&client, &server));
        match forwarded {
            Ok((there, back)) => println!("{from}: {there} bytes there, {back} back"),
            Err(error) => eprintln!("{from}: {error}"),
        }
    })?;
    Ok((server, address))
}
