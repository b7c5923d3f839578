//! The side that is asked: takes requests from a topic's queues, has them worked on by a pool, answers and
//! acknowledges.
//!
//! A request is acknowledged when its work is done, so one whose worker was lost comes again. What may come twice for
//! that reason is told by its unique id: one that is done already is acknowledged, and answered as it was before; one
//! that is in work still is settled when that ends. Such a repeat is the same message over a new connection, or a copy
//! that its sender sent again.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::greenlet::GreenletExit;
use greenloom::hub::now;
use greenloom::pool::GreenPool;
use greenloom::{Chain, GreenThread, sleep, spawn};

use crate::deadline::Deadline;
use crate::endpoint::{self, Endpoint};
use crate::envelope::{self, Answer, Malformed, Request};
use crate::failure::Failure;
use crate::json;
use crate::known::{Deliveries, Id, Known, Stage};
use crate::options::Options;
use crate::packed;
use crate::stats::{ConsumerCounts, ConsumerStats, MethodStats, count};
use crate::transport::{Address, Depth, Incoming, Listener, Outgoing, Transport, TransportError};

/// Answers up to this size in bytes are remembered with them.
const ANSWER_KEPT: usize = 4096;

/// How long an answer is kept ready for a bus that is gone.
const ANSWER_WAITS: Duration = Duration::from_secs(30);

/// The name in the counts of a method that does not exist.
const UNKNOWN: &str = "-";

/// Takes requests from a topic.
pub(crate) struct Consumer {
    transport: Rc<dyn Transport>,
    topic: String,
    addresses: Vec<Address>,
    endpoints: Vec<Endpoint>,
    tries: u32,
    pool: GreenPool,
    listener: RefCell<Option<Rc<dyn Listener>>>,
    taking: Cell<Option<GreenThread<()>>>,
    known: RefCell<Known>,
    counts: Rc<ConsumerCounts>,
}

/// How a request ended.
enum Outcome {
    /// JSON.
    Done(String),
    Failed(Failure),
    Panicked(Failure),
    GivenBack,
}

impl Consumer {
    pub fn new(
        transport: &Rc<dyn Transport>,
        options: &Options,
        topic: &str,
        addresses: Vec<Address>,
        endpoints: Vec<Endpoint>,
    ) -> Consumer {
        let counts = Rc::default();
        #[cfg(feature = "metrics")]
        crate::metrics::note_consumer(topic, &counts);
        Consumer {
            transport: Rc::clone(transport),
            topic: topic.to_owned(),
            addresses,
            endpoints,
            tries: options.tries.max(1),
            pool: GreenPool::new(options.workers.max(1)),
            listener: RefCell::default(),
            taking: Cell::default(),
            known: RefCell::new(Known::new(transport.is_wire())),
            counts,
        }
    }

    /// Begins to take requests. What the pool has no place for yet is fetched, so that a worker need not wait for the
    /// bus, but no more than that: the rest stays with the bus.
    pub fn start(self: &Rc<Self>) -> Result<(), TransportError> {
        if self.listener.borrow().is_some() {
            return Ok(());
        }
        let prefetch = u16::try_from(2 * self.pool.size()).unwrap_or(u16::MAX);
        let listener = self.transport.listen(&self.addresses, prefetch)?;
        *self.listener.borrow_mut() = Some(Rc::clone(&listener));
        let consumer = Rc::clone(self);
        self.taking.set(Some(spawn(move || consumer.take_requests(&*listener))));
        Ok(())
    }

    /// Takes no more requests. Those in work go on.
    pub fn stop(&self) {
        if let Some(listener) = self.listener.take() {
            listener.stop();
        }
    }

    /// Parks until nothing is in work, at most for `timeout`. Returns whether that is so.
    pub fn wait(&self, timeout: Duration) -> bool {
        let done = greenloom::timeout(timeout, || {
            if let Some(taking) = self.taking.take() {
                // Its panic was reported.
                let _ = taking.wait();
            }
            self.pool.waitall();
        });
        done.is_ok()
    }

    fn take_requests(self: &Rc<Self>, listener: &dyn Listener) {
        loop {
            match listener.next() {
                Ok(incoming) => {
                    count(&self.counts.received);
                    let consumer = Rc::clone(self);
                    // Parks while all workers are busy, which lets the bus keep the rest.
                    self.pool.spawn_n(move || consumer.work(incoming));
                }
                Err(TransportError::Closed) => return,
                Err(TransportError::Disconnected(reason)) => {
                    tracing::warn!(
                        topic = self.topic,
                        reason = %Chain(&*reason),
                        "the connection was lost; what is unsettled comes again"
                    );
                }
                Err(error) => {
                    tracing::error!(
                        topic = self.topic, error = %Chain(&error),
                        "cannot take requests for now; trying again"
                    );
                    sleep(Duration::from_secs(1));
                }
            }
        }
    }

