//! A message that was handed out, and what can be done with it.
//!
//! # Tries
//! A classic queue tells that a message was delivered before and not how often, and forgets even that when the broker
//! restarts. So a message that is to be [tried again](Settle::retry) is published anew to the end of its queue with a
//! header that counts, and only then is the old one acknowledged. A quorum queue counts by itself, and only gives it
//! back; where in the queue, is the broker's choice.

use std::rc::Rc;
use std::sync::Arc;

use greenloom::sync::Semaphore;

use greenloom_amqp::{Properties, Table, Value};

use super::super::consumer::Delivery;
use super::failure::disconnected;
use super::publisher::Publisher;
use crate::deadline::{Deadline, FOREVER};
use crate::transport::{Address, Settle, TransportError, sealed};

/// How often a message was handed to a handler that wanted it to come again.
const TRIES: &str = "x-greenloom-tries";
/// The same, as quorum queues count it: deliveries that failed, and since RabbitMQ 4.3, where what is only given back
/// is no failure, all that came before.
const COUNTS: [&str; 2] = ["x-acquired-count", "x-delivery-count"];
/// Why a message is in a dead letter queue, and from which queue it came.
pub(super) const REASON: &str = "x-greenloom-reason";
const ORIGIN: &str = "x-greenloom-queue";
/// What came in the place of its properties, where those could not be read.
const UNREAD: &str = "x-greenloom-properties";
const LONGEST_UNREAD: usize = 32 * 1024;
/// Headers have to fit a frame, and a panic may say anything.
const LONGEST_REASON: usize = 1000;

/// A message that was handed out. Dropped, it goes back.
pub(super) struct Unsettled {
    /// Gone when it is settled.
    pub delivery: Option<Delivery>,
    pub publisher: Rc<Publisher>,
    /// Its place among those that are handed out.
    pub permits: Rc<Semaphore>,
    pub queue: Arc<str>,
    pub tries: u32,
}

impl Unsettled {
    fn take(&mut self) -> Delivery {
        self.delivery.take().expect("it is settled once, for that consumes it")
    }

    /// Publishes it to another queue, or its own, and then takes it out of where it is.
    fn move_to(mut self, to: &Address, headers: Table) -> Result<(), TransportError> {
        let mut delivery = self.take();
        // With these headers it is readable, whatever came.
        let properties =
            Properties { headers: Some(headers), unread: None, ..std::mem::take(&mut delivery.properties) };
        self.publisher.send(to, &properties, true, &delivery.body, Deadline::after(FOREVER))?;
        delivery.ack().map_err(disconnected)
    }

    fn headers(&self) -> Table {
        self.delivery.as_ref().and_then(|delivery| delivery.properties.headers.clone()).unwrap_or_default()
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.delivery = None;
        self.permits.release();
    }
}

impl sealed::Sealed for Unsettled {}

impl Settle for Unsettled {
    fn ack(mut self: Box<Self>) -> Result<(), TransportError> {
        self.take().ack().map_err(disconnected)
    }

    fn retry(mut self: Box<Self>) -> Result<(), TransportError> {
        let headers = self.headers();
        if COUNTS.iter().any(|name| headers.get(name).is_some()) || self.publisher.topology.quorum {
            return self.take().requeue().map_err(disconnected);
        }
        let headers = headers.with(TRIES, i64::from(self.tries) + 1);
        let queue = self.queue.to_string();
        self.move_to(&Address::Reply { queue }, headers)
    }

    fn bury(self: Box<Self>, topic: &str, reason: &str, body: Option<Arc<[u8]>>) -> Result<(), TransportError> {
        let reason: String = reason.chars().take(LONGEST_REASON).collect();
        let mut headers = self.headers().with(REASON, reason.as_str()).with(ORIGIN, &*self.queue);
        let mut this = self;
        if let Some(delivery) = &mut this.delivery {
            if let Some(unread) = delivery.properties.unread.take() {
                let kept = unread.bytes.get(..LONGEST_UNREAD).unwrap_or(&unread.bytes);
                headers.set(UNREAD, Value::Bytes(kept.to_vec()));
            }
            // It is kept until somebody looks.
            delivery.properties.expiration = None;
            if let Some(body) = body {
                delivery.body = body;
            }
        }
        this.move_to(&Address::Dead { topic: topic.to_owned() }, headers)
    }
}

/// How often a message was handed out before, as far as anybody has counted.
pub(super) fn tries(delivery: &Delivery) -> u32 {
    let header = |name| delivery.properties.headers.as_ref()?.get(name).and_then(Value::as_integer);
    let counted = COUNTS.into_iter().filter_map(header).max().unwrap_or(delivery.redelivered.into());
    u32::try_from(header(TRIES).unwrap_or(0).saturating_add(counted).max(0)).unwrap_or(u32::MAX)
}
