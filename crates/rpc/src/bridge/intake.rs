//! A socket that takes requests or notifications in.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::{Chain, sleep, spawn_n};
use serde::Deserialize;

use super::client::Place;
use super::session::Session;
use super::wire::{Fields, Inlet, Outbox, asked, length, put, said};
use super::{log, put_failure};
use crate::envelope::{self, Malformed};
use crate::hash::HashMap;
use crate::lately::{FROM_A_BROKER, Lately};
use crate::stats::{ConsumerCounts, count};
use crate::transport::{Address, Incoming, Listener, TransportError};

/// The pause before something is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Of how many requests it is known since when they are worked on, and how many methods are counted one by one.
const WORKED_ON_AT_MOST: usize = 100_000;
const METHODS_AT_MOST: usize = 1_000;
/// The name of the others.
const OTHER: &str = "-";

/// What a socket takes in.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    from: Vec<Place>,
    prefetch: u16,
    /// Whether something counts as known when it was handed over, as requests do, or when it was done with: a
    /// notification may be given back, to come again.
    once: bool,
}

struct HandedOver {
    incoming: Incoming,
    id: Rc<str>,
}

pub(super) struct Intake {
    listener: Rc<dyn Listener>,
    outbox: Rc<Outbox>,
    pub from: Vec<Address>,
    pub topic: String,
    pub once: bool,
    counts: Rc<ConsumerCounts>,
    /// The requests that were handed over and not worked on yet, by their numbers, and since when.
    worked_on: RefCell<HashMap<u64, Duration>>,
    /// The unique ids of what was handed over last.
    known: RefCell<Lately<Rc<str>>>,
    /// What was handed over and is not done with: those from the number on, with gaps.
    out: RefCell<VecDeque<Option<HandedOver>>>,
    first: Cell<u64>,
}

pub(super) fn serve(session: &Session, wanted: Wanted, inlet: &mut Inlet, outbox: &Rc<Outbox>) {
    let (prefetch, once) = (wanted.prefetch, wanted.once);
    let from: Vec<Address> = wanted.from.into_iter().map(Address::from).collect();
    let topic = from.first().map(Address::to_string).unwrap_or_default();
    let Some(listener) = listen(session, &from, prefetch, outbox) else { return };
    let counts = Rc::default();
    #[cfg(feature = "metrics")]
    crate::metrics::note_consumer(&topic, &counts);
    let intake = Rc::new(Intake {
        listener,
        outbox: Rc::clone(outbox),
        from,
        topic,
        once,
        counts,
        worked_on: RefCell::default(),
        known: RefCell::new(Lately::new(FROM_A_BROKER)),
        out: RefCell::default(),
        first: Cell::new(1),
    });
    session.add_intake(&intake);
    outbox.put(|out| put(out, said::READY, 0, &[]));
    let reader = Rc::clone(&intake);
    spawn_n(move || reader.hand_over());
    while let Ok(Some(frame)) = inlet.next() {
        match frame.kind {
            asked::DONE_UP_TO => intake.done_up_to(frame.number),
            asked::DONE => intake.done(frame.number),
            asked::AGAIN => intake.again(frame.number),
            asked::STOP => intake.listener.stop(),
            asked::WORKED => intake.worked(frame.number, &mut Fields(frame.body)),
            kind => tracing::error!(kind, "a frame of a program makes no sense"),
        }
    }
    intake.listener.stop();
}

/// Parks until the addresses are declared, however long the broker is away.
fn listen(session: &Session, from: &[Address], prefetch: u16, outbox: &Outbox) -> Option<Rc<dyn Listener>> {
    loop {
        match session.transport.listen(from, prefetch) {
            Ok(listener) => return Some(listener),
            Err(error @ TransportError::Disconnected(_)) => {
                log::warn(outbox, &format!("cannot listen; trying again: {}", Chain(&error)));
                if !outbox.wait_passable() {
                    return None;
                }
                sleep(PAUSE);
            }
            Err(error) => {
                outbox.put(|out| put_failure(out, 0, &error));
                return None;
            }
        }
    }
}

impl Intake {
    fn hand_over(&self) {
        loop {
            match self.listener.next() {
                Ok(incoming) => self.take(incoming),
                Err(TransportError::Closed) => return self.outbox.put(|out| put(out, said::STOPPED, 0, &[])),
                Err(TransportError::Disconnected(_)) => {}
                Err(error) => {
                    log::warn(&self.outbox, &format!("cannot take messages for now; trying again: {}", Chain(&error)));
                    sleep(PAUSE);
                }
            }
            if !self.outbox.wait_passable() {
                self.listener.stop();
            }
        }
    }

