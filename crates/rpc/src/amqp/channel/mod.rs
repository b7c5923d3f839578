//! A channel: declarations, publishing with confirms, consuming with acknowledgements.

use std::borrow::Cow;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use greenloom::get_hub;
use greenloom::queue::Queue;
use greenloom::sync::Event;

use greenloom_amqp::wire::is_short;
use greenloom_amqp::{
    Bit, ConsumeBits, DeleteBits, ExchangeBits, Malformed, Method, NackBits, Properties, PublishBits, QueueBits, Table,
    frame,
};

use super::confirm::{Confirm, mark};
use super::consumer::{Consumer, Delivery, Source};
use super::core::{self, Core, Port};
use super::error::Error;
use super::unsupported::Unsupported;
use crate::reason::Awaited;
use state::{Answer, ChannelState, MAX_ACKS};

pub use state::Declared;

mod state;

/// How long an acknowledgement may wait for others.
const ACK_DELAY: Duration = Duration::from_millis(2);

/// A channel. Clones are of the same one; when the last one and all its deliveries are gone, it is closed.
///
/// An error of the broker's ends a channel ([`Error::Channel`]) and not its connection. Its calls that wait for an
/// answer are served one after another.
///
/// ```no_run
/// use greenloom_rpc::amqp::{Connection, Error, Options, QueueFlags, Table};
///
/// let options: Options = "amqp://localhost/".parse()?;
/// let connection = Connection::open(&options.brokers[0], &options)?;
/// let channel = connection.open_channel()?;
/// let jobs = channel.declare_queue("jobs", QueueFlags::default(), &Table::new())?;
/// println!("{} jobs wait", jobs.messages);
/// // There is no such queue, which ends the channel; the connection has others.
/// assert!(matches!(channel.inspect_queue("nowhere"), Err(Error::Channel { code: 404, .. })));
/// assert!(channel.ended().is_some() && connection.open_channel().is_ok());
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Channel(Rc<Handle>);

/// What its users hold, in contrast to the connection.
struct Handle {
    state: Rc<ChannelState>,
    connection: Rc<core::Handle>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.hang_up(&self.connection.core);
    }
}

/// How an exchange is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExchangeFlags {
    /// It outlives the broker.
    pub durable: bool,
    /// It goes when its last binding does.
    pub auto_delete: bool,
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFlags {
    /// It outlives the broker.
    pub durable: bool,
    /// Only this connection may use it, and it goes with that.
    pub exclusive: bool,
    /// It goes when its last consumer does.
    pub auto_delete: bool,
}

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The exchange; the one without a name brings it into the queue that is named as the key.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// Whether it is an error if no queue gets it. That is told by the message's [`Confirm`]; on a channel without
    /// confirms, nobody hears of it.
    pub mandatory: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The body.
    pub body: &'a [u8],
}

impl Channel {
    pub(super) fn open(connection: &Rc<core::Handle>) -> Result<Channel, Error> {
        let core = &connection.core;
        let id = core.free_number()?;
        let handle = Rc::new_cyclic(|handle: &Weak<Handle>| {
            let state = Rc::new(ChannelState::new(id, Weak::<Handle>::clone(handle)));
            core.enrol(id, Rc::clone(&state) as Rc<dyn Port>);
            Handle { state, connection: Rc::clone(connection) }
        });
        let channel = Channel(handle);
        channel.call(&Method::ChannelOpen { reserved: "" })?;
        Ok(channel)
    }

    fn state(&self) -> &ChannelState {
        &self.0.state
    }

    fn core(&self) -> &Core {
        &self.0.connection.core
    }

    /// Why it has ended; `None` as long as it has not.
    pub fn ended(&self) -> Option<Error> {
        self.state().ended.borrow().clone()
    }

    /// What is sent when it has ended.
    pub(super) fn end_event(&self) -> &Event<()> {
        &self.state().end
    }

    /// Sends a method and parks until its answer is there.
    fn call(&self, method: &Method<'_>) -> Result<Answer, Error> {
        let state = self.state();
        let _turn = state.calls.lock();
        state.check()?;
        let answer = Rc::new(Queue::new(1));
        *state.answer.borrow_mut() = Some(Rc::clone(&answer));
        let unanswered = Unanswered(self);
        self.core().push_method(state.id, method);
        match answer.get_timeout(self.core().limits.answer_timeout) {
            Ok(answer) => {
                std::mem::forget(unanswered);
                answer
            }
            Err(_) => Err(Error::TimedOut(Awaited::Answer)),
        }
    }

    /// Declares an exchange of a kind: `direct`, `topic`, `fanout`, `headers`.
    ///
    /// # Errors
    /// [`Error::Channel`] with 406 if there is another one of this name.
    pub fn declare_exchange(&self, exchange: &str, kind: &str, flags: ExchangeFlags) -> Result<(), Error> {
        check_name(exchange)?;
        let bits = ExchangeBits { durable: flags.durable, auto_delete: flags.auto_delete, ..ExchangeBits::default() };
        let arguments = Cow::Owned(Table::new());
        self.call(&Method::ExchangeDeclare { reserved: 0, exchange, kind, bits, arguments }).map(drop)
    }

