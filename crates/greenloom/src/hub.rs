//! The hub: one event loop an OS thread, itself a greenlet and the parent of all green threads.
//!
//! It is made when an OS thread first needs it. [`get_hub`] gives the [`Hub`] of the running OS thread, for timers,
//! listeners and file descriptors; [`Hub::handle`] gives a [`HubHandle`], through which any OS thread reaches it.
//!
//! # The order of events
//!
//! The loop runs ready work first in, first out; then timers that are due at one captured `now`, by time and then by age; then
//! I/O. Whoever parks picks the next ready green thread and switches to it; the hub's own greenlet takes over when nothing is
//! ready, and after every [`hub::TURN_EVERY`] pieces of work, so that ready work cannot starve timers or I/O. What a
//! timer or I/O makes ready is appended to the ready work.
//!
//! Functions that the hub calls must not block; one that panics is reported by the panic hook, and the hub goes on.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fiber::{Fiber, Stack, SwitchError};
use hub::{Cause, Choose, Core, Inbox, InboxClosed, MonotonicClock, Others, RunQueue, SourceKey, TURN_EVERY, TimerKey};
use slab::Slab;

use crate::greenlet::AnyGreenlet;
use crate::instrument::{Event, Watch};
use crate::node::{Interrupts, Kind, NO_SLOT, Node, Wake};
use crate::park::{Waker, prepare};

pub use hub::{Clock, Direction, Time};

/// Ready work: a green thread's slot, or the place of a function to call. One word, because it is built and
/// copied at every park: an enum is stored in two halves and read as a whole, which stalls the processor.
#[derive(Clone, Copy)]
struct Ready(u64);

impl Ready {
    const CALL: u64 = 1 << 63;

    fn thread(slot: u32) -> Ready {
        Ready(slot.into())
    }

    fn call(place: usize) -> Ready {
        Ready(Ready::CALL | place as u64)
    }

    fn as_thread(self) -> Option<u32> {
        (self.0 & Ready::CALL == 0).then_some(self.0 as u32)
    }

    fn as_call(self) -> usize {
        (self.0 & !Ready::CALL) as usize
    }
}

/// What timers and sources hold.
pub(crate) enum Work {
    /// A park to be ended.
    Wake { slot: u32, ticket: u64 },
    /// A function for the hub's greenlet to call.
    Call(Box<dyn FnOnce()>),
}

/// What other OS threads send.
pub(crate) enum Message {
    Wake { slot: u32, ticket: u64, cause: Wake },
    Call(Box<dyn FnOnce() + Send>),
    RemoveSource(SourceKey),
}

/// Everything an OS thread knows of its greenlets and its hub.
pub(crate) struct State {
    id: u32,
    current: RefCell<AnyGreenlet>,
    /// The current one's number, and whether it is interrupted, beside it: they are asked for at every switch, and each borrow of
    /// `current` has to wait for the stores of the one before.
    current_id: Cell<u64>,
    current_interrupted: Cell<bool>,
    root: AnyGreenlet,
    hub: OnceCell<AnyGreenlet>,
    ready: RefCell<RunQueue<Ready>>,
    /// The functions among the ready work.
    calls: RefCell<Slab<Box<dyn FnOnce()>>>,
    /// Gone when the OS thread has ended.
    core: RefCell<Option<Core<Work, Message>>>,
    /// All that are parked or may be: the root, green threads, and greenlets that have parked once.
    threads: RefCell<Slab<AnyGreenlet>>,
    last_ticket: Cell<u64>,
    /// How many pieces of ready work may run until the next turn.
    budget: Cell<u32>,
    fired: Cell<Vec<(Work, Cause)>>,
    pub(crate) watch: Watch,
    /// Greenlets whose last handle was dropped where they could not be unwound.
    abandoned: RefCell<Vec<AnyGreenlet>>,
    has_abandoned: Cell<bool>,
    /// See [`State::update_unusual`].
    unusual: Cell<bool>,
    others: Cell<Others>,
    /// Calls handed to other OS threads whose answer is to come.
    outstanding: Cell<usize>,
    on_deadlock: Cell<Option<Box<dyn FnOnce()>>>,
    forks: Cell<u64>,
    ending: Cell<bool>,
}

