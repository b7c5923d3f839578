//! A channel to publish on, opened when somebody needs it and again when it has ended, with what was declared for it.
//!
//! Whoever needs one waits for the same opening, and for the same declaration: thousands of first callers cost a few
//! channels.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use greenloom::Chain;
use greenloom::sync::Semaphore;

use super::super::channel::Channel;
use super::super::connection::Connection;
use super::super::error::Error;
use super::super::link::Link;
use super::topology::{Target, is_other};
use crate::deadline::Deadline;
use crate::flight::{Flights, Missed};
use crate::reason::Awaited;

/// How many channels there are for declarations at a time. Each has one of its own: if the broker refuses, no message
/// must suffer.
const DECLARING: usize = 4;

/// Where messages leave, over one channel after another.
pub(super) struct Outlet {
    link: Rc<Link>,
    connection_timeout: Duration,
    present: Rc<RefCell<Option<Rc<Outgo>>>>,
    opening: Rc<Flights<(), Rc<Outgo>, Error>>,
    /// What exists with other flags than ours, and is not declared again.
    foreign: Rc<RefCell<HashSet<String>>>,
}

/// A channel, with what was declared on its connection.
pub(super) struct Outgo {
    pub channel: Channel,
    connection: Connection,
    declared: Rc<RefCell<HashSet<String>>>,
    declaring: Rc<Flights<String, (), Error>>,
    turns: Rc<Semaphore>,
}

impl Outlet {
    pub fn new(link: &Rc<Link>, connection_timeout: Duration) -> Outlet {
        Outlet {
            link: Rc::clone(link),
            connection_timeout,
            present: Rc::default(),
            opening: Rc::default(),
            foreign: Rc::default(),
        }
    }

    /// The open channel, with what the target needs. Nothing was sent if this fails, so what was lost with a connection
    /// is done again on the next one.
    pub fn ready(&self, target: &Target, deadline: Deadline) -> Result<Rc<Outgo>, Error> {
        let patience = Deadline::after(self.connection_timeout);
        loop {
            let ready = self.open(patience, deadline).and_then(|outgo| {
                self.declare(&outgo, target, deadline)?;
                Ok(outgo)
            });
            match ready {
                Err(error) if error.is_loss() && !patience.is_over() && !deadline.is_over() => {}
                ready => return ready,
            }
        }
    }

    /// Lets a channel end, when all its waiters have their confirms. The next message opens another one.
    pub fn give_up(&self, outgo: &Rc<Outgo>) {
        self.present.borrow_mut().take_if(|present| Rc::ptr_eq(present, outgo));
    }

    fn open(&self, patience: Deadline, deadline: Deadline) -> Result<Rc<Outgo>, Error> {
        let present = self.present.borrow().clone();
        if let Some(outgo) = present.filter(|outgo| outgo.channel.ended().is_none()) {
            return Ok(outgo);
        }
        // Each waits by itself for the connection, for that has its own limit.
        let connection = self.link.connection(patience.min(deadline).left()).map_err(|error| {
            let late = deadline.is_over() && matches!(error, Error::Io(_) | Error::TimedOut(_));
            if late { Error::TimedOut(Awaited::Connection) } else { error }
        })?;
        let present = Rc::clone(&self.present);
        let open = move || {
            let channel = connection.open_channel()?;
            channel.confirm_select()?;
            let (declared, declaring, turns) = (Rc::default(), Rc::default(), Rc::new(Semaphore::new(DECLARING)));
            let outgo = Rc::new(Outgo { channel, connection, declared, declaring, turns });
            *present.borrow_mut() = Some(Rc::clone(&outgo));
            Ok(outgo)
        };
        self.opening.join((), deadline, open).map_err(missed)
    }

    /// Declares what a message goes to, once on each channel.
    fn declare(&self, outgo: &Rc<Outgo>, target: &Target, deadline: Deadline) -> Result<(), Error> {
        let Some(name) = target.declares() else { return Ok(()) };
        if outgo.declared.borrow().contains(name) || self.foreign.borrow().contains(name) {
            return Ok(());
        }
        let (turns, connection, name) = (Rc::clone(&outgo.turns), outgo.connection.clone(), name.to_owned());
        let (declared, foreign, target) = (Rc::clone(&outgo.declared), Rc::clone(&self.foreign), target.clone());
        let key = name.clone();
        let declare = move || {
            let _turn = turns.acquire();
            match target.declare(&connection) {
                Err(error) if is_other(&error) => {
                    tracing::warn!(name, error = %Chain(&error), "used as it is");
                    foreign.borrow_mut().insert(name);
                }
                outcome => {
                    outcome?;
                    declared.borrow_mut().insert(name);
                }
            }
            Ok(())
        };
        outgo.declaring.join(key, deadline, declare).map_err(missed)
    }
}

fn missed(missed: Missed<Error>) -> Error {
    match missed {
        Missed::Failed(error) => error,
        Missed::TimedOut => Error::TimedOut(Awaited::Answer),
        Missed::NotBegun(error) => std::io::Error::other(error).into(),
    }
}
