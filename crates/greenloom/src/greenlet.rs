//! Greenlets: switch, throw, parent.
//!
//! A greenlet is a function on a stack of its own. Any greenlet of an OS thread may switch to any other of it and hand
//! over a value; it goes on when somebody switches back. This is the layer below green threads, for control flow of
//! your own: generators, state machines, coroutines that take turns.
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
//! assert!(double.is_dead());
//! # Ok::<(), greenloom::greenlet::Error>(())
//! ```
//!
//! # Errors and the parent
//!
//! When a body returns an error or panics, that goes to the parent: the parent's pending switch returns it. A parent
//! that is dead or waits for something else is passed over, up to the hub or the root. [`Current::throw`] makes a
//! suspended greenlet's switch return an error. [`Error::Exit`] (greenlet's `GreenletExit`) is different: it unwinds
//! the greenlet so that its destructors run, and is reported to the parent as a way of ending, not as a fault. Dropping
//! the last handle of a suspended greenlet does the same.
//!
//! Semantics: those of the Python package greenlet, with values typed and errors returned.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use greenloom_fiber::{Fiber, Stack};

use crate::runtime::chain::Chain;
use crate::runtime::error::{Misuse, Panic};
use crate::runtime::here;
use crate::runtime::node::{ANYTHING, Interrupts, Kind, Mail, Node};
use crate::runtime::stack_size::default_stack_size;
use crate::runtime::state::Runtime;

pub use crate::instrument::{TraceEvent, Tracer, gettrace, settrace};
pub use crate::runtime::error::{Error, GreenletExit, StackError};
pub use crate::runtime::node::{AnyGreenlet, WeakGreenlet};

/// The running greenlet.
///
/// ```
/// assert!(greenloom::greenlet::current().parent().is_none(), "we are in the root");
/// ```
pub fn current() -> AnyGreenlet {
    here().current()
}

/// The same as [`current`], by the name it has in Python's greenlet.
///
/// ```
/// assert!(greenloom::getcurrent().is_current());
/// ```
pub fn getcurrent() -> AnyGreenlet {
    current()
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
/// A greenlet's body is given one. [`Current::here`] makes one anywhere, the root and green threads included. It is
/// good on its own greenlet only.
pub struct Current<T> {
    /// The greenlet's own handle would keep it alive for ever, so it is looked up when it is needed.
    id: u64,
    /// The number that the running greenlet has where this may switch: nobody's if it is the hub's own.
    switches_as: u64,
    mail: Rc<Mail>,
    port: Rc<Port<T>>,
    /// Only one made by [`Current::here`] has it, for [`Current::receiver`].
    receiver: Option<Receiver<T>>,
}

impl<T: 'static> Current<T> {
    /// A place where the running greenlet, whichever it is, receives values of type `T`.
    pub fn here() -> Current<T> {
        let greenlet = current();
        let port = Port::new();
        Current {
            receiver: Some(Receiver { greenlet: greenlet.clone(), port: Rc::clone(&port) }),
            ..Current::of(&greenlet, port)
        }
    }

    fn of(greenlet: &AnyGreenlet, port: Rc<Port<T>>) -> Current<T> {
        let node = greenlet.node();
        let id = greenlet.id();
        let switches_as = if node.kind.get() == Kind::Hub { u64::MAX - 1 } else { id };
        Current { id, switches_as, mail: Rc::clone(node.mail()), port, receiver: None }
    }

    /// The handle by which others switch to this place.
    ///
    /// A handle that is kept on the greenlet's own stack keeps it alive; give it to others, or make it when it is
    /// needed.
    pub fn receiver(&self) -> Receiver<T> {
        match &self.receiver {
            Some(receiver) => receiver.clone(),
            None => Receiver { greenlet: current(), port: Rc::clone(&self.port) },
        }
    }

    /// Suspends the running greenlet and goes on with `target`, which receives `value`. Returns the next value that is
    /// passed to this place. An unstarted target begins with the value as its argument. Switching to oneself returns
    /// the value at once.
    ///
    /// # Errors
    /// [`Error::Dead`] and [`Error::NotReceiving`] by the target, [`Error::NotCurrent`] and [`Error::Refused`] by the
    /// caller, all before anything happens; else what was thrown in, or what a child ended with, by the time this
    /// greenlet goes on.
    #[inline(always)]
    pub fn switch<U>(&self, target: &Receiver<U>, value: U) -> Result<T, Error> {
        // Split so that the value and the result pass in registers: a `Result<T, Error>` that is built in one function
        // and copied in another costs more than the switch.
        let runtime = here();
        if let Some(misuse) = self.refuses(runtime, target) {
            return Err(misuse.into());
        }
        target.port.value.set(Some(value));
        self.go(runtime, &target.greenlet);
        match self.port.value.take() {
            Some(value) => Ok(value),
            None => Err(what_came()),
        }
    }

    /// Why a switch to `target` is not possible, if it is not.
    #[inline]
    fn refuses<U>(&self, runtime: &'static Runtime, target: &Receiver<U>) -> Option<Misuse> {
        let node = target.greenlet.node();
        if node.receives_at() != target.port.address() && node.fiber.is_started() && !node.fiber.is_running() {
            return Some(if node.fiber.is_finished() { Misuse::Dead } else { Misuse::NotReceiving });
        }
        self.refuses_here(runtime)
    }

    /// Suspends the running greenlet and goes on with `target`, whose switch returns `error`. A target that has not
    /// begun dies at once, and the error goes to its parent. One that is dead passes it to its parent, except that
    /// throwing [`Error::Exit`] at it returns that at once. [`Error::Exit`] unwinds the target.
    ///
    /// # Errors
    /// As [`Current::switch`]. [`Error::NotReceiving`] for a green thread that waits in the hub: see
    /// [`GreenThread::kill`](crate::GreenThread::kill).
    pub fn throw(&self, target: &AnyGreenlet, error: Error) -> Result<T, Error> {
        let next = self.throw_into(target, error)?;
        self.go(here(), &next);
        self.port.value.take().ok_or_else(what_came)
    }

    /// Leaves the error where its receiver finds it; returns who that is.
    fn throw_into(&self, target: &AnyGreenlet, error: Error) -> Result<AnyGreenlet, Error> {
        let runtime = here();
        if let Some(misuse) = self.refuses_here(runtime) {
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
            pass_up(runtime, target.parent(), error)
        } else if node.receives_at() == 0 {
            self.mail.receives_at.set(0);
            return Err(Error::NotReceiving);
        } else {
            if exit {
                runtime.change_interrupts(target, Interrupts::set_killed);
            } else {
                node.mail().thrown.set(Some(Box::new(error)));
            }
            target.clone()
        };
        if runtime.watch.is_on() {
            runtime.watch.will_throw();
        }
        Ok(next)
    }

    #[inline]
    fn refuses_here(&self, runtime: &'static Runtime) -> Option<Misuse> {
        if runtime.current_id() != self.switches_as {
            return Some(self.why_not_here(runtime));
        }
        if std::thread::panicking() {
            return Some(Misuse::Panicking);
        }
        let _ = runtime.check_interrupts();
        None
    }

    #[cold]
    fn why_not_here(&self, runtime: &Runtime) -> Misuse {
        let is_own = runtime.current_id() == self.id;
        if runtime.has_ended() {
            Misuse::ThreadEnding
        } else if is_own {
            Misuse::InHub
        } else {
            Misuse::NotCurrent
        }
    }

    /// Suspends the running greenlet, to receive at this port, and goes on with `target`.
    #[inline(always)]
    fn go(&self, runtime: &Runtime, target: &AnyGreenlet) {
        self.mail.receives_at.set(self.port.address());
        runtime.switch_to(target);
        self.mail.receives_at.set(0);
    }
}