    /// Declares a queue; with an empty name the broker chooses one.
    ///
    /// # Errors
    /// [`Error::Channel`] with 406 if there is another one of this name, with 405 if it is another connection's alone.
    pub fn declare_queue(&self, queue: &str, flags: QueueFlags, arguments: &Table) -> Result<Declared, Error> {
        let QueueFlags { durable, exclusive, auto_delete } = flags;
        let bits = QueueBits { durable, exclusive, auto_delete, ..QueueBits::default() };
        self.queue_declare(queue, bits, arguments)
    }

    /// Asks how a queue is.
    ///
    /// # Errors
    /// [`Error::Channel`] with 404 if there is none of this name.
    pub fn inspect_queue(&self, queue: &str) -> Result<Declared, Error> {
        self.queue_declare(queue, QueueBits { passive: true, ..QueueBits::default() }, &Table::new())
    }

    fn queue_declare(&self, queue: &str, bits: QueueBits, arguments: &Table) -> Result<Declared, Error> {
        check_name(queue)?;
        if !arguments.is_readable() {
            return Err(nested_too_deeply());
        }
        let arguments = Cow::Borrowed(arguments);
        match self.call(&Method::QueueDeclare { reserved: 0, queue, bits, arguments })? {
            Answer::Queue(declared) => Ok(declared),
            _ => Err(Malformed("another answer than to a declaration").into()),
        }
    }

    /// Binds a queue to an exchange.
    ///
    /// # Errors
    /// [`Error::Channel`] with 404 if one of them does not exist.
    pub fn bind_queue(&self, queue: &str, exchange: &str, routing_key: &str) -> Result<(), Error> {
        [queue, exchange, routing_key].into_iter().try_for_each(check_name)?;
        let (nowait, arguments) = (Bit::default(), Cow::Owned(Table::new()));
        self.call(&Method::QueueBind { reserved: 0, queue, exchange, routing_key, nowait, arguments }).map(drop)
    }

    /// Deletes a queue with what is in it.
    ///
    /// # Errors
    /// Those of the channel. It is none if there is no such queue.
    pub fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        check_name(queue)?;
        self.call(&Method::QueueDelete { reserved: 0, queue, bits: DeleteBits::default() }).map(drop)
    }

    /// Ends a consumer without waiting for the broker's word. What has come and was not taken goes back.
    pub(super) fn cancel(&self, consumer: u64) {
        self.0.cancel(consumer);
    }

    /// Deletes a queue without waiting for the broker's word.
    pub(super) fn delete_queue_soon(&self, queue: &str) {
        if self.state().check().is_ok() {
            let bits = DeleteBits { nowait: true, ..DeleteBits::default() };
            self.core().push_method(self.state().id, &Method::QueueDelete { reserved: 0, queue, bits });
        }
    }

    /// Deletes an exchange with its bindings.
    ///
    /// # Errors
    /// Those of the channel. It is none if there is no such exchange.
    pub fn delete_exchange(&self, exchange: &str) -> Result<(), Error> {
        check_name(exchange)?;
        self.call(&Method::ExchangeDelete { reserved: 0, exchange, bits: DeleteBits::default() }).map(drop)
    }

    /// Has the broker confirm each message that is published from now on.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn confirm_select(&self) -> Result<(), Error> {
        self.call(&Method::ConfirmSelect { nowait: Bit::default() })?;
        self.state().confirms.borrow_mut().on = true;
        Ok(())
    }

    /// Publishes a message. Parks only while the broker takes none, or the socket is too slow. The message has arrived
    /// when the returned [`Confirm`] says so.
    ///
    /// # Errors
    /// Those of the channel; [`Error::TimedOut`] if the broker goes on taking none; [`Error::Unsupported`] for names
    /// that are too long.
    pub fn publish(&self, message: Message<'_>) -> Result<Confirm, Error> {
        self.publish_within(message, self.core().limits.answer_timeout)
    }

    /// As [`Channel::publish`], which waits at most so long.
    pub(super) fn publish_within(&self, message: Message<'_>, limit: Duration) -> Result<Confirm, Error> {
        let Message { exchange, routing_key, mandatory, properties, body } = message;
        check_name(exchange)?;
        check_name(routing_key)?;
        if let Some(name) = properties.too_long() {
            return Err(Unsupported::LongProperty(name).into());
        }
        if properties.headers.as_ref().is_some_and(|headers| !headers.is_readable()) {
            return Err(nested_too_deeply());
        }
        self.core().wait_passable(limit)?;
        let state = self.state();
        state.check()?;

        // Nothing parks from here on, so numbers are given in the order in which the broker counts.
        let (number, on) = {
            let confirms = state.confirms.borrow();
            (confirms.next(), confirms.on)
        };
        // A message that comes back is known by its id, among others.
        let mut properties = Cow::Borrowed(properties);
        if mandatory && on && properties.message_id.is_none() && properties.unread.is_none() {
            properties.to_mut().message_id = Some(number.to_string());
        }
        let frame_max = self.core().limits.frame_max;
        let publish = Method::BasicPublish {
            reserved: 0,
            exchange,
            routing_key,
            bits: PublishBits { mandatory, immediate: false },
        };
        let mut header_fits = true;
        self.core().push(|out| {
            let start = out.len();
            frame::put_method(out, state.id, &publish);
            header_fits = frame::put_content(out, state.id, &properties, body, frame_max);
            if !header_fits {
                out.truncate(start);
            }
        });
        if !header_fits {
            return Err(Unsupported::Properties { frame_max }.into());
        }
        if !on {
            return Ok(Confirm::none());
        }
        let mark = mandatory.then(|| mark(exchange, routing_key, properties.message_id.as_deref()));
        Ok(state.confirms.borrow_mut().published(mark))
    }

    /// How many messages each consumer that begins from now on may have unacknowledged; 0 for no limit.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn set_prefetch(&self, count: u16) -> Result<(), Error> {
        self.call(&Method::BasicQos { size: 0, count, global: Bit::default() })?;
        let gathered = if count == 0 { MAX_ACKS } else { (count / 4).clamp(1, MAX_ACKS) };
        self.state().acks_at_once.set(gathered.into());
        Ok(())
    }

    /// Consumes a queue: [`Consumer::next`] gives its messages. Set the prefetch first: without it the broker sends all
    /// that there is.
    ///
    /// # Errors
    /// [`Error::Channel`] with 404 if there is no such queue.
    pub fn consume(&self, queue: &str) -> Result<Consumer, Error> {
        let deliveries = Rc::new(Queue::unbounded());
        let number = self.begin_consumer(queue, &deliveries)?;
        Ok(Consumer { channel: Rc::clone(&self.0) as Rc<dyn Source>, number, deliveries })
    }

    /// Consumes queues into one, `deliveries`, which has to be unbounded. It is closed, and what is in it thrown away,
    /// when the channel ends; and the channel ends when the broker cancels one of its consumers, because its queue is
    /// gone. Returns the consumer's number, from 1 on.
    ///
    /// # Errors
    /// As [`Channel::consume`].
    pub(super) fn consume_into(&self, queue: &str, deliveries: &Rc<Queue<Delivery>>) -> Result<u64, Error> {
        self.state().cancel_ends.set(true);
        self.begin_consumer(queue, deliveries)
    }

    fn begin_consumer(&self, queue: &str, deliveries: &Rc<Queue<Delivery>>) -> Result<u64, Error> {
        check_name(queue)?;
        let state = self.state();
        let consumer = state.consumers_made.get() + 1;
        state.consumers_made.set(consumer);
        // The first delivery may come right behind the answer.
        state.consumers.borrow_mut().insert(consumer, Rc::clone(deliveries));
        let (tag, bits, arguments) = (consumer.to_string(), ConsumeBits::default(), Cow::Owned(Table::new()));
        let answer = self.call(&Method::BasicConsume { reserved: 0, queue, tag: &tag, bits, arguments });
        if answer.is_err() {
            state.consumers.borrow_mut().remove(&consumer);
        }
        answer.map(|_| consumer)
    }
}

