//! `LightQueue`, `Queue`, `PriorityQueue` and `LifoQueue`.
//!
//! The items are in an ordinary deque or list, the attribute `queue`. Those that wait for an item or for room stand in
//! a [`Line`]; one that brings an item waits with it, so that a getter may take it from there, which is how a queue
//! without any room is a channel.
//!
//! A subclass that overrides `_init`, `_put`, `_get` or `qsize` is asked through these methods.
//!
//! - [`container`]: the items, and the order in which they come out;
//! - [`wait`]: putting and getting, which wait;
//! - [`class`]: what Python sees.

mod class;
mod container;
mod wait;

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use super::line::Line;
use crate::greenlet::wait::{At, Awaited};
use crate::py::ffi::PyObject;
use crate::py::{ClassCell, Owned, Payload, Slot};

pub use class::fill;
use container::{FIFO, Order, Overrides};

/// What one that waits for room brings.
struct Offer {
    item: Owned,
    /// It leaves as soon as no getter waits.
    impatient: bool,
}

/// The state of a queue.
pub struct Queue {
    order: Cell<&'static Order>,
    /// Which methods a subclass has of its own.
    overrides: Cell<Overrides>,
    items: Slot,
    /// None for no limit.
    limit: Cell<Option<i64>>,
    getters: Line,
    putters: Line<Offer>,
    /// How many of the putters are impatient.
    impatient: Cell<usize>,
    /// Whether tasks are counted, for join().
    counts_tasks: Cell<bool>,
    unfinished: Cell<i64>,
    joining: Line,
}

static LIGHT_QUEUE: ClassCell = ClassCell::unbuilt();

impl Payload for Queue {
    const NAME: &'static CStr = c"eventlet.queue.LightQueue";
    const DOC: &'static CStr = c"LightQueue(maxsize=None)\n--\n\nA queue between green threads, also of different OS \
      threads. put() waits while there are *maxsize* items, get() while there are none; first come, first served.\n\n \
      - *maxsize* -- None or a negative number for no limit; 0 for a channel: put() waits until the item is taken";

    fn cell() -> &'static ClassCell {
        &LIGHT_QUEUE
    }

    fn new() -> Queue {
        Queue {
            order: Cell::new(&FIFO),
            overrides: Cell::new(Overrides::default()),
            items: Slot::empty(),
            limit: Cell::new(None),
            getters: Line::new(),
            putters: Line::new(),
            impatient: Cell::new(0),
            counts_tasks: Cell::new(false),
            unfinished: Cell::new(0),
            joining: Line::new(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.items.get());
    }

    fn clear(&self) {
        self.items.set(None);
    }
}

impl Awaited for Queue {
    fn at(&self) -> At {
        let waiters = self.getters.len() + self.putters.len() + self.joining.len();
        At { object: ptr::from_ref(self) as usize, waiters, ..At::default() }
    }

    fn detail(&self) -> String {
        let limit = self.limit.get().map(|limit| format!(" of {limit}")).unwrap_or_default();
        let items = self.plain_len().map(|items| format!("{items}{limit} items"));
        let unfinished = self.unfinished.get();
        let tasks = (unfinished > 0).then(|| format!("{unfinished} not done"));
        items.into_iter().chain(tasks).collect::<Vec<_>>().join(", ")
    }
}
