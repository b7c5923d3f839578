//! Green threads: spawn, wait, link, kill.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use greenloom_fiber::{Fiber, Stack};
use greenloom_hub::TimerKey;

use crate::packet::{PacketRef, run_into};
use crate::runtime::error::{GreenletExit, JoinError, SpawnError};
use crate::runtime::held;
use crate::runtime::node::{AnyGreenlet, Kind, Node, Wake};
use crate::runtime::park::prepare;
use crate::runtime::stack_size::default_stack_size;
use crate::runtime::state::Runtime;
use crate::runtime::watch::Event;
use crate::runtime::{here, here_or_error};

/// Starts a green thread. It runs when the running one next parks; spawned ones begin in the order of their spawning.
///
/// Semantics: eventlet's `spawn`.
///
/// # Panics
/// When there is no memory for its stack, as `std::thread::spawn` does; [`Builder::spawn`](crate::Builder::spawn)
/// returns that as an error.
///
/// ```
/// let answer = greenloom::spawn(|| 6 * 7);
/// assert_eq!(answer.wait()?, 42);
/// # Ok::<(), greenloom::JoinError>(())
/// ```
#[track_caller]
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    let runtime = here();
    let stack = default_stack();
    let greenlet = new_greenlet(runtime, Location::caller()).unwrap_or_else(|error| error.raise());
    let packet = PacketRef::kept_by(greenlet.node());
    give_body(runtime, &greenlet, stack, None, run_into(packet.clone(), f));
    runtime.make_ready(greenlet.node().slot.get());
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
#[track_caller]
pub fn spawn_n(f: impl FnOnce() + 'static) {
    spawn_n_at(Location::caller(), f);
}

/// As [`spawn_n`], for who is said to have spawned it at `place`.
#[inline]
pub(crate) fn spawn_n_at(place: &'static Location<'static>, f: impl FnOnce() + 'static) {
    let body = move || {
        // The panic hook has reported a panic.
        let _ = catch_unwind(AssertUnwindSafe(f));
    };
    let runtime = here();
    let stack = default_stack();
    let greenlet = new_greenlet(runtime, place).unwrap_or_else(|error| error.raise());
    give_body(runtime, &greenlet, stack, None, body);
    runtime.make_ready(greenlet.node().slot.get());
}

/// As [`spawn`], but it begins after `delay`. [`GreenThread::cancel`] stops it before that.
///
/// ```
/// use std::time::Duration;
/// let later = greenloom::spawn_after(Duration::from_millis(1), || "later");
/// assert_eq!(later.wait()?, "later");
/// # Ok::<(), greenloom::JoinError>(())
/// ```
#[track_caller]
pub fn spawn_after<T: 'static>(delay: Duration, f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    let thread = GreenThread::make(default_stack_size(), None, f).unwrap_or_else(|error| error.raise());
    thread.begin_after(delay);
    thread
}

/// As [`spawn_after`], but it is cancelled if the running greenlet ends before that.
///
/// ```
/// use greenloom::{JoinError, spawn, spawn_after_local};
/// use std::time::Duration;
///
/// let reminder = spawn(|| spawn_after_local(Duration::from_millis(1), || println!("still here?"))).wait()?;
/// assert!(matches!(reminder.wait(), Err(JoinError::Killed)));
/// # Ok::<(), JoinError>(())
/// ```
#[track_caller]
pub fn spawn_after_local<T: 'static>(delay: Duration, f: impl FnOnce() -> T + 'static) -> GreenThread<T> {
    let owner = here().current().downgrade();
    spawn_after(delay, move || {
        if owner.upgrade().is_some_and(|owner| !owner.is_dead()) { f() } else { resume_unwind(Box::new(GreenletExit)) }
    })
}

/// A stack of the default size, often one that was just given back. Panics when there is none.
#[inline]
fn default_stack() -> Stack {
    let size = default_stack_size();
    match Stack::new_from_cache(size) {
        Some(stack) => stack,
        None => Stack::new(size).unwrap_or_else(|error| SpawnError::Stack(error).raise()),
    }
}

