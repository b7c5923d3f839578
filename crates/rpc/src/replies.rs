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
    /// Those of callers that wait no more, for the next.
    spare: RefCell<Vec<Rc<Queue<Heard>>>>,
    counts: Rc<ClientCounts>,
}

/// How many queues are kept for the next callers.
const SPARE: usize = 64;

impl Replies {
    /// Declares a queue and has a green thread read from it until that is stopped, or the transport closed.
    pub fn open(transport: &dyn Transport, counts: &Rc<ClientCounts>) -> Result<Rc<Replies>, TransportError> {
        let queue = format!("reply_{}", id::unique());
        let listener = transport.listen_for_replies(&queue)?;
        let replies = Replies {
            queue,
            listener,
            waiting: RefCell::default(),
            spare: RefCell::default(),
            counts: Rc::clone(counts),
        };
        let replies = Rc::new(replies);
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
        let spare = self.spare.borrow_mut().pop();
        let (msg_id, heard) = (id::unique(), spare.unwrap_or_else(|| Rc::new(Queue::unbounded())));
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
        let Replies { waiting, spare, .. } = &*self.replies;
        let Some(heard) = waiting.borrow_mut().remove(&self.msg_id) else { return };
        // Nobody puts into it any more; what nobody has got is not for the next.
        while heard.try_get().is_ok() {}
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use greenloom::queue::Reason;

    use super::*;
    use crate::memory::Bus;

    #[test]
    fn what_a_caller_has_not_heard_is_not_for_the_next_one() {
        let transport = Bus::new().connect();
        let replies = Replies::open(&*transport, &Rc::default()).unwrap();
        let caller = replies.expect();
        for result in ["1", "2"] {
            let msg_id = Cow::Borrowed(&*caller.msg_id);
            replies.hand_over(Answered { msg_id, result: Some(result), failure: None, ending: true });
        }
        assert!(matches!(caller.heard.try_get(), Ok(Heard::Answer { result: Some(first), .. }) if &*first == "1"));
        drop(caller);
        assert!(matches!(replies.expect().heard.try_get(), Err(Reason::Empty)));
    }
}
