//! What the sockets of one driver share: the connections to the bus, and what is counted for the page of metrics.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use greenloom::hub::now;

use super::work::Work;
use crate::hash::HashMap;
use crate::metrics::{Watched, note_connection};
use crate::open::open_transport;
use crate::stats::{ClientCounts, count};
use crate::transport::{Depth, State, Transport, TransportError};

thread_local! {
    static SESSIONS: RefCell<HashMap<u64, Weak<Session>>> = RefCell::default();
}

pub(super) struct Session {
    number: u64,
    pub transport: Rc<dyn Transport>,
    pub counts: Rc<ClientCounts>,
    /// Calls that are not answered yet, by the ids of their messages, and since when.
    calls: RefCell<HashMap<Box<str>, Duration>>,
    works: RefCell<Vec<Weak<Work>>>,
}

impl Session {
    /// The one with this number, made if there is none.
    pub fn of(number: u64, url: &str) -> Result<Rc<Session>, TransportError> {
        SESSIONS.with_borrow_mut(|sessions| {
            sessions.retain(|_, session| session.strong_count() > 0);
            if let Some(session) = sessions.get(&number).and_then(Weak::upgrade) {
                return Ok(session);
            }
            let session = Rc::new(Session {
                number,
                transport: open_transport(url)?,
                counts: Rc::default(),
                calls: RefCell::default(),
                works: RefCell::default(),
            });
            let watched: Rc<dyn Watched> = Rc::clone(&session) as _;
            note_connection(Rc::downgrade(&watched), &session.counts);
            sessions.insert(number, Rc::downgrade(&session));
            Ok(session)
        })
    }

    /// A socket is closed. After the last one the bus is left in order; parks until that is done.
    pub fn leave(self: Rc<Session>) {
        if Rc::strong_count(&self) == 1 {
            // A socket that is opened meanwhile must not find what is being closed.
            SESSIONS.with_borrow_mut(|sessions| sessions.remove(&self.number));
            self.transport.close();
        }
    }

    /// A socket takes in.
    pub fn add_work(&self, work: &Rc<Work>) {
        let mut works = self.works.borrow_mut();
        works.retain(|work| work.strong_count() > 0);
        works.push(Rc::downgrade(work));
    }

    /// A call goes out, for the first time or again.
    pub fn call(&self, id: &str) {
        self.calls.borrow_mut().entry(id.into()).or_insert_with(now);
    }

    /// A call is answered.
    pub fn answered(&self, id: &str, with_failure: bool) {
        let Some(since) = self.calls.borrow_mut().remove(id) else { return count(&self.counts.late) };
        self.counts.calls.borrow_mut().add(now() - since);
        if with_failure {
            count(&self.counts.failed);
        }
    }

    /// Nobody waits for the answer to a call any more. Returns whether there was none.
    pub fn forget(&self, id: &str) -> bool {
        self.calls.borrow_mut().remove(id).is_some()
    }
}

impl Watched for Session {
    fn is_wire(&self) -> bool {
        self.transport.is_wire()
    }

    fn waiting(&self) -> usize {
        self.calls.borrow().len()
    }

    /// How many can be is the program's matter.
    fn loads(&self) -> Vec<(String, usize, Option<usize>)> {
        let works = self.works.borrow();
        let requests = works.iter().filter_map(Weak::upgrade).filter(|work| work.requests);
        requests.map(|work| (work.topic.clone(), work.in_work.get(), None)).collect()
    }

    fn depths(&self) -> Vec<Depth> {
        let works: Vec<_> = self.works.borrow().iter().filter_map(Weak::upgrade).collect();
        let mut depths = Vec::new();
        for address in works.iter().flat_map(|work| &work.from) {
            // A broker that is away tells nothing, and would be waited for.
            if self.transport.state() != State::Connected {
                break;
            }
            depths.extend(self.transport.depth(address).ok().flatten());
        }
        depths
    }
}
