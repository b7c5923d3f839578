//! The other side of a channel: what the broker's frames do to it, and what ends it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use greenloom::queue::Queue;
use greenloom::sync::{Event, Mutex};

use greenloom_amqp::{Bit, Malformed, Method, frame::FramePayload};

use super::super::acks::Acks;
use super::super::confirm::{Confirms, mark};
use super::super::consumer::{Delivery, Source, drain};
use super::super::content::{Content, Start, Whole};
use super::super::core::{Core, Port};
use super::super::error::Error;

/// How many acknowledgements are gathered at most.
pub(super) const MAX_ACKS: u16 = 64;

/// A queue, as the broker has declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Declared {
    /// Its name; the broker's choice if none was given.
    pub queue: String,
    /// How many messages wait in it.
    pub messages: u32,
    /// How many consumers it has.
    pub consumers: u32,
}

/// Where the call that waits is given its answer.
pub(super) type Expected = Queue<Result<Answer, Error>>;

/// What a method was answered.
#[derive(Debug)]
pub(super) enum Answer {
    Queue(Declared),
    /// Nothing that anybody wants to know.
    Done,
}

pub(super) struct ChannelState {
    pub id: u16,
    /// What its users hold; nothing any more when it is about to close.
    pub handle: Weak<dyn Source>,
    /// Held by the call that waits for an answer.
    pub calls: Mutex<()>,
    pub answer: RefCell<Option<Rc<Expected>>>,
    pub confirms: RefCell<Confirms>,
    pub acks: RefCell<Acks>,
    /// How many acknowledgements are gathered at most: no more than a part of the prefetch, for the broker waits for
    /// them.
    pub acks_at_once: Cell<usize>,
    pub consumers: RefCell<HashMap<u64, Rc<Queue<Delivery>>>>,
    pub consumers_made: Cell<u64>,
    /// Whether the channel ends with any of its consumers.
    pub cancel_ends: Cell<bool>,
    /// A message of which some is still to come.
    pub content: RefCell<Content>,
    pub ended: RefCell<Option<Error>>,
    pub end: Event<()>,
    /// The tag of the last delivery. They count from 1.
    last_tag: Cell<u64>,
    /// Whether the broker was asked to close it, and has not yet said that it did.
    closing: Cell<bool>,
}

impl Port for ChannelState {
    fn end(&self, error: &Error) {
        if self.ended.borrow().is_some() {
            return;
        }
        *self.ended.borrow_mut() = Some(error.clone());
        if let Some(answer) = self.answer.take() {
            let _ = answer.try_put(Err(error.clone()));
        }
        self.confirms.borrow_mut().end(error);
        let consumers = std::mem::take(&mut *self.consumers.borrow_mut());
        consumers.values().for_each(|deliveries| drain(deliveries));
        let _ = self.end.send(());
    }

    fn tell_acks(&self, core: &Core) {
        if self.ended.borrow().is_some() {
            return;
        }
        self.acks.borrow_mut().tell(|delivery, multiple| {
            core.push_method(self.id, &Method::BasicAck { delivery, multiple: Bit { set: multiple } });
        });
    }

    fn handle(&self, core: &Core, payload: FramePayload<'_>) -> Result<(), Malformed> {
        let whole = match payload {
            FramePayload::Method(method) => return self.handle_method(core, method),
            FramePayload::Header(header) => self.content.borrow_mut().header(header)?,
            FramePayload::Body(piece) => self.content.borrow_mut().piece(piece)?,
            FramePayload::Heartbeat => return Err(Malformed("a heartbeat on a channel")),
        };
        if let Some(whole) = whole {
            self.hand_over(whole);
        }
        Ok(())
    }
}

impl ChannelState {
    pub fn new(id: u16, handle: Weak<dyn Source>) -> ChannelState {
        ChannelState {
            id,
            handle,
            calls: Mutex::new(()),
            answer: RefCell::default(),
            confirms: RefCell::default(),
            acks: RefCell::default(),
            acks_at_once: Cell::new(MAX_ACKS.into()),
            consumers: RefCell::default(),
            consumers_made: Cell::new(0),
            cancel_ends: Cell::new(false),
            content: RefCell::default(),
            ended: RefCell::default(),
            end: Event::new(),
            last_tag: Cell::new(0),
            closing: Cell::new(false),
        }
    }

    pub fn check(&self) -> Result<(), Error> {
        self.ended.borrow().clone().map_or(Ok(()), Err)
    }

    /// Closes the channel from this side without waiting for the broker's word. Its number is free when that is there.
    pub fn hang_up(&self, core: &Core) {
        if self.ended.borrow().is_none() {
            self.tell_acks(core);
            self.end(&Error::Closed);
            self.say_close(core);
        }
    }

    fn say_close(&self, core: &Core) {
        self.closing.set(true);
        core.push_method(self.id, &Method::ChannelClose { code: 200, text: "".into(), class: 0, method: 0 });
    }

    fn handle_method(&self, core: &Core, method: Method<'_>) -> Result<(), Malformed> {
        if self.content.borrow().is_under_way() {
            return Err(Malformed("a method in the middle of a message"));
        }
        match method {
            Method::BasicDeliver { tag, delivery, redelivered, exchange, routing_key } => {
                // The books of acknowledgements have a place for each.
                if delivery != self.last_tag.get() + 1 {
                    return Err(Malformed("a delivery out of order"));
                }
                self.last_tag.set(delivery);
                let start = Start::Delivery {
                    consumer: consumer_number(tag)?,
                    tag: delivery,
                    redelivered: redelivered.set,
                    exchange: exchange.into(),
                    routing_key: routing_key.into(),
                };
                *self.content.borrow_mut() = Content::Started(start);
            }
            Method::BasicReturn { code, text, exchange, routing_key } => {
                let (exchange, routing_key) = (exchange.into(), routing_key.into());
                let start = Start::Return { code, text: text.into_owned(), exchange, routing_key };
                *self.content.borrow_mut() = Content::Started(start);
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
                    self.say_close(core);
                }
            }
            Method::ChannelClose { code, text, .. } => {
                core.push_method(self.id, &Method::ChannelCloseOk {});
                self.end(&Error::Channel { code, text: text.into_owned() });
                // When both sides close it at once, each answers the other. Until that is here, its number is in use.
                if !self.closing.get() {
                    core.strike_off(self.id);
                }
            }
            Method::ChannelCloseOk {} if self.closing.get() => core.strike_off(self.id),
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

    fn hand_over(&self, Whole { start, properties, body }: Whole) {
        match start {
            Start::Return { code, text, exchange, routing_key } => {
                let mark = mark(&exchange, &routing_key, properties.message_id.as_deref());
                self.confirms.borrow_mut().returned(mark, Error::Unroutable { code, text });
            }
            Start::Delivery { consumer, tag, redelivered, exchange, routing_key } => {
                // With nobody left to hold it, the channel is about to close, and the message goes back.
                let Some(handle) = self.handle.upgrade() else { return };
                let (channel, settled) = (handle, false);
                let delivery =
                    Delivery { exchange, routing_key, redelivered, properties, body, consumer, channel, tag, settled };
                let deliveries = self.consumers.borrow().get(&consumer).cloned();
                match deliveries {
                    // A queue that is closed does not take it, and the drop gives it back to the broker.
                    Some(deliveries) => drop(deliveries.try_put(delivery)),
                    None => drop(delivery),
                }
            }
        }
    }
}

/// Tags are numbers, as this client gives them.
fn consumer_number(tag: &str) -> Result<u64, Malformed> {
    tag.parse().map_err(|_| Malformed("a consumer that this client does not have"))
}