/// A greenlet for a green thread, which is to be given a body at once.
#[inline]
fn new_greenlet(runtime: &'static Runtime, place: &'static Location<'static>) -> Result<AnyGreenlet, SpawnError> {
    if runtime.is_ending() {
        return Err(SpawnError::ThreadEnding);
    }
    let greenlet = runtime.new_green_thread();
    greenlet.node().spawned_at.set(Some(place));
    greenlet.node().began.set(held::birth());
    Ok(greenlet)
}

/// Makes it a green thread that is in the hub's table and not ready yet. `body` must not unwind.
#[inline]
fn give_body(
    runtime: &'static Runtime,
    greenlet: &AnyGreenlet,
    stack: Stack,
    name: Option<String>,
    body: impl FnOnce() + 'static,
) {
    greenlet.node().fiber.restart(stack, move || -> Rc<Node> {
        let runtime = here();
        if runtime.is_unusual() {
            runtime.see_to_unusual();
        }
        body();
        end(here())
    });
    if let Some(name) = name {
        let _ = greenlet.node().fiber.set_name(name.into_boxed_str());
    }
    runtime.enroll(greenlet);
    if runtime.watch.is_on() {
        runtime.watch.tell(&Event::Spawn { greenlet });
    }
}

/// Ends the running green thread and returns the one that goes on.
fn end(runtime: &'static Runtime) -> Rc<Node> {
    let me = runtime.current();
    let extra = me.node().extra.take();
    if extra.is_some() {
        // Green-thread locals may have destructors that panic.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(extra)));
    }
    runtime.retire(&me);
    drop(me);
    let next = runtime.next();
    if runtime.is_unusual() {
        runtime.watch.will_end();
    }
    let _ = runtime.set_current(&next);
    next.into_node()
}

/// A green thread that was spawned. Dropping the handle lets it run on.
///
/// ```
/// use greenloom::{JoinError, sleep, spawn, yield_now};
/// use std::time::Duration;
///
/// let sum = spawn(|| 2 + 3);
/// let sleeper = spawn(|| sleep(Duration::from_secs(3600)));
/// yield_now(); // both begin
/// sleeper.kill();
/// assert!(matches!(sleeper.wait(), Err(JoinError::Killed)));
/// assert_eq!(sum.wait()?, 5);
/// # Ok::<(), JoinError>(())
/// ```
pub struct GreenThread<T> {
    greenlet: AnyGreenlet,
    packet: PacketRef<T>,
    /// The timer that will start it.
    timer: Cell<Option<TimerKey>>,
}

/// Names a link, for [`GreenThread::unlink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkId(u64);