thread_local! {
    /// Without a destructor, so that reading it is one load, and so that it can be read until the OS thread's very end. The state
    /// is leaked for that: `End` empties it, and what is left is under a kilobyte for an OS thread that had a hub.
    static STATE: Cell<Option<&'static State>> = const { Cell::new(None) };
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// The running OS thread's state. Panics when it cannot be made.
#[inline(always)]
pub(crate) fn here() -> &'static State {
    match STATE.get() {
        Some(state) => state,
        None => made().unwrap_or_else(|error| panic!("no hub for this OS thread: {error}")),
    }
}

/// Calls `f` with the running OS thread's state. Not for what switches on a hot path: the closure may not be inlined.
#[inline(always)]
pub(crate) fn with_hub<R>(f: impl FnOnce(&'static State) -> R) -> R {
    f(here())
}

#[cold]
fn made() -> io::Result<&'static State> {
    let state: &'static State = Box::leak(Box::new(State::new()?));
    STATE.set(Some(state));
    // Fails when the OS thread is ending; then nothing is left to be cleaned up later.
    let _ = END.try_with(|end| end.set(Some(End(state))));
    Ok(state)
}

/// Empties the state when its OS thread ends.
struct End(&'static State);

impl Drop for End {
    fn drop(&mut self) {
        self.0.end();
        STATE.set(None);
    }
}

/// The running OS thread's hub, made if there is none yet.
///
/// # Panics
/// When the system gives no epoll instance or eventfd (too many open files); [`try_get_hub`] returns that as an error.
///
/// ```
/// let hub = greenloom::get_hub();
/// hub.schedule_call_global(std::time::Duration::ZERO, || println!("from the hub"));
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// ```
pub fn get_hub() -> Hub {
    with_hub(|state| Hub { state })
}

/// As [`get_hub`], with an error for a panic.
///
/// # Errors
/// Those of `epoll_create1` and `eventfd`.
pub fn try_get_hub() -> io::Result<Hub> {
    let state = match STATE.get() {
        Some(state) => state,
        None => made()?,
    };
    Ok(Hub { state })
}

/// The time on the hub's clock since its beginning; in a [simulation](crate::testing), virtual.
///
/// ```
/// let began = greenloom::hub::now();
/// greenloom::sleep(std::time::Duration::from_millis(1));
/// assert!(greenloom::hub::now() - began >= std::time::Duration::from_millis(1));
/// ```
pub fn now() -> Duration {
    here().now() - Time::ZERO
}

impl State {
    fn new() -> io::Result<State> {
        fiber::overflow::set_wording(
            "green thread",
            "raise it with greenloom::Builder::stack_size, or for all with the environment variable GREENLOOM_STACK_SIZE",
        );
        let root = AnyGreenlet::from_node(Node::new(Fiber::root(), Kind::Root, None));
        let clock: Rc<dyn Clock> = Rc::new(MonotonicClock::new());
        let core = Core::new(clock)?;
        let id = registry::add(Arc::clone(core.inbox()));
        Ok(State {
            id,
            current: RefCell::new(root.clone()),
            current_id: Cell::new(root.id()),
            current_interrupted: Cell::new(false),
            root,
            hub: OnceCell::new(),
            ready: RefCell::new(RunQueue::new()),
            calls: RefCell::new(Slab::new()),
            core: RefCell::new(Some(core)),
            threads: RefCell::new(Slab::new()),
            last_ticket: Cell::new(0),
            budget: Cell::new(TURN_EVERY),
            fired: Cell::new(Vec::new()),
            watch: Watch::default(),
            abandoned: RefCell::new(Vec::new()),
            has_abandoned: Cell::new(false),
            unusual: Cell::new(false),
            others: Cell::new(Others::MaySend),
            outstanding: Cell::new(0),
            on_deadlock: Cell::new(None),
            forks: Cell::new(fiber::fork_generation()),
            ending: Cell::new(false),
        })
    }

    /// Calls `f` if the OS thread has a hub.
    #[inline]
    pub fn try_with<R>(f: impl FnOnce(&'static State) -> R) -> Option<R> {
        STATE.get().map(f)
    }

    #[inline]
    pub fn id(&self) -> u32 {
        self.id
    }

    #[inline]
    pub fn current(&self) -> AnyGreenlet {
        self.with_current(AnyGreenlet::clone)
    }

    /// Calls `f`, which does not switch, with the current greenlet.
    #[inline(always)]
    pub fn with_current<R>(&self, f: impl FnOnce(&AnyGreenlet) -> R) -> R {
        f(&self.current.borrow())
    }

    #[inline]
    pub fn current_id(&self) -> u64 {
        self.current_id.get()
    }

    /// Whether the current greenlet's next park has to unwind.
    #[inline]
    pub fn is_current_interrupted(&self) -> bool {
        self.current_interrupted.get()
    }

    #[inline]
    pub fn is_current_killed(&self) -> bool {
        self.is_current_interrupted() && self.with_current(|me| me.node().interrupts.get().killed)
    }

    pub fn change_interrupts(&self, greenlet: &AnyGreenlet, change: impl FnOnce(&mut Interrupts)) {
        let cell = &greenlet.node().interrupts;
        let mut interrupts = cell.get();
        change(&mut interrupts);
        cell.set(interrupts);
        if greenlet.id() == self.current_id() {
            self.current_interrupted.set(interrupts.any());
        }
    }

    /// The hub's greenlet, made when something first waits.
    pub fn hub(&self) -> &AnyGreenlet {
        self.hub.get_or_init(|| {
            let stack = Stack::new(HUB_STACK_SIZE).unwrap_or_else(|error| panic!("no stack for the hub: {error}"));
            let fiber = Fiber::new(stack, || -> Rc<Node> {
                with_hub(|hub| {
                    hub.see_to_unusual();
                    while !hub.ending.get() {
                        hub.run_once();
                    }
                    hub.set_current(&hub.root);
                    hub.root.clone().into_node()
                })
            });
            let _ = fiber.set_name("hub".into());
            AnyGreenlet::from_node(Node::new(fiber, Kind::Hub, Some(self.root.clone())))
        })
    }

    // Parking.

    /// The greenlet's place in the table of what can be parked.
    #[inline]
    pub fn slot_of(&self, greenlet: &AnyGreenlet) -> u32 {
        let slot = greenlet.node().slot.get();
        if slot == NO_SLOT { self.enroll(greenlet) } else { slot }
    }

    /// Gives a greenlet a place in the table, which keeps it alive until it [retires](State::retire).
    pub fn enroll(&self, greenlet: &AnyGreenlet) -> u32 {
        let slot = self.threads.borrow_mut().insert(greenlet.clone());
        let slot = u32::try_from(slot).expect("4 billion green threads do not fit the address space");
        greenlet.node().slot.set(slot);
        slot
    }

    pub fn retire(&self, greenlet: &AnyGreenlet) {
        let slot = greenlet.node().slot.replace(NO_SLOT);
        if slot != NO_SLOT {
            let gone = self.threads.borrow_mut().remove(slot as usize);
            drop(gone);
        }
    }

    /// All that have a place in the table.
    pub fn enrolled(&self) -> Vec<AnyGreenlet> {
        self.threads.borrow().iter().map(|(_, thread)| thread.clone()).collect()
    }

    #[inline]
    pub fn next_ticket(&self) -> u64 {
        let ticket = self.last_ticket.get() + 1;
        self.last_ticket.set(ticket);
        ticket
    }

    /// Ends a park of this hub's; returns whether it had not ended.
    #[inline]
    pub fn wake(&self, slot: u32, ticket: u64, cause: Wake) -> bool {
        let threads = self.threads.borrow();
        let Some(node) = threads.get(slot as usize).map(AnyGreenlet::node) else { return false };
        if node.ticket.get() != ticket {
            return false;
        }
        node.ticket.set(0);
        node.cause.set(cause);
        if node.parked.replace(false) {
            self.ready.borrow_mut().push(Ready::thread(slot));
            if self.watch.is_on() {
                self.watch.tell(&Event::Wake { greenlet: &threads[slot as usize] });
            }
        }
        true
    }

    pub fn forget(&self, slot: u32, ticket: u64) {
        if let Some(thread) = self.threads.borrow().get(slot as usize)
            && thread.node().ticket.get() == ticket
        {
            thread.node().ticket.set(0);
        }
    }

    /// Makes a green thread ready that is neither parked nor ready.
    #[inline]
    pub fn make_ready(&self, slot: u32) {
        self.ready.borrow_mut().push(Ready::thread(slot));
    }

    /// Suspends the running greenlet, which is parked or ready, and runs what comes next.
    #[inline(always)]
    pub fn switch_to_next(&self) {
        if self.watch.is_on() {
            let me = self.current();
            self.watch.tell(&Event::Park { greenlet: &me, waits_for: me.waits_for().unwrap_or("") });
        }
        let next = self.next();
        if !next.is_current() {
            self.switch_to(&next);
        }
    }

    /// Who runs next: a ready green thread, or the hub.
    #[inline]
    pub fn next(&self) -> AnyGreenlet {
        let budget = self.budget.get();
        if budget > 0 {
            let mut ready = self.ready.borrow_mut();
            if let Some(first) = ready.pop() {
                if let Some(slot) = first.as_thread() {
                    let thread = self.threads.borrow()[slot as usize].clone();
                    if !thread.dead() {
                        self.budget.set(budget - 1);
                        return thread;
                    }
                }
                // For the hub to see to.
                ready.push_front(first);
            }
        }
        self.hub().clone()
    }

    /// Switches, and comes back when somebody switches back. Always inlined, as `Fiber::switch` is, and all that calls it on a hot path.
    #[inline(always)]
    pub fn switch_to(&self, target: &AnyGreenlet) {
        self.set_current(target);
        if let Err(error) = target.node().fiber.switch() {
            cannot_run(error);
        }
        if self.unusual.get() {
            self.see_to_unusual();
        }
    }

    /// What few switches have to be followed by. Also called where a greenlet begins.
    #[cold]
    pub fn see_to_unusual(&self) {
        if self.watch.is_on() {
            self.watch.switched(self);
        }
        if self.has_abandoned.get() {
            self.unwind_abandoned();
        }
        self.update_unusual();
    }

    #[inline]
    pub fn is_unusual(&self) -> bool {
        self.unusual.get()
    }

    /// Somebody watches, or something was abandoned: two rare things behind one flag, which is asked for at every switch.
    pub fn update_unusual(&self) {
        self.unusual.set(self.watch.is_on() || self.has_abandoned.get());
    }

    /// Makes `target` the current greenlet, just before the switch to it.
    #[inline(always)]
    pub fn set_current(&self, target: &AnyGreenlet) {
        if self.unusual.get() && self.watch.is_on() {
            self.watch.will_switch(self.current());
        }
        self.current_id.set(target.id());
        self.current_interrupted.set(target.node().interrupts.get().any());
        let before = self.current.replace(target.clone());
        if before.is_last_handle() && !before.dead() {
            // Nobody can ever switch back to it: it is unwound by whoever runs next.
            self.abandon(before);
        }
    }

    #[cold]
    pub fn abandon(&self, greenlet: AnyGreenlet) {
        self.abandoned.borrow_mut().push(greenlet);
        self.has_abandoned.set(true);
        self.unusual.set(true);
    }

    /// Unwinds greenlets whose last handle was dropped where that was not possible.
    #[cold]
    fn unwind_abandoned(&self) {
        if !std::thread::panicking() {
            self.has_abandoned.set(false);
            let abandoned = self.abandoned.take();
            // Dropping the last handle unwinds.
            drop(abandoned);
        }
    }

    // Timers.

    pub fn now(&self) -> Time {
        self.core().clock().now()
    }

    pub fn add_wake_timer(&self, at: Time, slot: u32, ticket: u64) -> TimerKey {
        self.core().add_timer(at, Work::Wake { slot, ticket })
    }

    pub fn add_call_timer(&self, at: Time, call: Box<dyn FnOnce()>) -> TimerKey {
        self.core().add_timer(at, Work::Call(call))
    }

    pub fn cancel_timer(&self, key: TimerKey) -> bool {
        let work = self.core().timers.cancel(key);
        // What it captured is dropped outside of the borrow: a destructor may use the hub.
        work.is_some()
    }

    pub fn call_soon(&self, call: Box<dyn FnOnce()>) {
        let place = self.calls.borrow_mut().insert(call);
        self.ready.borrow_mut().push(Ready::call(place));
    }

    /// Makes the next park or yield go to the hub, for a look at timers and I/O.
    pub fn turn_soon(&self) {
        self.budget.set(0);
    }

    // The loop.

    /// One round of the hub's greenlet.
    fn run_once(&self) {
        self.renew_after_fork();
        let messages = self.core().inbox().take();
        for message in messages {
            self.receive(message);
        }
        self.budget.set(TURN_EVERY);
        while self.budget.get() > 0 {
            let Some(work) = self.ready.borrow_mut().pop() else { break };
            self.budget.set(self.budget.get() - 1);
            let Some(slot) = work.as_thread() else {
                let call = self.calls.borrow_mut().remove(work.as_call());
                call_safely(call);
                continue;
            };
            let thread = self.threads.borrow()[slot as usize].clone();
            if thread.dead() {
                // Cancelled before it began.
                self.retire(&thread);
            } else {
                self.switch_to(&thread);
            }
        }
        if !self.ending.get() {
            self.turn();
        }
    }

    fn turn(&self) {
        let others = if self.outstanding.get() > 0 { Others::Working } else { self.others.get() };
        let mut fired = self.fired.take();
        let busy = !self.ready.borrow().is_empty();
        let result = self.core().turn(busy, others, &mut fired);
        if self.watch.is_on() {
            self.watch.tell(&Event::Turn { fired: fired.len() });
        }
        for (work, cause) in fired.drain(..) {
            match work {
                Work::Wake { slot, ticket } => {
                    let cause = match cause {
                        Cause::Timer => Wake::TimedOut,
                        Cause::Io => Wake::Woken,
                        Cause::Closed => Wake::Closed,
                    };
                    self.wake(slot, ticket, cause);
                }
                Work::Call(call) => self.call_soon(call),
            }
        }
        self.fired.set(fired);
        match result {
            Ok(true) => {}
            Ok(false) => match self.on_deadlock.take() {
                Some(report) => report(),
                None => panic!("nothing can happen any more, and nobody asked to be told"),
            },
            Err(error) => {
                // Without the poller nothing can be waited for; to go on would be to spin or to hang.
                eprintln!("greenloom: the hub cannot wait for I/O: {error}; the process ends");
                std::process::abort();
            }
        }
    }

    fn receive(&self, message: Message) {
        match message {
            Message::Wake { slot, ticket, cause } => {
                self.wake(slot, ticket, cause);
            }
            Message::Call(call) => self.call_soon(call),
            Message::RemoveSource(key) => self.remove_source(key, None),
        }
    }

    // File descriptors.

    /// Whether the running process is the child of a fork and the poller the parent's; then makes a new one.
    pub fn renew_after_fork(&self) {
        let forks = fiber::fork_generation();
        if self.forks.replace(forks) == forks {
            return;
        }
        let waiting = match self.core().renew() {
            Ok(waiting) => waiting,
            Err(error) => panic!("no hub in the child of a fork: {error}"),
        };
        // Wakers that are out keep their good: the hub's number stays.
        registry::replace(self.id, self.inbox());
        for work in waiting {
            if let Work::Wake { slot, ticket } = work {
                // They try again and register anew.
                self.wake(slot, ticket, Wake::Woken);
            }
        }
    }

    pub fn with_core<R>(&self, f: impl FnOnce(&mut Core<Work, Message>) -> R) -> R {
        f(&mut self.core())
    }

    #[inline]
    fn core(&self) -> RefMut<'_, Core<Work, Message>> {
        RefMut::map(self.core.borrow_mut(), |core| match core {
            Some(core) => core,
            None => unreachable!("an OS thread's state is forgotten when its core is dropped"),
        })
    }

    /// Forgets a source and tells who waits on it that it was closed.
    pub fn remove_source(&self, key: SourceKey, fd: Option<BorrowedFd<'_>>) {
        let told = self.core().remove_source(key, fd);
        for work in told.into_iter().flatten() {
            match work {
                Work::Wake { slot, ticket } => {
                    self.wake(slot, ticket, Wake::Closed);
                }
                Work::Call(call) => self.call_soon(call),
            }
        }
    }

    // For other OS threads and for tests.

    pub fn inbox(&self) -> Arc<Inbox<Message>> {
        Arc::clone(self.core().inbox())
    }

    pub fn set_choose(&self, choose: Option<Box<dyn Choose>>) {
        self.ready.borrow_mut().set_choose(choose);
    }

    pub fn set_others(&self, others: Others) {
        self.others.set(others);
    }

    pub fn set_on_deadlock(&self, report: Option<Box<dyn FnOnce()>>) {
        self.on_deadlock.set(report);
    }

    /// Notes that another OS thread owes this hub an answer, or, with -1, that it came.
    pub fn add_outstanding(&self, change: isize) {
        self.outstanding.set(self.outstanding.get().saturating_add_signed(change));
    }
}

#[cold]
fn cannot_run(error: SwitchError) -> ! {
    unreachable!("whoever picks a greenlet to run makes sure that it can: {error}")
}

/// The stack of the hub's own greenlet, on which timers, listeners and links run.
const HUB_STACK_SIZE: usize = 256 * 1024;

/// Calls a user's function; the panic hook has reported a panic already.
pub(crate) fn call_safely(call: Box<dyn FnOnce()>) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

/// Wakes on another OS thread; returns `false` if its hub has ended.
#[cold]
pub(crate) fn send_wake(waker: Waker, cause: Wake) -> bool {
    registry::send(waker.hub, Message::Wake { slot: waker.slot, ticket: waker.ticket, cause }).is_ok()
}

impl State {
    /// The OS thread ends. Green threads that are left are leaked where they are parked: to unwind them now would run their
    /// destructors in a thread whose other thread-locals are gone.
    fn end(&self) {
        registry::remove(self.id());
        // Dropped outside of the borrows: destructors may use the hub.
        let messages = self.inbox().close();
        let calls = self.calls.take();
        let timers = self.with_core(|core| std::mem::take(&mut core.timers));
        self.ready.take();
        drop((messages, calls, timers));
        if let Some(hub) = self.hub.get()
            && hub.node().is_suspended()
            && self.root.is_current()
        {
            // It returns, and gives its stack back.
            self.ending.set(true);
            self.switch_to(hub);
        }
        for (_, thread) in self.threads.take() {
            if thread.node().is_suspended() {
                std::mem::forget(thread);
            }
        }
        // The poller's file descriptors go, too.
        let core = self.core.take();
        drop((core, self.fired.take(), self.abandoned.take(), self.on_deadlock.take()));
    }
}

/// Numbers for hubs, so that a waker is plain data and waking at home touches no reference count.
mod registry {
    use super::*;

    static HUBS: RwLock<Vec<Option<Arc<Inbox<Message>>>>> = RwLock::new(Vec::new());

    pub fn add(inbox: Arc<Inbox<Message>>) -> u32 {
        let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
        // Numbers are not used again: an old waker must not reach a new hub.
        hubs.push(Some(inbox));
        u32::try_from(hubs.len() - 1).expect("4 billion hubs were made")
    }

    pub fn replace(id: u32, inbox: Arc<Inbox<Message>>) {
        let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
        hubs[id as usize] = Some(inbox);
    }

    pub fn remove(id: u32) {
        let mut hubs = HUBS.write().unwrap_or_else(PoisonError::into_inner);
        hubs[id as usize] = None;
    }

    pub fn send(id: u32, message: Message) -> Result<(), InboxClosed<Message>> {
        let hubs = HUBS.read().unwrap_or_else(PoisonError::into_inner);
        match &hubs[id as usize] {
            Some(inbox) => inbox.send(message),
            None => Err(InboxClosed(message)),
        }
    }
}

pub(crate) use registry::send as send_message;

/// The hub of the OS thread it was got on; see [`get_hub`]. Clones are the same hub.
#[derive(Clone, Copy)]
pub struct Hub {
    state: &'static State,
}

/// A timer of a [`Hub`], for [`Hub::cancel`].
#[derive(Clone)]
pub struct Timer(Scheduled);

#[derive(Clone)]
enum Scheduled {
    At(TimerKey),
    /// Without a delay it is ready work; the function is here until it is called.
    Soon(Weak<SoonCall>),
}

type SoonCall = Cell<Option<Box<dyn FnOnce()>>>;

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Scheduled::At(key) => write!(f, "Timer(at {:?})", key.at()),
            Scheduled::Soon(_) => f.write_str("Timer(soon)"),
        }
    }
}

