//! What a message bus must offer to carry requests and replies.
//!
//! Two kinds exist: [`memory`](crate::memory), and AMQP 0-9-1. Everything above, [`Client`](crate::Client),
//! [`Connection`](crate::Connection) and [`Service`](crate::Service), knows only this trait, so a program moves from
//! one to the other by its URL.
//!
//! A transport moves bytes. It knows queues, acknowledgements and lost connections; it does not know methods,
//! arguments, envelopes or callers.
//!
//! # What both kinds promise
//! - A message that was sent without an error is in its queue, or in the queues of a fanout, until it is acknowledged,
//!   its time has run out, or the queue is gone.
//! - One queue's messages are handed out in the order in which they were sent; one that comes back goes ahead of those
//!   that were never out.
//! - A listener has at most `prefetch` messages that are not settled. What is not settled when a listener goes, whether
//!   it was stopped, dropped or cut off, comes back, and its [`tries`](Incoming::tries) count one more.
//! - A lost connection is made again by the transport, with all that was declared.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use crate::reason::{Awaited, Cause, Lost, UrlError};

/// Its traits are implemented here only, so that they can grow.
pub(crate) mod sealed {
    pub trait Sealed {}
}

/// Where messages go to and come from.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// The queue `topic`, which all servers of the topic share: each message goes to one of them.
    Topic {
        /// The exchange, as oslo.messaging's `control_exchange`.
        exchange: String,
        /// The topic.
        topic: String,
    },
    /// The queue `topic.server` of one server.
    Server {
        /// The exchange.
        exchange: String,
        /// The topic.
        topic: String,
        /// The server.
        server: String,
    },
    /// The queue `pool`, which gets a copy of each message to the topic: those who share it get each copy once.
    Pool {
        /// The exchange.
        exchange: String,
        /// The topic.
        topic: String,
        /// The queue.
        pool: String,
    },
    /// The exchange `topic_fanout`: each listener has a queue of its own, gone when the listener is, and gets each
    /// message.
    Fanout {
        /// The topic.
        topic: String,
    },
    /// A queue of this name that one caller has for its replies.
    Reply {
        /// The queue.
        queue: String,
    },
    /// The queue `topic.dead`, where messages of the topic end that were given up.
    Dead {
        /// The topic.
        topic: String,
    },
}

impl fmt::Display for Address {
    /// The name of the queue; of a fanout, that of the exchange.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Topic { topic, .. } => f.write_str(topic),
            Address::Server { topic, server, .. } => write!(f, "{topic}.{server}"),
            Address::Fanout { topic } => write!(f, "{topic}_fanout"),
            Address::Reply { queue } | Address::Pool { pool: queue, .. } => f.write_str(queue),
            Address::Dead { topic } => write!(f, "{topic}.dead"),
        }
    }
}

/// A message that is to be sent.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// What it says. Shared, since it may be sent again, or to several queues.
    pub body: Arc<[u8]>,
    /// When it is thrown away if nobody has taken it: the caller no longer waits then. A moment on the hub's clock
    /// ([`greenloom::hub::now`]).
    pub expires_at: Option<Duration>,
    /// When the sending gives up, all that has to be done before included: a moment on the hub's clock. Without it,
    /// the sending takes as long as the transport itself allows.
    pub until: Option<Duration>,
    /// Whether it is an error ([`TransportError::Unroutable`]) if there is no queue for it.
    pub mandatory: bool,
}

/// A message that has come in. One that is dropped unsettled goes back into its queue.
#[non_exhaustive]
pub struct Incoming {
    /// What it says. Shared, since a bus keeps it until it is settled.
    pub body: Arc<[u8]>,
    /// The queue it was in.
    pub queue: Arc<str>,
    /// How often it was handed out before, as far as the transport knows.
    pub tries: u32,
    /// Why it was given up, for one from [`Address::Dead`].
    pub reason: Option<String>,
    /// Why it cannot be understood, for one that came damaged. All that can be done with it is to [bury](Settle::bury)
    /// it.
    pub problem: Option<String>,
    /// What is done with it in the end.
    pub settle: Box<dyn Settle>,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("body", &String::from_utf8_lossy(&self.body))
            .field("queue", &self.queue)
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// What can be done with a message that has come in. Each may park.
///
/// Dropping it unused gives the message back, as when its listener goes. That may happen while a green thread unwinds,
/// so it must not park.
///
/// # Errors
/// Of each: [`TransportError::Disconnected`] when the connection over which the message came is gone; it will come
/// again.
pub trait Settle: sealed::Sealed {
    /// It is done with.
    fn ack(self: Box<Self>) -> Result<(), TransportError>;

    /// Lets it come again, with one more on its [`tries`](Incoming::tries).
    fn retry(self: Box<Self>) -> Result<(), TransportError>;

    /// Gives it up: it goes into the queue [`Address::Dead`] of `topic`, with the reason, and is kept there; with
    /// another `body`, if one is given that people can read.
    fn bury(self: Box<Self>, topic: &str, reason: &str, body: Option<Arc<[u8]>>) -> Result<(), TransportError>;
}

/// What takes messages in, from one or several addresses.
pub trait Listener: sealed::Sealed {
    /// Parks until there is a message. Several green threads may wait; each gets another one.
    ///
    /// # Errors
    /// - [`TransportError::Disconnected`], once each time the connection was lost. The listener goes on: the next call
    ///   waits until there is a connection again.
    /// - [`TransportError::Closed`] after [`Listener::stop`] or [`Transport::close`].
    fn next(&self) -> Result<Incoming, TransportError>;

