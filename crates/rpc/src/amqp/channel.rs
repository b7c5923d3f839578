//! A channel: declarations, publishing with confirms, consuming with acknowledgements.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use greenloom::get_hub;
use greenloom::queue::{Queue, Reason};
use greenloom::sync::{Event, EventError, Mutex};

use super::acks::Acks;
use super::connection::{Connection, Inner};
use super::error::Error;
use super::frame::{self, Payload};
use super::method::{Bit, ConsumeBits, DeleteBits, ExchangeBits, Method, NackBits, PublishBits, QueueBits};
use super::properties::Properties;
use super::table::Table;
use super::wire::{Malformed, is_short};

/// A larger message is refused as malformed. RabbitMQ itself takes no more.
const MAX_BODY: u64 = 512 * 1024 * 1024;
/// What is allocated for a body before it has come, at most: its size is only a claim.
const MAX_RESERVE: u64 = 1024 * 1024;
/// How long an acknowledgement may wait for others, and for how many.
const ACK_DELAY: Duration = Duration::from_millis(2);
const MAX_ACKS: u16 = 64;

/// A channel. Clones are of the same one; when the last one and all its deliveries are gone, it is closed.
///
/// An error of the broker's ends a channel ([`Error::Channel`]) and not its connection. Its calls that wait for an answer are
/// served one after another.
#[derive(Clone)]
pub struct Channel(Rc<Handle>);

/// What its users hold, in contrast to the connection.
struct Handle {
    state: Rc<ChannelState>,
    connection: Connection,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.hang_up(self.connection.inner());
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

/// A queue, as the broker has declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name; the broker's choice if none was given.
    pub queue: String,
    /// How many messages wait in it.
    pub messages: u32,
    /// How many consumers it has.
    pub consumers: u32,
}

/// A message to publish.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The exchange; the one without a name brings it into the queue that is named as the key.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
    /// Whether it is an error if no queue gets it. That is told by the message's [`Confirm`]; on a channel without confirms,
    /// nobody hears of it.
    pub mandatory: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The body.
    pub body: &'a [u8],
}

impl Channel {
    pub(super) fn open(connection: &Connection) -> Result<Channel, Error> {
        let state = connection.inner().enrol(|id| Rc::new(ChannelState::new(id)))?;
        let channel = Channel(Rc::new(Handle { state, connection: connection.clone() }));
        *channel.state().handle.borrow_mut() = Rc::downgrade(&channel.0);
        channel.call(&Method::ChannelOpen { reserved: "" })?;
        Ok(channel)
    }

    fn state(&self) -> &ChannelState {
        &self.0.state
    }

    fn inner(&self) -> &Inner {
        self.0.connection.inner()
    }