impl Hub {
    pub(crate) fn state(&self) -> &'static State {
        self.state
    }

    /// The hub's own greenlet, the parent of all green threads.
    pub fn greenlet(&self) -> AnyGreenlet {
        self.state.hub().clone()
    }

    /// The time on the hub's clock.
    pub fn now(&self) -> Time {
        self.state.now()
    }

    /// Replaces the clock, for example by a virtual one. Pending timers keep their times.
    pub fn set_clock(&self, clock: Rc<dyn Clock>) {
        self.state.with_core(|core| core.set_clock(clock));
    }

    /// Calls `call` in the hub after `delay`; with no delay, behind the ready work. It runs whatever becomes of the
    /// green thread that scheduled it. It must not block.
    ///
    /// Semantics: eventlet's `hub.schedule_call_global`.
    ///
    /// ```
    /// use greenloom::{get_hub, sleep};
    /// use std::{cell::Cell, rc::Rc, time::Duration};
    ///
    /// let called = Rc::new(Cell::new(false));
    /// let seen = called.clone();
    /// get_hub().schedule_call_global(Duration::from_millis(1), move || seen.set(true));
    /// sleep(Duration::from_millis(20));
    /// assert!(called.get());
    /// ```
    pub fn schedule_call_global(&self, delay: Duration, call: impl FnOnce() + 'static) -> Timer {
        if delay.is_zero() {
            let call: Rc<SoonCall> = Rc::new(Cell::new(Some(Box::new(call))));
            let timer = Timer(Scheduled::Soon(Rc::downgrade(&call)));
            self.state.call_soon(Box::new(move || {
                if let Some(call) = call.take() {
                    call();
                }
            }));
            return timer;
        }
        Timer(Scheduled::At(self.state.add_call_timer(self.now() + delay, Box::new(call))))
    }

    /// As [`Hub::schedule_call_global`], but not if the greenlet that scheduled it has ended by then.
    ///
    /// Semantics: eventlet's `hub.schedule_call_local`.
    pub fn schedule_call_local(&self, delay: Duration, call: impl FnOnce() + 'static) -> Timer {
        let owner = self.state.current().downgrade();
        self.schedule_call_global(delay, move || {
            if owner.upgrade().is_some_and(|owner| !owner.dead()) {
                call();
            }
        })
    }

    /// Cancels a timer; returns whether it had not fired. What it captured is dropped.
    pub fn cancel(&self, timer: &Timer) -> bool {
        match &timer.0 {
            Scheduled::At(key) => self.state.cancel_timer(*key),
            Scheduled::Soon(call) => call.upgrade().and_then(|call| call.take()).is_some(),
        }
    }

    /// How many timers are pending, those of sleeping green threads and of timeouts included.
    pub fn timers_count(&self) -> usize {
        self.state.with_core(|core| core.timers.len())
    }

    /// How many green threads and functions are ready to run.
    pub fn ready_count(&self) -> usize {
        self.state.ready.borrow().len()
    }

    /// How many green threads and listeners wait for file descriptors.
    pub fn io_waiting_count(&self) -> usize {
        self.state.with_core(|core| core.sources().waiting())
    }

    /// Calls `call` in the hub whenever `fd` can be read, as long as it can, until [`Hub::remove_listener`].
    ///
    /// Semantics: eventlet's `hub.add`.
    ///
    /// # Errors
    /// `ResourceBusy` if something reads there already; those of `epoll_ctl`.
    pub fn add_reader(&self, fd: impl AsFd, call: impl Fn() + 'static) -> io::Result<()> {
        self.listen(fd.as_fd(), Direction::Read, Some(Rc::new(call)))
    }

    /// Calls `call` in the hub whenever `fd` can be written, as long as it can; else as [`Hub::add_reader`].
    ///
    /// # Errors
    /// As [`Hub::add_reader`].
    pub fn add_writer(&self, fd: impl AsFd, call: impl Fn() + 'static) -> io::Result<()> {
        self.listen(fd.as_fd(), Direction::Write, Some(Rc::new(call)))
    }

    /// Removes what [`Hub::add_reader`] or [`Hub::add_writer`] added. Does nothing if there is nothing.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn remove_listener(&self, fd: impl AsFd, direction: Direction) -> io::Result<()> {
        self.listen(fd.as_fd(), direction, None)
    }

    fn listen(&self, fd: BorrowedFd<'_>, direction: Direction, call: Option<Rc<dyn Fn()>>) -> io::Result<()> {
        let make = call.map(|call| -> Box<dyn Fn() -> Work> {
            Box::new(move || {
                let call = Rc::clone(&call);
                Work::Call(Box::new(move || call()))
            })
        });
        self.state.with_core(|core| {
            let key = match core.sources().find(fd.as_raw_fd()) {
                Some(key) => key,
                None if make.is_none() => return Ok(()),
                None => core.add_source(fd)?,
            };
            core.listen(key, fd, direction, make)
        })
    }

    /// Tells the hub that `fd` is about to be closed, or was: whoever waits on it gets an error at once, and its number
    /// may be used again. The types of [`net`](crate::net) do this themselves.
    ///
    /// Semantics: eventlet's `hubs.notify_close`.
    pub fn notify_close(&self, fd: RawFd) {
        if let Some(key) = self.state.with_core(|core| core.sources().find(fd)) {
            self.state.remove_source(key, None);
        }
    }

    /// A handle through which other OS threads reach this hub.
    pub fn handle(&self) -> HubHandle {
        HubHandle { id: self.state.id(), inbox: self.state.inbox() }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("id", &self.state.id()).field("core", &*self.state.core()).finish()
    }
}

