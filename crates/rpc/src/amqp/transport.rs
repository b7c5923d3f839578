//! The [`Transport`] over AMQP, with oslo.messaging's exchanges and queues.
//!
//! | address | exchange | queue | flags |
//! |---|---|---|---|
//! | topic, server | the address's, of kind `topic` | `topic`, `topic.server`, bound by their names | durable and auto-delete as [`Topology`] says, which has oslo.messaging's defaults |
//! | fanout | `topic_fanout`, of kind `fanout`, auto-delete | `topic_fanout_<unique>` | expires when unused; deleted when its listener stops |
//! | reply | the one without a name | as given | expires when unused |
//! | dead | the one without a name | `topic.dead` | durable |
//!
//! What exists already with other flags is used as it is, with a warning: services that share an exchange do not all have the same
//! configuration.
//!
//! There are two connections, one that publishes and one that listens. A broker that is short of memory stops reading from those who
//! publish; acknowledgements on the same connection would be stuck with them, and no queue would ever get shorter.
//!
//! # Tries
//! A classic queue tells that a message was delivered before and not how often, and forgets even that when the broker
//! restarts. So a message that is to be [tried again](Settle::retry) is published anew to the end of its queue with a header that counts,
//! and only then is the old one acknowledged. A quorum queue counts by itself, and
//! only gives it back; where in the queue, is the broker's choice.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use greenloom::queue::Queue;
use greenloom::select::Select;
use greenloom::sync::{Event, Mutex, Semaphore};
use greenloom::{Builder, hub::now, sleep};

use super::channel::{Channel, Declared, ExchangeFlags, Message, QueueFlags};
use super::connection::Connection;
use super::consumer::Delivery;
use super::error::Error;
use super::link::Link;
use super::properties::Properties;
use super::table::{Table, Value};
use super::url::{Options, Topology};
use crate::id::unique;
use crate::transport::{Address, Depth, Incoming, Listener, Outgoing, Settle, State, Transport, TransportError};

/// How often a message was handed to a handler that wanted it to come again.
const TRIES: &str = "x-greenloom-tries";
/// The same, as quorum queues count it.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Why a message is in a dead letter queue, and from which queue it came.
const REASON: &str = "x-greenloom-reason";
const ORIGIN: &str = "x-greenloom-queue";
/// Headers have to fit a frame, and a panic may say anything.
const LONGEST_REASON: usize = 1000;
/// The pause before a listener tries again what the broker refused.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a listener may take to give back what it has fetched, when all is closed.
const GIVING_BACK: Duration = Duration::from_millis(200);
/// As good as without a limit.
const FOREVER: Duration = Duration::from_secs(1 << 30);

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

/// Whether all listeners have what they declared. A connection is made again only when they have: the answer to a call that is sent
/// earlier may find no queue.
#[derive(Default)]
struct Standing {
    missing: Cell<usize>,
    /// Sent when none is missing any more.
    complete: Event<()>,
}

impl Standing {
    fn add(&self, missing: isize) {
        self.missing.set(self.missing.get().saturating_add_signed(missing));
        if self.missing.get() == 0 {
            let _ = self.complete.send(());
        }
    }

