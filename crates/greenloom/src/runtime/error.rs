//! Why something is not possible, how something ended, and what unwinds: the errors and payloads that the runtime
//! makes.

use std::any::Any;
use std::error;
use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};

pub use greenloom_fiber::StackError;

use super::chain::Chain;

/// Why something cannot wait here and now.
///
/// A word wide, so that the errors that hold it are moved in whole words (a byte at an odd place makes the compiler
/// copy them in overlapping pieces, which stalls the processor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Refused {
    /// A function that the hub calls (a timer, a listener, a link) wants to block; nobody would be left to wake it.
    InHub,
    /// A destructor wants to block while its green thread unwinds, from a panic, a kill or a timeout. Others would see
    /// the panic as theirs.
    Panicking,
    /// The OS thread is ending, and its hub has: this is the destructor of a thread-local.
    ThreadEnding,
}

impl Refused {
    /// For calls that have no error to return.
    pub(crate) fn raise(self) -> ! {
        panic!("{self}")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::InHub => {
                "cannot block in a function that the hub calls (a timer, a listener, a link): \
                 spawn a green thread for it"
            }
            Refused::Panicking => {
                "cannot block while this green thread unwinds (a panic, a kill, a timeout): a destructor must not wait"
            }
            Refused::ThreadEnding => {
                "cannot block while the OS thread ends: its hub is gone, and this is the destructor of a thread-local"
            }
        })
    }
}

impl error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, refused)
    }
}

/// What unwinds a greenlet that is killed. It passes through [`catch_unwind`](std::panic::catch_unwind) as any payload;
/// code that catches it should let it go on with [`resume_unwind`], and meets it again at the next park
/// otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreenletExit;

/// What a switch returns when it returns no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A greenlet ended by [`GreenletExit`] and control fell back to its parent. Nothing is wrong; there is just no
    /// value.
    Exit,
    /// Thrown with [`Current::throw`](crate::greenlet::Current::throw), or returned by a child's body.
    Thrown(Box<dyn error::Error>),
    /// A child's body panicked.
    Panicked(Panic),
    /// A greenlet below ended with a value, but its parent is dead or waits for something else.
    Unreceived,
    /// The target has ended.
    Dead,
    /// The target is suspended, but not in a switch that receives such values: it waits in the hub, or at another
    /// [`Current`](crate::greenlet::Current) of its own.
    NotReceiving,
    /// The [`Current`](crate::greenlet::Current) is that of another greenlet.
    NotCurrent,
    /// The parent would be its own descendant.
    CyclicParent,
    /// Switching is not possible here.
    Refused(Refused),
}

impl Error {
    /// An error to throw.
    pub fn thrown(error: impl Into<Box<dyn error::Error>>) -> Error {
        Error::Thrown(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Exit => f.write_str("the greenlet ended by GreenletExit"),
            Error::Thrown(error) => error.fmt(f),
            Error::Panicked(_) => f.write_str("the greenlet panicked"),
            Error::Unreceived => f.write_str("a greenlet ended, and its parent does not wait for its value"),
            Error::Dead => f.write_str("the greenlet is dead"),
            Error::NotReceiving => {
                f.write_str("the greenlet does not wait for such a value: it waits in the hub or elsewhere")
            }
            Error::NotCurrent => f.write_str("this Current belongs to another greenlet than the running one"),
            Error::CyclicParent => f.write_str("cyclic parent chain"),
            Error::Refused(refused) => refused.fmt(f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Error::Thrown(error) => error.source(),
            Error::Panicked(panic) => Some(panic),
            Error::Refused(refused) => refused.source(),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Refused(refused)
    }
}

/// What unwinds a green thread out of a [`timeout`](crate::timeout()) that has expired.
pub(crate) struct Expired {
    /// The number of the [`TimeLimit`](super::node::TimeLimit).
    pub limit: u64,
}

/// Whether a payload is that of a kill or of a timeout, which belong to the green thread that they unwind.
pub(crate) fn is_interrupt(payload: &(dyn Any + Send)) -> bool {
    payload.is::<GreenletExit>() || payload.is::<Expired>()
}

/// A panic that was caught: its text, and the payload it unwound with.
///
/// Boxed, so that the errors that hold it are small.
pub struct Panic(Box<Caught>);

struct Caught {
    message: Box<str>,
    /// A lock that is never waited for, because payloads are `Send` and errors are better `Sync`, too.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panic {
    #[cold]
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Panic {
        Panic(Box::new(Caught { message: panic_message(payload.as_ref()).into(), payload: Mutex::new(payload) }))
    }

    /// What the panic said; a note in brackets if its payload is no text.
    ///
    /// ```
    /// let result = greenloom::spawn(|| panic!("no bread")).wait();
    /// let Err(greenloom::JoinError::Panicked(panic)) = result else { panic!() };
    /// assert_eq!(panic.message(), "no bread");
    /// ```
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The payload, as [`catch_unwind`](std::panic::catch_unwind) gives it.
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        self.0.payload.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Panics with the payload.
    pub fn resume(self) -> ! {
        resume_unwind(self.into_payload())
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

impl error::Error for Panic {}

/// The text of a panic's payload.
fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a payload that is no text)"
    }
}

/// Why a green thread was not started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no stack for it.
    Stack(StackError),
    /// This OS thread has no hub and could not make one.
    Hub(io::Error),
    /// This OS thread is ending, and its hub has.
    ThreadEnding,
}

