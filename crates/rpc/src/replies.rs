//! The queue where a connection's calls get their answers.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use greenloom::queue::Queue;
use greenloom::{Chain, sleep, spawn};

use crate::envelope::{self, Answered, Malformed};
use crate::hash::HashMap;
use crate::id::{self, Unique};
use crate::packed;
use crate::reason::Cause;
use crate::stats::{ClientCounts, count};
use crate::transport::{Listener, Transport, TransportError};

/// What a caller hears.
pub(crate) enum Heard {
    Answer {
        result: Option<Box<str>>,
        failure: Option<String>,
        ending: bool,
    },
    /// The connection was lost, and with it perhaps the request or the answer.
    Lost(Cause),
}

/// The waiting callers, by the id of their message.
pub(crate) struct Replies {
    pub queue: String,
    listener: Rc<dyn Listener>,
    waiting: RefCell<HashMap<Unique, Rc<Queue<Heard>>>>,
    counts: Rc<ClientCounts>,
}

impl Replies {
    /// Declares a queue and has a green thread read from it until that is stopped, or the transport closed.
    pub fn open(transport: &dyn Transport, counts: &Rc<ClientCounts>) -> Result<Rc<Replies>, TransportError> {
        let queue = format!("reply_{}", id::unique());
        let listener = transport.listen_for_replies(&queue)?;
        let replies = Rc::new(Replies { queue, listener, waiting: RefCell::default(), counts: Rc::clone(counts) });
        let (reader, wire) = (Rc::clone(&replies), transport.is_wire());
        drop(spawn(move || reader.read(wire)));
        Ok(replies)
    }

    fn read(&self, wire: bool) {
        loop {
            match self.listener.next() {
                Ok(incoming) => {
                    if let Some(problem) = &incoming.problem {
                        tracing::warn!(queue = self.queue, problem, "threw an answer away");
                    } else if let Err(malformed) = self.deliver(&incoming.body, wire) {
                        tracing::warn!(queue = self.queue, %malformed, "threw an answer away");
                    }
                    // Nobody but this reader knows the queue: one that comes twice finds nobody waiting.
                    let _ = incoming.settle.ack();
                }
                Err(TransportError::Closed) => {
                    return self.tell_all(|| Heard::Lost(Arc::new(TransportError::Closed)));
                }
                Err(TransportError::Disconnected(reason)) => self.tell_all(|| Heard::Lost(Arc::clone(&reason))),
                Err(error) => {
                    tracing::error!(
                        queue = self.queue, error = %Chain(&error),
                        "cannot take answers for now; trying again"
                    );
                    sleep(Duration::from_secs(1));
                }
            }
        }
    }

    fn deliver(&self, body: &Arc<[u8]>, wire: bool) -> Result<(), Malformed> {
        if !wire && packed::is_packed(body) {
            self.hand_over(packed::read_answer(body)?);
            return Ok(());
        }
        let message = match wire {
            true => envelope::open(body)?,
            false => std::str::from_utf8(body).map_err(|_| Malformed::NotText)?.into(),
        };
        self.hand_over(Answered::decode(&message)?);
        Ok(())
    }

    fn hand_over(&self, Answered { msg_id, result, failure, ending }: Answered<'_>) {
        let waiting = self.waiting.borrow();
        match Unique::try_from(&*msg_id).ok().and_then(|id| waiting.get(&id)) {
            // A caller's queue has no limit and is never closed.
            Some(caller) => {
                let (result, failure) = (result.map(Box::from), failure.map(Cow::into_owned));
                drop(caller.try_put(Heard::Answer { result, failure, ending }));
            }
            None => {
                count(&self.counts.late);
                tracing::debug!(msg_id = &*msg_id, "an answer came when nobody waited for it any more");
            }
        }
    }

    fn tell_all(&self, what: impl Fn() -> Heard) {
        for caller in self.waiting.borrow().values() {
            let _ = caller.try_put(what());
        }
    }

    /// Ends the reading.
    pub fn stop(&self) {
        self.listener.stop();
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Registers a caller.
    pub fn expect(self: &Rc<Self>) -> Expected {
        let (msg_id, heard) = (id::unique(), Rc::new(Queue::unbounded()));
        self.waiting.borrow_mut().insert(msg_id, Rc::clone(&heard));
        Expected { replies: Rc::clone(self), msg_id, heard }
    }
}

/// A waiting caller, until it is dropped.
pub(crate) struct Expected {
    replies: Rc<Replies>,
    pub msg_id: Unique,
    pub heard: Rc<Queue<Heard>>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.replies.waiting.borrow_mut().remove(&self.msg_id);
    }
}
