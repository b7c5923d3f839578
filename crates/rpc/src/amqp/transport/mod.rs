//! The [`Transport`] over AMQP, with oslo.messaging's exchanges and queues.
//!
//! | address | exchange | queue | flags |
//! |---|---|---|---|
//! | topic, server | the address's, of kind `topic` | `topic`, `topic.server`, bound by name | as [`Topology`] says |
//! | pool | as a topic's | `pool`, bound by the topic's name | as a topic's |
//! | fanout | `topic_fanout`, of kind `fanout`, auto-delete | `topic_fanout_<unique>` | expires; goes with listener |
//! | reply | the one without a name | as given | expires when unused |
//! | dead | the one without a name | `topic.dead` | durable |
//!
//! [`Topology`]: super::Topology
//!
//! What exists already with other flags is used as it is, with a warning: services that share an exchange do not all
//! have the same configuration.
//!
//! There are two connections, one that publishes and one that listens. A broker that is short of memory stops reading
//! from those who publish; acknowledgements on the same connection would be stuck with them, and no queue would ever
//! get shorter.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use greenloom::Builder;

use greenloom_amqp::Properties;

use super::channel::Declared;
use super::error::Error;
use super::link::Link;
use super::url::Options;
use crate::deadline::{Deadline, FOREVER};
use crate::reason::Awaited;
use crate::transport::{Address, Depth, Listener, Outgoing, State, Transport, TransportError, sealed};
use failure::{disconnected, failed, lost_or_failed};
use intake::{AmqpListener, Intake};
use publisher::Publisher;
use standing::Standing;
use topology::Source;

mod failure;
mod intake;
mod outlet;
mod publisher;
mod standing;
mod topology;
mod unsettled;

/// How long a listener may take to give back what it has fetched, when all is closed.
const GIVING_BACK: Duration = Duration::from_millis(200);
/// RabbitMQ takes an expiration of 32 bits, in milliseconds. What lives longer than that, some 50 days, does not
/// expire.
const LONGEST_EXPIRATION: u128 = u32::MAX as u128;

/// RabbitMQ as oslo.messaging uses it. See the [module](super).
pub struct AmqpTransport {
    options: Options,
    publishing: Rc<Link>,
    listening: Rc<Link>,
    publisher: Rc<Publisher>,
    /// Those that may still have to be stopped.
    listeners: RefCell<Vec<Weak<Intake>>>,
    standing: Rc<Standing>,
    closed: Cell<bool>,
}

impl AmqpTransport {
    /// Begins to connect, and returns at once: what needs a connection waits for it, at most for
    /// [`connection_timeout`](Options::connection_timeout).
    ///
    /// # Errors
    /// [`TransportError::Failed`] when there is no memory for its green threads.
    pub fn new(options: Options) -> Result<AmqpTransport, TransportError> {
        let link = || Link::new(options.clone()).map(Rc::new).map_err(failed);
        let (publishing, listening) = (link()?, link()?);
        let publisher = Rc::new(Publisher::new(&publishing, &options));
        let (listeners, standing, closed) = (RefCell::default(), Rc::default(), Cell::new(false));
        Ok(AmqpTransport { options, publishing, listening, publisher, listeners, standing, closed })
    }

    /// How often one of its connections was lost.
    pub fn losses(&self) -> u64 {
        self.publishing.losses() + self.listening.losses()
    }
}

impl sealed::Sealed for AmqpTransport {}