/// What came instead of a value. Unwinds if the running greenlet was killed.
#[cold]
fn what_came() -> Error {
    let me = current();
    match me.node().mail().thrown.take() {
        Some(error) => *error,
        None if me.node().interrupts.get().killed() => {
            drop(me);
            resume_unwind(Box::new(GreenletExit))
        }
        None => unreachable!("a receiver is resumed with a value or an error"),
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
    /// A greenlet that will run `body` when it is first switched to, with the value passed to it. `parent` receives
    /// what it returns. Its stack is of the [default size](crate::Builder::stack_size).
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
        let greenlet = AnyGreenlet::from_node(Node::new(fiber, Kind::Greenlet, Some(parent.greenlet)));
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

mod sealed {
    pub trait Sealed<T> {}

    impl<T> Sealed<T> for super::Receiver<T> {}
    impl<T> Sealed<T> for super::Current<T> {}
    impl<In, Out> Sealed<In> for super::Greenlet<In, Out> {}
}

/// What can be a parent: anything of this module that receives. It is implemented here only.
pub trait AsReceiver<T>: sealed::Sealed<T> {
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

/// A greenlet's life. Returns the one that goes on.
fn run<In: 'static, Out: 'static>(
    port: Rc<Port<In>>,
    parent_port: &RefCell<Rc<Port<Out>>>,
    body: impl FnOnce(&Current<In>, In) -> Result<Out, Error>,
) -> Rc<Node> {
    let runtime = here();
    if runtime.is_unusual() {
        runtime.see_to_unusual();
    }
    let current = runtime.with_current(|me| Current::of(me, port));
    let first = current.port.value.take().expect("it begins by a switch with a value");
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&current, first)));
    drop(current);
    let me = runtime.current();
    runtime.retire(&me);
    let parent = me.parent();
    let next = match outcome {
        Ok(Ok(value)) => pass_value(runtime, parent, &parent_port.borrow().clone(), value),
        Ok(Err(error)) => pass_up(runtime, parent, error),
        Err(payload) if payload.is::<GreenletExit>() => pass_up(runtime, parent, Error::Exit),
        Err(payload) => pass_up(runtime, parent, Error::Panicked(Panic::new(payload))),
    };
    drop(me);
    if runtime.is_unusual() {
        runtime.watch.will_end();
    }
    let _ = runtime.set_current(&next);
    next.into_node()
}

/// Gives a value to a parent that waits for it at `port`, and returns the one that goes on.
fn pass_value<T>(runtime: &'static Runtime, parent: Option<AnyGreenlet>, port: &Rc<Port<T>>, value: T) -> AnyGreenlet {
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
    pass_up(runtime, parent, Error::Unreceived)
}

/// Gives an error to the first of a chain of parents that can take it, and returns the one that goes on.
fn pass_up(runtime: &'static Runtime, mut parent: Option<AnyGreenlet>, error: Error) -> AnyGreenlet {
    while let Some(greenlet) = parent {
        let node = greenlet.node();
        if node.kind.get() == Kind::Hub {
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
        error => runtime
            .watch
            .warn(format_args!("a greenlet ended, and nobody up its parents takes the error: {}", Chain(&error))),
    }
    runtime.loop_greenlet().clone()
}
