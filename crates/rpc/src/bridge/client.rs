//! A socket that sends, and gets the answers to calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::sync::Event;
use greenloom::{Chain, hub, sleep, spawn_n};
use serde::Deserialize;

use super::session::Session;
use super::wire::{Fields, Frame, Inlet, Outbox, asked, flag, given_up, length, put, said};
use super::{log, put_failure};
use crate::deadline::Deadline;
use crate::envelope::{self, Answered};
use crate::hash::HashMap;
use crate::id;
use crate::stats::count;
use crate::transport::{Address, Listener, Outgoing, TransportError};

/// The pause before a reply is sent again to a queue that is missing.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a queue counts as gone, and how many of them are remembered.
const GONE: Duration = Duration::from_secs(60);
const GONE_AT_MOST: usize = 200;

/// An address as JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Place {
    Server { exchange: String, topic: String, server: String },
    Pool { exchange: String, topic: String, pool: String },
    Topic { exchange: String, topic: String },
    Fanout { fanout: String },
}

impl From<Place> for Address {
    fn from(place: Place) -> Address {
        match place {
            Place::Server { exchange, topic, server } => Address::Server { exchange, topic, server },
            Place::Pool { exchange, topic, pool } => Address::Pool { exchange, topic, pool },
            Place::Topic { exchange, topic } => Address::Topic { exchange, topic },
            Place::Fanout { fanout } => Address::Fanout { topic: fanout },
        }
    }
}

struct Client {
    session: Rc<Session>,
    outbox: Rc<Outbox>,
    /// Addresses by their JSON: a program has few.
    places: RefCell<HashMap<Box<str>, Address>>,
    answers: RefCell<Option<(String, Rc<dyn Listener>)>>,
    /// Queues for answers that are gone, and since when.
    gone: RefCell<HashMap<String, Duration>>,
    /// How many messages are on their way.
    sending: Cell<usize>,
    sent: Event<()>,
}

pub(super) fn serve(session: &Rc<Session>, inlet: &mut Inlet, outbox: &Rc<Outbox>) {
    log::tell(outbox);
    let client = Rc::new(Client {
        session: Rc::clone(session),
        outbox: Rc::clone(outbox),
        places: RefCell::default(),
        answers: RefCell::default(),
        gone: RefCell::default(),
        sending: Cell::new(0),
        sent: Event::new(),
    });
    outbox.put(|out| put(out, said::READY, 0, &[]));
    while let Ok(Some(frame)) = inlet.next() {
        if client.handle(&frame).is_none() {
            tracing::error!(kind = frame.kind, "a frame of a program makes no sense");
            break;
        }
    }
    outbox.leave();
    if let Some((_, listener)) = client.answers.take() {
        listener.stop();
    }
    client.wait_sent();
}

impl Client {
    fn handle(self: &Rc<Self>, frame: &Frame<'_>) -> Option<()> {
        let mut fields = Fields(frame.body);
        let number = frame.number;
        match frame.kind {
            asked::SEND => {
                let flags = fields.byte()?;
                let mut moment = || Some(fields.seconds()?.map(|limit| Deadline::after(limit).at()));
                let (expires_at, until) = (moment()?, moment()?);
                let to = self.place(fields.text()?)?;
                let call = fields.text()?;
                let body = match flags & flag::ENVELOPE {
                    0 => fields.0.into(),
                    _ => sealed(fields.0)?,
                };
                let mandatory = flags & flag::MANDATORY != 0;
                let outgoing = Outgoing { body, expires_at, until, mandatory };
                let declare = flags & flag::DECLARE != 0;
                let counts = &self.session.counts;
                if flags & flag::RESENT != 0 {
                    count(&counts.resent);
                }
                if !call.is_empty() {
                    self.session.call(call);
                }
                let is_cast = call.is_empty() && !declare;
                self.spawn(move |client| {
                    let sent = client.send(&to, outgoing, declare);
                    if is_cast && sent.is_ok() {
                        count(&client.session.counts.casts);
                    }
                    client.tell(number, sent.map(|()| String::new()));
                });
            }
            asked::REPLIES => self.spawn(move |client| client.tell(number, client.open_answers())),
            asked::REPLY => {
                let patience = fields.seconds()?.unwrap_or_default();
                let queue = fields.text()?.to_owned();
                let body = sealed(fields.0)?;
                self.spawn(move |client| client.reply(queue, body, patience));
            }
            asked::FORGET => {
                let counts = &self.session.counts;
                let was_waited_for = self.session.forget(fields.rest()?);
                match number {
                    given_up::TIMED_OUT if was_waited_for => count(&counts.timed_out),
                    given_up::UNDELIVERED if was_waited_for => count(&counts.undelivered),
                    _ => {}
                }
            }
            asked::FLUSH => {
                let client = Rc::clone(self);
                spawn_n(move || {
                    client.wait_sent();
                    client.tell(number, Ok(String::new()));
                });
            }
            _ => return None,
        }
        Some(())
    }

    /// Does something in a green thread of its own, which is waited for at the end.
    fn spawn(self: &Rc<Self>, work: impl FnOnce(&Rc<Client>) + 'static) {
        struct OnItsWay(Rc<Client>);
        impl Drop for OnItsWay {
            fn drop(&mut self) {
                self.0.sending.set(self.0.sending.get() - 1);
                let _ = self.0.sent.send(());
            }
        }
        self.sending.set(self.sending.get() + 1);
        let client = OnItsWay(Rc::clone(self));
        spawn_n(move || work(&client.0));
    }

