//! Green threads: spawn, wait, link, kill.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use fiber::{Fiber, Stack, StackError};
use hub::TimerKey;

use crate::greenlet::{AnyGreenlet, GreenletExit, panic_message};
use crate::hub::{State, here, try_get_hub, with_hub};
use crate::instrument::Event;
use crate::node::{Kind, Node, Wake};
use crate::park::{Refused, Waker, check_interrupts, park, prepare};
use crate::timeout::Expired;

/// Starts a green thread. It runs when the running one next parks; spawned ones begin in the order of their spawning.
///
/// Semantics: eventlet's `spawn`.
///
/// # Panics
/// When there is no memory for its stack, as `std::thread::spawn` does; [`Builder::spawn`] returns that as an error.
///
/// ```
/// let answer = greenloom::spawn(|| 6 * 7);
/// assert_eq!(answer.wait()?, 42);
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    let packet = Rc::<Packet<T>>::default();
    let body = run_into(Rc::clone(&packet), f);
    let greenlet = with_hub(|hub| {
        let greenlet = make(hub, default_stack_size(), None, body);
        hub.make_ready(greenlet.node().slot.get());
        greenlet
    });
    GreenThread { greenlet, packet, timer: Cell::new(None) }
}

/// As [`spawn`], without a handle: nobody waits for it, and a panic is only reported. A little cheaper.
///
/// Semantics: eventlet's `spawn_n`.
///
/// ```
/// greenloom::spawn_n(|| println!("hello"));
/// greenloom::yield_now();
/// ```
pub fn spawn_n(f: impl FnOnce() + 'static) {
    let body = move || {
        // The panic hook has reported a panic.
        let _ = catch_unwind(AssertUnwindSafe(f));
    };
    with_hub(|hub| {
        let greenlet = make(hub, default_stack_size(), None, body);
        hub.make_ready(greenlet.node().slot.get());
    });
}

/// As [`spawn`], but it begins after `delay`. [`GreenThread::cancel`] stops it before that.
///
/// ```
/// use std::time::Duration;
/// let later = greenloom::spawn_after(Duration::from_millis(1), || "later");
/// assert_eq!(later.wait()?, "later");
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub fn spawn_after<T: 'static>(delay: Duration, f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    Builder::new().spawn_after(delay, f).unwrap_or_else(|error| panic!("{error}"))
}

/// As [`spawn_after`], but it is cancelled if the running greenlet ends before that.
pub fn spawn_after_local<T: 'static>(delay: Duration, f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    let owner = with_hub(|hub| hub.current().downgrade());
    spawn_after(delay, move || {
        if owner.upgrade().is_some_and(|owner| !owner.dead()) { f() } else { resume_unwind(Box::new(GreenletExit)) }
    })
}

/// Parks the running green thread for `duration`; with zero, lets the others that are ready run first.
///
/// ```
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    let ticket = prepare().unwrap_or_else(|refused| refused.raise());
    let deadline = with_hub(|hub| hub.now() + duration);
    ticket.park("sleep", Some(deadline));
}

/// Lets the green threads that are ready run first.
#[inline(always)]
pub fn yield_now() {
    let hub = here();
    if let Some(refused) = hub.make_current_ready() {
        refused.raise();
    }
    hub.switch_to_next();
    let _ = check_interrupts(hub);
}

/// The stack size in bytes of green threads that are not given one: `GREENLOOM_STACK_SIZE` when the process starts, else 256 KiB.
///
/// Only what a green thread touches takes memory, so the size costs address space and half a kilobyte of page tables.
pub fn default_stack_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        let Ok(text) = std::env::var("GREENLOOM_STACK_SIZE") else { return 256 * 1024 };
        match text.parse() {
            Ok(size) if size >= fiber::MIN_STACK_SIZE => size,
            _ => {
                let smallest = fiber::MIN_STACK_SIZE;
                panic!("GREENLOOM_STACK_SIZE={text:?} is no number of bytes of at least {smallest}");
            }
        }
    })
}

/// Why a green thread was not started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no stack for it.
    Stack(StackError),
    /// This OS thread has no hub and could not make one.
    Hub(io::Error),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Stack(error) => write!(f, "no green thread: {error}"),
            SpawnError::Hub(error) => write!(f, "no green thread, because this OS thread has no hub: {error}"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnError::Stack(error) => Some(error),
            SpawnError::Hub(error) => Some(error),
        }
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> io::Error {
        io::Error::new(io::ErrorKind::OutOfMemory, error)
    }
}

