//! What can go wrong on a connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use greenloom_amqp::Malformed;

use super::unsupported::Unsupported;
use crate::reason::{Awaited, UrlError};

/// Why an operation failed. Cloned to all waiters of the connection or channel that ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// This side has closed it.
    Closed,
    /// The socket: refused, reset, ended.
    Io(Arc<io::Error>),
    /// The peer sent what is not AMQP.
    Malformed(Malformed),
    /// Nothing was heard from the peer for two heartbeats.
    Silent,
    /// The broker has closed the connection.
    Connection {
        /// The specification's code, such as 320 for a broker that is shut down, or 403 for a wrong password.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker has closed the channel.
    Channel {
        /// The specification's code, such as 404 for an exchange that does not exist.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The message was mandatory and there is no queue for it.
    Unroutable {
        /// The specification's code.
        code: u16,
        /// The broker's words.
        text: String,
    },
    /// The broker could not take the message over.
    Nacked,
    /// What it waited for.
    TimedOut(Awaited),
    /// It cannot be sent, or not to this peer.
    Unsupported(Unsupported),
    /// The URL makes no sense.
    Url(UrlError),
}

impl Error {
    /// Whether the connection is gone, so that trying again on a new one makes sense.
    pub fn is_loss(&self) -> bool {
        match self {
            Error::Io(_) | Error::Malformed(_) | Error::Silent => true,
            // A wrong password or virtual host stays wrong; everything else may pass.
            Error::Connection { code, .. } => !matches!(code, 403 | 530),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => f.write_str("closed by this side"),
            Error::Io(error) => error.fmt(f),
            Error::Malformed(malformed) => malformed.fmt(f),
            Error::Silent => f.write_str("nothing was heard from the broker for two heartbeats"),
            Error::Connection { code, text } => write!(f, "the broker closed the connection: {code} {text}"),
            Error::Channel { code, text } => write!(f, "the broker closed the channel: {code} {text}"),
            Error::Unroutable { code, text } => write!(f, "no queue for the message: {code} {text}"),
            Error::Nacked => f.write_str("the broker could not take the message"),
            Error::TimedOut(what) => write!(f, "timed out waiting for {what}"),
            Error::Unsupported(what) => what.fmt(f),
            Error::Url(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io(error) => error.source(),
            Error::Malformed(malformed) => malformed.source(),
            Error::Unsupported(what) => what.source(),
            Error::Url(problem) => problem.source(),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(Arc::new(error))
    }
}

impl From<Unsupported> for Error {
    fn from(what: Unsupported) -> Error {
        Error::Unsupported(what)
    }
}

impl From<UrlError> for Error {
    fn from(problem: UrlError) -> Error {
        Error::Url(problem)
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Error {
        Error::Malformed(malformed)
    }
}
