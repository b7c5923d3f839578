//! Everything an OS thread knows of its greenlets and its hub: who is the current one, who is ready, who can be parked,
//! and the core that they wait in.
//!
//! The loop itself is in `turn`, parking in `park`, killing in `interrupt`; they know this, and it knows none of them.
//!
//! When the OS thread ends, so does its [`Runtime`]: it is emptied and stays, in case the destructor of a thread-local
//! comes later. From then on nothing can be waited for ([`Kind::Ended`]), timers and functions are dropped, and there
//! is nobody to wake.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use greenloom_fiber::{Fiber, Stack, SwitchError};
use greenloom_hub::{Budget, Cause, Choose, Clock, Core, Inbox, Others, RunQueue, Time};
use slab::Slab;

use super::counters::Counters;
use super::error::Refused;
use super::node::{AnyGreenlet, Interrupts, Kind, Node, Wake};
use super::registry::{self, Message};
use super::spans;
use super::table::Table;
use super::watch::{Event, Watch};
use super::work::{Ready, Work};

/// See the [module](self).
pub(crate) struct Runtime {
    /// The hub's number among those of the process; nobody's when it has ended.
    id: Cell<u32>,
    pub(super) current: RefCell<AnyGreenlet>,
    /// The current one's number, which other OS threads may read, and whether it is interrupted, beside it: they are
    /// asked for at every switch, and each borrow of `current` has to wait for the stores of the one before.
    current_id: AtomicU64,
    current_interrupted: Cell<bool>,
    pub(super) root: AnyGreenlet,
    loop_greenlet: OnceCell<AnyGreenlet>,
    /// What the loop's greenlet does, until [`Runtime::is_ending`].
    run_loop: fn(&'static Runtime),
    pub(super) ready: RefCell<RunQueue<Ready>>,
    /// The functions among the ready work.
    pub(super) calls: RefCell<Slab<Box<dyn FnOnce()>>>,
    /// Gone when the hub has ended.
    pub(super) core: RefCell<Option<Core<Work, Message>>>,
    /// All that are parked or may be: the root, green threads, and greenlets that have parked once.
    pub(super) threads: RefCell<Table>,
    last_ticket: Cell<u64>,
    /// How many pieces of ready work may run until the next look at timers and I/O.
    pub(super) budget: Budget,
    pub(super) fired: Cell<Vec<(Work, Cause)>>,
    pub(crate) watch: Watch,
    pub counters: Arc<Counters>,
    /// Not published yet.
    pub(super) switches: Cell<u64>,
    /// Greenlets whose last handle was dropped where they could not be unwound.
    abandoned: RefCell<Vec<AnyGreenlet>>,
    has_abandoned: Cell<bool>,
    /// See [`Runtime::update_unusual`].
    unusual: Cell<bool>,
    pub(super) others: Cell<Others>,
    /// Calls handed to other OS threads whose answer is to come.
    pub(super) outstanding: Cell<usize>,
    pub(super) on_deadlock: Cell<Option<Box<dyn FnOnce()>>>,
    /// Those before the poller was made.
    pub(super) forks: Cell<u64>,
    ending: Cell<bool>,
    /// When the hub ended, by its clock.
    ended_at: Cell<Time>,
}

impl Runtime {
    pub(super) fn new(run_loop: fn(&'static Runtime), clock: Rc<dyn Clock>) -> io::Result<Runtime> {
        let root = AnyGreenlet::from_node(Node::new(Fiber::root(), Kind::Root, None));
        let is_simulated = clock.is_virtual();
        let core = Core::new(clock)?;
        let counters = Arc::new(Counters::new(Arc::clone(core.statistics()), is_simulated));
        let id = registry::add(Arc::clone(core.inbox()), Arc::clone(&counters));
        Ok(Runtime {
            id: Cell::new(id),
            current: RefCell::new(root.clone()),
            current_id: AtomicU64::new(root.id()),
            current_interrupted: Cell::new(false),
            root,
            loop_greenlet: OnceCell::new(),
            run_loop,
            ready: RefCell::new(RunQueue::new()),
            calls: RefCell::new(Slab::new()),
            core: RefCell::new(Some(core)),
            threads: RefCell::default(),
            last_ticket: Cell::new(0),
            budget: Budget::new(),
            fired: Cell::new(Vec::new()),
            watch: Watch::default(),
            counters,
            switches: Cell::new(0),
            abandoned: RefCell::new(Vec::new()),
            has_abandoned: Cell::new(false),
            unusual: Cell::new(false),
            others: Cell::new(Others::MaySend),
            outstanding: Cell::new(0),
            on_deadlock: Cell::new(None),
            forks: Cell::new(greenloom_fiber::fork_generation()),
            ending: Cell::new(false),
            ended_at: Cell::new(Time::ZERO),
        })
    }

    #[inline]
    pub fn id(&self) -> u32 {
        self.id.get()
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

    /// As [`Runtime::with_current`]; `None` in the middle of a switch.
    pub fn try_with_current<R>(&self, f: impl FnOnce(&AnyGreenlet) -> R) -> Option<R> {
        self.current.try_borrow().ok().map(|current| f(&current))
    }

    /// The current one's number, for other OS threads to read. The hub's record is never freed.
    pub(super) fn seen_current_id(&'static self) -> &'static AtomicU64 {
        &self.current_id
    }

    #[inline]
    pub fn current_id(&self) -> u64 {
        self.current_id.load(Ordering::Relaxed)
    }

    /// Whether the current greenlet's next park has to unwind.
    #[inline]
    pub fn is_current_interrupted(&self) -> bool {
        self.current_interrupted.get()
    }

    #[inline]
    pub fn is_current_killed(&self) -> bool {
        self.is_current_interrupted() && self.with_current(|me| me.node().interrupts.get().killed())
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

    /// The greenlet of the loop, the parent of all green threads; made when something first waits.
    pub fn loop_greenlet(&'static self) -> &'static AnyGreenlet {
        self.loop_greenlet.get_or_init(|| {
            let stack = Stack::new(LOOP_STACK_SIZE).unwrap_or_else(|error| panic!("no stack for the hub: {error}"));
            let fiber = Fiber::new(stack, move || -> Rc<Node> {
                if self.is_unusual() {
                    self.see_to_unusual();
                }
                (self.run_loop)(self);
                let _ = self.set_current(&self.root);
                self.root.clone().into_node()
            });
            let _ = fiber.set_name("hub".into());
            AnyGreenlet::from_node(Node::new(fiber, Kind::Hub, Some(self.root.clone())))
        })
    }

    // Parking.

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
        let Some(node) = threads.get(slot).map(AnyGreenlet::node) else { return false };
        if node.ticket.get() != ticket {
            return false;
        }
        node.ticket.set(0);
        node.cause.set(cause);
        if node.parked.replace(false) {
            self.ready.borrow_mut().push(Ready::thread(slot));
            if self.watch.is_on() {
                let Some(greenlet) = threads.get(slot) else { return true };
                self.watch.tell(&Event::Wake { greenlet });
            }
        }
        true
    }

    pub fn forget(&self, slot: u32, ticket: u64) {
        if let Some(thread) = self.threads.borrow().get(slot)
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

    pub fn ready_count(&self) -> usize {
        self.ready.borrow().len()
    }

    /// Suspends the running greenlet, which is parked or ready, and runs what comes next.
    #[inline(always)]
    pub fn switch_to_next(&'static self) {
        if self.watch.is_on() {
            self.watch.parks(&self.current());
        }
        let next = self.next();
        if !next.is_current() {
            self.switch_to(&next);
        }
    }

    /// Who runs next: a ready green thread, or the loop.
    #[inline]
    pub fn next(&'static self) -> AnyGreenlet {
        if self.budget.is_left() {
            let mut ready = self.ready.borrow_mut();
            if let Some(first) = ready.pop() {
                if let Some(slot) = first.as_thread()
                    && let Some(thread) = self.threads.borrow().get(slot)
                    && !thread.is_dead()
                {
                    self.budget.spend();
                    return thread.clone();
                }
                // For the loop to see to.
                ready.push_front(first);
            }
        }
        self.loop_greenlet().clone()
    }

    /// Switches, and comes back when somebody switches back. Not while a panic unwinds. Always inlined, as
    /// `Fiber::switch` is, and all that calls it on a hot path.
    #[inline(always)]
    pub fn switch_to(&self, target: &AnyGreenlet) {
        let spans = self.set_current(target);
        if let Err(error) = target.node().fiber.go_on() {
            cannot_run(error);
        }
        spans.enter();
        if self.unusual.get() {
            self.see_to_unusual();
        }
    }

    /// What few switches have to be followed by. Also called where a greenlet begins.
    #[cold]
    pub fn see_to_unusual(&self) {
        if self.watch.is_on() {
            self.watch.switched(|| self.current());
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

    /// Somebody watches, or something was abandoned: two rare things behind one flag, which is asked for at every
    /// switch.
    pub fn update_unusual(&self) {
        self.unusual.set(self.watch.is_on() || self.has_abandoned.get());
    }

    /// Makes `target` the current greenlet, just before the switch to it. Returns the spans that the one before was in,
    /// which enters them again if it ever goes on.
    #[inline(always)]
    pub fn set_current(&self, target: &AnyGreenlet) -> spans::Left {
        let spans = spans::leave();
        if self.unusual.get() && self.watch.is_on() {
            self.with_current(|me| self.watch.will_switch(me, target));
        }
        self.switches.set(self.switches.get() + 1);
        self.current_id.store(target.id(), Ordering::Relaxed);
        let interrupted = target.node().interrupts.get().any();
        // A store that is mostly not needed costs more than the load that tells.
        if self.current_interrupted.get() != interrupted {
            self.current_interrupted.set(interrupted);
        }
        let before = self.current.replace(target.clone());
        if before.is_last_handle() {
            self.left_for_good(before);
        }
        spans
    }

    /// Takes the last handle of the greenlet that ran before. A call, so that on all other ways the handle stays in a
    /// register.
    #[cold]
    #[inline(never)]
    fn left_for_good(&self, before: AnyGreenlet) {
        if !before.is_dead() {
            // Nobody can ever switch back to it: it is unwound by the greenlet that runs next.
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

    /// The time on the hub's clock; it stands still when the hub has ended.
    #[inline]
    pub fn now(&self) -> Time {
        self.with_core(|core| core.clock().now()).unwrap_or_else(|| self.ended_at.get())
    }

    /// Calls `call` behind what is ready; drops it when the hub has ended.
    pub fn call_soon(&self, call: Box<dyn FnOnce()>) {
        if self.has_ended() {
            return;
        }
        let place = self.calls.borrow_mut().insert(call);
        self.ready.borrow_mut().push(Ready::call(place));
    }

    /// Makes the next park or yield go to the loop, for a look at timers and I/O.
    pub fn turn_soon(&self) {
        self.budget.give_up();
    }

    /// Calls `f` with the core; `None` when the hub has ended.
    #[inline]
    pub fn with_core<R>(&self, f: impl FnOnce(&mut Core<Work, Message>) -> R) -> Option<R> {
        self.core.borrow_mut().as_mut().map(f)
    }

    // For other OS threads and for tests.

    /// None when the hub has ended.
    pub fn inbox(&self) -> Option<Arc<Inbox<Message>>> {
        self.with_core(|core| Arc::clone(core.inbox()))
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
    unreachable!("a greenlet is picked to run only if it can: {error}")
}

/// The stack of the loop's greenlet, on which timers and listeners run.
const LOOP_STACK_SIZE: usize = 256 * 1024;

/// Calls a user's function; the panic hook has reported a panic already.
pub(crate) fn call_safely(call: Box<dyn FnOnce()>) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

impl Runtime {
    /// Whether the loop is to end, for the OS thread is ending.
    pub fn is_ending(&self) -> bool {
        self.ending.get()
    }

    /// Whether the hub has ended: the caller is the destructor of a thread-local.
    pub fn has_ended(&self) -> bool {
        self.core.borrow().is_none()
    }

    /// Why what runs here cannot wait, if its kind says so.
    #[inline]
    pub fn refuses(&self, kind: Kind) -> Option<Refused> {
        if kind.may_park() { None } else { Some(kind.refusal()) }
    }

    /// The OS thread ends. Green threads that are left are leaked where they are parked: to unwind them now would run
    /// their destructors in a thread whose other thread-locals are gone.
    pub(super) fn end(&'static self) {
        registry::remove(self.id());
        // Dropped outside of the borrows: destructors may use the hub.
        let messages = self.inbox().map(|inbox| inbox.close());
        let calls = self.calls.take();
        let timers = self.with_core(|core| std::mem::take(&mut core.timers));
        self.ready.take();
        drop((messages, calls, timers));
        if let Some(greenlet) = self.loop_greenlet.get()
            && greenlet.node().is_suspended()
            && self.root.is_current()
        {
            // It returns, and gives its stack back.
            self.ending.set(true);
            self.switch_to(greenlet);
        }
        self.ending.set(true);
        self.ended_at.set(self.now());
        // The poller's file descriptors go, too.
        let core = self.core.take();
        self.id.set(u32::MAX);
        // Whoever still runs here can no longer wait, nor switch by hand.
        self.root.node().kind.set(Kind::Ended);
        self.with_current(|me| me.node().kind.set(Kind::Ended));
        self.current_id.store(u64::MAX, Ordering::Relaxed);
        for thread in self.threads.take().into_all() {
            if thread.node().is_suspended() {
                std::mem::forget(thread);
            }
        }
        drop((core, self.fired.take(), self.abandoned.take(), self.on_deadlock.take()));
        // What the destructors just now made ready.
        drop((self.ready.take(), self.calls.take()));
    }
}