    /// Sees one message through, on a stack that is made for how deep it is nested.
    fn work(&self, incoming: Incoming) {
        if let Some(problem) = incoming.problem.clone() {
            return self.bury(incoming, "?", "?", &problem);
        }
        let body = Arc::clone(&incoming.body);
        if self.takes_packed(&body) {
            let nesting = packed::nesting(&body);
            return json::with_stack_for(nesting, || self.work_on(packed::read_request(&body), incoming));
        }
        let opened = if self.transport.is_wire() { envelope::open(&body) } else { text(&body) };
        match opened {
            Ok(message) => {
                json::with_stack_for(json::nesting(&message), || self.work_on(Request::decode(&message), incoming))
            }
            Err(malformed) => self.bury(incoming, "?", "?", &malformed.to_string()),
        }
    }

    /// Whether a body is one that never leaves the process. What comes from elsewhere is not taken for one.
    fn takes_packed(&self, body: &[u8]) -> bool {
        !self.transport.is_wire() && packed::is_packed(body)
    }

    /// The form of the answers to a request.
    fn form(&self, request: &Request<'_>) -> Form {
        match (self.transport.is_wire(), request.packed) {
            (true, _) => Form::Envelope,
            (false, true) => Form::Packed,
            (false, false) => Form::Bare,
        }
    }

    fn work_on(&self, request: Result<Request<'_>, Malformed>, incoming: Incoming) {
        let began = now();
        let request = match request {
            Ok(request) => request,
            Err(malformed) => return self.bury(incoming, "?", "?", &malformed.to_string()),
        };
        let tries = incoming.tries;
        let Some(mut work) = self.begin(&request, incoming) else { return };
        if tries >= self.tries {
            let Some(deliveries) = work.take() else { return };
            let reason = format!("handed out {tries} times and never done");
            return self.bury_all(deliveries, &request.method, request.context.request_id(), &reason);
        }
        tracing::debug!(
            request_id = request.context.request_id(),
            method = &*request.method,
            topic = self.topic,
            "request"
        );
        let (method, outcome) = {
            let _heartbeat = self.heartbeat(&request);
            self.call(&request)
        };
        let ended = now();
        self.end(work, &request, &outcome, ended);
        let took = ended - began;
        tracing::debug!(request_id = request.context.request_id(), method, ?took, "request done");
        let mut methods = self.counts.methods.borrow_mut();
        let counts = methods.entry(method).or_default();
        counts.latency.add(took);
        counts.failed += u64::from(matches!(outcome, Outcome::Failed(_)));
        counts.panicked += u64::from(matches!(outcome, Outcome::Panicked(_)));
    }

