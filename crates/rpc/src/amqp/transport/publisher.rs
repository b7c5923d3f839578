//! Sends messages, many at a time on one channel, and finds out whose fault it was when the broker closes that.
//!
//! A broker that refuses a message closes its channel, says which kind of method was wrong, and looks at nothing that
//! comes behind; it does not say which message it was. So those whose confirms had not come are sent again one by one,
//! alone on a channel of their own. The one that ends that channel, too, is the culprit, and its sender gets the error.
//! The others go back to the common channel. What is like a culprit, to the same exchange or as large, goes alone from
//! then on, and so hurts nobody.
//!
//! A message that the broker could not take (a nack: its queue is full, or has lost its leader) is sent again for as
//! long as one would wait for a connection, each time on another channel: in RabbitMQ 3, one that a quorum queue was
//! first published on while it had no leader takes nothing for it even when there is another one.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sleep;
use greenloom::sync::Mutex;

use greenloom_amqp::Properties;

use super::super::channel::Message;
use super::super::error::Error;
use super::super::link::Link;
use super::super::url::{Options, Topology};
use super::failure::{disconnected, failed};
use super::outlet::Outlet;
use super::topology::Target;
use crate::deadline::Deadline;
use crate::reason::Awaited;
use crate::transport::{Address, TransportError};

/// How often a message may be on the common channel when that ends, before it is its turn to be sent alone in any case.
const BENEFITS: usize = 3;

/// The pause before a message is sent again that the broker could not take; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Sends, on channels that are opened again when they have ended.
pub(super) struct Publisher {
    pub topology: Topology,
    pub connection_timeout: Duration,
    answer_timeout: Duration,
    /// For everything but fanouts.
    direct: Outlet,
    /// Fanouts' exchanges go when nobody listens any more, and a channel ends with a message to one that is gone. So
    /// they have one that nothing else is on.
    fanout: Outlet,
    /// For one message at a time.
    alone: Outlet,
    turn: Mutex<()>,
    doubts: Doubts,
}

/// What the broker has refused, so that what is like it is sent alone.
struct Doubts {
    exchanges: RefCell<HashSet<String>>,
    /// Messages of at least this size, in bytes.
    size: Cell<usize>,
    /// How many culprits were found.
    found: Cell<u64>,
}

impl Doubts {
    fn concern(&self, message: &Message<'_>) -> bool {
        message.body.len() >= self.size.get() || self.exchanges.borrow().contains(message.exchange)
    }

    /// Notes what became of a message that was sent alone.
    fn learn(&self, message: &Message<'_>, sent: &Result<(), Error>) {
        match sent {
            Ok(()) => {
                self.exchanges.borrow_mut().remove(message.exchange);
                if message.body.len() >= self.size.get() {
                    self.size.set(usize::MAX);
                }
            }
            Err(Error::Channel { code, text }) => {
                self.found.set(self.found.get() + 1);
                match code {
                    403 => drop(self.exchanges.borrow_mut().insert(message.exchange.to_owned())),
                    311 | 406 if *code == 311 || text.contains("size") => {
                        self.size.set(self.size.get().min(message.body.len()));
                    }
                    _ => {}
                }
            }
            Err(_) => {}
        }
    }
}

/// What kept a message from being sent: it belongs to what it goes to, or to the message, or to one beside it.
enum Unsent {
    NotReady(Error),
    Published(Error),
}

impl Publisher {
    pub fn new(link: &Rc<Link>, options: &Options) -> Publisher {
        let outlet = || Outlet::new(link, options.connection_timeout);
        Publisher {
            topology: options.topology.clone(),
            connection_timeout: options.connection_timeout,
            answer_timeout: options.answer_timeout,
            direct: outlet(),
            fanout: outlet(),
            alone: outlet(),
            turn: Mutex::new(()),
            doubts: Doubts { exchanges: RefCell::default(), size: Cell::new(usize::MAX), found: Cell::new(0) },
        }
    }

    pub fn send(
        &self,
        to: &Address,
        properties: &Properties,
        mandatory: bool,
        body: &[u8],
        deadline: Deadline,
    ) -> Result<(), TransportError> {
        let target = Target::new(to, &self.topology);
        let message =
            Message { exchange: target.exchange(), routing_key: &target.routing_key, mandatory, properties, body };
        let outlet = if matches!(to, Address::Fanout { .. }) { &self.fanout } else { &self.direct };
        self.send_somehow(outlet, &target, message, deadline).map_err(|error| match error {
            Error::Unroutable { .. } => TransportError::Unroutable(to.clone()),
            Error::TimedOut(what) => TransportError::TimedOut(what),
            Error::Nacked | Error::Unsupported(_) | Error::Channel { .. } => failed(error),
            _ => disconnected(error),
        })
    }

    fn send_somehow(
        &self,
        outlet: &Outlet,
        target: &Target,
        message: Message<'_>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        for _ in 0..BENEFITS {
            if self.doubts.concern(&message) {
                break;
            }
            let found = self.doubts.found.get();
            match self.publish(outlet, target, message, deadline) {
                Err(Unsent::Published(Error::Channel { .. })) => {}
                Err(Unsent::Published(error) | Unsent::NotReady(error)) => return Err(error),
                Ok(()) => return Ok(()),
            }
            let turn = self.turn.lock_timeout(deadline.left()).ok_or(Error::TimedOut(Awaited::Turn))?;
            if self.doubts.found.get() == found {
                return self.publish_alone(target, message, deadline);
            }
            // Somebody was found meanwhile, and it was not this message.
            drop(turn);
        }
        let _turn = self.turn.lock_timeout(deadline.left()).ok_or(Error::TimedOut(Awaited::Turn))?;
        self.publish_alone(target, message, deadline)
    }

    /// Sends a message while nothing else is on the channel, so that what happens to that is its doing.
    fn publish_alone(&self, target: &Target, message: Message<'_>, deadline: Deadline) -> Result<(), Error> {
        let mut sent = self.publish(&self.alone, target, message, deadline);
        if let Err(Unsent::Published(Error::Channel { code: 404, .. })) = sent {
            // The exchange was gone; on the next channel it is declared again.
            sent = self.publish(&self.alone, target, message, deadline);
        }
        let sent = sent.map_err(|unsent| match unsent {
            Unsent::Published(error) | Unsent::NotReady(error) => error,
        });
        self.doubts.learn(&message, &sent);
        sent
    }

    fn publish(
        &self,
        outlet: &Outlet,
        target: &Target,
        message: Message<'_>,
        deadline: Deadline,
    ) -> Result<(), Unsent> {
        let patience = Deadline::after(self.connection_timeout).min(deadline);
        let mut pause = FIRST_PAUSE;
        loop {
            let outgo = outlet.ready(target, deadline).map_err(Unsent::NotReady)?;
            let confirm = outgo.channel.publish_within(message, deadline.left()).map_err(Unsent::Published)?;
            match confirm.wait(self.answer_timeout.min(deadline.left())) {
                Err(Error::Nacked) if pause < patience.left() => {
                    outlet.give_up(&outgo);
                    sleep(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                sent => return sent.map_err(Unsent::Published),
            }
        }
    }
}
