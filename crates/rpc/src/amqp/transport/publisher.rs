//! Sends, on channels that are opened again when they have ended.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use greenloom::sync::Mutex;

use super::super::channel::{Channel, Message};
use super::super::connection::Connection;
use super::super::error::Error;
use super::super::link::Link;
use super::super::properties::Properties;
use super::super::url::{Options, Topology};
use super::failure::{disconnected, failed};
use super::topology::{Target, is_other};
use crate::transport::{Address, TransportError};

/// Sends, on a channel of its own that is opened again after it has ended.
pub(super) struct Publisher {
    link: Rc<Link>,
    pub topology: Topology,
    pub connection_timeout: Duration,
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
    connection: Connection,
    channel: Channel,
    declared: RefCell<HashSet<String>>,
}

impl Publisher {
    pub fn new(link: Rc<Link>, options: &Options) -> Publisher {
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

    pub fn send(
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
        let outgo = Rc::new(Outgo { connection, channel, declared: RefCell::default() });
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
        let channel = outgo.connection.open_channel()?;
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
