//! The hub: what is ready, what is due, and the loop that runs it.
//!
//! One turn of the loop is [`greenloom_hub::run_turn`]: closed listeners; everything that was ready when the turn began
//! and every timer that was due then, in order of their times; then I/O, and what that made ready. Work that is made
//! ready meanwhile has its turn in the next one, after I/O. The loop runs in the hub's greenlet, but a greenlet that
//! parks takes the next switch of the turn off its hands ([`Hub::next_switch`]), and begins the next turn too if there
//! is no I/O to look at in between.
//!
//! The state and what changes it from anywhere are here, the loop is in [`run`], what a signal does in [`signal`],
//! which methods are Python's in [`overrides`], the time slice of a green thread in [`time_slice`], what Python sees in
//! `hub_class`.
//!
//! The type is the base of `eventlet.hubs.hub.BaseHub`, which adds what is not hot, and `run`, whose frame lies below
//! all that the loop calls. A method that Python code overrides is called: those in [`FAST`] make the hub one that is
//! served through Python, those in [`ASKED`] are looked up when the loop begins and when an attribute is set.

mod overrides;
mod run;
pub mod signal;
mod time_slice;
pub mod timer;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;

use greenloom_hub::{Budget, Due, Statistics, Time, TimerKey, Timers};
use greenloom_inspect::protocol::Sizes;

pub use self::overrides::{ASKED, BASE, FAST, is_own, note_overrides};
pub use self::run::Runner;
pub use self::time_slice::TimeSlice;
use super::clock::monotonic;
use super::polling::Polling;
use super::work::Work;
use crate::greenlet::recording::{self, Wake};
use crate::greenlet::{self, Here, PyGreenlet, State, body};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, ClassCell, Gil, Owned, Payload, Raised, Result, Slot, This};

/// How long the loop sleeps if it has nothing to wait for, in seconds. It could sleep for ever; stock eventlet does
/// not.
pub const DEFAULT_SLEEP: f64 = 60.0;

/// Where the loop is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Running what became ready through I/O.
    Io,
    /// Running what was ready and due when the turn began.
    Ready,
}

/// The state of a hub.
pub struct Hub {
    /// The greenlet of the loop.
    pub(super) greenlet: Slot,
    /// Work, with the time since when it is ready.
    pub(super) ready: RefCell<VecDeque<(Time, Work)>>,
    /// Work that I/O made ready; runs before the next turn.
    pub(super) io: RefCell<VecDeque<Work>>,
    pub(super) timers: RefCell<Timers<Work>>,
    /// What the running turn may still take from `ready`.
    pub(super) budget: Budget,
    /// How many may still be woken by who has written to them before the poller is asked.
    pub(super) hand_overs: Budget,
    /// When the running turn began, and which timers existed then.
    pub(super) due: Cell<Due>,
    pub(super) stage: Cell<Stage>,
    /// Work that a parking greenlet found and could not do itself.
    pub(super) handed: RefCell<Option<Work>>,
    /// The loop has just switched away, and has no function of somebody else's on its stack.
    pub(super) at_rest: Cell<bool>,
    pub(super) running: Cell<bool>,
    pub(super) stopping: Cell<bool>,
    /// Whether `wait` is the type's own, by [`note_overrides`].
    pub(super) own_wait: Cell<bool>,
    /// Whether `wait` looks at the hub's poller, too: the type's own, or one that says so.
    pub(super) looks_at_poller: Cell<bool>,
    /// Whether `default_sleep` is.
    pub(super) own_default_sleep: Cell<bool>,
    /// A Python function in place of the monotonic clock.
    pub(super) clock: Slot,
    /// Accounting for `timers_canceled`: cancelled timers are removed at once, and counted as stock counts those it
    /// keeps.
    pub(super) canceled: Cell<usize>,
    /// Those of them that were cancelled in the turn in which they were started: stock drops them at the turn's end.
    pub(super) canceled_young: Cell<usize>,
    /// Listeners were closed: `closed` has something in it.
    pub(super) has_closed: Cell<bool>,
    pub(super) debug_blocking: Cell<bool>,
    /// The loop waits without the interpreter's lock.
    pub asleep: Cell<bool>,
    /// The main greenlet, while it is in a call of C that a signal ends.
    pub(super) ends_by_signal: Slot,
    /// The exception that comes out of a greenlet now is that of a signal's handler.
    pub(super) raised_by_signal: Cell<bool>,
    /// The poller, of a hub that uses it.
    pub(super) polling: UnsafeCell<Option<Polling>>,
    /// Other OS threads read it without the interpreter's lock.
    pub(super) statistics: Arc<Statistics>,
    /// What the running greenlet has done since it was switched to.
    pub(super) time_slice: TimeSlice,
}