    /// Parks until none is missing, at most for `timeout`. Returns whether that is so.
    fn wait(&self, timeout: Duration) -> bool {
        if self.missing.get() == 0 {
            return true;
        }
        let deadline = now().saturating_add(timeout);
        while self.missing.get() > 0 {
            self.complete.reset();
            let left = deadline.saturating_sub(now());
            if left.is_zero() || self.complete.wait_timeout(left).is_err() {
                return false;
            }
        }
        true
    }
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
        let publisher = Rc::new(Publisher::new(Rc::clone(&publishing), &options));
        let (listeners, standing, closed) = (RefCell::default(), Rc::default(), Cell::new(false));
        Ok(AmqpTransport { options, publishing, listening, publisher, listeners, standing, closed })
    }

    /// How often one of its connections was lost.
    pub fn losses(&self) -> u64 {
        self.publishing.losses() + self.listening.losses()
    }
}

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
        let patience = self.options.connection_timeout + self.options.answer_timeout;
        match intake.first.wait_timeout(patience) {
            Ok(outcome) => outcome?,
            Err(_) => return Err(TransportError::Disconnected("no answer from the broker".to_owned())),
        }
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| listener.strong_count() > 0);
        listeners.push(Rc::downgrade(&intake));
        Ok(listener)
    }

    fn send(&self, to: &Address, message: Outgoing) -> Result<(), TransportError> {
        if self.closed.get() {
            return Err(TransportError::Closed);
        }
        let expiration = message.expires_after.map(|time| time.as_millis().max(1).to_string());
        let properties = Properties { expiration, ..json() };
        let mandatory = message.mandatory || matches!(to, Address::Reply { .. });
        let patience = message.expires_after.unwrap_or(FOREVER);
        // If they cannot have it, that is no reason to be silent.
        self.standing.wait(patience.min(self.options.connection_timeout));
        self.publisher.send(to, &properties, mandatory, &message.body, patience)
    }

    fn wait_connected(&self, timeout: Duration) -> bool {
        let begun = now();
        let left = || timeout.saturating_sub(now() - begun);
        self.publishing.connection(timeout).is_ok()
            && self.listening.connection(left()).is_ok()
            && self.standing.wait(left())
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
        f.debug_struct("AmqpTransport").field("hosts", &self.options.hosts).field("state", &self.state()).finish()
    }
}

/// The properties that oslo.messaging's own messages have.
fn json() -> Properties {
    Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        priority: Some(0),
        ..Properties::persistent()
    }
}

fn failed(error: impl fmt::Display) -> TransportError {
    TransportError::Failed(error.to_string())
}

fn disconnected(error: Error) -> TransportError {
    match error {
        Error::Closed => TransportError::Closed,
        // It was never connected, and will not be.
        Error::Connection { code: 403 | 530, .. } | Error::Unsupported(_) => failed(error),
        _ => TransportError::Disconnected(error.to_string()),
    }
}

fn lost_or_failed(error: Error) -> TransportError {
    if error.is_loss() { disconnected(error) } else { failed(error) }
}

/// Sends, on a channel of its own that is opened again after it has ended.
struct Publisher {
    link: Rc<Link>,
    topology: Topology,
    connection_timeout: Duration,
    answer_timeout: Duration,
    /// For everything but fanouts.
    direct: Outlet,
    /// Fanouts' exchanges go when nobody listens any more, and a channel ends with a message to one that is gone. So they
    /// have one that nothing else is on.
    fanout: Outlet,
    /// What exists with other flags than ours, and is not declared again.
    foreign: RefCell<HashSet<String>>,
}

#[derive(Default)]
struct Outlet {
    present: RefCell<Option<Rc<Outgo>>>,
    /// Held by the one who opens the next channel.
    opening: Mutex<()>,
}

impl Outlet {
    fn present(&self) -> Option<Rc<Outgo>> {
        self.present.borrow().as_ref().filter(|outgo| outgo.channel.ended().is_none()).cloned()
    }
}

/// A channel, with what was declared on it.
struct Outgo {
    channel: Channel,
    declared: RefCell<HashSet<String>>,
}

impl Publisher {
    fn new(link: Rc<Link>, options: &Options) -> Publisher {
        Publisher {
            link,
            topology: options.topology.clone(),
            connection_timeout: options.connection_timeout,
            answer_timeout: options.answer_timeout,
            direct: Outlet::default(),
            fanout: Outlet::default(),
            foreign: RefCell::default(),
        }
    }

    fn send(
        &self,
        to: &Address,
        properties: &Properties,
        mandatory: bool,
        body: &[u8],
        patience: Duration,
    ) -> Result<(), TransportError> {
        let outlet = if matches!(to, Address::Fanout { .. }) { &self.fanout } else { &self.direct };
        let target = Target::new(to, &self.topology);
        let message =
            Message { exchange: target.exchange(), routing_key: &target.routing_key, mandatory, properties, body };
        let sent = self.send_once(outlet, &target, message, patience);
        let sent = match sent {
            // The exchange was gone; on the next channel it is declared again.
            Err(Error::Channel { code: 404, .. }) => self.send_once(outlet, &target, message, patience),
            sent => sent,
        };
        sent.map_err(|error| match error {
            Error::Unroutable { .. } => TransportError::Unroutable(to.to_string()),
            Error::Nacked | Error::TimedOut(_) | Error::Unsupported(_) => failed(error),
            // With the channel went what somebody else did, and nobody knows what became of this message.
            Error::Channel { .. } => TransportError::Disconnected(error.to_string()),
            _ => disconnected(error),
        })
    }

