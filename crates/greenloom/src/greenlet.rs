//! Greenlets: switch, throw, parent.
//!
//! A greenlet is a function on a stack of its own. Any greenlet of an OS thread may switch to any other of it and hand over a
//! value; it goes on when somebody switches back. This is the layer below green threads, for control flow of your own:
//! generators, state machines, coroutines that take turns.
//!
//! # Types
//!
//! A greenlet receives values of one type, and that is the type of its handle: [`Receiver<T>`]. Switching to it takes a
//! `T`; what the switch returns is what *you* receive, which your [`Current`] fixes. So both are checked by the
//! compiler, and no value is boxed. A greenlet's body returns `Result<Out, Error>`: the `Out` goes to its parent, which
//! must receive that type.
//!
//! ```
//! use greenloom::greenlet::{Current, Greenlet};
//!
//! let main = Current::<String>::here();
//! let back = main.receiver().clone();
//! let double = Greenlet::new(&main, move |me: &Current<u32>, mut number| {
//!     while number != 0 {
//!         number = me.switch(&back, format!("twice {number} is {}", 2 * number))?;
//!     }
//!     Ok("done".to_string())
//! });
//! assert_eq!(main.switch(&double, 21)?, "twice 21 is 42");
//! assert_eq!(main.switch(&double, 4)?, "twice 4 is 8");
//! assert_eq!(main.switch(&double, 0)?, "done");
//! assert!(double.dead());
//! # Ok::<(), greenloom::greenlet::Error>(())
//! ```
//!
//! # Errors and the parent
//!
//! When a body returns an error or panics, that goes to the parent: the parent's pending switch returns it. A parent
//! that is dead or waits for something else is passed over, up to the hub or the root. [`Current::throw`] makes a
//! suspended greenlet's switch return an error. [`Error::Exit`] (greenlet's `GreenletExit`) is different: it unwinds the greenlet
//! so that its destructors run, and is reported to the parent as a way of ending, not as a fault. Dropping the last handle of
//! a suspended greenlet does the same.
//!
//! Semantics: those of the Python package greenlet, with values typed and errors returned.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::{Rc, Weak};

use fiber::{Fiber, Stack, StackError};

use crate::hub::{State, here, with_hub};
use crate::node::{Kind, Mail, Node};
use crate::park::{Refused, check_interrupts};
use crate::thread::default_stack_size;

pub use crate::instrument::{TraceEvent, Tracer, gettrace, settrace};

/// What unwinds a greenlet that is killed. It passes through [`catch_unwind`] as any payload; whoever catches it should
/// let it go on with [`resume_unwind`], and meets it again at the next park otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreenletExit;

/// What a switch returns when it returns no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A greenlet ended by [`GreenletExit`] and control fell back to its parent. Nothing is wrong; there is just no value.
    Exit,
    /// Thrown with [`Current::throw`], or returned by a child's body.
    Thrown(Box<dyn std::error::Error>),
    /// A child's body panicked with this payload.
    Panicked(Box<dyn Any + Send>),
    /// A greenlet below ended with a value, but its parent is dead or waits for something else.
    Unreceived,
    /// The target has ended.
    Dead,
    /// The target is suspended, but not in a switch that receives such values: it waits in the hub, or at another
    /// [`Current`] of its own.
    NotReceiving,
    /// The [`Current`] is that of another greenlet.
    NotCurrent,
    /// The parent would be its own descendant.
    CyclicParent,
    /// Switching is not possible here.
    Refused(Refused),
}

impl Error {
    /// An error to throw.
    pub fn thrown(error: impl Into<Box<dyn std::error::Error>>) -> Error {
        Error::Thrown(error.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Exit => f.write_str("the greenlet ended by GreenletExit"),
            Error::Thrown(error) => error.fmt(f),
            Error::Panicked(payload) => write!(f, "the greenlet panicked: {}", panic_message(payload.as_ref())),
            Error::Unreceived => f.write_str("a greenlet ended, and its parent does not wait for its value"),
            Error::Dead => f.write_str("the greenlet is dead"),
            Error::NotReceiving => {
                f.write_str("the greenlet does not wait for such a value: it waits in the hub or elsewhere")
            }
            Error::NotCurrent => f.write_str("this Current belongs to another greenlet than the running one"),
            Error::CyclicParent => f.write_str("cyclic parent chain"),
            Error::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Thrown(error) => error.source(),
            Error::Refused(refused) => Some(refused),
            _ => None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::Refused(refused)
    }
}

/// The text of a panic's payload.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a payload that is no text)"
    }
}