static HUB: ClassCell = ClassCell::unbuilt();

impl Payload for Hub {
    const NAME: &'static CStr = c"greenloom._native.Hub";
    const DOC: &'static CStr = c"Hub(clock=None)\n--\n\n\
      The loop of a thread's green threads, without file descriptors: the base of eventlet's hubs.\n\n\
      - *clock* -- a function that returns seconds, in place of time.monotonic";

    fn cell() -> &'static ClassCell {
        &HUB
    }

    fn new() -> Hub {
        Hub {
            greenlet: Slot::empty(),
            ready: RefCell::new(VecDeque::new()),
            io: RefCell::new(VecDeque::new()),
            timers: RefCell::new(Timers::new()),
            budget: Budget::new(),
            hand_overs: Budget::new(),
            due: Cell::new(Due::at(Time::ZERO, &Timers::<Work>::new())),
            stage: Cell::new(Stage::Ready),
            handed: RefCell::new(None),
            at_rest: Cell::new(false),
            running: Cell::new(false),
            stopping: Cell::new(false),
            own_wait: Cell::new(false),
            looks_at_poller: Cell::new(false),
            own_default_sleep: Cell::new(false),
            clock: Slot::empty(),
            canceled: Cell::new(0),
            canceled_young: Cell::new(0),
            has_closed: Cell::new(false),
            debug_blocking: Cell::new(false),
            asleep: Cell::new(false),
            ends_by_signal: Slot::empty(),
            raised_by_signal: Cell::new(false),
            polling: UnsafeCell::new(None),
            statistics: Arc::default(),
            time_slice: TimeSlice::default(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.greenlet.get());
        visit(self.clock.get());
        visit(self.ends_by_signal.get());
    }

    fn clear(&self) {
        self.greenlet.set(None);
        self.clock.set(None);
    }
}

impl Hub {
    /// The state of a hub object that can be served without its Python methods.
    ///
    /// # Safety
    /// A live object, which outlives `'a`; the interpreter's lock is held.
    pub unsafe fn if_plain<'a>(hub: *mut PyObject) -> Option<&'a Hub> {
        // SAFETY: a live object, whose payload lives as long.
        unsafe {
            let this = This::<Hub>::try_of(hub)?;
            note_overrides(this);
            (FAST.iter().all(|name| is_own(this.gil(), hub, name)) && this.clock.get().is_null())
                .then(|| &*ptr::from_ref(&*this))
        }
    }

    /// Whether it waits natively, so that green objects can wait on it without listeners.
    #[inline]
    pub fn polls_itself(&self) -> bool {
        self.own_wait.get()
    }

    /// Whether what waits in its poller is woken.
    #[inline]
    pub fn looks_at_poller(&self) -> bool {
        self.looks_at_poller.get()
    }

    /// The loop's greenlet, borrowed.
    #[inline]
    pub fn greenlet(&self) -> *mut PyGreenlet {
        self.greenlet.get().cast()
    }

    /// A greenlet parks.
    #[inline]
    pub fn count_switch(&self) {
        self.time_slice.renew();
        self.statistics.count_switch();
    }

    /// Makes sure that the loop's greenlet can be switched to: a new one takes the place of one that has ended.
    #[inline]
    pub fn ensure_greenlet(&self) -> Result<()> {
        // SAFETY: the slot has a greenlet.
        if unsafe { body(self.greenlet()).state.get() } == State::Dead { self.replace_greenlet() } else { Ok(()) }
    }

    #[cold]
    fn replace_greenlet(&self) -> Result<()> {
        let old = self.greenlet.object().ok_or(Raised)?;
        let name = c_name(old.gil(), c"_loop")?;
        // SAFETY: greenlets, which are kept.
        unsafe {
            let run = Owned::new(ffi::PyObject_GetAttr(old.as_ptr(), name.as_ptr()))?;
            let parent = body(old.as_ptr().cast()).parent.get();
            let new = Owned::new(greenlet::construct(old.gil(), run.as_ptr(), parent.cast()))?;
            ffi::PyObject_SetAttr(new.as_ptr(), name.as_ptr(), run.as_ptr());
            // Children of the old one that end without switching to the hub before go on with the new one.
            if greenlet::set_parent(old.as_ptr(), new.as_ptr(), ptr::null_mut()) < 0 {
                return Err(Raised);
            }
            self.greenlet.set(Some(new));
        }
        Ok(())
    }

