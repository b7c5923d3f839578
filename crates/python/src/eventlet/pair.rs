//! Two sockets that are the ends of one connection: what is written to one is read from the other.
//!
//! A green thread that reads from one end is woken by the one that has written to the other, without a question to the
//! poller. That is a guess: somebody else may have read the bytes. Who is woken tries to read, as after any wake, and
//! waits again if there is nothing; the edge that the poller still has to tell comes as it would have.
//!
//! An end is known by the key under which its descriptor is registered. Keys are not used again, and mean nothing to
//! other pollers: neither a descriptor that was closed and whose number is another's now, nor an end on which another
//! OS thread waits, nor what was registered before a fork, is ever woken by mistake.

use std::cell::Cell;
use std::rc::Rc;

use greenloom_hub::SourceKey;

/// One end.
pub struct End {
    /// Those of both ends; `None` for one that nobody has waited on.
    keys: Rc<[Cell<Option<SourceKey>>; 2]>,
    mine: usize,
}

impl End {
    /// Both of them.
    pub fn pair() -> [End; 2] {
        let keys = Rc::new([const { Cell::new(None) }; 2]);
        [0, 1].map(|mine| End { keys: Rc::clone(&keys), mine })
    }

    /// It is registered under this key from now on, or not any more.
    pub fn note(&self, key: Option<SourceKey>) {
        self.keys[self.mine].set(key);
    }

    /// The key of the other end.
    #[inline]
    pub fn other(&self) -> Option<SourceKey> {
        self.keys[1 - self.mine].get()
    }
}
