//! What every greenlet is made of: the OS thread's root, the hub, green threads and greenlets proper.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use fiber::{Fiber, Resume};

use crate::greenlet::{AnyGreenlet, Error};

/// No slot in the hub's table of what can be parked.
pub(crate) const NO_SLOT: u32 = u32::MAX;

pub(crate) struct Node {
    pub fiber: Fiber,
    pub kind: Kind,
    pub parent: RefCell<Option<AnyGreenlet>>,

    // Parking (see `park`).
    /// Where the hub's table holds it, once it has parked.
    pub slot: Cell<u32>,
    /// The park that may be woken; 0 for none.
    pub ticket: Cell<u64>,
    pub parked: Cell<bool>,
    pub cause: Cell<Wake>,
    pub interrupts: Cell<Interrupts>,
    /// What it waits for, or waited for last, for people to read.
    pub waits_for: Cell<&'static str>,

    /// Switching by hand (see `greenlet`): made when it first does.
    pub mail: OnceCell<Rc<Mail>>,

    /// What few green threads have.
    pub extra: RefCell<Option<Box<Extra>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Root,
    Hub,
    GreenThread,
    Greenlet,
}

/// Why a park ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wake {
    Woken,
    TimedOut,
    Closed,
    Interrupted,
}

/// What makes the next park, or the present one, unwind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Interrupts {
    pub killed: bool,
    /// At least one of the timeout scopes it is in has expired.
    pub expired: bool,
}

impl Interrupts {
    #[inline]
    pub fn any(self) -> bool {
        self.killed | self.expired
    }
}

#[derive(Default)]
pub(crate) struct Extra {
    pub locals: HashMap<usize, Rc<dyn Any>>,
    /// The timeout scopes it is in, outermost first.
    pub timeouts: Vec<Scope>,
}

pub(crate) struct Scope {
    pub id: u64,
    pub expired: bool,
}

/// What comes to a greenlet that is switched to by hand. Its own side, which lives on its own stack, holds this and not
/// the node, which it would keep alive.
#[derive(Default)]
pub(crate) struct Mail {
    /// The port at which it waits for a value; 0 for none.
    pub receives_at: Cell<usize>,
    pub thrown: Cell<Option<Box<Error>>>,
}

/// A green thread that has no function yet. `Rc::<Node>::default()` builds it where it stays, which building one and moving it into
/// an `Rc` does not.
impl Default for Node {
    #[inline(always)]
    fn default() -> Node {
        Node {
            fiber: Fiber::finished(),
            kind: Kind::GreenThread,
            parent: RefCell::new(None),
            slot: Cell::new(NO_SLOT),
            ticket: Cell::new(0),
            parked: Cell::new(false),
            cause: Cell::new(Wake::Woken),
            interrupts: Cell::new(Interrupts::default()),
            waits_for: Cell::new(""),
            mail: OnceCell::new(),
            extra: RefCell::new(None),
        }
    }
}

impl Node {
    pub fn new(fiber: Fiber, kind: Kind, parent: Option<AnyGreenlet>) -> Rc<Node> {
        Rc::new(Node { fiber, kind, parent: RefCell::new(parent), ..Node::default() })
    }

    pub fn mail(&self) -> &Rc<Mail> {
        self.mail.get_or_init(Rc::default)
    }

    /// The port at which it waits for a value; 0 for none.
    #[inline]
    pub fn receives_at(&self) -> usize {
        self.mail.get().map_or(0, |mail| mail.receives_at.get())
    }

    #[inline]
    pub fn is_suspended(&self) -> bool {
        self.fiber.is_suspended()
    }
}

impl Resume for Node {
    fn fiber(&self) -> &Fiber {
        &self.fiber
    }

    fn release(self: Rc<Self>) {
        // As any handle: the last one unwinds what is suspended.
        drop(AnyGreenlet::from_node(self));
    }
}