/// Reaches a hub from any OS thread; see [`Hub::handle`].
#[derive(Clone)]
pub struct HubHandle {
    id: u32,
    inbox: Arc<Inbox<Message>>,
}

/// The hub is gone: its OS thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubGone;

impl fmt::Display for HubGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub is gone: its OS thread has ended")
    }
}

impl std::error::Error for HubGone {}

impl HubHandle {
    /// Calls `call` in the hub, behind its ready work. It must not block; it may spawn.
    ///
    /// # Errors
    /// [`HubGone`].
    pub fn schedule(&self, call: impl FnOnce() + Send + 'static) -> Result<(), HubGone> {
        self.inbox.send(Message::Call(Box::new(call))).map_err(|_| HubGone)
    }

    /// Calls `call` in the hub after `delay` on its clock.
    ///
    /// # Errors
    /// [`HubGone`].
    pub fn schedule_after(&self, delay: Duration, call: impl FnOnce() + Send + 'static) -> Result<(), HubGone> {
        self.schedule(move || {
            get_hub().schedule_call_global(delay, call);
        })
    }

    /// Whether this is the hub of the running OS thread.
    pub fn is_here(&self) -> bool {
        State::try_with(|state| state.id() == self.id) == Some(true)
    }
}

impl fmt::Debug for HubHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubHandle").field("id", &self.id).finish()
    }
}