    /// Takes no more messages in. Those that were handed out can still be settled; those that were fetched and not
    /// handed out go back. Does not park.
    fn stop(&self);
}

/// How a transport is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Messages go through.
    Connected,
    /// The connection was lost and is being made again.
    Reconnecting,
    /// It was closed.
    Closed,
}

/// How full a queue is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// The queue's name.
    pub queue: String,
    /// How many wait in it.
    pub ready: usize,
    /// How many were handed out and are not settled, where the transport knows.
    pub unsettled: Option<usize>,
}

/// A connection to a message bus; see the [module](self). It stays on the OS thread where it was made.
pub trait Transport: sealed::Sealed {
    /// Declares the addresses and takes their messages in, at most `prefetch` unsettled at a time; with zero, without a
    /// limit.
    ///
    /// # Errors
    /// [`TransportError::Closed`], [`TransportError::Failed`]; [`TransportError::Disconnected`] when there is no
    /// connection in a time that the transport sets.
    fn listen(&self, from: &[Address], prefetch: u16) -> Result<Rc<dyn Listener>, TransportError>;

    /// As [`Transport::listen`] on an [`Address::Reply`], without a limit, for a reader that needs each message once
    /// and does not fail at it: it may count as acknowledged when it is handed out,
    /// and then neither comes again nor can be buried.
    ///
    /// # Errors
    /// Those of [`Transport::listen`].
    fn listen_for_replies(&self, queue: &str) -> Result<Rc<dyn Listener>, TransportError> {
        self.listen(&[Address::Reply { queue: queue.to_owned() }], 0)
    }

    /// Makes the queue of an address without listening on it, so that what is sent there is kept. A fanout has none.
    ///
    /// # Errors
    /// Those of [`Transport::listen`].
    fn declare(&self, address: &Address) -> Result<(), TransportError>;

    /// Sends a message and parks until the bus has taken it over.
    ///
    /// # Errors
    /// - [`TransportError::Disconnected`] when the connection was lost before that: it may have gone through or not.
    /// - [`TransportError::TimedOut`] when it took longer than it [may](Outgoing::until): it may have gone through or
    ///   not.
    /// - [`TransportError::Unroutable`] for a mandatory message without a queue, and for a reply queue that is gone.
    /// - [`TransportError::Failed`] when the bus refuses this message. Sending it again would not help.
    /// - [`TransportError::Closed`].
    fn send(&self, to: &Address, message: Outgoing) -> Result<(), TransportError>;

    /// Parks until there is a connection, at most for `timeout`. Returns whether there is.
    fn wait_connected(&self, timeout: Duration) -> bool;

    /// How it is.
    fn state(&self) -> State;

    /// How full the queue of an address is; nothing if it does not exist. May park.
    ///
    /// # Errors
    /// Those of [`Transport::listen`].
    fn depth(&self, of: &Address) -> Result<Option<Depth>, TransportError>;

    /// Whether bodies cross the border of the process, and so have to be in the form that others read.
    fn is_wire(&self) -> bool {
        true
    }

    /// Stops all listeners and ends the connection. Its waiters get [`TransportError::Closed`].
    fn close(&self);
}

/// Why a transport did not do something. What lies behind it is its source, and keeps its type:
///
/// ```
/// use greenloom_rpc::{amqp, open_transport, transport::{Address, Outgoing, TransportError}};
/// use std::io::ErrorKind;
///
/// # let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap().port();
/// let transport = open_transport(&format!("amqp://127.0.0.1:{port}/?connection_timeout=0.1"))?;
/// let to = Address::Reply { queue: "nobody_is_there".into() };
/// let Err(TransportError::Disconnected(cause)) = transport.send(&to, Outgoing::default()) else { panic!() };
/// let Some(amqp::Error::Io(error)) = cause.downcast_ref() else { panic!() };
/// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
/// # Ok::<(), TransportError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransportError {
    /// It was closed, by this side.
    Closed,
    /// The connection was lost, or there is none: how.
    Disconnected(Cause),
    /// It was not done in time: what was waited for last.
    TimedOut(Awaited),
    /// Nobody has a queue there.
    Unroutable(Address),
    /// It is refused, and would be again: by whom and why.
    Failed(Cause),
    /// The URL makes no sense.
    Url(UrlError),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransportError::Closed => f.write_str("the connection was closed"),
            TransportError::Disconnected(_) => f.write_str("the connection was lost"),
            TransportError::TimedOut(what) => write!(f, "timed out waiting for {what}"),
            TransportError::Unroutable(address) => write!(f, "nobody has listened on {address}"),
            TransportError::Failed(_) => f.write_str("the message bus refuses"),
            TransportError::Url(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TransportError::Disconnected(cause) | TransportError::Failed(cause) => Some(&**cause),
            TransportError::Url(problem) => problem.source(),
            TransportError::Closed | TransportError::TimedOut(_) | TransportError::Unroutable(_) => None,
        }
    }
}
