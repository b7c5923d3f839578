//! A chat: what a client says goes to everybody in the room, until Ctrl-C. The first line is the client's name.
//!
//!     cargo run --example chat -- 127.0.0.1:7000
//!     nc 127.0.0.1 7000

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use greenloom::codec::{Framed, Lines};
use greenloom::net::{self, Server, TcpStream};
use greenloom::select::Select;
use greenloom::signal::{Signal, Signals};
use greenloom::sync::{
    CancellationToken,
    broadcast::{self, RecvError},
};
use greenloom::{scope, timeout};

/// So many lines may a client be behind before it misses some.
pub const BEHIND: usize = 64;
/// One that neither says nor takes anything for so long has to leave.
pub const PATIENCE: Duration = Duration::from_secs(600);
const LONGEST_LINE: usize = 1000;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".into());
    let signals = Signals::new([Signal::INT, Signal::TERM])?;
    let room = Room::default();
    let server = Server::start(net::listen(address)?, 1_000, move |stream: TcpStream, from, stopping| {
        if let Err(error) = room.seat(stream.split(), stopping) {
            eprintln!("{from}: {error}");
        }
    })?;
    let signal = signals.wait()?;
    let drained = server.shutdown(Duration::from_secs(10));
    println!("{signal}: {} left, {} were cut", drained.finished, drained.killed);
    Ok(())
}

/// Where those sit who hear one another.
pub struct Room {
    lines: broadcast::Sender<Arc<str>>,
}

impl Default for Room {
    fn default() -> Room {
        Room { lines: broadcast::channel(BEHIND).0 }
    }
}

impl Room {
    /// Serves a client until it leaves, has to leave, or `stopping` is cancelled: one green thread reads what it says,
    /// and this one writes what is said.
    pub fn seat(&self, (reader, writer): (impl Read, impl Write), stopping: &CancellationToken) -> io::Result<()> {
        let lines = self.lines.subscribe();
        let done = stopping.child_token();
        scope(|scope| {
            let hearing = scope.spawn(|| {
                // Whatever ends it ends the writing.
                let _done = done.clone().drop_guard();
                self.hear(reader)
            });
            let told = tell(lines, writer, &done);
            hearing.kill();
            told
        })
    }

    fn say(&self, line: String) {
        // That nobody is there to hear it is no error.
        let _ = self.lines.send(line.into());
    }

    /// Reads what a client says.
    fn hear(&self, reader: impl Read) -> io::Result<()> {
        let mut lines = Framed::new(reader, Lines::with_limit(LONGEST_LINE));
        let mut next = || timeout(PATIENCE, || lines.receive()).unwrap_or(Ok(None));
        let Some(name) = next()? else { return Ok(()) };
        let guest = Guest { room: self, name };
        self.say(format!("* {} is here", guest.name));
        while let Some(line) = next()? {
            self.say(format!("{}: {line}", guest.name));
        }
        Ok(())
    }
}

/// Writes what is said, until `done` is cancelled.
fn tell(mut lines: broadcast::Receiver<Arc<str>>, writer: impl Write, done: &CancellationToken) -> io::Result<()> {
    let mut writer = Framed::new(writer, Lines::new());
    loop {
        let line = match Select::new().recv(&mut lines, Some).cancelled(done, || None).wait() {
            None | Some(Err(RecvError::Closed)) => return Ok(()),
            Some(Ok(line)) => line,
            Some(Err(RecvError::Lagged(missed))) => format!("* you missed {missed} lines").into(),
            Some(Err(error)) => return Err(io::Error::other(error)),
        };
        match timeout(PATIENCE, || writer.send(&*line)).map_err(io::Error::other)? {
            // It has left.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            sent => sent?,
        }
    }
}

/// A guest that has said a name.
struct Guest<'a> {
    room: &'a Room,
    name: String,
}

/// Also if it is killed.
impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.room.say(format!("* {} is gone", self.name));
    }
}