/// Options for a green thread.
///
/// ```
/// let thread = greenloom::Builder::new().name("worker").stack_size(64 * 1024).spawn(|| ())?;
/// assert_eq!(thread.name(), Some("worker"));
/// # Ok::<(), greenloom::SpawnError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, and a stack of the default size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A name, shown by [`inspect`](crate::inspect) and when the stack overflows.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The size of the stack in bytes. The default is 256 KiB, or what the environment variable `GREENLOOM_STACK_SIZE` says.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// See [`spawn`].
    ///
    /// # Errors
    /// [`SpawnError`], with the numbers.
    pub fn spawn<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> Result<GreenThread<T>, SpawnError> {
        let (thread, slot) = self.make(f)?;
        with_hub(|hub| hub.make_ready(slot));
        Ok(thread)
    }

    /// See [`spawn_after`].
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    pub fn spawn_after<T: 'static>(
        self,
        delay: Duration,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<GreenThread<T>, SpawnError> {
        let (thread, slot) = self.make(f)?;
        with_hub(|hub| {
            if delay.is_zero() {
                return hub.make_ready(slot);
            }
            let node = thread.greenlet.node();
            node.ticket.set(hub.next_ticket());
            node.parked.set(true);
            node.waits_for.set("spawn_after");
            thread.timer.set(Some(hub.add_wake_timer(hub.now() + delay, slot, node.ticket.get())));
        });
        Ok(thread)
    }

    fn make<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> Result<(GreenThread<T>, u32), SpawnError> {
        let packet = Rc::<Packet<T>>::default();
        let body = run_into(Rc::clone(&packet), f);
        let hub = try_get_hub().map_err(SpawnError::Hub)?;
        let stack = Stack::new(self.stack_size.unwrap_or_else(default_stack_size)).map_err(SpawnError::Stack)?;
        let greenlet = make_on(hub.state(), stack, self.name, body);
        let slot = greenlet.node().slot.get();
        Ok((GreenThread { greenlet, packet, timer: Cell::new(None) }, slot))
    }
}

/// A function that runs `f` and leaves in `packet` what it came to; also if it is dropped unrun.
#[inline]
pub(crate) fn run_into<T, F: FnOnce() -> T>(packet: Rc<Packet<T>>, f: F) -> impl FnOnce() + use<T, F> {
    struct Outcome<T>(Rc<Packet<T>>);
    impl<T> Drop for Outcome<T> {
        fn drop(&mut self) {
            if !self.0.finished.get() {
                self.0.finish(Err(JoinError::Killed));
            }
        }
    }
    let outcome = Outcome(packet);
    move || match catch_unwind(AssertUnwindSafe(f)) {
        Ok(value) => outcome.0.finish(Ok(value)),
        Err(payload) => outcome.0.finish(Err(JoinError::from_payload(payload))),
    }
}

/// Makes a green thread on a stack of `stack_size` bytes. Panics when there is none.
#[inline]
fn make(hub: &State, stack_size: usize, name: Option<String>, body: impl FnOnce() + 'static) -> AnyGreenlet {
    let stack = match Stack::new_from_cache(stack_size) {
        Some(stack) => stack,
        None => Stack::new(stack_size).unwrap_or_else(|error| panic!("{}", SpawnError::Stack(error))),
    };
    make_on(hub, stack, name, body)
}

/// Makes a green thread that is in the hub's table and not ready yet. `body` must not unwind.
#[inline]
fn make_on(hub: &State, stack: Stack, name: Option<String>, body: impl FnOnce() + 'static) -> AnyGreenlet {
    let node = Rc::<Node>::default();
    *node.parent.borrow_mut() = Some(hub.hub().clone());
    node.fiber.restart(stack, move || -> Rc<Node> {
        with_hub(|hub| {
            if hub.is_unusual() {
                hub.see_to_unusual();
            }
        });
        body();
        with_hub(end)
    });
    if let Some(name) = name {
        let _ = node.fiber.set_name(name.into_boxed_str());
    }
    let greenlet = AnyGreenlet::from_node(node);
    hub.enroll(&greenlet);
    if hub.watch.is_on() {
        hub.watch.tell(&Event::Spawn { greenlet: &greenlet });
    }
    greenlet
}

/// Ends the running green thread and returns who goes on.
fn end(hub: &State) -> Rc<Node> {
    let me = hub.current();
    let extra = me.node().extra.take();
    if extra.is_some() {
        // Green-thread locals may have destructors that panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(extra)));
    }
    hub.retire(&me);
    drop(me);
    let next = hub.next();
    hub.set_current(&next);
    next.into_node()
}