    fn take(&self, incoming: Incoming) {
        count(&self.counts.received);
        let read = match &incoming.problem {
            Some(problem) => Err(problem.clone()),
            None => self.put_delivery(&incoming.body).map_err(|malformed| malformed.to_string()),
        };
        match read {
            Ok(Some(id)) => self.out.borrow_mut().push_back(Some(HandedOver { incoming, id })),
            Ok(None) => drop(incoming.settle.ack()),
            Err(problem) => {
                log::warn(&self.outbox, &format!("threw a message from {} away: {problem}", incoming.queue));
                let _ = incoming.settle.ack();
            }
        }
    }

    /// Hands a message over, unless it is known. Returns its id if it was.
    fn put_delivery(&self, body: &[u8]) -> Result<Option<Rc<str>>, Malformed> {
        let message = envelope::open(body)?;
        let parted = envelope::part(&message)?;
        let (unique, id, reply_q) = (&*parted.unique_id, &*parted.msg_id, &*parted.reply_q);
        let unique_id: Rc<str> = unique.into();
        if self.known.borrow().contains(&unique_id) {
            count(&self.counts.duplicates);
            log::warn(&self.outbox, &format!("threw a message away that was here before: {unique}"));
            return Ok(None);
        }
        let number = self.first.get() + self.out.borrow().len() as u64;
        let timeout = parted.timeout.unwrap_or(f64::NAN).to_le_bytes();
        self.outbox.put(|out| {
            let lengths = [length(unique), length(id), length(reply_q)];
            let parts: [&[u8]; 8] = [
                &timeout,
                &lengths[0],
                unique.as_bytes(),
                &lengths[1],
                id.as_bytes(),
                &lengths[2],
                reply_q.as_bytes(),
                parted.json.as_bytes(),
            ];
            put(out, said::DELIVERY, number, &parts);
        });
        if self.once {
            self.know(&unique_id);
            let mut worked_on = self.worked_on.borrow_mut();
            if worked_on.len() < WORKED_ON_AT_MOST {
                worked_on.insert(number, now());
            }
        }
        Ok(Some(unique_id))
    }

    /// How many requests are worked on, or wait for it in the program.
    #[cfg(feature = "metrics")]
    pub fn in_work(&self) -> usize {
        self.worked_on.borrow().len()
    }

    fn worked(&self, number: u64, how: &mut Fields<'_>) {
        let (Some(failed), Some(method)) = (how.byte(), how.rest()) else { return };
        let Some(since) = self.worked_on.borrow_mut().remove(&number) else { return };
        let mut methods = self.counts.methods.borrow_mut();
        let name = match methods.get_key_value(method) {
            Some((name, _)) => *name,
            // For as long as the process lives, as a service in Rust has its names.
            None if methods.len() < METHODS_AT_MOST => String::leak(method.to_owned()),
            None => OTHER,
        };
        let counts = methods.entry(name).or_default();
        counts.latency.add(now() - since);
        counts.failed += u64::from(failed != 0);
    }

    fn know(&self, id: &Rc<str>) {
        if !id.is_empty() {
            self.known.borrow_mut().add(Rc::clone(id));
        }
    }

    /// Takes out what has this number; nothing if it is done with.
    fn take_out(&self, number: u64) -> Option<HandedOver> {
        let mut out = self.out.borrow_mut();
        let index = usize::try_from(number.checked_sub(self.first.get())?).ok()?;
        let found = out.get_mut(index)?.take();
        while let Some(None) = out.front() {
            out.pop_front();
            self.first.set(self.first.get() + 1);
        }
        found
    }

    fn done_up_to(&self, number: u64) {
        while self.first.get() <= number && !self.out.borrow().is_empty() {
            self.done(self.first.get());
        }
    }

    fn done(&self, number: u64) {
        let Some(HandedOver { incoming, id }) = self.take_out(number) else { return };
        if !self.once {
            self.know(&id);
        }
        // If the connection is gone it comes again, and is known.
        let _ = incoming.settle.ack();
    }

    fn again(&self, number: u64) {
        // Dropped, it goes back, and may be taken by another listener.
        drop(self.take_out(number));
    }
}