/// The running greenlet.
///
/// ```
/// assert!(greenloom::getcurrent().parent().is_none(), "we are in the root");
/// ```
pub fn getcurrent() -> AnyGreenlet {
    with_hub(|hub| hub.current())
}

/// A greenlet of any kind: the OS thread's root, the hub, a green thread, a [`Greenlet`]. Handles to the same greenlet are equal.
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

    pub(crate) fn into_node(self) -> Rc<Node> {
        Rc::clone(&self.0)
    }

    /// A handle that does not keep it alive.
    ///
    /// Greenlets that hold one another's handles on their stacks are a cycle, and live until one of them is ended by hand.
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
    pub fn started(&self) -> bool {
        self.0.fiber.is_started()
    }

    /// Whether it has ended.
    #[inline]
    pub fn dead(&self) -> bool {
        self.0.fiber.is_finished()
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

impl fmt::Debug for AnyGreenlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.started(), self.dead(), self.is_current(), self.waits_for()) {
            (_, true, ..) => "dead",
            (false, ..) => "not started",
            (_, _, true, _) => "running",
            (.., Some(waits_for)) if !waits_for.is_empty() => waits_for,
            _ => "suspended",
        };
        write!(f, "{:?} {}", self.0.kind, self.id())?;
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
        self.0.upgrade().map(AnyGreenlet)
    }
}

/// `receives_at` of a greenlet that waits for another to unwind and takes whatever comes.
const ANYTHING: usize = usize::MAX;

/// Unwinds a suspended greenlet whose last handle was dropped. The running one is its parent for the while.
#[cold]
fn unwind_dropped(greenlet: AnyGreenlet) {
    // If it does not end, or the OS thread has no hub any more, its stack is leaked with what lives on it.
    State::try_with(|hub| {
        if std::thread::panicking() {
            return hub.abandon(greenlet.clone());
        }
        let me = hub.current();
        hub.change_interrupts(&greenlet, |interrupts| interrupts.killed = true);
        *greenlet.node().parent.borrow_mut() = Some(me.clone());
        let mail = me.node().mail();
        // An error may have come with the switch after which we look after what was abandoned; it is not this one's.
        let (before, pending) = (mail.receives_at.replace(ANYTHING), mail.thrown.take());
        hub.watch.will_throw();
        hub.switch_to(&greenlet);
        mail.receives_at.set(before);
        // What came back is of no interest: a panic was reported by the panic hook.
        mail.thrown.set(pending);
    });
}

/// Where a greenlet receives values of one type.
struct Port<T> {
    value: Cell<Option<T>>,
}

impl<T> Port<T> {
    fn new() -> Rc<Port<T>> {
        Rc::new(Port { value: Cell::new(None) })
    }

    /// What `receives_at` is while somebody waits here.
    #[inline]
    fn address(self: &Rc<Self>) -> usize {
        Rc::as_ptr(self).cast::<()>() as usize
    }
}

/// A greenlet as a receiver of values of type `T`.
pub struct Receiver<T> {
    greenlet: AnyGreenlet,
    port: Rc<Port<T>>,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver { greenlet: self.greenlet.clone(), port: Rc::clone(&self.port) }
    }
}

impl<T> Deref for Receiver<T> {
    type Target = AnyGreenlet;

    fn deref(&self) -> &AnyGreenlet {
        &self.greenlet
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.greenlet.fmt(f)
    }
}

/// The running greenlet's own side: it switches away and says what type comes back.
///
/// A greenlet's body is given one. [`Current::here`] makes one anywhere, the root and green threads included. It is good
/// on its own greenlet only.
pub struct Current<T> {
    /// The greenlet's own handle would keep it alive for ever, so it is looked up when it is needed.
    id: u64,
    in_hub: bool,
    mail: Rc<Mail>,
    port: Rc<Port<T>>,
    /// Only one made by [`Current::here`] has it, for [`Current::receiver`].
    receiver: Option<Receiver<T>>,
}