/// Why [`GreenThread::wait`] has no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// It panicked, with this payload.
    Panicked(Box<dyn Any + Send>),
    /// It was killed, or cancelled before it began.
    Killed,
    /// Waiting is not possible here.
    Refused(Refused),
}

impl JoinError {
    pub(crate) fn from_payload(payload: Box<dyn Any + Send>) -> JoinError {
        if payload.is::<GreenletExit>() { JoinError::Killed } else { JoinError::Panicked(payload) }
    }

    /// Panics with the payload of the green thread's panic, or with the error's text.
    pub fn resume(self) -> ! {
        match self {
            JoinError::Panicked(payload) => resume_unwind(payload),
            error => panic!("{error}"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Panicked(payload) => write!(f, "the green thread panicked: {}", panic_message(payload.as_ref())),
            JoinError::Killed => f.write_str("the green thread was killed"),
            JoinError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for JoinError {}

/// What a green thread leaves behind, and who is to be told.
pub(crate) struct Packet<T> {
    result: Cell<Option<Result<T, JoinError>>>,
    finished: Cell<bool>,
    waiter: Cell<Option<Waker>>,
    has_links: Cell<bool>,
    links: RefCell<Vec<(u64, Link<T>)>>,
}

type Link<T> = Box<dyn FnOnce(&Result<T, JoinError>)>;

impl<T> Default for Packet<T> {
    fn default() -> Packet<T> {
        Packet {
            result: Cell::new(None),
            finished: Cell::new(false),
            waiter: Cell::new(None),
            has_links: Cell::new(false),
            links: RefCell::new(Vec::new()),
        }
    }
}

impl<T> Packet<T> {
    /// Parks until the green thread that leaves its outcome here has ended.
    #[inline]
    pub fn wait(&self) -> Result<T, JoinError> {
        loop {
            if let Some(result) = self.result.take() {
                return result;
            }
            park("green thread", |waker| self.waiter.set(Some(waker))).map_err(JoinError::Refused)?;
        }
    }

    /// Inlined, so that the result is stored where it stays: built on the stack in words and copied from there in pairs of
    /// them, it keeps the processor waiting.
    #[inline(always)]
    fn finish(&self, result: Result<T, JoinError>) {
        self.finished.set(true);
        if self.has_links.get() {
            self.call_links(&result);
        }
        self.result.set(Some(result));
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    #[cold]
    fn call_links(&self, result: &Result<T, JoinError>) {
        for (_, link) in self.links.take() {
            // One that panics does not keep the others from being called.
            let _ = catch_unwind(AssertUnwindSafe(|| link(result)));
        }
    }
}

/// A green thread that was spawned. Dropping the handle lets it run on.
pub struct GreenThread<T> {
    greenlet: AnyGreenlet,
    packet: Rc<Packet<T>>,
    /// The timer that will start it.
    timer: Cell<Option<TimerKey>>,
}

/// Names a link, for [`GreenThread::unlink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(u64);

impl<T: 'static> GreenThread<T> {
    /// The handle of one that never was, whose work was done in the running greenlet.
    pub(crate) fn finished(result: Result<T, JoinError>) -> GreenThread<T> {
        let thread = with_hub(|hub| {
            let fiber = Fiber::finished();
            AnyGreenlet::from_node(Node::new(fiber, Kind::GreenThread, Some(hub.hub().clone())))
        });
        let packet = Rc::<Packet<T>>::default();
        packet.finish(result);
        GreenThread { greenlet: thread, packet, timer: Cell::new(None) }
    }

    /// Parks until it has ended and returns its value.
    ///
    /// # Errors
    /// [`JoinError`]: its panic, or that it was killed.
    pub fn wait(self) -> Result<T, JoinError> {
        self.packet.wait()
    }

    /// As [`GreenThread::wait`], but gives the handle back if it has not ended after `timeout`.
    ///
    /// # Errors
    /// The handle.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, GreenThread<T>> {
        let deadline = with_hub(|hub| hub.now() + timeout);
        loop {
            if let Some(result) = self.packet.result.take() {
                return Ok(result);
            }
            let ticket = match prepare() {
                Ok(ticket) => ticket,
                Err(refused) => return Ok(Err(JoinError::Refused(refused))),
            };
            self.packet.waiter.set(Some(ticket.waker()));
            if ticket.park("green thread", Some(deadline)) == Wake::TimedOut {
                return Err(self);
            }
        }
    }

    /// Calls `link` with the outcome when it has ended, on the green thread itself; at once if it has ended already. Links run
    /// in the order in which they were added. They must not block.
    pub fn link(&self, link: impl FnOnce(&Result<T, JoinError>) + 'static) -> LinkId {
        let id = with_hub(|hub| hub.next_ticket());
        match self.packet.result.take() {
            Some(result) => {
                let _ = catch_unwind(AssertUnwindSafe(|| link(&result)));
                self.packet.result.set(Some(result));
            }
            None => {
                self.packet.links.borrow_mut().push((id, Box::new(link)));
                self.packet.has_links.set(true);
            }
        }
        LinkId(id)
    }

    /// Removes a link; returns whether it had not been called.
    pub fn unlink(&self, id: LinkId) -> bool {
        let mut links = self.packet.links.borrow_mut();
        let index = links.iter().position(|(candidate, _)| *candidate == id.0);
        let link = index.map(|index| links.remove(index));
        drop(links);
        link.is_some()
    }

    /// Unwinds it. It runs at once, from where it is parked to its end, and the caller goes on after that, behind what is
    /// ready. One that has not begun never runs. One that has ended is left alone. [`wait`](GreenThread::wait) says
    /// [`JoinError::Killed`].
    ///
    /// Killing oneself unwinds from here. In a function that the hub calls, and while a panic unwinds the caller, it takes
    /// effect when the target next runs.
    pub fn kill(&self) {
        if !self.cancel() {
            with_hub(|hub| kill(hub, &self.greenlet, false));
        }
    }

    /// Keeps it from beginning; returns `false` if it has begun. Links are called here.
    pub fn cancel(&self) -> bool {
        if !self.greenlet.node().fiber.cancel() {
            return false;
        }
        with_hub(|hub| {
            if let Some(timer) = self.timer.take()
                && hub.cancel_timer(timer)
            {
                // Else the run queue holds its slot, and frees it when its turn comes.
                hub.retire(&self.greenlet);
            }
        });
        true
    }
}

impl<T> GreenThread<T> {
    /// Whether it has ended.
    pub fn dead(&self) -> bool {
        self.greenlet.dead()
    }

    /// Whether it has begun.
    pub fn started(&self) -> bool {
        self.greenlet.started()
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.greenlet.name()
    }

    /// It as a greenlet.
    pub fn greenlet(&self) -> &AnyGreenlet {
        &self.greenlet
    }
}

/// Whether a payload is that of a kill or of a timeout, which belong to the green thread that they unwind.
pub(crate) fn is_interrupt(payload: &(dyn Any + Send)) -> bool {
    payload.is::<GreenletExit>() || payload.is::<Expired>()
}

impl<T> fmt::Debug for GreenThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.greenlet.fmt(f)
    }
}

/// Kills a greenlet that has begun.
pub(crate) fn kill(hub: &State, target: &AnyGreenlet, shielded: bool) {
    if target.dead() {
        return;
    }
    let node = target.node();
    hub.change_interrupts(target, |interrupts| interrupts.killed = true);
    let me = hub.current();
    if target.is(&me) {
        let _ = check_interrupts(hub);
        return;
    }
    let may_switch = me.node().kind != Kind::Hub && !std::thread::panicking();
    if !may_switch {
        hub.wake(node.slot.get(), node.ticket.get(), Wake::Interrupted);
        return;
    }
    hub.make_ready(hub.slot_of(&me));
    if node.parked.replace(false) || node.receives_at() != 0 {
        node.ticket.set(0);
        node.cause.set(Wake::Interrupted);
        drop(me);
        hub.switch_to(target);
    } else {
        // It is ready, ahead of us.
        drop(me);
        hub.switch_to_next();
    }
    if !shielded {
        let _ = check_interrupts(hub);
    }
}

impl State {
    /// Puts the current greenlet at the end of the run queue.
    #[inline]
    fn make_current_ready(&self) -> Option<Refused> {
        if std::thread::panicking() {
            return Some(Refused::Panicking);
        }
        self.with_current(|me| {
            if me.node().kind == Kind::Hub {
                return Some(Refused::InHub);
            }
            self.make_ready(self.slot_of(me));
            None
        })
    }

    /// Kills every green thread of the hub. Those that refuse to end are left.
    pub fn kill_all(&self) {
        for greenlet in self.enrolled() {
            if greenlet.node().kind != Kind::Root && !greenlet.node().fiber.cancel() {
                kill(self, &greenlet, true);
            }
        }
    }
}
