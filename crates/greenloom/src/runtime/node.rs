//! What every greenlet is made of (the OS thread's root, the hub, green threads and greenlets proper), and the handles
//! to it.
//!
//! This must not know the table of greenlets, the loop, or how a switch is chosen.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::rc::{Rc, Weak};
use std::sync::OnceLock;

use greenloom_fiber::{Fiber, Resume};

use super::error::{Error, Refused};
use super::held::WaitsOn;

/// `receives_at` of a greenlet that waits for another to unwind and takes whatever comes.
pub(crate) const ANYTHING: usize = usize::MAX;

/// How a suspended greenlet is unwound whose last handle is dropped. The runtime says it, which this file must not
/// know.
pub(crate) static UNWIND_DROPPED: OnceLock<fn(AnyGreenlet)> = OnceLock::new();

/// No slot in the hub's table of what can be parked.
pub(crate) const NO_SLOT: u32 = u32::MAX;

pub(crate) struct Node {
    pub fiber: Fiber,
    /// Changes for the last one to run on an OS thread, when that ends.
    pub kind: Cell<Kind>,
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
    /// Where it was spawned, if it was.
    pub spawned_at: Cell<Option<&'static Location<'static>>>,
    /// When; 0 if that was not noted.
    pub began: Cell<u64>,

    /// Switching by hand (see `greenlet`): made when it first does.
    pub mail: OnceCell<Rc<Mail>>,

    /// What its results went through, for the next that has its record: whoever spawns knows the type.
    pub packet: Cell<Option<Rc<dyn Any>>>,
    /// Whether the table keeps it for the next, after it has ended.
    pub is_kept: Cell<bool>,

    /// What few green threads have.
    pub extra: RefCell<Option<Box<Extra>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Root,
    GreenThread,
    Greenlet,
    Hub,
    /// Whatever it was: its hub has ended, because the OS thread is ending.
    Ended,
}

impl Kind {
    /// Whether it may wait.
    #[inline]
    pub fn may_park(self) -> bool {
        self < Kind::Hub
    }

    /// Why it may not.
    #[cold]
    pub fn refusal(self) -> Refused {
        if self == Kind::Ended { Refused::ThreadEnding } else { Refused::InHub }
    }
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
pub(crate) struct Interrupts(u8);

impl Interrupts {
    const KILLED: u8 = 1;
    /// At least one of the calls of `timeout` it is in has expired.
    const EXPIRED: u8 = 2;

    #[inline]
    pub fn any(self) -> bool {
        self.0 != 0
    }

    #[inline]
    pub fn killed(self) -> bool {
        self.0 & Interrupts::KILLED != 0
    }

    pub fn set_killed(&mut self) {
        self.0 |= Interrupts::KILLED;
    }