impl SpawnError {
    /// For calls that have no error to return.
    #[cold]
    pub(crate) fn raise(self) -> ! {
        panic!("{}", Chain(&self))
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Stack(_) => f.write_str("no stack for a green thread"),
            SpawnError::Hub(_) => f.write_str("no green thread, because this OS thread has no hub"),
            SpawnError::ThreadEnding => f.write_str("no green thread while the OS thread ends"),
        }
    }
}

impl error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            SpawnError::Stack(error) => Some(error),
            SpawnError::Hub(error) => Some(error),
            SpawnError::ThreadEnding => Some(&Refused::ThreadEnding),
        }
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> io::Error {
        match error {
            SpawnError::Hub(error) => error,
            SpawnError::ThreadEnding => Refused::ThreadEnding.into(),
            SpawnError::Stack(_) => io::Error::new(io::ErrorKind::OutOfMemory, error),
        }
    }
}

/// Why [`GreenThread::wait`](crate::GreenThread::wait) has no value. It is `Send` and `Sync`, so that `?` makes it an
/// error of any kind, and it may cross OS threads.
///
/// ```
/// fn work() -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
///     Ok(greenloom::spawn(|| 7).wait()?)
/// }
/// assert_eq!(work().unwrap(), 7);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// It panicked.
    Panicked(Panic),
    /// It was killed, or cancelled before it began.
    Killed,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl JoinError {
    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> JoinError {
        if payload.is::<GreenletExit>() { JoinError::Killed } else { JoinError::Panicked(Panic::new(payload)) }
    }

    /// Panics with the payload of the green thread's panic, or with the error's text.
    pub fn resume(self) -> ! {
        match self {
            JoinError::Panicked(panic) => panic.resume(),
            error => panic!("{error}"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(_) => f.write_str("the green thread panicked"),
            JoinError::Killed => f.write_str("the green thread was killed"),
            JoinError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl error::Error for JoinError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            JoinError::Panicked(panic) => Some(panic),
            JoinError::Killed => None,
            JoinError::Refused(refused) => refused.source(),
        }
    }
}

impl From<Refused> for JoinError {
    fn from(refused: Refused) -> JoinError {
        JoinError::Refused(refused)
    }
}

/// The errors that are found before a switch. One byte, for the sake of the path on which there are none.
#[derive(Clone, Copy)]
pub(crate) enum Misuse {
    Dead,
    NotReceiving,
    NotCurrent,
    Panicking,
    InHub,
    ThreadEnding,
}

impl From<Misuse> for Error {
    #[cold]
    fn from(misuse: Misuse) -> Error {
        match misuse {
            Misuse::Dead => Error::Dead,
            Misuse::NotReceiving => Error::NotReceiving,
            Misuse::NotCurrent => Error::NotCurrent,
            Misuse::Panicking => Error::Refused(Refused::Panicking),
            Misuse::InHub => Error::Refused(Refused::InHub),
            Misuse::ThreadEnding => Error::Refused(Refused::ThreadEnding),
        }
    }
}
