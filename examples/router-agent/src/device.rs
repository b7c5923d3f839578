//! The device: a TCP server that applies updates, slowly, and refuses some.
//!
//! One line a request, `apply ID ROUTER FAILS CHANGE`; one line an answer, `ok` or `error REASON`. An update with FAILS
//! of 2 is refused twice before it goes through; the device remembers by ID how often it was asked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use greenloom::net::{self, TcpListener, TcpStream};
use greenloom::{Hubs, sleep};

use crate::feed::{Fails, Update};

/// A device server in a hub of its own.
pub struct Device {
    address: SocketAddr,
    /// Dropping them stops the server.
    _hubs: Hubs,
}

impl Device {
    /// Starts a device on a free port of this machine.
    ///
    /// # Errors
    /// When the system has no OS thread or no socket for it.
    pub fn start() -> io::Result<Device> {
        let hubs = Hubs::new(1)?;
        let listener = net::listen("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let serving = hubs.spawn(move || serve(&listener));
        // It serves until it is stopped; nobody waits for it.
        drop(serving);
        Ok(Device { address, _hubs: hubs })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn serve(listener: &TcpListener) -> io::Result<()> {
    let asked: Rc<RefCell<HashMap<String, u32>>> = Rc::default();
    net::serve(listener, 1000, move |stream, _| {
        // A client that goes away in the middle of a line is none of ours to report.
        let _ = answer(&stream, &asked);
    })
}

fn answer(stream: &TcpStream, asked: &RefCell<HashMap<String, u32>>) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let answer = match line.split(' ').collect::<Vec<_>>()[..] {
            ["apply", id, router, fails, ..] => {
                sleep(latency(router, id));
                let mut asked = asked.borrow_mut();
                let times = asked.entry(id.to_string()).or_default();
                *times += 1;
                let refused = match fails {
                    "always" => true,
                    times_to_fail => *times <= times_to_fail.parse().unwrap_or(0),
                };
                if refused { "error busy\n" } else { "ok\n" }
            }
            _ => "error unknown request\n",
        };
        let mut stream = stream;
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Between 4 and 12 milliseconds, and up to 35 for some routers; the same every time.
fn latency(router: &str, id: &str) -> Duration {
    let hash = |text: &str| text.bytes().fold(7u64, |hash, byte| (hash * 31 + u64::from(byte)) % 1_000_003);
    let slow = if hash(router).is_multiple_of(23) { 23_000 } else { 0 };
    Duration::from_micros(4_000 + slow + hash(id) % 8_000)
}

/// A connection to the device.
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; gives up after five seconds, and on an answer that takes as long.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let timeout = Duration::from_secs(5);
        let stream = TcpStream::connect_timeout(address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        Ok(Connection { reader: BufReader::new(stream) })
    }

    /// Asks the device to apply an update; the inner error is its refusal.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn apply(&mut self, id: usize, update: &Update) -> io::Result<Result<(), String>> {
        let fails = match update.fails {
            Fails::Always => "always".to_string(),
            Fails::Times(times) => times.to_string(),
        };
        let request = format!("apply {id} {} {fails} {}\n", update.router, update.change);
        self.reader.get_ref().write_all(request.as_bytes())?;
        let mut answer = String::new();
        if self.reader.read_line(&mut answer)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the device hung up"));
        }
        match answer.trim_end() {
            "ok" => Ok(Ok(())),
            refusal => Ok(Err(refusal.trim_start_matches("error ").to_string())),
        }
    }
}