impl<T: 'static> GreenThread<T> {
    /// The handle of one that never was, whose work was done in the running greenlet.
    pub(crate) fn finished(result: Result<T, JoinError>) -> GreenThread<T> {
        let parent = here().loop_greenlet().clone();
        let greenlet = AnyGreenlet::from_node(Node::new(Fiber::finished(), Kind::GreenThread, Some(parent)));
        let packet = PacketRef::new();
        packet.finish(result);
        GreenThread { greenlet, packet, timer: Cell::new(None) }
    }

    /// One that is not ready yet.
    #[track_caller]
    pub(crate) fn make(
        stack_size: usize,
        name: Option<String>,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<GreenThread<T>, SpawnError> {
        let runtime = here_or_error().map_err(SpawnError::Hub)?;
        let stack = Stack::new(stack_size).map_err(SpawnError::Stack)?;
        let greenlet = new_greenlet(runtime, Location::caller())?;
        let packet = PacketRef::kept_by(greenlet.node());
        give_body(runtime, &greenlet, stack, name, run_into(packet.clone(), f));
        Ok(GreenThread { greenlet, packet, timer: Cell::new(None) })
    }

    /// Makes it ready.
    pub(crate) fn begin(&self) {
        here().make_ready(self.greenlet.node().slot.get());
    }

    /// Makes it ready after `delay`.
    pub(crate) fn begin_after(&self, delay: Duration) {
        if delay.is_zero() {
            return self.begin();
        }
        let (runtime, node) = (here(), self.greenlet.node());
        node.ticket.set(runtime.next_ticket());
        node.parked.set(true);
        node.waits_for.set("spawn_after");
        self.timer.set(runtime.add_wake_timer(runtime.now() + delay, node.slot.get(), node.ticket.get()));
    }

    /// Parks until it has ended and returns its value.
    ///
    /// # Errors
    /// [`JoinError`]: its panic, or that it was killed.
    pub fn wait(self) -> Result<T, JoinError> {
        held::waits_for_end(self.greenlet.id());
        let result = self.packet.wait();
        held::waits_no_more();
        result
    }

    /// As [`GreenThread::wait`], but gives the handle back if it has not ended after `timeout`.
    ///
    /// # Errors
    /// The handle.
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, GreenThread<T>> {
        let deadline = here().now() + timeout;
        loop {
            if let Some(result) = self.packet.result.take() {
                return Ok(result);
            }
            let ticket = match prepare() {
                Ok(ticket) => ticket,
                Err(refused) => return Ok(Err(JoinError::Refused(refused))),
            };
            self.packet.waiter.set(Some(ticket.waker()));
            held::waits_for_end(self.greenlet.id());
            let wake = ticket.park("green thread", Some(deadline));
            held::waits_no_more();
            if wake == Wake::TimedOut {
                return Err(self);
            }
        }
    }

    /// Calls `link` with the outcome when it has ended, on the green thread itself; at once if it has ended already.
    /// Links run in the order in which they were added. They must not block.
    pub fn link(&self, link: impl FnOnce(&Result<T, JoinError>) + 'static) -> LinkId {
        let id = here().next_ticket();
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

    /// Whether its outcome is there, or about to be.
    pub(crate) fn is_finished(&self) -> bool {
        self.packet.is_finished()
    }

    /// As [`GreenThread::kill`], without unwinding the running one, should that have been killed meanwhile.
    pub(crate) fn kill_shielded(&self) {
        if !self.cancel() {
            here().kill_shielded(&self.greenlet);
        }
    }

    /// Unwinds it. It runs at once, from where it is parked to its end, and the caller goes on after that, behind what
    /// is ready. One that has not begun never runs. One that has ended is left alone. [`wait`](GreenThread::wait) says
    /// [`JoinError::Killed`].
    ///
    /// Killing oneself unwinds from here. In a function that the hub calls, and while a panic unwinds the caller, it
    /// takes effect when the target next runs.
    pub fn kill(&self) {
        if !self.cancel() {
            here().kill(&self.greenlet);
        }
    }

    /// Keeps it from beginning; returns `false` if it has begun. Links are called here.
    pub fn cancel(&self) -> bool {
        if !self.greenlet.node().fiber.cancel() {
            return false;
        }
        let runtime = here();
        if let Some(timer) = self.timer.take()
            && runtime.cancel_timer(timer)
        {
            // Else the run queue holds its slot, and frees it when its turn comes.
            runtime.retire(&self.greenlet);
        }
        true
    }
}

impl<T> GreenThread<T> {
    /// Whether it has ended.
    pub fn is_dead(&self) -> bool {
        self.greenlet.is_dead()
    }

    /// Whether it has begun.
    pub fn is_started(&self) -> bool {
        self.greenlet.is_started()
    }

    /// The same as [`is_dead`](GreenThread::is_dead), by the name it has in eventlet.
    pub fn dead(&self) -> bool {
        self.is_dead()
    }

    /// The same as [`is_started`](GreenThread::is_started), by the name it has in greenlet.
    pub fn started(&self) -> bool {
        self.is_started()
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

impl<T> fmt::Debug for GreenThread<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.greenlet.fmt(f)
    }
}