    fn send_once(
        &self,
        outlet: &Outlet,
        target: &Target,
        message: Message<'_>,
        patience: Duration,
    ) -> Result<(), Error> {
        let outgo = self.outgo(outlet, patience)?;
        self.declare(&outgo, target)?;
        outgo.channel.publish(message)?.wait(self.answer_timeout.min(patience))
    }

    /// The open channel of an outlet.
    fn outgo(&self, outlet: &Outlet, patience: Duration) -> Result<Rc<Outgo>, Error> {
        if let Some(outgo) = outlet.present() {
            return Ok(outgo);
        }
        // Waited for before the lock, so that all wait at the same time and not one after another.
        let connection = self.link.connection(self.connection_timeout.min(patience))?;
        let _opening = outlet.opening.lock();
        if let Some(outgo) = outlet.present() {
            return Ok(outgo);
        }
        let channel = connection.open_channel()?;
        channel.confirm_select()?;
        let outgo = Rc::new(Outgo { channel, declared: RefCell::default() });
        *outlet.present.borrow_mut() = Some(Rc::clone(&outgo));
        Ok(outgo)
    }

    /// Declares what a message goes to, once on each channel.
    fn declare(&self, outgo: &Outgo, target: &Target) -> Result<(), Error> {
        let Some(name) = target.declares() else { return Ok(()) };
        if outgo.declared.borrow().contains(name) || self.foreign.borrow().contains(name) {
            return Ok(());
        }
        // On a channel of its own: if the broker refuses, other messages must not suffer.
        let channel = outgo.channel.connection().open_channel()?;
        match target.declare(&channel) {
            Err(error) if is_other(&error) => {
                tracing::warn!(name, %error, "used as it is");
                self.foreign.borrow_mut().insert(name.to_owned());
            }
            declared => {
                declared?;
                outgo.declared.borrow_mut().insert(name.to_owned());
            }
        }
        Ok(())
    }
}

/// Whether something of the name exists with other flags.
fn is_other(error: &Error) -> bool {
    matches!(error, Error::Channel { code: 406, text } if text.contains("inequivalent arg"))
}

/// An exchange of a kind with its flags.
#[derive(Clone, Debug)]
struct Exchange {
    name: String,
    kind: &'static str,
    flags: ExchangeFlags,
}

impl Exchange {
    fn topic(name: &str, topology: &Topology) -> Exchange {
        let flags = ExchangeFlags { durable: topology.durable || topology.quorum, auto_delete: topology.auto_delete };
        Exchange { name: name.to_owned(), kind: "topic", flags }
    }

    fn fanout(topic: &str) -> Exchange {
        let flags = ExchangeFlags { durable: false, auto_delete: true };
        Exchange { name: format!("{topic}_fanout"), kind: "fanout", flags }
    }

    fn declare(&self, channel: &Channel) -> Result<(), Error> {
        channel.declare_exchange(&self.name, self.kind, self.flags)
    }
}

const DEAD_FLAGS: QueueFlags = QueueFlags { durable: true, exclusive: false, auto_delete: false };

/// Where a message is published to.
struct Target {
    /// `None` for the one without a name, which brings it into the queue named as the key.
    exchange: Option<Exchange>,
    routing_key: String,
    /// Whether the queue is made for the message: nobody need listen there.
    keeps: bool,
}

impl Target {
    fn new(to: &Address, topology: &Topology) -> Target {
        let exchange = match to {
            Address::Topic { exchange, .. } | Address::Server { exchange, .. } => {
                Some(Exchange::topic(exchange, topology))
            }
            Address::Fanout { topic } => Some(Exchange::fanout(topic)),
            Address::Reply { .. } | Address::Dead { .. } => None,
        };
        let routing_key = if matches!(to, Address::Fanout { .. }) { String::new() } else { to.to_string() };
        Target { exchange, routing_key, keeps: matches!(to, Address::Dead { .. }) }
    }

