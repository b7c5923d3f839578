//! What a listener takes in: over one channel, again and again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::queue::Queue;
use greenloom::select::Select;
use greenloom::sync::{Event, Semaphore};
use greenloom::{Chain, sleep};
use greenloom_amqp::Properties;

use super::super::channel::Channel;
use super::super::connection::Connection;
use super::super::consumer::Delivery;
use super::super::error::Error;
use super::super::link::Link;
use super::failure::{disconnected, failed};
use super::publisher::Publisher;
use super::standing::Standing;
use super::topology::Source;
use super::unsettled::{REASON, Unsettled, tries};
use crate::deadline::FOREVER;
use crate::reason::Lost;
use crate::transport::{Incoming, Listener, TransportError, sealed};

/// The pause before a listener tries again what the broker refused.
const PAUSE: Duration = Duration::from_secs(1);

/// The header in which kombu says how it compressed a body.
const COMPRESSION: &str = "compression";

/// What a listener takes in: over one channel, again and again.
pub(super) struct Intake {
    sources: Vec<Source>,
    prefetch: u16,
    link: Rc<Link>,
    publisher: Rc<Publisher>,
    standing: Rc<Standing>,
    /// How many messages may still be handed out. The broker counts for each queue; this counts for all.
    permits: Rc<Semaphore>,
    /// The present channel's messages, and how many channels there were.
    present: RefCell<Option<Rc<Queue<Delivery>>>>,
    channels: Cell<u64>,
    /// The last channel whose loss somebody was told of.
    told: Cell<u64>,
    /// Sent when there is another channel.
    changed: Event<()>,
    /// What became of the first try.
    pub first: Event<Result<(), TransportError>>,
    stopped: Event<()>,
    /// Sent when all is given back.
    pub finished: Event<()>,
}

impl Intake {
    pub fn new(
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
            permits: Rc::new(Semaphore::new(limit)),
            present: RefCell::default(),
            channels: Cell::new(0),
            told: Cell::new(0),
            changed: Event::new(),
            first: Event::new(),
            stopped: Event::new(),
            finished: Event::new(),
        }
    }

    pub fn keep(&self) {
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
                tracing::warn!(error = %Chain(&error), "cannot listen; trying again");
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
            return Err(TransportError::Disconnected(Arc::new(Lost::Renewed)));
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
        let problem = problem_of(&delivery.properties);
        let settle = Unsettled {
            delivery: Some(delivery),
            publisher: Rc::clone(&self.publisher),
            permits: Rc::clone(&self.permits),
            queue: Arc::clone(&queue),
            tries,
        };
        Incoming { body, queue, tries, reason, problem, settle: Box::new(settle) }
    }

    pub fn stop(&self) {
        if self.stopped.send(()).is_ok() {
            // A waiter for a permit passes it on to the next, and so all learn that it is over.
            self.permits.release();
        }
    }
}

pub(super) struct AmqpListener {
    pub intake: Rc<Intake>,
}

impl sealed::Sealed for AmqpListener {}

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

/// Why a message cannot be understood, as far as its properties say.
fn problem_of(properties: &Properties) -> Option<String> {
    if let Some(unread) = &properties.unread {
        return Some(format!("its properties: {}", unread.problem));
    }
    // One that was given up for it is read for its reason.
    let headers = properties.headers.as_ref().filter(|headers| headers.get(REASON).is_none())?;
    let compression = headers.get(COMPRESSION)?;
    let kind = compression.as_str().unwrap_or("in an unknown way");
    Some(format!("its body is compressed ({kind}): unset kombu_compression where it was sent"))
}

#[cfg(test)]
mod tests {
    use greenloom_amqp::Table;

    use super::*;

    #[test]
    fn a_compressed_message_says_which_option_compressed_it() {
        let headers = Table::default().with("compression", "application/x-gzip");
        let compressed = Properties { headers: Some(headers), ..Properties::default() };
        let problem = problem_of(&compressed).expect("nobody here can read it");
        assert!(problem.contains("application/x-gzip") && problem.contains("kombu_compression"), "{problem}");
        assert_eq!(problem_of(&Properties { headers: Some(Table::default()), ..Properties::default() }), None);
    }
}