/// Parks the running green thread until `fd` is ready in `direction`, or until `timeout`.
///
/// It may return early, so try the operation again afterwards. Prefer the types of [`net`](crate::net), which keep track
/// of readiness and only wait when they must; this is for file descriptors of your own. The registration stays until
/// [`Hub::notify_close`]: call it before you close `fd`.
///
/// Semantics: eventlet's `hubs.trampoline`.
///
/// # Errors
/// `TimedOut`; `ResourceBusy` if another green thread waits there already; `NotConnected` if `fd` was closed meanwhile;
/// those of `epoll_ctl`; [`Refused`](crate::park::Refused) as `Unsupported`.
pub fn trampoline(fd: impl AsFd, direction: Direction, timeout: Option<Duration>) -> io::Result<()> {
    let fd = fd.as_fd();
    let key = with_hub(|state| {
        state.renew_after_fork();
        state.with_core(|core| match core.sources().find(fd.as_raw_fd()) {
            Some(key) => Ok(key),
            None => core.add_source(fd),
        })
    })?;
    // The caller has just seen that it is not ready; an edge since then is seen by the next turn.
    with_hub(|state| state.with_core(|core| core.sources().clear_ready(key, direction)));
    wait_for(key, direction, timeout.map(|timeout| with_hub(|state| state.now()) + timeout))
}

