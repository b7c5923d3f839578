//! What the sockets of one driver share: the connections to the bus.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::hash::HashMap;
use crate::open::open_transport;
use crate::transport::{Transport, TransportError};

thread_local! {
    static SESSIONS: RefCell<HashMap<u64, Weak<Session>>> = RefCell::default();
}

pub(super) struct Session {
    number: u64,
    pub transport: Rc<dyn Transport>,
}

impl Session {
    /// The one with this number, made if there is none.
    pub fn of(number: u64, url: &str) -> Result<Rc<Session>, TransportError> {
        SESSIONS.with_borrow_mut(|sessions| {
            sessions.retain(|_, session| session.strong_count() > 0);
            if let Some(session) = sessions.get(&number).and_then(Weak::upgrade) {
                return Ok(session);
            }
            let session = Rc::new(Session { number, transport: open_transport(url)? });
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
}