    /// Adds work behind what is ready, from any OS thread.
    #[inline]
    pub fn make_ready(&self, work: Work) {
        // Only timers are compared with it.
        let since = if self.timers.borrow().is_empty() { self.due.get().now() } else { monotonic() };
        if recording::is_on() {
            work.tell_woken(None);
        }
        self.ready.borrow_mut().push_back((since, work));
        if self.asleep.get() {
            self.ring();
        }
    }

    /// Whether a reader may be woken by who has written to it. Not for ever: those that hand over to each other would
    /// keep the loop from timers and other I/O. The alarm for what blocks the loop would take them for one that does.
    #[inline]
    pub fn may_hand_over(&self) -> bool {
        self.hand_overs.is_left() && !self.debug_blocking.get()
    }

    /// Adds work behind what I/O made ready: that of a reader whose bytes have just been written.
    #[inline]
    pub fn come_next(&self, work: Work) {
        self.hand_overs.spend();
        if recording::is_on() {
            work.tell_woken(Some(Wake::Io));
        }
        self.io.borrow_mut().push_back(work);
    }

    /// Ends the wait of the loop, once: in another OS thread, or in an override of `wait` that runs other code.
    #[cold]
    pub fn ring(&self) {
        self.asleep.set(false);
        // SAFETY: used at once.
        if let Some(polling) = unsafe { self.polling_if_any() } {
            polling.ring();
        }
    }

    /// What it has at the moment; `number` is its own.
    pub fn sizes(&self, number: u64) -> Sizes {
        // SAFETY: used at once, and no code of others runs.
        let polling = unsafe { self.polling_if_any() };
        let descriptors = || Some(polling?.watched()? as u64);
        Sizes {
            hub: number,
            ready: self.ready.try_borrow().map_or(0, |ready| ready.len() as u64),
            timers: self.timers.try_borrow().map_or(0, |timers| timers.len() as u64),
            descriptors: if self.polls_itself() { descriptors().or(Some(0)) } else { None },
        }
    }

    /// Adds a timer.
    pub fn add_timer(&self, at: Time, work: Work) -> TimerKey {
        if self.asleep.get() {
            self.ring();
        }
        self.timers.borrow_mut().add(at, work)
    }

    /// Removes a timer that has not fired.
    pub fn cancel_timer(&self, key: TimerKey) -> bool {
        // Its objects go after the list is free again: they may run code.
        let work = self.timers.borrow_mut().cancel(key);
        work.is_some()
    }

    /// The next switch of this turn, for a greenlet that parks; `None` if the loop itself has to go on.
    #[inline]
    pub fn next_switch(&self) -> Option<Work> {
        if !self.at_rest.get() {
            return None;
        }
        loop {
            let work = match self.next() {
                Some(work) => work,
                None if self.may_begin_turn() => {
                    self.begin_turn(None);
                    self.next()?
                }
                None => return None,
            };
            if !work.is_switch() {
                self.hand_over(work);
                return None;
            }
            if !work.is_stale() {
                return Some(work);
            }
        }
    }

    /// Leaves work that a parking greenlet has taken, but cannot do, to the loop.
    pub fn hand_over(&self, work: Work) {
        *self.handed.borrow_mut() = Some(work);
    }

    /// Whether the loop would go on to run what is ready, with nothing else to look at before.
    fn may_begin_turn(&self) -> bool {
        // SAFETY: used at once.
        let waits = || unsafe { self.polling_if_any() }.is_some_and(Polling::has_waiters);
        self.running.get()
            && self.own_wait.get()
            && !self.stopping.get()
            && !self.has_closed.get()
            && !self.debug_blocking.get()
            && !self.ready.borrow().is_empty()
            // Those to whom somebody has handed over wait no more, and come before the next turn.
            && self.io.borrow().is_empty()
            && (self.stage.get() == Stage::Io || !waits())
    }

    /// What is ready now, and due, has its turn.
    pub(super) fn begin_turn(&self, now: Option<Time>) {
        let timers = self.timers.borrow();
        let now = now.unwrap_or_else(|| if timers.is_empty() { self.due.get().now() } else { monotonic() });
        self.due.set(Due::at(now, &timers));
        self.canceled_young.set(0);
        self.budget.refill(self.count_ready());
        self.stage.set(Stage::Ready);
    }

