//! Why nothing was put or got.

use std::error::Error;
use std::fmt;

use crate::runtime::error::Refused;

/// Why an item was not put; it comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PutError<T> {
    /// The item.
    pub item: T,
    /// Why.
    pub reason: Reason,
}

/// Why nothing was put or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Reason {
    /// The queue is full, or the time was over before it was not. Only from `try_put` and `put_timeout`.
    Full,
    /// The queue is empty, or the time was over before it was not. Only from `try_get` and `get_timeout`.
    Empty,
    /// The queue was closed.
    Closed,
    /// The time was over before all tasks were done. Only from `join_timeout`.
    Unfinished,
    /// Waiting is not possible in a function that the hub calls.
    InHub,
    /// Waiting is not possible while a panic unwinds.
    Panicking,
    /// Waiting is not possible while the OS thread ends.
    ThreadEnding,
}

impl Reason {
    /// Why waiting was refused, if it was.
    pub(crate) fn refused(self) -> Option<Refused> {
        match self {
            Reason::InHub => Some(Refused::InHub),
            Reason::Panicking => Some(Refused::Panicking),
            Reason::ThreadEnding => Some(Refused::ThreadEnding),
            _ => None,
        }
    }
}

impl From<Refused> for Reason {
    fn from(refused: Refused) -> Reason {
        match refused {
            Refused::InHub => Reason::InHub,
            Refused::Panicking => Reason::Panicking,
            Refused::ThreadEnding => Reason::ThreadEnding,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Full => f.write_str("the queue is full"),
            Reason::Empty => f.write_str("the queue is empty"),
            Reason::Closed => f.write_str("the queue is closed"),
            Reason::Unfinished => f.write_str("not all tasks of the queue are done"),
            Reason::InHub => Refused::InHub.fmt(f),
            Reason::Panicking => Refused::Panicking.fmt(f),
            Reason::ThreadEnding => Refused::ThreadEnding.fmt(f),
        }
    }
}

impl Error for Reason {}

impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutError({:?})", self.reason)
    }
}

impl<T> fmt::Display for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<T> Error for PutError<T> {}
