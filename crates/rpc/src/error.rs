//! What can go wrong for who calls.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::failure::RemoteError;
use crate::transport::TransportError;

/// Why a call, a cast or a connection did not work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The other side's method ended with an error.
    Remote(RemoteError),
    /// No answer came in time.
    Timeout {
        /// The method that was called.
        method: String,
        /// Where.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The message bus did not do it. After [`TransportError::Disconnected`], the other side may have got the message or not.
    Transport(TransportError),
    /// The arguments cannot be written as a JSON object, or the answer is not what was expected.
    Json(serde_json::Error),
    /// The call makes no sense: the reason.
    Invalid(String),
}

impl Error {
    /// The other side's error, if that is what it is.
    pub fn remote(&self) -> Option<&RemoteError> {
        match self {
            Error::Remote(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Remote(error) => error.fmt(f),
            Error::Timeout { method, address, after } => {
                write!(f, "no answer from {address} to {method} after {after:?}")
            }
            Error::Transport(error) => error.fmt(f),
            Error::Json(error) => error.fmt(f),
            Error::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Remote(error) => Some(error),
            Error::Transport(error) => Some(error),
            Error::Json(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Error {
        Error::Transport(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error::Json(error)
    }
}
