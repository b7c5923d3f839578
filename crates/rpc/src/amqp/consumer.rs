//! Consumers, and the messages that they get.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::queue::{Queue, Reason};

use super::channel::{Channel, drain};
use super::error::Error;
use super::properties::Properties;

/// What takes the messages of a queue. Dropped, it ends, and what was not taken goes back.
#[derive(Debug)]
pub struct Consumer {
    pub(super) channel: Channel,
    pub(super) number: u64,
    pub(super) deliveries: Rc<Queue<Delivery>>,
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
    pub(super) channel: Channel,
    pub(super) tag: u64,
    /// Whether the broker is told of it, or about to be.
    pub(super) settled: bool,
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