    /// The connection it belongs to.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
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
        self.inner().push_method(state.id, method);
        match answer.get_timeout(self.inner().limits.answer_timeout) {
            Ok(answer) => {
                std::mem::forget(unanswered);
                answer
            }
            Err(_) => Err(Error::TimedOut("the broker's answer")),
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

    /// Deletes a queue without waiting for the broker's word.
    pub(super) fn delete_queue_soon(&self, queue: &str) {
        if self.state().check().is_ok() {
            let bits = DeleteBits { nowait: true, ..DeleteBits::default() };
            self.inner().push_method(self.state().id, &Method::QueueDelete { reserved: 0, queue, bits });
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

    /// Publishes a message. Parks only while the broker takes none, or the socket is too slow. The message has arrived when the
    /// returned [`Confirm`] says so.
    ///
    /// # Errors
    /// Those of the channel; [`Error::TimedOut`] if the broker goes on taking none; [`Error::Unsupported`] for names that are
    /// too long.
    pub fn publish(&self, message: Message<'_>) -> Result<Confirm, Error> {
        let Message { exchange, routing_key, mandatory, properties, body } = message;
        check_name(exchange)?;
        check_name(routing_key)?;
        if let Some(name) = properties.too_long() {
            return Err(Error::Unsupported(format!("the property {name} is longer than 255 bytes")));
        }
        self.inner().wait_passable()?;
        let state = self.state();
        state.check()?;

        // Nothing parks from here on, so numbers are given in the order in which the broker counts.
        let (number, on) = {
            let confirms = state.confirms.borrow();
            (confirms.next(), confirms.on)
        };
        // A message that comes back is known by its id.
        let mut properties = Cow::Borrowed(properties);
        if mandatory && on && properties.message_id.is_none() {
            properties.to_mut().message_id = Some(number.to_string());
        }
        let frame_max = self.inner().limits.frame_max;
        let publish = Method::BasicPublish {
            reserved: 0,
            exchange,
            routing_key,
            bits: PublishBits { mandatory, immediate: false },
        };
        let mut header_fits = true;
        self.inner().push(|out| {
            let start = out.len();
            frame::put_method(out, state.id, &publish);
            header_fits = frame::put_content(out, state.id, &properties, body, frame_max);
            if !header_fits {
                out.truncate(start);
            }
        });
        if !header_fits {
            return Err(Error::Unsupported(format!("properties of more than the {frame_max} bytes of a frame")));
        }
        if !on {
            return Ok(Confirm { waiting: None });
        }
        let id = if mandatory { properties.into_owned().message_id } else { None };
        let waiting = Rc::new(Waiting { id, returned: RefCell::default(), outcome: Event::new() });
        state.confirms.borrow_mut().waiting.push_back(Some(Rc::clone(&waiting)));
        Ok(Confirm { waiting: Some(waiting) })
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

    /// Consumes a queue: [`Consumer::next`] gives its messages. Set the prefetch first: without it the broker sends all that
    /// there is.
    ///
    /// # Errors
    /// [`Error::Channel`] with 404 if there is no such queue.
    pub fn consume(&self, queue: &str) -> Result<Consumer, Error> {
        let deliveries = Rc::new(Queue::unbounded());
        let number = self.begin_consumer(queue, &deliveries)?;
        Ok(Consumer { channel: self.clone(), number, deliveries })
    }

    /// Consumes queues into one, `deliveries`, which has to be unbounded. It is closed, and what is in it thrown away, when
    /// the channel ends; and the channel ends when the broker cancels one of its consumers, because its queue is gone. Returns the
    /// consumer's number, from 1 on.
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

    /// Ends a consumer without waiting for the broker's word. What has come and was not taken goes back.
    pub(super) fn cancel(&self, consumer: u64) {
        let state = self.state();
        // Deliveries that are still under way go back, too: nobody is there for them.
        state.consumers.borrow_mut().remove(&consumer);
        if state.check().is_ok() {
            let (tag, nowait) = (consumer.to_string(), Bit { set: true });
            self.inner().push_method(state.id, &Method::BasicCancel { tag: &tag, nowait });
        }
    }

    fn ack(&self, tag: u64) -> Result<(), Error> {
        let state = self.state();
        state.check()?;
        let waiting = state.acks.borrow_mut().ack(tag);
        if waiting >= state.acks_at_once.get() {
            state.tell_acks(self.inner());
        } else if waiting == 1 {
            let channel = Rc::downgrade(&self.0);
            get_hub().schedule_call_global(ACK_DELAY, move || {
                // A channel that nobody has any more told them when it was closed.
                if let Some(handle) = channel.upgrade() {
                    handle.state.tell_acks(handle.connection.inner());
                }
            });
        }
        Ok(())
    }

    fn nack(&self, tag: u64, requeue: bool) -> Result<(), Error> {
        let state = self.state();
        state.check()?;
        state.acks.borrow_mut().told(tag);
        let bits = NackBits { multiple: false, requeue };
        self.inner().push_method(state.id, &Method::BasicNack { delivery: tag, bits });
        Ok(())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("id", &self.state().id).field("ended", &self.ended()).finish()
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if is_short(name) { Ok(()) } else { Err(Error::Unsupported(format!("a name of more than 255 bytes: {name:?}"))) }
}

/// A call that has no answer. If it never gets one, because its caller was killed or had no more time, nobody could tell to
/// which call a later answer belongs, so the channel ends.
struct Unanswered<'a>(&'a Channel);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.state().answer.take();
        self.0.state().hang_up(self.0.inner());
    }
}

/// The broker's word for a message.
#[derive(Debug)]
pub struct Confirm {
    /// `None` on a channel without confirms.
    waiting: Option<Rc<Waiting>>,
}

impl Confirm {
    /// Parks until the broker has the message: in its queues, and on disk if it is persistent and the queue is durable. Without
    /// [`Channel::confirm_select`] it returns at once.
    ///
    /// # Errors
    /// [`Error::Unroutable`] for a mandatory message, [`Error::Nacked`], [`Error::TimedOut`]; those of the channel if it ended
    /// before: then nobody knows whether the message arrived.
    pub fn wait(&self, timeout: Duration) -> Result<(), Error> {
        let Some(waiting) = &self.waiting else { return Ok(()) };
        match waiting.outcome.wait_timeout(timeout) {
            Ok(outcome) => outcome,
            Err(EventError::TimedOut) => Err(Error::TimedOut("the broker to confirm a message")),
            Err(error) => Err(std::io::Error::other(error).into()),
        }
    }
}

struct Waiting {
    /// Of a mandatory message.
    id: Option<String>,
    /// The broker has sent it back; its confirm is still to come.
    returned: RefCell<Option<Error>>,
    outcome: Event<Result<(), Error>>,
}

impl Waiting {
    fn settle(&self, outcome: Result<(), Error>) {
        // It is settled once: whoever does it has taken it out of the list.
        let _ = self.outcome.send(outcome);
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// Messages without a confirm, in the order of their numbers.
#[derive(Default)]
struct Confirms {
    on: bool,
    /// How many were taken off the front.
    before: u64,
    waiting: VecDeque<Option<Rc<Waiting>>>,
}

impl Confirms {
    /// The number of the next message. The broker counts from 1.
    fn next(&self) -> u64 {
        self.before + self.waiting.len() as u64 + 1
    }

    /// Takes out the message `number`, or all up to it.
    fn settle(&mut self, number: u64, multiple: bool, outcome: &Result<(), Error>) {
        // RabbitMQ's 0 with `multiple` means all.
        let newest = self.next() - 1;
        let last = if number == 0 { newest } else { number.min(newest) };
        let first = if multiple { self.before + 1 } else { number };
        for number in first.max(self.before + 1)..=last {
            let index = (number - self.before - 1) as usize;
            let Some(waiting) = self.waiting.get_mut(index).and_then(Option::take) else { continue };
            let returned = waiting.returned.take();
            waiting.settle(returned.map_or_else(|| outcome.clone(), Err));
        }
        while let Some(None) = self.waiting.front() {
            self.waiting.pop_front();
            self.before += 1;
        }
    }

    fn returned(&self, id: &str, error: Error) {
        let mut mandatory = self.waiting.iter().flatten();
        if let Some(waiting) = mandatory.find(|waiting| waiting.id.as_deref() == Some(id)) {
            *waiting.returned.borrow_mut() = Some(error);
        }
    }
}

/// Where the call that waits is given its answer.
type Expected = Queue<Result<Answer, Error>>;

/// What a method was answered.
#[derive(Debug)]
enum Answer {
    Queue(Declared),
    /// Nothing that anybody wants to know.
    Done,
}

pub(super) struct ChannelState {
    id: u16,
    /// What its users hold.
    handle: RefCell<Weak<Handle>>,
    /// Held by the call that waits for an answer.
    calls: Mutex<()>,
    answer: RefCell<Option<Rc<Expected>>>,
    confirms: RefCell<Confirms>,
    acks: RefCell<Acks>,
    /// How many acknowledgements are gathered at most: no more than a part of the prefetch, for the broker waits for them.
    acks_at_once: Cell<usize>,
    consumers: RefCell<HashMap<u64, Rc<Queue<Delivery>>>>,
    consumers_made: Cell<u64>,
    /// Whether the channel ends with any of its consumers.
    cancel_ends: Cell<bool>,
    /// A message of which some is still to come.
    unfinished: RefCell<Option<Unfinished>>,
    ended: RefCell<Option<Error>>,
    end: Event<()>,
}

impl ChannelState {
    fn new(id: u16) -> ChannelState {
        ChannelState {
            id,
            handle: RefCell::default(),
            calls: Mutex::new(()),
            answer: RefCell::default(),
            confirms: RefCell::default(),
            acks: RefCell::default(),
            acks_at_once: Cell::new(MAX_ACKS.into()),
            consumers: RefCell::default(),
            consumers_made: Cell::new(0),
            cancel_ends: Cell::new(false),
            unfinished: RefCell::default(),
            ended: RefCell::default(),
            end: Event::new(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        self.ended.borrow().clone().map_or(Ok(()), Err)
    }

    /// The end, with what everybody who waits gets.
    pub fn end(&self, error: &Error) {
        if self.ended.borrow().is_some() {
            return;
        }
        *self.ended.borrow_mut() = Some(error.clone());
        if let Some(answer) = self.answer.take() {
            let _ = answer.try_put(Err(error.clone()));
        }
        let confirms = std::mem::take(&mut *self.confirms.borrow_mut());
        confirms.waiting.iter().flatten().for_each(|waiting| waiting.settle(Err(error.clone())));
        let consumers = std::mem::take(&mut *self.consumers.borrow_mut());
        consumers.values().for_each(|deliveries| drain(deliveries));
        let _ = self.end.send(());
    }

    /// Tells the broker what is acknowledged and it does not know.
    pub fn tell_acks(&self, connection: &Inner) {
        if self.ended.borrow().is_some() {
            return;
        }
        self.acks.borrow_mut().tell(|delivery, multiple| {
            connection.push_method(self.id, &Method::BasicAck { delivery, multiple: Bit { set: multiple } });
        });
    }

    /// Closes the channel from this side without waiting for the broker's word. Its number is free when that is there.
    fn hang_up(&self, connection: &Inner) {
        if self.ended.borrow().is_none() {
            self.tell_acks(connection);
            self.end(&Error::Closed);
            self.say_close(connection);
        }
    }

    fn say_close(&self, connection: &Inner) {
        connection.push_method(self.id, &Method::ChannelClose { code: 200, text: "", class: 0, method: 0 });
    }

    /// Handles what has come in. Never parks.
    pub fn handle(&self, connection: &Inner, payload: Payload<'_>) -> Result<(), Malformed> {
        match payload {
            Payload::Method(method) => self.handle_method(connection, method),
            Payload::Header(header) => {
                let mut unfinished = self.unfinished.borrow_mut();
                let message = unfinished.as_mut().filter(|message| message.properties.is_none());
                let message = message.ok_or(Malformed("a content header out of order"))?;
                if header.body_size > MAX_BODY {
                    return Err(Malformed("a message of more than 512 MiB"));
                }
                message.missing = header.body_size;
                message.properties = Some(header.properties);
                drop(unfinished);
                self.finish()
            }
            Payload::Body(bytes) => {
                let mut unfinished = self.unfinished.borrow_mut();
                let message = unfinished.as_mut().filter(|message| message.properties.is_some());
                let message = message.ok_or(Malformed("a body without a header"))?;
                let left = message.missing.checked_sub(bytes.len() as u64);
                message.missing = left.ok_or(Malformed("a body that is longer than its header says"))?;
                message.add(bytes);
                drop(unfinished);
                self.finish()
            }
            Payload::Heartbeat => Err(Malformed("a heartbeat on a channel")),
        }
    }

    fn handle_method(&self, connection: &Inner, method: Method<'_>) -> Result<(), Malformed> {
        if self.unfinished.borrow().is_some() {
            return Err(Malformed("a method in the middle of a message"));
        }
        match method {
            Method::BasicDeliver { tag, delivery, redelivered, exchange, routing_key } => {
                let start = Start::Delivery {
                    consumer: consumer_number(tag)?,
                    tag: delivery,
                    redelivered: redelivered.set,
                    exchange: exchange.into(),
                    routing_key: routing_key.into(),
                };
                *self.unfinished.borrow_mut() = Some(Unfinished::new(start));
            }
            Method::BasicReturn { code, text, .. } => {
                *self.unfinished.borrow_mut() = Some(Unfinished::new(Start::Return { code, text: text.to_owned() }));
            }
            Method::BasicAck { delivery, multiple } => {
                self.confirms.borrow_mut().settle(delivery, multiple.set, &Ok(()));
            }
            Method::BasicNack { delivery, bits } => {
                self.confirms.borrow_mut().settle(delivery, bits.multiple, &Err(Error::Nacked));
            }
            Method::BasicCancel { tag, .. } => {
                let consumer = self.consumers.borrow_mut().remove(&consumer_number(tag)?);
                consumer.iter().for_each(|deliveries| drain(deliveries));
                if self.cancel_ends.get() {
                    self.end(&Error::Channel { code: 404, text: "a queue that was consumed is gone".to_owned() });
                    self.say_close(connection);
                }
            }
            Method::ChannelClose { code, text, .. } => {
                connection.push_method(self.id, &Method::ChannelCloseOk {});
                self.end(&Error::Channel { code, text: text.to_owned() });
                connection.strike_off(self.id);
            }
            Method::ChannelCloseOk {} => connection.strike_off(self.id),
            Method::QueueDeclareOk { queue, messages, consumers } => {
                self.answered(Answer::Queue(Declared { queue: queue.to_owned(), messages, consumers }));
            }
            Method::ChannelOpenOk { .. }
            | Method::ExchangeDeclareOk {}
            | Method::ExchangeDeleteOk {}
            | Method::QueueBindOk {}
            | Method::QueueDeleteOk { .. }
            | Method::BasicQosOk {}
            | Method::BasicConsumeOk { .. }
            | Method::BasicCancelOk { .. }
            | Method::ConfirmSelectOk {} => self.answered(Answer::Done),
            _ => return Err(Malformed("an unexpected method on a channel")),
        }
        Ok(())
    }

    fn answered(&self, answer: Answer) {
        if let Some(waiting) = self.answer.take() {
            let _ = waiting.try_put(Ok(answer));
        }
    }

    /// Hands the message over if it is complete.
    fn finish(&self) -> Result<(), Malformed> {
        if self.unfinished.borrow().as_ref().is_none_or(|message| message.missing > 0) {
            return Ok(());
        }
        let Some(Unfinished { start, properties, body, .. }) = self.unfinished.take() else { return Ok(()) };
        let body = body.whole();
        let properties = properties.unwrap_or_default();
        match start {
            Start::Return { code, text } => {
                let id = properties.message_id.as_deref().unwrap_or_default();
                self.confirms.borrow().returned(id, Error::Unroutable { code, text });
            }
            Start::Delivery { consumer, tag, redelivered, exchange, routing_key } => {
                // With nobody left to hold it, the channel is about to close, and the message goes back.
                let Some(handle) = self.handle.borrow().upgrade() else { return Ok(()) };
                let channel = Channel(handle);
                let settled = false;
                let delivery =
                    Delivery { exchange, routing_key, redelivered, properties, body, consumer, channel, tag, settled };
                let deliveries = self.consumers.borrow().get(&consumer).cloned();
                match deliveries {
                    // A full or closed queue gives it back, and the drop gives it back to the broker.
                    Some(deliveries) => drop(deliveries.try_put(delivery)),
                    None => drop(delivery),
                }
            }
        }
        Ok(())
    }
}

/// Tags are numbers, as this client gives them.
fn consumer_number(tag: &str) -> Result<u64, Malformed> {
    tag.parse().map_err(|_| Malformed("a consumer that this client does not have"))
}

/// Closes a queue and throws away what is in it.
fn drain(deliveries: &Queue<Delivery>) {
    deliveries.close();
    while deliveries.try_get().is_ok() {}
}

/// The beginning of a message.
enum Start {
    Delivery { consumer: u64, tag: u64, redelivered: bool, exchange: Box<str>, routing_key: Box<str> },
    Return { code: u16, text: String },
}

struct Unfinished {
    start: Start,
    /// `None` until the header is there.
    properties: Option<Properties>,
    missing: u64,
    body: Body,
}

enum Body {
    Pieces(Vec<u8>),
    /// It came in one piece, as most do, and was copied once.
    Whole(Arc<[u8]>),
}

impl Body {
    fn whole(self) -> Arc<[u8]> {
        match self {
            Body::Pieces(pieces) => Arc::from(pieces),
            Body::Whole(whole) => whole,
        }
    }
}

impl Unfinished {
    fn new(start: Start) -> Unfinished {
        // Something is missing as long as there is no header.
        Unfinished { start, properties: None, missing: u64::MAX, body: Body::Pieces(Vec::new()) }
    }

    /// Adds a piece that has been taken off what is missing.
    fn add(&mut self, bytes: &[u8]) {
        match &mut self.body {
            Body::Pieces(pieces) if pieces.is_empty() && self.missing == 0 => self.body = Body::Whole(Arc::from(bytes)),
            Body::Pieces(pieces) => {
                if pieces.is_empty() {
                    pieces.reserve_exact((bytes.len() as u64 + self.missing).min(MAX_RESERVE) as usize);
                }
                pieces.extend_from_slice(bytes);
            }
            // Nothing is missing then.
            Body::Whole(_) => {}
        }
    }
}

/// What takes the messages of a queue. Dropped, it ends, and what was not taken goes back.
#[derive(Debug)]
pub struct Consumer {
    channel: Channel,
    number: u64,
    deliveries: Rc<Queue<Delivery>>,
}

impl Consumer {
    /// Parks until there is a message, at most for `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Closed`] when the broker has ended it because its queue is gone; those of the channel.
    pub fn next(&self, timeout: Duration) -> Result<Delivery, Error> {
        self.deliveries.get_timeout(timeout).map_err(|reason| match reason {
            Reason::Closed => self.channel.ended().unwrap_or(Error::Closed),
            _ => Error::TimedOut("a message"),
        })
    }

    /// How many messages have come and were not taken.
    pub fn ready(&self) -> usize {
        self.deliveries.len()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.channel.cancel(self.number);
        drain(&self.deliveries);
    }
}

/// A message that a consumer has got. It goes back into its queue if it is dropped without [`Delivery::ack`] or
/// [`Delivery::reject`].
#[derive(Debug)]
pub struct Delivery {
    /// The exchange it was published to.
    pub exchange: Box<str>,
    /// The key it was published with.
    pub routing_key: Box<str>,
    /// Whether it was delivered before and came back.
    pub redelivered: bool,
    /// The properties.
    pub properties: Properties,
    /// The body.
    pub body: Arc<[u8]>,
    /// Which of the channel's consumers got it.
    pub(super) consumer: u64,
    channel: Channel,
    tag: u64,
    settled: bool,
}

impl Delivery {
    /// Tells the broker that it is done with. Does not wait for that to arrive; it is told together with others, after two
    /// milliseconds at the latest.
    ///
    /// # Errors
    /// Those of the channel when it has ended: the message comes again, to this consumer or another.
    pub fn ack(mut self) -> Result<(), Error> {
        self.settled = true;
        self.channel.ack(self.tag)
    }

    /// Gives it back: with `requeue` into its queue, else to the queue's dead letter exchange, or to nobody.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn reject(mut self, requeue: bool) -> Result<(), Error> {
        self.settled = true;
        self.channel.nack(self.tag, requeue)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            // Without the channel it goes back anyway.
            let _ = self.channel.nack(self.tag, true);
        }
    }
}