    fn exchange(&self) -> &str {
        self.exchange.as_ref().map_or("", |exchange| &exchange.name)
    }

    fn declares(&self) -> Option<&str> {
        match &self.exchange {
            Some(exchange) => Some(&exchange.name),
            None => self.keeps.then_some(&self.routing_key),
        }
    }

    fn declare(&self, channel: &Channel) -> Result<(), Error> {
        match &self.exchange {
            Some(exchange) => exchange.declare(channel),
            None => channel.declare_queue(&self.routing_key, DEAD_FLAGS, &Table::new()).map(drop),
        }
    }
}

/// A queue to listen on.
struct Source {
    exchange: Option<Exchange>,
    queue: Arc<str>,
    binding: String,
    flags: QueueFlags,
    arguments: Table,
    /// Whether it is this listener's alone, and goes with it.
    own: bool,
}

impl Source {
    fn new(address: &Address, topology: &Topology) -> Source {
        let mut source = Source {
            exchange: None,
            queue: Arc::from(address.to_string()),
            binding: address.to_string(),
            flags: QueueFlags::default(),
            arguments: Table::new(),
            own: false,
        };
        match address {
            Address::Topic { exchange, .. } | Address::Server { exchange, .. } => {
                source.exchange = Some(Exchange::topic(exchange, topology));
                source.flags.durable = topology.durable || topology.quorum;
                source.flags.auto_delete = topology.auto_delete;
                if topology.quorum {
                    source.arguments.set("x-queue-type", "quorum");
                }
            }
            Address::Fanout { topic } => {
                source.exchange = Some(Exchange::fanout(topic));
                source.queue = Arc::from(format!("{topic}_fanout_{}", unique()));
                source.binding.clone_from(topic);
                source.arguments = expiring(topology);
                source.own = true;
            }
            Address::Reply { .. } => source.arguments = expiring(topology),
            Address::Dead { .. } => source.flags = DEAD_FLAGS,
        }
        source
    }

    /// Declares it with its exchange. Each step has a channel that may end, if what is there has other flags.
    fn declare(&self, connection: &Connection) -> Result<(), Error> {
        let declare_exchange = |channel: Channel| self.exchange.as_ref().map_or(Ok(()), |it| it.declare(&channel));
        tolerated(connection, declare_exchange)?;
        tolerated(connection, |channel| channel.declare_queue(&self.queue, self.flags, &self.arguments).map(drop))?;
        let Some(exchange) = &self.exchange else { return Ok(()) };
        connection.open_channel()?.bind_queue(&self.queue, &exchange.name, &self.binding)
    }
}

fn expiring(topology: &Topology) -> Table {
    if topology.transient_ttl.is_zero() {
        return Table::new();
    }
    Table::new().with("x-expires", i32::try_from(topology.transient_ttl.as_millis()).unwrap_or(i32::MAX))
}

fn tolerated(connection: &Connection, declare: impl FnOnce(Channel) -> Result<(), Error>) -> Result<(), Error> {
    match declare(connection.open_channel()?) {
        Err(error) if is_other(&error) => {
            tracing::warn!(%error, "used as it is");
            Ok(())
        }
        declared => declared,
    }
}

struct AmqpListener {
    intake: Rc<Intake>,
}

impl Listener for AmqpListener {
    fn next(&self) -> Result<Incoming, TransportError> {
        self.intake.next()
    }

    fn stop(&self) {
        self.intake.stop();
    }
}

impl Drop for AmqpListener {
    fn drop(&mut self) {
        self.intake.stop();
    }
}

/// What a listener takes in: over one channel, again and again.
struct Intake {
    sources: Vec<Source>,
    prefetch: u16,
    link: Rc<Link>,
    publisher: Rc<Publisher>,
    standing: Rc<Standing>,
    /// How many messages may still be handed out. The broker counts for each queue; this counts for all.
    permits: Semaphore,
    /// The present channel's messages, and how many channels there were.
    present: RefCell<Option<Rc<Queue<Delivery>>>>,
    channels: Cell<u64>,
    /// The last channel whose loss somebody was told of.
    told: Cell<u64>,
    /// Sent when there is another channel.
    changed: Event<()>,
    /// What became of the first try.
    first: Event<Result<(), TransportError>>,
    stopped: Event<()>,
    /// Sent when all is given back.
    finished: Event<()>,
}

