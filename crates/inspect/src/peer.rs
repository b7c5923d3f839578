//! A connection of somebody who asks: whether it may, what it asks, and what it has not taken yet.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::protocol::LONGEST_REQUEST;

/// How long a connection may leave an answer lying.
pub const STALL: Duration = Duration::from_secs(10);

/// How many connections there may be at once.
pub const MOST_PEERS: usize = 16;

/// Whoever asks.
pub struct Peer {
    pub stream: UnixStream,
    input: Vec<u8>,
    pub output: Vec<u8>,
    /// Since when the output waits to be taken.
    pub stalled: Option<Instant>,
}

/// Whether whoever has connected may ask.
pub fn admit(stream: &UnixStream, peers: usize) -> Result<(), String> {
    let own = rustix::process::geteuid();
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) if peer.uid == own || peer.uid.is_root() => {}
        Ok(_) => return Err("only the program's own user may look into it".into()),
        Err(error) => return Err(format!("the system does not say who asks: {error}")),
    }
    if peers >= MOST_PEERS {
        return Err(format!("{MOST_PEERS} others look already; end one of them"));
    }
    Ok(())
}

impl Peer {
    /// One that has connected, with a first line for it.
    pub fn new(stream: UnixStream, output: Vec<u8>) -> Peer {
        Peer { stream, input: Vec::new(), output, stalled: None }
    }

    /// The next whole line, read if need be. An error: the connection has ended, or its line is too long.
    pub fn next_request(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                let rest = self.input.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.input, rest)));
            }
            if self.input.len() > LONGEST_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what there is room for.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        let mut result = Ok(());
        while written < self.output.len() && result.is_ok() {
            match self.stream.write(&self.output[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => result = Err(error),
            }
        }
        self.output.drain(..written);
        self.stalled = match self.stalled {
            _ if self.output.is_empty() => None,
            Some(since) if written == 0 => Some(since),
            _ => Some(Instant::now()),
        };
        result
    }
}