impl<T: 'static> Current<T> {
    /// A place where the running greenlet, whichever it is, receives values of type `T`.
    pub fn here() -> Current<T> {
        let greenlet = getcurrent();
        let port = Port::new();
        Current {
            receiver: Some(Receiver { greenlet: greenlet.clone(), port: Rc::clone(&port) }),
            ..Current::of(&greenlet, port)
        }
    }

    fn of(greenlet: &AnyGreenlet, port: Rc<Port<T>>) -> Current<T> {
        let node = greenlet.node();
        let mail = Rc::clone(node.mail());
        Current { id: greenlet.id(), in_hub: node.kind == Kind::Hub, mail, port, receiver: None }
    }

    /// The handle by which others switch to this place.
    ///
    /// A handle that is kept on the greenlet's own stack keeps it alive; give it to others, or make it when it is needed.
    pub fn receiver(&self) -> Receiver<T> {
        match &self.receiver {
            Some(receiver) => receiver.clone(),
            None => Receiver { greenlet: getcurrent(), port: Rc::clone(&self.port) },
        }
    }

    /// Suspends the running greenlet and goes on with `target`, which receives `value`. Returns the next value that is
    /// passed to this place. An unstarted target begins with the value as its argument. Switching to oneself returns the
    /// value at once.
    ///
    /// # Errors
    /// [`Error::Dead`] and [`Error::NotReceiving`] by the target, [`Error::NotCurrent`] and [`Error::Refused`] by the caller, all
    /// before anything happens; else what was thrown in, or what a child ended with, by the time this greenlet goes on.
    #[inline(always)]
    pub fn switch<U>(&self, target: &Receiver<U>, value: U) -> Result<T, Error> {
        // Split so that the value and the result pass in registers: a `Result<T, Error>` that is built in one function and copied
        // in another costs more than the switch.
        if let Some(misuse) = self.refuses(target) {
            return Err(misuse.into());
        }
        target.port.value.set(Some(value));
        self.go(&target.greenlet);
        match self.port.value.take() {
            Some(value) => Ok(value),
            None => Err(what_came()),
        }
    }

    /// Why a switch to `target` is not possible, if it is not.
    #[inline]
    fn refuses<U>(&self, target: &Receiver<U>) -> Option<Misuse> {
        let node = target.greenlet.node();
        if node.receives_at() != target.port.address() && node.fiber.is_started() && !node.fiber.is_running() {
            return Some(if node.fiber.is_finished() { Misuse::Dead } else { Misuse::NotReceiving });
        }
        self.refuses_here()
    }

    /// Suspends the running greenlet and goes on with `target`, whose switch returns `error`. A target that has not begun dies
    /// at once, and the error goes to its parent. One that is dead passes it to its parent, except that throwing
    /// [`Error::Exit`] at it returns that at once. [`Error::Exit`] unwinds the target.
    ///
    /// # Errors
    /// As [`Current::switch`]. [`Error::NotReceiving`] for a green thread that waits in the hub: see
    /// [`GreenThread::kill`](crate::GreenThread::kill).
    pub fn throw(&self, target: &AnyGreenlet, error: Error) -> Result<T, Error> {
        with_hub(|hub| {
            if let Some(misuse) = self.refuses_here() {
                return Err(misuse.into());
            }
            let node = target.node();
            let exit = matches!(error, Error::Exit);
            if node.fiber.is_finished() && exit {
                return Err(Error::Exit);
            }
            if node.fiber.is_running() {
                if exit {
                    resume_unwind(Box::new(GreenletExit));
                }
                return Err(error);
            }
            self.mail.receives_at.set(self.port.address());
            let next = if node.fiber.is_finished() || node.fiber.cancel() {
                pass_up(hub, target.parent(), error)
            } else if node.receives_at() == 0 {
                self.mail.receives_at.set(0);
                return Err(Error::NotReceiving);
            } else {
                if exit {
                    hub.change_interrupts(target, |interrupts| interrupts.killed = true);
                } else {
                    node.mail().thrown.set(Some(Box::new(error)));
                }
                target.clone()
            };
            if hub.watch.is_on() {
                hub.watch.will_throw();
            }
            Ok(next)
        })
        .and_then(|next| {
            self.go(&next);
            self.port.value.take().ok_or_else(what_came)
        })
    }

    #[inline]
    fn refuses_here(&self) -> Option<Misuse> {
        with_hub(|hub| {
            if hub.current_id() != self.id {
                return Some(Misuse::NotCurrent);
            }
            if std::thread::panicking() {
                return Some(Misuse::Panicking);
            }
            if self.in_hub {
                return Some(Misuse::InHub);
            }
            let _ = check_interrupts(hub);
            None
        })
    }

    /// Suspends the running greenlet, to receive at this port, and goes on with `target`.
    #[inline(always)]
    fn go(&self, target: &AnyGreenlet) {
        self.mail.receives_at.set(self.port.address());
        here().switch_to(target);
        self.mail.receives_at.set(0);
    }
}