impl Source for Handle {
    fn ended(&self) -> Option<Error> {
        self.state.ended.borrow().clone()
    }

    fn cancel(&self, consumer: u64) {
        let Handle { state, connection } = self;
        // Deliveries that are still under way go back, too: nobody is there for them.
        state.consumers.borrow_mut().remove(&consumer);
        if state.check().is_ok() {
            let (tag, nowait) = (consumer.to_string(), Bit { set: true });
            connection.core.push_method(state.id, &Method::BasicCancel { tag: &tag, nowait });
        }
    }

    fn ack(&self, tag: u64) -> Result<(), Error> {
        let Handle { state, connection } = self;
        state.check()?;
        let waiting = state.acks.borrow_mut().ack(tag);
        if waiting >= state.acks_at_once.get() {
            state.tell_acks(&connection.core);
        } else if waiting == 1 {
            let channel = state.handle.clone();
            get_hub().schedule_call_global(ACK_DELAY, move || {
                // A channel that nobody has any more told them when it was closed.
                if let Some(handle) = channel.upgrade() {
                    handle.tell_acks();
                }
            });
        }
        Ok(())
    }

    fn tell_acks(&self) {
        self.state.tell_acks(&self.connection.core);
    }

    fn nack(&self, tag: u64, requeue: bool) -> Result<(), Error> {
        let Handle { state, connection } = self;
        state.check()?;
        state.acks.borrow_mut().told(tag);
        let bits = NackBits { multiple: false, requeue };
        connection.core.push_method(state.id, &Method::BasicNack { delivery: tag, bits });
        Ok(())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("id", &self.state().id).field("ended", &self.ended()).finish()
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_short(name) { Ok(()) } else { Err(Unsupported::LongName(name.to_owned()).into()) }
}

fn nested_too_deeply() -> Error {
    Unsupported::Nesting.into()
}

/// A call that has no answer. If it never gets one, because its caller was killed or had no more time, nobody could
/// tell to which call a later answer belongs, so the channel ends.
struct Unanswered<'a>(&'a Channel);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.state().answer.take();
        self.0.state().hang_up(self.0.core());
    }
}
