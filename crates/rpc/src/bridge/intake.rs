//! A socket that takes requests or notifications in.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use greenloom::{Chain, sleep, spawn_n};
use serde::Deserialize;

use super::client::Place;
use super::session::Session;
use super::wire::{Fields, Inlet, Outbox, asked, length, put, said};
use super::work::Work;
use super::{log, put_failure};
use crate::envelope::{self, Malformed};
use crate::lately::{FROM_A_BROKER, Lately};
use crate::stats::count;
use crate::transport::{Address, Incoming, Listener, TransportError};

/// The pause before something is tried again.
const PAUSE: Duration = Duration::from_secs(1);

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

struct Intake {
    listener: Rc<dyn Listener>,
    outbox: Rc<Outbox>,
    work: Rc<Work>,
    once: bool,
    /// The unique ids of what was handed over last.
    known: RefCell<Lately<Rc<str>>>,
    /// What was handed over and is not done with: those from the number on, with gaps.
    out: RefCell<VecDeque<Option<HandedOver>>>,
    first: Cell<u64>,
}

pub(super) fn serve(session: &Session, wanted: Wanted, inlet: &mut Inlet, outbox: &Rc<Outbox>) {
    let (prefetch, once) = (wanted.prefetch, wanted.once);
    let from: Vec<Address> = wanted.from.into_iter().map(Address::from).collect();
    let Some(listener) = listen(session, &from, prefetch, outbox) else { return };
    let work = Rc::new(Work::new(from, once));
    session.add_work(&work);
    let intake = Rc::new(Intake {
        listener,
        outbox: Rc::clone(outbox),
        work,
        once,
        known: RefCell::new(Lately::new(FROM_A_BROKER)),
        out: RefCell::default(),
        first: Cell::new(1),
    });
    outbox.put(|out| put(out, said::READY, 0, &[]));
    let reader = Rc::clone(&intake);
    spawn_n(move || reader.hand_over());
    while let Ok(Some(frame)) = inlet.next() {
        match frame.kind {
            asked::DONE_UP_TO => intake.done_up_to(frame.number),
            asked::DONE => intake.done(frame.number),
            asked::AGAIN => intake.again(frame.number),
            asked::STOP => intake.listener.stop(),
            asked::WORKED => intake.work.done(Fields(frame.body)),
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
        count(&self.work.counts.received);
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
            count(&self.work.counts.duplicates);
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
        }
        self.work.handed_over();
        Ok(Some(unique_id))
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
