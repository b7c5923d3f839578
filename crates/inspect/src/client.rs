//! The end of whoever asks.

use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::place;
use crate::protocol::{Answer, Ask, Greeting, Request, VERSION};

/// How long an answer may take. A program that walks through many green threads needs a while, one that hangs answers
/// too: its socket has an OS thread of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked meanwhile whether the program stands still.
const GLANCE: Duration = Duration::from_secs(1);

/// A program that is asked.
#[derive(Debug)]
pub struct Client {
    greeting: Greeting,
    pid: u32,
    stream: BufReader<UnixStream>,
    asked: u64,
}

/// Why there is no answer. It says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// There is no such process.
    NoProcess(u32),
    /// The process has no socket.
    NotServed(u32),
    /// The socket is another user's.
    Refused(u32),
    /// It speaks another version of the protocol.
    OtherVersion(u32, u32),
    /// It ended while it was asked, or before.
    Ended(u32),
    /// It is stopped, by a signal or by a debugger.
    Stopped(u32),
    /// It says that it cannot.
    Problem(String),
    /// Anything else that happened at the socket.
    Io(u32, io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoProcess(pid) => write!(f, "there is no process {pid}"),
            Failure::NotServed(pid) => write!(
                f,
                "process {pid} cannot be looked into: start it with GREENLOOM_INSPECT=1, or call \
                 greenloom.inspect.start() in it (Rust: greenloom::inspect::serve())"
            ),
            Failure::Refused(pid) => {
                write!(f, "process {pid} is another user's, or was when it was started: ask as that user")
            }
            Failure::OtherVersion(pid, theirs) => write!(
                f,
                "process {pid} speaks version {theirs} of the protocol, this program version {VERSION}: use the \
                 `greenloom` of that program's environment"
            ),
            Failure::Ended(pid) => write!(f, "process {pid} has ended"),
            Failure::Stopped(pid) => {
                write!(f, "process {pid} is stopped, by a signal or a debugger: it answers when it goes on")
            }
            Failure::Problem(problem) => f.write_str(problem),
            Failure::Io(pid, _) => write!(f, "process {pid} does not answer"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Io(_, error) => Some(error),
            _ => None,
        }
    }
}

impl Client {
    /// Connects to a process.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn connect(pid: u32) -> Result<Client, Failure> {
        if !place::exists(pid) {
            return Err(Failure::NoProcess(pid));
        }
        let (mut refused, mut failed) = (false, None);
        for path in place::candidates(pid) {
            let served = place::connect(&path).and_then(|stream| Ok((place::is_served_by(&stream, pid)?, stream)));
            match served {
                Ok((true, stream)) => return Client::greeted(pid, stream),
                // Of another container: the folder may be shared with it.
                Ok((false, _)) => {}
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::ACCESS) => refused = true,
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED | Errno::NAMETOOLONG) => {}
                    _ => failed = Some(error),
                },
            }
        }
        Err(match failed {
            _ if place::is_zombie(pid) => Failure::Ended(pid),
            // So many have asked already, and given up.
            Some(error) if error.kind() == ErrorKind::WouldBlock && place::stopped(pid).is_some() => {
                Failure::Stopped(pid)
            }
            Some(error) => Failure::Io(pid, error),
            None if refused => Failure::Refused(pid),
            None => Failure::NotServed(pid),
        })
    }

    fn greeted(pid: u32, stream: UnixStream) -> Result<Client, Failure> {
        let fail = |error| Failure::Io(pid, error);
        stream.set_read_timeout(Some(GLANCE)).map_err(fail)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(fail)?;
        let mut stream = BufReader::new(stream);
        let line = read_line(pid, &mut stream)?;
        let greeting = match serde_json::from_slice::<Greeting>(&line) {
            Ok(greeting) if greeting.greenloom == VERSION => greeting,
            Ok(greeting) => return Err(Failure::OtherVersion(pid, greeting.greenloom)),
            Err(_) => match serde_json::from_slice::<Answer>(&line) {
                Ok(Answer { problem: Some(problem), .. }) => return Err(Failure::Problem(problem)),
                _ => return Err(Failure::NotServed(pid)),
            },
        };
        Ok(Client { greeting, pid, stream, asked: 0 })
    }

    /// What the program says of itself.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The process's number, as this program sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`Failure`], an answer that names a problem included.
    pub fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        self.asked += 1;
        let request = Request { id: self.asked, ask };
        let mut line = serde_json::to_string(&request).expect("a request has keys that are strings");
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|error| failure(self.pid, error))?;
        let line = read_line(self.pid, &mut self.stream)?;
        let answer: Answer =
            serde_json::from_slice(&line).map_err(|error| Failure::Io(self.pid, io::Error::other(error)))?;
        match answer.problem {
            Some(problem) => Err(Failure::Problem(problem)),
            None => Ok(answer),
        }
    }
}

fn failure(pid: u32, error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Failure::Ended(pid),
        ErrorKind::WouldBlock => Failure::Io(pid, io::Error::new(ErrorKind::TimedOut, format!("not for {PATIENCE:?}"))),
        _ => Failure::Io(pid, error),
    }
}

/// An answer, as long as something comes of it within [`PATIENCE`], or less if the program is seen to stand still.
fn read_line(pid: u32, stream: &mut BufReader<UnixStream>) -> Result<Vec<u8>, Failure> {
    let (mut line, mut stopped) = (Vec::new(), None);
    let (mut since, mut size) = (Instant::now(), 0);
    loop {
        match stream.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => return Ok(line),
            Ok(_) => return Err(Failure::Ended(pid)),
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && (line.len() > size || since.elapsed() < PATIENCE) =>
            {
                let before = std::mem::replace(&mut stopped, place::stopped(pid));
                if stopped.is_some() && stopped == before {
                    return Err(Failure::Stopped(pid));
                }
                if line.len() > size {
                    (since, size) = (Instant::now(), line.len());
                }
            }
            Err(error) => return Err(failure(pid, error)),
        }
    }
}