/// The errors that are found before a switch. One byte, for the sake of the path on which there are none.
#[derive(Clone, Copy)]
enum Misuse {
    Dead,
    NotReceiving,
    NotCurrent,
    Panicking,
    InHub,
}

impl From<Misuse> for Error {
    #[cold]
    fn from(misuse: Misuse) -> Error {
        match misuse {
            Misuse::Dead => Error::Dead,
            Misuse::NotReceiving => Error::NotReceiving,
            Misuse::NotCurrent => Error::NotCurrent,
            Misuse::Panicking => Error::Refused(Refused::Panicking),
            Misuse::InHub => Error::Refused(Refused::InHub),
        }
    }
}

/// What came instead of a value. Unwinds if the running greenlet was killed.
#[cold]
fn what_came() -> Error {
    let me = getcurrent();
    match me.node().mail().thrown.take() {
        Some(error) => *error,
        None if me.node().interrupts.get().killed => {
            drop(me);
            resume_unwind(Box::new(GreenletExit))
        }
        None => unreachable!("whoever resumes a receiver brings a value or an error"),
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Current({})", self.id)
    }
}

/// A greenlet that receives `In` and gives its parent an `Out` when it ends. It is a [`Receiver<In>`].
pub struct Greenlet<In, Out> {
    receiver: Receiver<In>,
    parent: Rc<RefCell<Rc<Port<Out>>>>,
}