    fn count_ready(&self) -> u32 {
        u32::try_from(self.ready.borrow().len()).unwrap_or(u32::MAX)
    }

    /// The next work of this turn, as [`greenloom_hub::run_turn`] orders it; of the stage for I/O what is left of that.
    #[inline]
    pub(super) fn next(&self) -> Option<Work> {
        if self.stage.get() == Stage::Io {
            return self.io.borrow_mut().pop_front();
        }
        self.next_due().or_else(|| if self.budget.spend() { self.next_ready() } else { None })
    }

    /// The next timer that is due before the next ready work.
    #[inline]
    fn next_due(&self) -> Option<Work> {
        let mut timers = self.timers.borrow_mut();
        let at = timers.next_at()?;
        let ready = if self.budget.is_left() { self.ready.borrow().front().map(|(since, _)| *since) } else { None };
        let work = self.due.get().pop_before(&mut timers, ready)?;
        self.count_timer(at);
        if recording::is_on() {
            work.tell_fired(self.due.get().now().since(at));
        }
        Some(work)
    }

    #[inline]
    fn next_ready(&self) -> Option<Work> {
        self.ready.borrow_mut().pop_front().map(|(_, work)| work)
    }

    /// How many cancelled timers stock would still have.
    pub(super) fn count_canceled(&self) -> usize {
        self.canceled.get() + self.canceled_young.get()
    }

    /// Whether the timer was there when this turn began.
    pub(super) fn existed(&self, key: TimerKey) -> bool {
        self.due.get().existed(key)
    }

    pub(super) fn count_timer(&self, at: Time) {
        self.statistics.count_timer(self.due.get().now().since(at));
    }

    /// The poller, made when it is first needed, and made anew in the child of a fork.
    ///
    /// # Safety
    /// The result is not used any more when other code may have run or the poller was renewed: another one may have
    /// taken its place. The thread is the hub's.
    #[inline]
    pub unsafe fn polling(&self, thread: Here<'_>) -> Result<&Polling> {
        // SAFETY: replaced below only, and not used any more then.
        match unsafe { &*self.polling.get() } {
            Some(polling) if polling.is_current() => Ok(polling),
            // SAFETY: nobody uses the former one.
            _ => unsafe { self.renew_polling(thread) },
        }
    }

    /// The poller, if there is one.
    ///
    /// # Safety
    /// As [`polling`](Self::polling), from any thread.
    pub unsafe fn polling_if_any(&self) -> Option<&Polling> {
        // SAFETY: not used any more when another one takes its place.
        unsafe { (*self.polling.get()).as_ref() }
    }

    /// A new poller, if the program has closed this one by its number: those that wait try again. Returns whether it
    /// had.
    #[cold]
    pub fn renew_if_closed(&self, thread: Here<'_>) -> Result<bool> {
        // SAFETY: not used any more when it is replaced.
        let polling = unsafe { self.polling_if_any() }.filter(|polling| polling.is_current());
        let Some(polling) = polling.filter(|polling| !polling.is_intact()) else { return Ok(false) };
        polling.doubt();
        // SAFETY: not used any more.
        unsafe { self.renew_polling(thread).map(|_| true) }
    }

    /// The first poller, or the first one of a process that was forked: what waited in the parent's tries again.
    ///
    /// # Safety
    /// As [`polling`](Self::polling); nobody uses the former one.
    #[cold]
    unsafe fn renew_polling(&self, thread: Here<'_>) -> Result<&Polling> {
        // SAFETY: nobody uses the former one.
        unsafe {
            let former = (*self.polling.get()).replace(Polling::new(thread.gil())?);
            for work in former.map(Polling::into_waiting).into_iter().flatten() {
                self.make_ready(work);
            }
            (*self.polling.get()).as_ref().ok_or(Raised)
        }
    }
}

/// A name as an interned string.
pub fn c_name(_: Gil<'_>, name: &CStr) -> Result<Owned> {
    // SAFETY: the text ends with a zero, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr())) }
}

/// Calls a hub's Python method.
///
/// # Safety
/// Live objects.
pub unsafe fn call_hub<const N: usize>(
    gil: Gil<'_>,
    hub: *mut PyObject,
    name: &CStr,
    args: [*mut PyObject; N],
) -> Result<Owned> {
    // SAFETY: live objects, with the lock held.
    unsafe { py::call_method(hub, c_name(gil, name)?.as_ptr(), args) }
}