    /// Takes the work up, unless it is done or in work already.
    fn begin(&self, request: &Request<'_>, incoming: Incoming) -> Option<Work<'_>> {
        let Some(unique_id) = request.unique_id.as_deref() else {
            return Some(Work { consumer: self, id: None, deliveries: Some(incoming.into()) });
        };
        let id = Id::from(unique_id);
        let mut known = self.known.borrow_mut();
        let is_long_finished = known.is_long_finished(&id);
        let answer = match known.requests.entry(id.clone()) {
            Entry::Vacant(_) if is_long_finished => None,
            Entry::Vacant(place) => {
                place.insert(Stage::InWork(incoming.into()));
                return Some(Work { consumer: self, id: Some(id), deliveries: None });
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                Stage::InWork(deliveries) => {
                    count(&self.counts.duplicates);
                    let before = std::mem::replace(&mut deliveries.latest, incoming);
                    deliveries.earlier.push(before);
                    return None;
                }
                Stage::Finished(answer) => answer.clone(),
            },
        };
        drop(known);
        count(&self.counts.duplicates);
        tracing::debug!(unique_id, method = &*request.method, "a request that is done already came again");
        if let (Some(answer), Some(to)) = (answer, request.reply_q.as_deref()) {
            // It was taken before.
            let _ = self.send_answer(to, answer, now());
        }
        self.acknowledge(incoming);
        None
    }

    /// Calls the method. A panic ends there; that the worker is killed does not.
    fn call(&self, request: &Request<'_>) -> (&'static str, Outcome) {
        let found = match endpoint::find(&self.endpoints, request) {
            Ok(found) => found,
            Err(failure) => return (UNKNOWN, Outcome::Failed(failure)),
        };
        let outcome = match catch_unwind(AssertUnwindSafe(|| found.call(request))) {
            Ok(Ok(result)) => Outcome::Done(result),
            Ok(Err(failure)) if failure.is_given_back() => Outcome::GivenBack,
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(payload) => Outcome::Panicked(panicked(&request.method, payload)),
        };
        (found.name, outcome)
    }

    /// Answers, and settles the request.
    fn end(&self, mut work: Work<'_>, request: &Request<'_>, outcome: &Outcome, ended: Duration) {
        let method = &*request.method;
        if let Outcome::GivenBack = outcome {
            // It goes back when it is dropped.
            return;
        }
        if let Outcome::Failed(failure) | Outcome::Panicked(failure) = outcome {
            let request_id = request.context.request_id();
            tracing::warn!(request_id, method, topic = self.topic, %failure, "request failed");
        }
        let (Some(msg_id), Some(to)) = (request.msg_id.as_deref(), request.reply_q.as_deref()) else {
            return match outcome {
                Outcome::Panicked(failure) => self.try_again(work, method, request.context.request_id(), failure),
                _ => self.finish(&mut work, None),
            };
        };
        let answer = match outcome {
            Outcome::Done(result) => Answer::Result(result),
            Outcome::Failed(failure) | Outcome::Panicked(failure) => Answer::Failure(failure),
            Outcome::GivenBack => return,
        };
        let mut body = written(self.form(request), msg_id, &answer);
        if let Err(refused) = self.send_answer(to, Arc::clone(&body), ended) {
            // Too large, perhaps. The caller would wait for it in vain.
            let failure =
                Failure::new("RuntimeError", format!("the answer of {method} could not be sent: {}", Chain(&refused)));
            body = written(self.form(request), msg_id, &Answer::Failure(&failure));
            let _ = self.send_answer(to, Arc::clone(&body), now());
        }
        self.finish(&mut work, Some(body));
    }

    /// Remembers that it is done, so that it is known if it comes again, and acknowledges it.
    fn finish(&self, work: &mut Work<'_>, answer: Option<Arc<[u8]>>) {
        let kept = answer.filter(|answer| answer.len() <= ANSWER_KEPT);
        let deliveries = match work.id.take() {
            Some(id) => self.known.borrow_mut().finish(&id, kept),
            None => work.deliveries.take(),
        };
        if let Some(Deliveries { latest, earlier }) = deliveries {
            self.acknowledge(latest);
            earlier.into_iter().for_each(|incoming| self.acknowledge(incoming));
        }
    }

    fn acknowledge(&self, incoming: Incoming) {
        if let Err(error) = incoming.settle.ack() {
            tracing::debug!(
                topic = self.topic, error = %Chain(&error),
                "could not acknowledge; it comes again and will be known"
            );
        }
    }

    /// A cast whose work panicked: nobody else hears of it, so it comes again, but not for ever.
    fn try_again(&self, mut work: Work<'_>, method: &str, request_id: &str, failure: &Failure) {
        let Some(deliveries) = work.take() else { return };
        let tried = deliveries.latest.tries + 1;
        if tried >= self.tries {
            return self.bury_all(deliveries, method, request_id, &format!("tried {tried} times: {failure}"));
        }
        count(&self.counts.retried);
        let Deliveries { latest, earlier } = deliveries;
        if let Err(error) = latest.settle.retry() {
            tracing::debug!(topic = self.topic, error = %Chain(&error), "it comes again by itself");
        }
        earlier.into_iter().for_each(|incoming| self.acknowledge(incoming));
    }

    /// Gives a request up; one copy of it is enough.
    fn bury_all(&self, deliveries: Deliveries, method: &str, request_id: &str, reason: &str) {
        self.bury(deliveries.latest, method, request_id, reason);
        deliveries.earlier.into_iter().for_each(|incoming| self.acknowledge(incoming));
    }

    fn bury(&self, incoming: Incoming, method: &str, request_id: &str, reason: &str) {
        let (topic, queue) = (&self.topic, incoming.queue);
        let packed = Some(&incoming.body).filter(|body| self.takes_packed(body));
        let readable = packed.and_then(|body| packed::request_as_json(body)).map(Arc::from);
        match incoming.settle.bury(topic, reason, readable) {
            Ok(()) => {
                count(&self.counts.buried);
                tracing::error!(topic, %queue, method, request_id, reason, "gave up a message; see {topic}.dead");
            }
            Err(error) => {
                tracing::warn!(
                    topic, %queue, method, request_id, reason, error = %Chain(&error),
                    "could not give up a message"
                );
                // It comes again, and not in a loop that leaves no time for anything else.
                sleep(Duration::from_secs(1));
            }
        }
    }

    /// Sends the answer to a request that has ended at that moment, and waits for a bus that is gone for a while. It is
    /// an error if the bus refuses it.
    fn send_answer(&self, to: &str, body: Arc<[u8]>, ended: Duration) -> Result<(), TransportError> {
        let address = Address::Reply { queue: to.to_string() };
        let deadline = Deadline::from(ended, ANSWER_WAITS);
        loop {
            let (body, until) = (Arc::clone(&body), Some(deadline.at()));
            let error = match self.transport.send(&address, Outgoing { body, until, ..Outgoing::default() }) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let lost = matches!(error, TransportError::Disconnected(_));
            if !lost || !self.transport.wait_connected(deadline.left()) {
                tracing::warn!(topic = self.topic, queue = to, error = %Chain(&error), "an answer could not be sent");
                return if matches!(error, TransportError::Failed(_)) { Err(error) } else { Ok(()) };
            }
        }
    }

    /// Tells a caller who wants to hear it that the work goes on, for as long as it does.
    fn heartbeat(&self, request: &Request<'_>) -> Option<Heartbeat> {
        let every = Duration::try_from_secs_f64(request.monitor? / 2.0).ok().filter(|every| !every.is_zero())?;
        let address = Address::Reply { queue: request.reply_q.as_deref()?.to_string() };
        let msg_id = request.msg_id.as_deref()?.to_string();
        let (transport, form) = (Rc::clone(&self.transport), self.form(request));
        Some(Heartbeat(spawn(move || {
            loop {
                sleep(every);
                let body = written(form, &msg_id, &Answer::StillWorking);
                // One that is lost is followed by the next.
                let _ = transport.send(&address, Outgoing { body, ..Outgoing::default() });
            }
        })))
    }

    /// Of its queues, that of dead letters included. Parks where a broker is asked.
    pub fn depths(&self) -> Result<Vec<Depth>, TransportError> {
        let dead = Address::Dead { topic: self.topic.clone() };
        let mut queues = Vec::new();
        for address in self.addresses.iter().chain([&dead]) {
            queues.extend(self.transport.depth(address)?);
        }
        Ok(queues)
    }

    /// Its topic, how many requests are in work, and how many can be.
    #[cfg(feature = "metrics")]
    pub fn load(&self) -> (String, usize, Option<usize>) {
        (self.topic.clone(), self.pool.running(), Some(self.pool.size()))
    }

    pub fn stats(&self) -> Result<ConsumerStats, TransportError> {
        let counts = &self.counts;
        let methods = counts.methods.borrow();
        let methods = methods.iter().map(|(name, counts)| {
            let stats =
                MethodStats { latency: counts.latency.latency(), failed: counts.failed, panicked: counts.panicked };
            (*name, stats)
        });
        let methods = methods.collect();
        let queues = self.depths()?;
        Ok(ConsumerStats {
            topic: self.topic.clone(),
            received: counts.received.get(),
            in_work: self.pool.running(),
            workers: self.pool.size(),
            methods,
            duplicates: counts.duplicates.get(),
            retried: counts.retried.get(),
            buried: counts.buried.get(),
            queues,
        })
    }
}

/// How a message is written.
#[derive(Clone, Copy)]
enum Form {
    Envelope,
    /// As in an envelope, without it.
    Bare,
    Packed,
}

/// An answer in the form of what was asked.
fn written(form: Form, msg_id: &str, answer: &Answer<'_>) -> Arc<[u8]> {
    match form {
        Form::Envelope => envelope::seal(&envelope::encode_answer(msg_id, answer)).into(),
        Form::Bare => envelope::encode_answer(msg_id, answer).into(),
        Form::Packed => packed::answer(msg_id, answer),
    }
}

/// A message that is in no envelope.
fn text(body: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    std::str::from_utf8(body).map(Cow::Borrowed).map_err(|_| Malformed::NotText)
}

fn panicked(method: &str, payload: Box<dyn Any + Send>) -> Failure {
    if payload.is::<GreenletExit>() {
        resume_unwind(payload);
    }
    Failure::panicked(method, payload.as_ref())
}

/// A request in work. If its worker is killed, the request goes back.
struct Work<'a> {
    consumer: &'a Consumer,
    id: Option<Id>,
    /// Of a request without an id.
    deliveries: Option<Deliveries>,
}

impl Work<'_> {
    /// What is to be settled.
    fn take(&mut self) -> Option<Deliveries> {
        let Some(id) = &self.id else { return self.deliveries.take() };
        self.consumer.known.borrow_mut().end(id)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let left = self.take();
        drop(left);
    }
}

/// Ends with the work.
struct Heartbeat(GreenThread<()>);

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.kill();
    }
}