impl<In: 'static, Out: 'static> Greenlet<In, Out> {
    /// A greenlet that will run `body` when it is first switched to, with the value passed to it. `parent` receives what it
    /// returns. Its stack is of the [default size](crate::Builder::stack_size).
    ///
    /// # Panics
    /// When there is no memory for the stack; [`Greenlet::with_stack_size`] returns that as an error.
    pub fn new(
        parent: &impl AsReceiver<Out>,
        body: impl FnOnce(&Current<In>, In) -> Result<Out, Error> + 'static,
    ) -> Greenlet<In, Out> {
        Greenlet::with_stack_size(parent, default_stack_size(), body).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Greenlet::new`], on a stack of `size` bytes.
    ///
    /// # Errors
    /// [`StackError`] when the size is out of range or there is no memory for it.
    pub fn with_stack_size(
        parent: &impl AsReceiver<Out>,
        size: usize,
        body: impl FnOnce(&Current<In>, In) -> Result<Out, Error> + 'static,
    ) -> Result<Greenlet<In, Out>, StackError> {
        let parent = parent.as_receiver();
        let port = Port::<In>::new();
        let parent_port = Rc::new(RefCell::new(parent.port));
        let fiber = {
            let (port, parent_port) = (Rc::clone(&port), Rc::clone(&parent_port));
            Fiber::new(Stack::new(size)?, move || run(port, &parent_port, body))
        };
        let greenlet = AnyGreenlet(Node::new(fiber, Kind::Greenlet, Some(parent.greenlet)));
        Ok(Greenlet { receiver: Receiver { greenlet, port }, parent: parent_port })
    }

    /// Makes somebody else the parent.
    ///
    /// # Errors
    /// [`Error::CyclicParent`] if the new parent is this greenlet or one of its descendants.
    pub fn set_parent(&self, parent: &impl AsReceiver<Out>) -> Result<(), Error> {
        let parent = parent.as_receiver();
        let mut ancestor = Some(parent.greenlet.clone());
        while let Some(greenlet) = ancestor {
            if greenlet.is(&self.receiver.greenlet) {
                return Err(Error::CyclicParent);
            }
            ancestor = greenlet.parent();
        }
        let before = self.receiver.greenlet.node().parent.replace(Some(parent.greenlet));
        self.parent.replace(parent.port);
        drop(before);
        Ok(())
    }
}

impl<In, Out> Clone for Greenlet<In, Out> {
    fn clone(&self) -> Greenlet<In, Out> {
        Greenlet { receiver: self.receiver.clone(), parent: Rc::clone(&self.parent) }
    }
}

impl<In, Out> Deref for Greenlet<In, Out> {
    type Target = Receiver<In>;

    fn deref(&self) -> &Receiver<In> {
        &self.receiver
    }
}

impl<In, Out> fmt::Debug for Greenlet<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.receiver.fmt(f)
    }
}

/// What can be a parent: anything that receives.
pub trait AsReceiver<T> {
    /// As a receiver.
    fn as_receiver(&self) -> Receiver<T>;
}

impl<T> AsReceiver<T> for Receiver<T> {
    fn as_receiver(&self) -> Receiver<T> {
        self.clone()
    }
}

impl<T: 'static> AsReceiver<T> for Current<T> {
    fn as_receiver(&self) -> Receiver<T> {
        self.receiver()
    }
}

impl<In, Out> AsReceiver<In> for Greenlet<In, Out> {
    fn as_receiver(&self) -> Receiver<In> {
        self.receiver.clone()
    }
}

/// A greenlet's life. Returns who goes on.
fn run<In: 'static, Out: 'static>(
    port: Rc<Port<In>>,
    parent_port: &RefCell<Rc<Port<Out>>>,
    body: impl FnOnce(&Current<In>, In) -> Result<Out, Error>,
) -> Rc<Node> {
    let current = with_hub(|hub| {
        if hub.is_unusual() {
            hub.see_to_unusual();
        }
        hub.with_current(|me| Current::of(me, port))
    });
    let first = current.port.value.take().expect("it begins by a switch with a value");
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&current, first)));
    drop(current);
    with_hub(|hub| {
        let me = hub.current();
        hub.retire(&me);
        let parent = me.parent();
        let next = match outcome {
            Ok(Ok(value)) => pass_value(hub, parent, &parent_port.borrow().clone(), value),
            Ok(Err(error)) => pass_up(hub, parent, error),
            Err(payload) if payload.is::<GreenletExit>() => pass_up(hub, parent, Error::Exit),
            Err(payload) => pass_up(hub, parent, Error::Panicked(payload)),
        };
        drop(me);
        hub.set_current(&next);
        next.into_node()
    })
}

/// Gives a value to a parent that waits for it at `port`, and returns who goes on.
fn pass_value<T>(hub: &State, parent: Option<AnyGreenlet>, port: &Rc<Port<T>>, value: T) -> AnyGreenlet {
    if let Some(parent) = &parent {
        let node = parent.node();
        let receives_at = node.receives_at();
        if receives_at == ANYTHING {
            return parent.clone();
        }
        if !node.fiber.is_started() || receives_at == port.address() {
            port.value.set(Some(value));
            return parent.clone();
        }
    }
    pass_up(hub, parent, Error::Unreceived)
}

/// Gives an error to the first of a chain of parents that can take it, and returns who goes on.
fn pass_up(hub: &State, mut parent: Option<AnyGreenlet>, error: Error) -> AnyGreenlet {
    while let Some(greenlet) = parent {
        let node = greenlet.node();
        if node.kind == Kind::Hub {
            break;
        }
        if !node.fiber.is_finished() && !node.fiber.cancel() && node.receives_at() != 0 {
            node.mail().thrown.set(Some(Box::new(error)));
            return greenlet;
        }
        parent = greenlet.parent();
    }
    match error {
        Error::Exit => {}
        error => eprintln!("greenloom: a greenlet ended, and nobody up its parents takes the error: {error}"),
    }
    hub.hub().clone()
}