impl Intake {
    fn new(
        sources: Vec<Source>,
        prefetch: u16,
        link: &Rc<Link>,
        publisher: &Rc<Publisher>,
        standing: &Rc<Standing>,
    ) -> Intake {
        let limit = if prefetch == 0 { usize::MAX / 2 } else { prefetch.into() };
        Intake {
            sources,
            prefetch,
            link: Rc::clone(link),
            publisher: Rc::clone(publisher),
            standing: Rc::clone(standing),
            permits: Semaphore::new(limit),
            present: RefCell::default(),
            channels: Cell::new(0),
            told: Cell::new(0),
            changed: Event::new(),
            first: Event::new(),
            stopped: Event::new(),
            finished: Event::new(),
        }
    }

    fn keep(&self) {
        self.standing.add(1);
        self.keep_channel();
        self.standing.add(-1);
        let _ = self.finished.send(());
    }

    /// Keeps a channel open until the listener is stopped.
    fn keep_channel(&self) {
        let patience = self.publisher.connection_timeout;
        while !self.stopped.ready() {
            // The first time somebody waits for the outcome; later nobody does.
            let wait = if self.first.ready() { FOREVER } else { patience };
            match self.link.connection(wait) {
                Ok(connection) => self.keep_on(&connection),
                Err(error) => {
                    let closed = matches!(error, Error::Closed);
                    let _ = self.first.send(Err(disconnected(error)));
                    if closed {
                        return self.stop();
                    }
                    sleep(PAUSE);
                }
            }
        }
    }

    /// Takes messages in over one connection, as long as that goes well.
    fn keep_on(&self, connection: &Connection) {
        let deliveries = Rc::new(Queue::unbounded());
        match self.begin(connection, &deliveries) {
            Ok((channel, tags)) => {
                self.channels.set(self.channels.get() + 1);
                *self.present.borrow_mut() = Some(Rc::clone(&deliveries));
                let _ = self.changed.send(());
                let _ = self.first.send(Ok(()));
                self.standing.add(-1);
                Select::new().event(channel.end_event(), drop).event(&self.stopped, drop).wait();
                self.standing.add(1);
                self.finish(&channel, &tags, &deliveries);
            }
            // The link is at it already.
            Err(error) if error.is_loss() => {}
            Err(error) => {
                tracing::warn!(%error, "cannot listen; trying again");
                let _ = self.first.send(Err(failed(error)));
                sleep(PAUSE);
            }
        }
    }

    fn begin(&self, connection: &Connection, deliveries: &Rc<Queue<Delivery>>) -> Result<(Channel, Vec<u64>), Error> {
        self.sources.iter().try_for_each(|source| source.declare(connection))?;
        let channel = connection.open_channel()?;
        channel.set_prefetch(self.prefetch)?;
        let consume = |source: &Source| channel.consume_into(&source.queue, deliveries);
        let tags = self.sources.iter().map(consume).collect::<Result<_, _>>()?;
        Ok((channel, tags))
    }

    /// Gives back what was not handed out. The channel stays open for what was.
    fn finish(&self, channel: &Channel, tags: &[u64], deliveries: &Queue<Delivery>) {
        tags.iter().for_each(|&consumer| channel.cancel(consumer));
        deliveries.close();
        while deliveries.try_get().is_ok() {}
        if self.stopped.ready() {
            let own = self.sources.iter().filter(|source| source.own);
            own.for_each(|source| channel.delete_queue_soon(&source.queue));
        }
    }

    fn next(self: &Rc<Intake>) -> Result<Incoming, TransportError> {
        loop {
            let permit = self.permits.acquire();
            if self.stopped.ready() {
                return Err(TransportError::Closed);
            }
            let present = self.present.borrow().clone();
            let number = self.channels.get();
            if let Some(Ok(delivery)) = present.map(|deliveries| deliveries.get()) {
                permit.forget();
                return Ok(self.incoming(delivery));
            }
            drop(permit);
            self.wait_changed(number)?;
        }
    }