impl Transport for AmqpTransport {
    fn listen(&self, from: &[Address], prefetch: u16) -> Result<Rc<dyn Listener>, TransportError> {
        if self.closed.get() {
            return Err(TransportError::Closed);
        }
        let sources = from.iter().map(|address| Source::new(address, &self.options.topology)).collect();
        let intake = Rc::new(Intake::new(sources, prefetch, &self.listening, &self.publisher, &self.standing));
        let keeper = Rc::clone(&intake);
        Builder::new().name("amqp listener").spawn(move || keeper.keep()).map_err(failed)?;
        let listener = Rc::new(AmqpListener { intake: Rc::clone(&intake) });
        let patience = self.options.connection_timeout.saturating_add(self.options.answer_timeout);
        match intake.first.wait_timeout(patience) {
            Ok(outcome) => outcome?,
            Err(_) => return Err(disconnected(Error::TimedOut(Awaited::Answer))),
        }
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Rc::downgrade(&intake));
        Ok(listener)
    }

    fn declare(&self, address: &Address) -> Result<(), TransportError> {
        if matches!(address, Address::Fanout { .. }) {
            return Ok(());
        }
        let connection = self.publishing.connection(self.options.connection_timeout).map_err(disconnected)?;
        Source::new(address, &self.options.topology).declare(&connection).map_err(lost_or_failed)
    }

    fn send(&self, to: &Address, message: Outgoing) -> Result<(), TransportError> {
        if self.closed.get() {
            return Err(TransportError::Closed);
        }
        let deadline = message.until.map_or_else(|| Deadline::after(FOREVER), Deadline::until);
        let expiration = message.expires_at.map(|at| Deadline::until(at).left().as_millis().max(1));
        let expiration = expiration.filter(|millis| *millis < LONGEST_EXPIRATION).map(|millis| millis.to_string());
        let is_reply = matches!(to, Address::Reply { .. });
        // Nobody waits for an answer any more when the broker is back, so it need not be on disk first.
        let delivery_mode = if is_reply { None } else { Properties::persistent().delivery_mode };
        let properties = Properties { expiration, delivery_mode, ..json() };
        let mandatory = message.mandatory || is_reply;
        // If they cannot have it, that is no reason to be silent.
        self.standing.wait(deadline.left().min(self.options.connection_timeout));
        self.publisher.send(to, &properties, mandatory, &message.body, deadline)
    }

    fn wait_connected(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(timeout);
        self.publishing.connection(deadline.left()).is_ok()
            && self.listening.connection(deadline.left()).is_ok()
            && self.standing.wait(deadline.left())
    }

    fn state(&self) -> State {
        let connected = self.publishing.is_connected() && self.listening.is_connected();
        match (self.closed.get(), connected && self.standing.missing.get() == 0) {
            (true, _) => State::Closed,
            (false, true) => State::Connected,
            (false, false) => State::Reconnecting,
        }
    }

    fn depth(&self, of: &Address) -> Result<Option<Depth>, TransportError> {
        if matches!(of, Address::Fanout { .. }) {
            return Ok(None);
        }
        let connection = self.publishing.connection(self.options.connection_timeout).map_err(disconnected)?;
        let queue = of.to_string();
        // On a channel of its own, for it does not survive the answer that there is no such queue.
        let found = connection.open_channel().and_then(|channel| channel.inspect_queue(&queue));
        match found {
            Ok(Declared { messages, .. }) => Ok(Some(Depth { queue, ready: messages as usize, unsettled: None })),
            Err(Error::Channel { code: 404, .. }) => Ok(None),
            Err(error) => Err(lost_or_failed(error)),
        }
    }

    fn close(&self) {
        if self.closed.replace(true) {
            return;
        }
        let intakes: Vec<_> = self.listeners.take().iter().filter_map(Weak::upgrade).collect();
        intakes.iter().for_each(|intake| intake.stop());
        for intake in intakes {
            // One without a connection waits for that, and learns of the end below.
            let _ = intake.finished.wait_timeout(GIVING_BACK);
        }
        self.listening.close();
        self.publishing.close();
    }
}

impl fmt::Debug for AmqpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpTransport").field("brokers", &self.options.brokers).field("state", &self.state()).finish()
    }
}

/// The properties that oslo.messaging's own messages have.
fn json() -> Properties {
    Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        priority: Some(0),
        ..Properties::default()
    }
}