/// Parks until the source is ready, or until `deadline`; returns at once if it is ready.
pub(crate) fn wait_for(key: SourceKey, direction: Direction, deadline: Option<Time>) -> io::Result<()> {
    struct StopWaiting(SourceKey, Direction, u64);
    impl Drop for StopWaiting {
        fn drop(&mut self) {
            let mine = |work: &Work| matches!(work, Work::Wake { ticket, .. } if *ticket == self.2);
            State::try_with(|state| state.with_core(|core| core.sources().stop_waiting(self.0, self.1, mine)));
        }
    }

    let ticket = prepare()?;
    let Waker { slot, ticket: number, .. } = ticket.waker();
    let must_wait = with_hub(|state| {
        state.with_core(|core| core.sources().wait(key, direction, Work::Wake { slot, ticket: number }))
    });
    if !must_wait? {
        return Ok(());
    }
    let stop = StopWaiting(key, direction, number);
    let cause = ticket.park(if direction == Direction::Read { "readable fd" } else { "writable fd" }, deadline);
    match cause {
        Wake::Woken | Wake::Interrupted => {
            std::mem::forget(stop);
            Ok(())
        }
        Wake::TimedOut => Err(io::Error::new(io::ErrorKind::TimedOut, "timed out waiting for the file descriptor")),
        Wake::Closed => Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "the file descriptor was closed while this green thread waited on it",
        )),
    }
}
