//! Child processes, whose standard streams and whose end a green thread can wait for.
//!
//! ```
//! use greenloom::process::Command;
//!
//! let output = Command::new("echo").arg("hello").output()?;
//! assert_eq!(output.stdout, b"hello\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The end is learnt from a pidfd; where the system gives none, an OS thread of the [blocking pool](crate::blocking)
//! waits for it.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process as std_process;

use greenloom_hub::Direction;
use rustix::process::{Pid, PidfdFlags, Signal as RawSignal, WaitId, WaitIdOptions, kill_process, pidfd_open, waitid};

pub use std::process::{ExitStatus, Output, Stdio};

use crate::blocking;
use crate::builder::Builder;
use crate::net::source::Source;
use crate::pipe::{Reader, Writer};
use crate::scope::scope;
use crate::signal::Signal;

/// How to start a process. Mirrors [`std::process::Command`]; what has no method here is set through
/// [`Command::as_std_mut`].
///
/// ```
/// use greenloom::process::{Command, Stdio};
/// use std::io::{Read, Write};
///
/// let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
/// let mut text = String::new();
/// child.stdin.take().unwrap().write_all(b"there and back")?;
/// child.stdout.take().unwrap().read_to_string(&mut text)?;
/// assert_eq!(text, "there and back");
/// assert!(child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    std: std_process::Command,
}

impl Command {
    /// Starts `program`, which is looked for in `PATH`, without arguments and with this process's environment.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command { std: std_process::Command::new(program) }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.std.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Command {
        self.std.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.std.env(name, value);
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Command {
        self.std.env_remove(name);
        self
    }

    /// Removes all environment variables.
    pub fn env_clear(&mut self) -> &mut Command {
        self.std.env_clear();
        self
    }

    /// Sets the directory in which it starts.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Command {
        self.std.current_dir(directory);
        self
    }

    /// Sets its standard input: this process's by default.
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Command {
        self.std.stdin(stdin);
        self
    }

    /// Sets its standard output: this process's by default.
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Command {
        self.std.stdout(stdout);
        self
    }

    /// Sets its standard error: this process's by default.
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Command {
        self.std.stderr(stderr);
        self
    }

    /// It as std's type.
    pub fn as_std_mut(&mut self) -> &mut std_process::Command {
        &mut self.std
    }

    /// Starts the process. Blocks the OS thread until the program is executed, typically less than a millisecond.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`; those of `fork` and `pipe2`.
    pub fn spawn(&mut self) -> io::Result<Child> {
        let mut std = self.std.spawn()?;
        Ok(Child {
            stdin: std
                .stdin
                .take()
                .map(|stdin| Writer::from_std(PipeWriter::from(OwnedFd::from(stdin))))
                .transpose()?,
            stdout: std.stdout.take().map(reader).transpose()?,
            stderr: std.stderr.take().map(reader).transpose()?,
            pidfd: pidfd(&std),
            std,
        })
    }

    /// Starts the process and parks until it has ended.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Child::wait`].
    ///
    /// ```
    /// assert!(greenloom::process::Command::new("true").status()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait()
    }

    /// Starts the process with nothing as its input, and parks until it has ended; returns all it wrote.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Child::wait_with_output`].
    pub fn output(&mut self) -> io::Result<Output> {
        self.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?.wait_with_output()
    }
}

impl From<std_process::Command> for Command {
    fn from(std: std_process::Command) -> Command {
        Command { std }
    }
}

/// A process that was started. Dropping it neither stops it nor waits for it; one that has ended and is not waited for
/// stays as a zombie.
#[derive(Debug)]
pub struct Child {
    /// Its standard input, if that is [piped](Stdio::piped).
    pub stdin: Option<Writer>,
    /// Its standard output, if that is piped.
    pub stdout: Option<Reader>,
    /// Its standard error, if that is piped.
    pub stderr: Option<Reader>,
    std: std_process::Child,
    /// Readable once it has ended.
    pidfd: Option<Source<OwnedFd>>,
}

impl Child {
    /// Its number, as long as it was not waited for.
    pub fn id(&self) -> u32 {
        self.std.id()
    }

    /// Closes its input and parks until it has ended. Its output is not read: one that writes more than a pipe holds
    /// waits, too; see [`Child::wait_with_output`].
    ///
    /// # Errors
    /// Those of `waitid`.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let Child { std, pidfd, .. } = self;
        if let Some(pidfd) = pidfd {
            return pidfd.retry(Direction::Read, |_| std.try_wait()?.ok_or_else(|| io::ErrorKind::WouldBlock.into()));
        }
        loop {
            if let Some(status) = std.try_wait()? {
                return Ok(status);
            }
            let pid = pid(std);
            // It stays a zombie until `try_wait`, so that its number is not used again meanwhile.
            blocking::run(move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT))??;
        }
    }

    /// How it has ended, or `None` if it has not. Does not park.
    ///
    /// # Errors
    /// Those of `waitid`.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.std.try_wait()
    }

    /// Closes its input, reads its output and its errors side by side as far as they are piped, and parks until it has
    /// ended.
    ///
    /// # Errors
    /// Those of reading and of [`Child::wait`].
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let (stdout, stderr) = scope(|scope| {
            let errors = scope.spawn_with(Builder::new(), move || read_all(stderr))?;
            let output = read_all(stdout);
            io::Result::Ok((output, errors.wait().unwrap_or_else(|error| Err(io::Error::other(error)))))
        })?;
        Ok(Output { status: self.wait()?, stdout: stdout?, stderr: stderr? })
    }

    /// Ends it by `SIGKILL`; does nothing if it was waited for. Wait for it afterwards.
    ///
    /// # Errors
    /// Those of `kill`.
    ///
    /// ```
    /// let mut child = greenloom::process::Command::new("sleep").arg("60").spawn()?;
    /// child.kill()?;
    /// assert!(!child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kill(&mut self) -> io::Result<()> {
        self.std.kill()
    }

    /// Sends it a signal; does nothing if it has ended.
    ///
    /// # Errors
    /// Those of `kill`; `InvalidInput` for a number that is no signal.
    ///
    /// ```
    /// use greenloom::{process::Command, signal::Signal};
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// let mut child = Command::new("sleep").arg("60").spawn()?;
    /// child.signal(Signal::TERM)?;
    /// assert_eq!(child.wait()?.signal(), Some(Signal::TERM.number()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let raw = RawSignal::from_named_raw(signal.number()).ok_or(io::ErrorKind::InvalidInput)?;
        match self.try_wait()? {
            None => Ok(kill_process(pid(&self.std), raw)?),
            Some(_) => Ok(()),
        }
    }
}

fn reader(stream: impl Into<OwnedFd>) -> io::Result<Reader> {
    Reader::from_std(PipeReader::from(stream.into()))
}

fn read_all(stream: Option<Reader>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn pid(child: &std_process::Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process number is a positive i32")
}

/// `None` on Linux before 5.3, in some sandboxes, and when the environment variable `GREENLOOM_NO_PIDFD` is set.
fn pidfd(child: &std_process::Child) -> Option<Source<OwnedFd>> {
    if std::env::var_os("GREENLOOM_NO_PIDFD").is_some() {
        return None;
    }
    pidfd_open(pid(child), PidfdFlags::empty()).ok().map(Source::new)
}