    pub fn set_expired(&mut self, expired: bool) {
        self.0 &= !Interrupts::EXPIRED;
        self.0 |= if expired { Interrupts::EXPIRED } else { 0 };
    }
}

#[derive(Default)]
pub(crate) struct Extra {
    pub locals: HashMap<usize, Rc<dyn Any>>,
    /// The calls of `timeout` it is in, outermost first.
    pub limits: Vec<TimeLimit>,
    /// What it waits on, or has waited on last, if that is noted.
    pub waits_on: Option<WaitsOn>,
}

/// A call of `timeout`.
pub(crate) struct TimeLimit {
    pub id: u64,
    pub expired: bool,
}

/// What comes to a greenlet that is switched to by hand. Its own side, which lives on its own stack, holds this and not
/// the node, which it would keep alive.
#[derive(Default)]
pub(crate) struct Mail {
    /// The port at which it waits for a value; 0 for none, [`ANYTHING`] if it takes whatever comes.
    pub receives_at: Cell<usize>,
    pub thrown: Cell<Option<Box<Error>>>,
}

/// A green thread that has no function yet. `Rc::<Node>::default()` builds it where it stays, which building one and
/// moving it into an `Rc` does not.
impl Default for Node {
    #[inline(always)]
    fn default() -> Node {
        Node {
            fiber: Fiber::finished(),
            kind: Cell::new(Kind::GreenThread),
            parent: RefCell::new(None),
            slot: Cell::new(NO_SLOT),
            ticket: Cell::new(0),
            parked: Cell::new(false),
            cause: Cell::new(Wake::Woken),
            interrupts: Cell::new(Interrupts::default()),
            waits_for: Cell::new(""),
            spawned_at: Cell::new(None),
            began: Cell::new(0),
            mail: OnceCell::new(),
            packet: Cell::new(None),
            is_kept: Cell::new(false),
            extra: RefCell::new(None),
        }
    }
}

impl Node {
    pub fn new(fiber: Fiber, kind: Kind, parent: Option<AnyGreenlet>) -> Rc<Node> {
        Rc::new(Node { fiber, kind: Cell::new(kind), parent: RefCell::new(parent), ..Node::default() })
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

/// A greenlet of any kind: the OS thread's root, the hub, a green thread, a [`Greenlet`](crate::greenlet::Greenlet).
/// Handles to the same greenlet are equal.
///
/// Dropping the last handle of a suspended one unwinds it, so that its destructors run.
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<greenloom::greenlet::AnyGreenlet>(); // a greenlet never leaves its OS thread
/// ```
pub struct AnyGreenlet(Rc<Node>);

impl AnyGreenlet {
    pub(crate) fn from_node(node: Rc<Node>) -> AnyGreenlet {
        AnyGreenlet(node)
    }

    #[inline]
    pub(crate) fn node(&self) -> &Node {
        &self.0
    }

    pub(super) fn rc(&self) -> &Rc<Node> {
        &self.0
    }

    pub(crate) fn into_node(self) -> Rc<Node> {
        Rc::clone(&self.0)
    }

    /// A handle that does not keep it alive.
    ///
    /// Greenlets that hold one another's handles on their stacks are a cycle, and live until one of them is ended by
    /// hand.
    ///
    /// ```
    /// let weak = greenloom::spawn(|| ()).greenlet().downgrade();
    /// greenloom::yield_now();
    /// assert!(weak.upgrade().is_none());
    /// ```
    pub fn downgrade(&self) -> WeakGreenlet {
        WeakGreenlet(Rc::downgrade(&self.0))
    }

    #[inline]
    pub(crate) fn is_last_handle(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }

    /// Whether both are the same greenlet.
    #[inline]
    pub fn is(&self, other: &AnyGreenlet) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other greenlet of this OS thread has; 0 for the root.
    #[inline]
    pub fn id(&self) -> u64 {
        self.0.fiber.id()
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.0.fiber.name()
    }

    /// Whether it has begun.
    #[inline]
    pub fn is_started(&self) -> bool {
        self.0.fiber.is_started()
    }

    /// Whether it has ended.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.0.fiber.is_finished()
    }

    /// The same as [`is_started`](AnyGreenlet::is_started), by the name it has in Python's greenlet.
    #[inline]
    pub fn started(&self) -> bool {
        self.is_started()
    }

    /// The same as [`is_dead`](AnyGreenlet::is_dead), by the name it has in Python's greenlet.
    #[inline]
    pub fn dead(&self) -> bool {
        self.is_dead()
    }

    /// Whether it is the running one.
    pub fn is_current(&self) -> bool {
        self.0.fiber.is_running()
    }

    /// Who goes on when it ends; `None` for the root.
    pub fn parent(&self) -> Option<AnyGreenlet> {
        self.0.parent.borrow().clone()
    }

    /// What it waits for, if it is parked.
    pub fn waits_for(&self) -> Option<&'static str> {
        self.0.parked.get().then(|| self.0.waits_for.get())
    }
}

impl Clone for AnyGreenlet {
    #[inline]
    fn clone(&self) -> AnyGreenlet {
        AnyGreenlet(Rc::clone(&self.0))
    }
}

impl PartialEq for AnyGreenlet {
    fn eq(&self, other: &AnyGreenlet) -> bool {
        self.is(other)
    }
}

impl Eq for AnyGreenlet {}

impl Drop for AnyGreenlet {
    #[inline]
    fn drop(&mut self) {
        if Rc::strong_count(&self.0) == 1 && self.0.is_suspended() {
            unwind_dropped(AnyGreenlet(Rc::clone(&self.0)));
        }
    }
}

#[cold]
fn unwind_dropped(greenlet: AnyGreenlet) {
    match UNWIND_DROPPED.get() {
        Some(unwind) => unwind(greenlet),
        None => unreachable!("a greenlet is suspended by a switch, and the runtime makes that"),
    }
}

impl fmt::Debug for AnyGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.is_started(), self.is_dead(), self.is_current(), self.waits_for()) {
            (_, true, ..) => "dead",
            (false, ..) => "not started",
            (_, _, true, _) => "running",
            (.., Some(waits_for)) if !waits_for.is_empty() => waits_for,
            _ => "suspended",
        };
        write!(f, "{:?} {}", self.0.kind.get(), self.id())?;
        if let Some(name) = self.name() {
            write!(f, " {name:?}")?;
        }
        write!(f, " ({state})")
    }
}

/// A handle that does not keep its greenlet alive; see [`AnyGreenlet::downgrade`].
#[derive(Clone)]
pub struct WeakGreenlet(Weak<Node>);

impl fmt::Debug for WeakGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakGreenlet")
    }
}

impl WeakGreenlet {
    /// The greenlet, if it is still there.
    pub fn upgrade(&self) -> Option<AnyGreenlet> {
        let node = self.0.upgrade()?;
        // The table's handle to a record that it keeps is nobody's, and the one just made does not count.
        let held = Rc::strong_count(&node) > 1 + usize::from(node.is_kept.get());
        held.then(|| AnyGreenlet(node))
    }
}