    fn wait_sent(&self) {
        while self.sending.get() > 0 {
            self.sent.reset();
            let _ = self.sent.wait();
        }
    }

    fn place(&self, json: &str) -> Option<Address> {
        if let Some(known) = self.places.borrow().get(json) {
            return Some(known.clone());
        }
        let address: Address = serde_json::from_str::<Place>(json).ok()?.into();
        self.places.borrow_mut().insert(json.into(), address.clone());
        Some(address)
    }

    fn tell(&self, number: u64, outcome: Result<String, TransportError>) {
        self.outbox.put(|out| match outcome {
            Ok(brings) => put(out, said::DONE, number, &[brings.as_bytes()]),
            Err(error) => put_failure(out, number, &error),
        });
    }

    fn send(&self, to: &Address, outgoing: Outgoing, declare: bool) -> Result<(), TransportError> {
        let transport = &self.session.transport;
        if !declare {
            return transport.send(to, outgoing);
        }
        // Only where it is missing, for asking costs a round trip.
        let first = Outgoing { mandatory: true, ..outgoing.clone() };
        match transport.send(to, first) {
            Err(TransportError::Unroutable(_)) => {
                transport.declare(to)?;
                transport.send(to, outgoing)
            }
            sent => sent,
        }
    }

    /// Opens the queue for the answers to this program's calls, if there is none yet, and returns its name.
    fn open_answers(self: &Rc<Self>) -> Result<String, TransportError> {
        if let Some((queue, _)) = &*self.answers.borrow() {
            return Ok(queue.clone());
        }
        let queue = format!("reply_{}", id::unique());
        let listener = self.session.transport.listen(&[Address::Reply { queue: queue.clone() }], 0)?;
        *self.answers.borrow_mut() = Some((queue.clone(), Rc::clone(&listener)));
        let (session, outbox) = (Rc::clone(&self.session), Rc::clone(&self.outbox));
        spawn_n(move || pass_on(&session, &*listener, &outbox));
        Ok(queue)
    }

    /// Sends an answer. Its queue may be missing for a while, after a broker's restart; one that is missing for longer
    /// is that of a caller who is gone, and the next answers to it are thrown away.
    fn reply(&self, queue: String, body: Arc<[u8]>, patience: Duration) {
        let began = hub::now();
        if self.gone.borrow().get(&queue).is_some_and(|since| began - *since < GONE) {
            return log::warn(&self.outbox, &format!("{queue} does not exist, an answer to it is thrown away"));
        }
        let to = Address::Reply { queue: queue.clone() };
        loop {
            let outgoing = Outgoing { body: Arc::clone(&body), mandatory: true, ..Outgoing::default() };
            match self.session.transport.send(&to, outgoing) {
                Ok(()) => return,
                Err(TransportError::Unroutable(_)) if hub::now() - began < patience => {}
                Err(TransportError::Disconnected(_) | TransportError::TimedOut(_)) if !self.outbox.is_gone() => {}
                Err(error) => {
                    log::warn(&self.outbox, &format!("an answer is thrown away: {}", Chain(&error)));
                    if let TransportError::Unroutable(_) = error {
                        let (mut gone, now) = (self.gone.borrow_mut(), hub::now());
                        gone.retain(|_, since| now - *since < GONE);
                        if gone.len() < GONE_AT_MOST {
                            gone.insert(queue, now);
                        }
                    }
                    return;
                }
            }
            sleep(PAUSE);
        }
    }
}

fn sealed(message: &[u8]) -> Option<Arc<[u8]>> {
    std::str::from_utf8(message).ok()?;
    Some(envelope::seal(message).into())
}

/// Passes answers on until the queue is closed.
fn pass_on(session: &Session, listener: &dyn Listener, outbox: &Outbox) {
    loop {
        match listener.next() {
            Ok(incoming) => {
                let problem = match &incoming.problem {
                    Some(problem) => Some(problem.clone()),
                    None => put_answer(session, outbox, &incoming.body).err().map(|malformed| malformed.to_string()),
                };
                if let Some(problem) = problem {
                    log::warn(outbox, &format!("threw an answer away: {problem}"));
                }
                let _ = incoming.settle.ack();
                outbox.wait_passable();
            }
            Err(TransportError::Closed) => return,
            // The queue is declared again; whether an answer was lost shows when the call's time is over.
            Err(_) => {}
        }
    }
}

fn put_answer(session: &Session, outbox: &Outbox, body: &[u8]) -> Result<(), envelope::Malformed> {
    let message = envelope::open(body)?;
    let answer = Answered::decode(&message)?;
    let failed = answer.failure.is_some();
    let bits = u64::from(answer.ending) | u64::from(failed) << 1;
    let json = answer.failure.as_deref().or(answer.result).unwrap_or("null");
    let id = &*answer.msg_id;
    if answer.ending {
        session.answered(id, failed);
    }
    outbox.put(|out| put(out, said::ANSWER, bits, &[&length(id), id.as_bytes(), json.as_bytes()]));
    Ok(())
}
