//! Consumers, and the messages that they get. The channel behind them is known only as a [`Source`], so it may know
//! them.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::queue::{Queue, Reason};

use greenloom_amqp::Properties;

use super::error::Error;
use crate::reason::Awaited;

/// Where deliveries come from: a channel, which is open as long as somebody holds it.
pub(super) trait Source {
    /// Why it has ended; `None` as long as it has not.
    fn ended(&self) -> Option<Error>;

    /// Acknowledges a delivery.
    fn ack(&self, tag: u64) -> Result<(), Error>;

    /// Tells the broker now what was acknowledged.
    fn tell_acks(&self);

    /// Gives a delivery back, or away.
    fn nack(&self, tag: u64, requeue: bool) -> Result<(), Error>;

    /// Ends a consumer without waiting for the broker's word. What has come and was not taken goes back.
    fn cancel(&self, consumer: u64);
}

/// What takes the messages of a queue. Dropped, it ends, and what was not taken goes back.
pub struct Consumer {
    pub(super) channel: Rc<dyn Source>,
    pub(super) number: u64,
    pub(super) deliveries: Rc<Queue<Delivery>>,
}

impl Consumer {
    /// Parks until there is a message, at most for `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::Closed`] when the broker has ended it because its queue is gone; those of the
    /// channel.
    pub fn next(&self, timeout: Duration) -> Result<Delivery, Error> {
        self.deliveries.get_timeout(timeout).map_err(|reason| match reason {
            Reason::Closed => self.channel.ended().unwrap_or(Error::Closed),
            _ => Error::TimedOut(Awaited::Message),
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

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("number", &self.number).field("ready", &self.ready()).finish_non_exhaustive()
    }
}

/// A message that a consumer has got. It goes back into its queue if it is dropped without [`Delivery::ack`],
/// [`Delivery::requeue`] or [`Delivery::reject`].
#[non_exhaustive]
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
    pub(super) channel: Rc<dyn Source>,
    pub(super) tag: u64,
    /// Whether the broker is told of it, or about to be.
    pub(super) settled: bool,
}

impl Delivery {
    /// Tells the broker that it is done with. Does not wait for that to arrive; it is told together with others, after
    /// two milliseconds at the latest.
    ///
    /// # Errors
    /// Those of the channel when it has ended: the message comes again, to this consumer or another.
    pub fn ack(mut self) -> Result<(), Error> {
        self.settled = true;
        self.channel.ack(self.tag)
    }

    /// Gives it back into its queue.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn requeue(mut self) -> Result<(), Error> {
        self.settled = true;
        self.channel.nack(self.tag, true)
    }

    /// Gives it up: it goes to the queue's dead letter exchange, or to nobody.
    ///
    /// # Errors
    /// As [`Delivery::ack`].
    pub fn reject(mut self) -> Result<(), Error> {
        self.settled = true;
        self.channel.nack(self.tag, false)
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

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("redelivered", &self.redelivered)
            .field("properties", &self.properties)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// Closes a queue and throws away what is in it.
pub(super) fn drain(deliveries: &Queue<Delivery>) {
    deliveries.close();
    while deliveries.try_get().is_ok() {}
}