    /// Channel `lost` has ended: parks until there is another one, unless nobody was told of the loss.
    fn wait_changed(&self, lost: u64) -> Result<(), TransportError> {
        if lost > self.told.get() && !self.stopped.ready() {
            self.told.set(lost);
            return Err(TransportError::Disconnected("messages that were not settled come again".to_owned()));
        }
        while self.channels.get() == lost && !self.stopped.ready() {
            self.changed.reset();
            Select::new().event(&self.changed, drop).event(&self.stopped, drop).wait();
        }
        Ok(())
    }

    fn incoming(self: &Rc<Intake>, delivery: Delivery) -> Incoming {
        // Consumers are numbered from 1, in the order of the sources.
        let queue = Arc::clone(&self.sources[delivery.consumer as usize - 1].queue);
        let tries = tries(&delivery);
        let body = Arc::clone(&delivery.body);
        let headers = delivery.properties.headers.as_ref();
        let reason = headers.and_then(|headers| headers.get(REASON)?.as_str().map(str::to_owned));
        let settle = Unsettled { delivery: Some(delivery), intake: Rc::clone(self), queue: Arc::clone(&queue), tries };
        Incoming { body, queue, tries, reason, settle: Box::new(settle) }
    }

    fn stop(&self) {
        if self.stopped.send(()).is_ok() {
            // One who waits for a permit passes it on to the next, and so all learn that it is over.
            self.permits.release();
        }
    }
}

/// A message that was handed out. Dropped, it goes back.
struct Unsettled {
    /// Gone when it is settled.
    delivery: Option<Delivery>,
    intake: Rc<Intake>,
    queue: Arc<str>,
    tries: u32,
}

impl Unsettled {
    fn take(&mut self) -> Delivery {
        self.delivery.take().expect("it is settled once, for that consumes it")
    }

    /// Publishes it to another queue, or its own, and then takes it out of where it is.
    fn move_to(mut self, to: &Address, headers: Table) -> Result<(), TransportError> {
        let mut delivery = self.take();
        let properties = Properties { headers: Some(headers), ..std::mem::take(&mut delivery.properties) };
        self.intake.publisher.send(to, &properties, true, &delivery.body, FOREVER)?;
        delivery.ack().map_err(disconnected)
    }

    fn headers(&self) -> Table {
        self.delivery.as_ref().and_then(|delivery| delivery.properties.headers.clone()).unwrap_or_default()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.delivery = None;
        self.intake.permits.release();
    }
}

impl Settle for Unsettled {
    fn ack(mut self: Box<Self>) -> Result<(), TransportError> {
        self.take().ack().map_err(disconnected)
    }

    fn retry(mut self: Box<Self>) -> Result<(), TransportError> {
        if self.headers().get(DELIVERY_COUNT).is_some() || self.intake.publisher.topology.quorum {
            return self.take().reject(true).map_err(disconnected);
        }
        let headers = self.headers().with(TRIES, i64::from(self.tries) + 1);
        let queue = self.queue.to_string();
        self.move_to(&Address::Reply { queue }, headers)
    }

    fn bury(self: Box<Self>, topic: &str, reason: &str) -> Result<(), TransportError> {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let headers = self.headers().with(REASON, reason.as_str()).with(ORIGIN, &*self.queue);
        let mut this = self;
        if let Some(delivery) = &mut this.delivery {
            // It is kept until somebody looks.
            delivery.properties.expiration = None;
        }
        this.move_to(&Address::Dead { topic: topic.to_owned() }, headers)
    }
}

/// How often a message was handed out before, as far as anybody has counted.
fn tries(delivery: &Delivery) -> u32 {
    let header = |name| delivery.properties.headers.as_ref()?.get(name).and_then(Value::as_integer);
    let counted = header(DELIVERY_COUNT).unwrap_or(delivery.redelivered.into());
    u32::try_from(header(TRIES).unwrap_or(0).saturating_add(counted).max(0)).unwrap_or(u32::MAX)
}
