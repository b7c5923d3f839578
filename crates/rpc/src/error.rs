//! What can go wrong for the caller.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use greenloom::queue::Reason;

use crate::failure::RemoteError;
use crate::transport::TransportError;

/// Why a call, a cast or a connection did not work.
///
/// ```
/// use greenloom_rpc::{Client, Error, Target, create_connection, transport::TransportError};
///
/// let connection = create_connection("memory://")?;
/// let client = Client::new(&connection, Target::topic("agent"));
/// match client.call::<()>("sync", &()) {
///     Err(Error::Remote(error)) => println!("the agent has failed: {}", error.message()),
///     Err(Error::Timeout { after, .. }) => println!("no answer in {after:?}"),
///     Err(Error::Transport(TransportError::Unroutable(at))) => assert_eq!(at.to_string(), "agent"),
///     other => other?,
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The other side's method ended with an error.
    Remote(RemoteError),
    /// It was not done in time: no answer came, or the bus did not take the message over.
    Timeout {
        /// The method that was called.
        method: String,
        /// Where.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The message bus did not do it. After [`TransportError::Disconnected`], the other side may have got the message
    /// or not.
    Transport(TransportError),
    /// The arguments cannot be written as a JSON object, or the answer is not what was expected.
    Json(serde_json::Error),
    /// The arguments of this method are no JSON object.
    Arguments {
        /// The method.
        method: String,
    },
    /// A method cannot be called on all servers of a topic at once, only cast.
    CallOfAll {
        /// The method.
        method: String,
        /// The topic.
        topic: String,
    },
    /// This is no version: one takes two numbers, such as 1.4.
    NoVersion(String),
    /// A version is asked for that lies beyond the [cap](crate::Client::version_cap).
    BeyondCap {
        /// What is asked for.
        version: String,
        /// What all servers are known to have.
        cap: String,
    },
    /// A consumer takes a topic and at least one endpoint.
    NothingToConsume,
    /// A hook of a service's manager failed.
    Hook {
        /// The hook.
        name: &'static str,
        /// What it returned.
        error: Box<dyn StdError + Send + Sync>,
    },
    /// The system does not let the service wait for signals.
    Signals(io::Error),
    /// Nothing can be waited for here, for the reason.
    CannotWait(Reason),
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
                write!(f, "{method} to {address} was not done within {after:?}")
            }
            Error::Transport(error) => error.fmt(f),
            Error::Json(error) => error.fmt(f),
            Error::Arguments { method } => write!(f, "the arguments of {method} are no JSON object"),
            Error::CallOfAll { method, topic } => {
                write!(f, "{method} cannot be called on all servers of {topic}, only cast")
            }
            Error::NoVersion(text) => write!(f, "{text:?} is no version: it takes two numbers, such as 1.4"),
            Error::BeyondCap { version, cap } => {
                write!(f, "version {version} is asked for, and servers are only known to have {cap}")
            }
            Error::NothingToConsume => f.write_str("a consumer takes a topic and an endpoint"),
            Error::Hook { name, .. } => write!(f, "the hook {name} failed"),
            Error::Signals(_) => f.write_str("cannot wait for signals"),
            Error::CannotWait(_) => f.write_str("cannot wait"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Remote(error) => error.source(),
            Error::Transport(error) => error.source(),
            Error::Json(error) => error.source(),
            Error::Hook { error, .. } => Some(&**error),
            Error::Signals(error) => Some(error),
            Error::CannotWait(reason) => Some(reason),
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
