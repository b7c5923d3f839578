//! What errors of transports tell beyond their kind: what was waited for, how a connection was lost, what is wrong with
//! a URL. Used by the transports and by the AMQP client alike.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What lies behind an error of a transport, shared by all who are told. `downcast_ref` gives it back with its type:
/// [`amqp::Error`](crate::amqp::Error) from AMQP, [`Lost`] where nothing else says more.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// What was waited for when the time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaited {
    /// A connection to the broker that is ready for methods.
    Connection,
    /// The broker's answer to a method.
    Answer,
    /// That the broker, which has blocked publishers, or the socket takes messages again.
    Passage,
    /// That a message may be sent while no other is, after one beside it was refused.
    Turn,
    /// That the broker confirms a message.
    Confirm,
    /// A message for a consumer.
    Message,
    /// The queue for a connection's answers.
    ReplyQueue,
    /// Room in a queue with a limit.
    Room,
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Awaited::Connection => "a connection to the broker",
            Awaited::Answer => "the broker's answer",
            Awaited::Passage => "the broker to take messages",
            Awaited::Turn => "its turn to be sent alone",
            Awaited::Confirm => "the broker to confirm a message",
            Awaited::Message => "a message",
            Awaited::ReplyQueue => "a queue for answers",
            Awaited::Room => "room in the queue",
        })
    }
}

/// How a connection was lost, where no error of the network says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// A bus in memory was told to cut it.
    Cut,
    /// A listener's connection was made anew: messages that were not settled come again.
    Renewed,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Cut => "the bus cut it",
            Lost::Renewed => "messages that were not settled come again",
        })
    }
}

impl Error for Lost {}

/// Why a URL names no bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with a transport, such as `memory://`.
    NoScheme(String),
    /// It begins with something else.
    UnknownScheme(String),
    /// It has a fragment; a # in a password is written as %23.
    Fragment,
    /// `amqps` with `ssl=0`.
    TlsAndNone,
    /// A part of its query has no value.
    NoValue(String),
    /// There is no such option.
    UnknownOption(String),
    /// An option has a value that it cannot have.
    BadValue {
        /// The option.
        name: String,
        /// What it has.
        value: String,
        /// What it takes, in words.
        takes: &'static str,
    },
    /// One of several hosts has no name.
    Nameless,
    /// An address begins with [ and has no ].
    Unclosed,
    /// What is between brackets is no IPv6 address.
    NoIpv6(String),
    /// There is more after the brackets than a port.
    AfterBrackets(String),
    /// A character cannot be in a host's name.
    BadCharacter {
        /// Which.
        character: char,
        /// In what.
        name: String,
    },
    /// The port is no number from 1 to 65535.
    BadPort(String),
    /// A % is not followed by two hexadecimal digits.
    BadPercent(String),
    /// It is not UTF-8 once it is decoded.
    NotUtf8(String),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bad transport URL: ")?;
        match self {
            UrlError::NoScheme(url) => write!(f, "{url:?} does not begin with a transport, such as memory://"),
            UrlError::UnknownScheme(scheme) => write!(f, "{scheme:?} is none of memory, amqp, amqps, rabbit"),
            UrlError::Fragment => f.write_str("it has a fragment; a # in a password is written as %23"),
            UrlError::TlsAndNone => f.write_str("amqps with ssl=0: one asks for TLS, the other for none"),
            UrlError::NoValue(pair) => write!(f, "{pair:?} is not name=value"),
            UrlError::UnknownOption(name) => write!(f, "{name:?} is no option"),
            UrlError::BadValue { name, value, takes } => write!(f, "{name}={value:?} is not {takes}"),
            UrlError::Nameless => f.write_str("a host without a name among several"),
            UrlError::Unclosed => f.write_str("an address in [ without ]"),
            UrlError::NoIpv6(text) => write!(f, "{text:?} is no IPv6 address"),
            UrlError::AfterBrackets(address) => write!(f, "more than a port follows the brackets in {address:?}"),
            UrlError::BadCharacter { character, name } => {
                write!(f, "{character:?} cannot be in a host's name: {name:?}")
            }
            UrlError::BadPort(address) => write!(f, "{address:?} has no port that is a number up to 65535"),
            UrlError::BadPercent(text) => write!(f, "a % without two hexadecimal digits in {text:?}"),
            UrlError::NotUtf8(text) => write!(f, "{text:?} is not UTF-8"),
        }
    }
}

impl Error for UrlError {}
