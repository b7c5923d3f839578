//! The hub: what is ready, what is due, and the loop that runs it.
//!
//! One turn of the loop: closed listeners; everything that was ready when the turn began and every timer that was due then, in
//! order of their times; then I/O. Work that is made ready meanwhile has its turn in the next one, after I/O. The loop runs
//! in the hub's greenlet, but whoever parks takes the next switch of the turn off its hands ([`Hub::next_switch`]), and
//! begins the next turn too if there is no I/O to look at in between.
//!
//! The type is the base of `eventlet.hubs.hub.BaseHub`, which adds what is not hot. A method that Python code overrides is
//! called: those in [`FAST`] make the hub one that is served through Python, `wait` and `default_sleep` are looked up each time.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::VecDeque;
use std::ffi::{CStr, c_int, c_void};
use std::ptr;
use std::time::Duration;

use ::hub::{Time, TimerKey, Timers};

use super::io::Polling;
use super::park;
use super::timer::Timer;
use super::work::Work;
use super::{MAKE_HUB, hub_object};
use crate::class::{self, Args, Class, ClassCell, Payload, This, text};
use crate::ffi::{self, GlobalObject, Owned, PyMethodDef, PyObject, Raised, Result, Slot};
use crate::greenlet::{PyGreenlet, State, body};
use crate::object;
use crate::switch;
use crate::thread::{Thread, current_thread, this_thread};

/// Methods of which an override means that everything must go through Python.
const FAST: [&CStr; 7] =
    [c"switch", c"run", c"add_timer", c"schedule_call_global", c"ensure_greenlet", c"fire_timers", c"timer_canceled"];

/// How long the loop sleeps if it has nothing to wait for, in seconds. It could sleep for ever; stock eventlet does not.
const DEFAULT_SLEEP: f64 = 60.0;

/// Where the loop is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Running what became ready through I/O.
    Io,
    /// Running what was ready and due when the turn began.
    Ready,
}

/// The state of a hub.
pub struct Hub {
    /// The greenlet of the loop.
    greenlet: Slot,
    /// Work, with the time since when it is ready.
    ready: RefCell<VecDeque<(Time, Work)>>,
    /// Work that I/O made ready; runs before the next turn.
    io: RefCell<VecDeque<Work>>,
    timers: RefCell<Timers<Work>>,
    /// What the running turn may still take from `ready`.
    batch: Cell<usize>,
    /// When the running turn began, and which timers existed then.
    now: Cell<Time>,
    limit: Cell<u64>,
    stage: Cell<Stage>,
    /// Work that whoever parked found and could not do itself.
    handed: RefCell<Option<Work>>,
    /// The loop has just switched away, and has no function of somebody else's on its stack.
    at_rest: Cell<bool>,
    running: Cell<bool>,
    stopping: Cell<bool>,
    /// Whether `wait` is the type's own. Looked up when the loop begins and when an attribute is set.
    own_wait: Cell<bool>,
    /// A Python function in place of the monotonic clock.
    clock: Slot,
    /// Accounting for `timers_canceled`: cancelled timers are removed at once, and counted as stock counts those it keeps.
    canceled: Cell<usize>,
    /// Those of them that were cancelled in the turn in which they were started: stock drops them at the turn's end.
    canceled_young: Cell<usize>,
    /// Listeners were closed: `closed` has something in it.
    has_closed: Cell<bool>,
    debug_blocking: Cell<bool>,
    /// The loop waits without the interpreter's lock.
    pub asleep: Cell<bool>,
    /// The poller, of a hub that uses it.
    polling: UnsafeCell<Option<Polling>>,
    statistics: Statistics,
}

/// What [`statistics`](Hub::statistics) tells.
#[derive(Default)]
struct Statistics {
    switches: Cell<u64>,
    timers: Cell<u64>,
    polls: Cell<u64>,
    /// Nanoseconds that the last timer was late, and the most that one was.
    lag: Cell<u64>,
    longest_lag: Cell<u64>,
    /// Nanoseconds from one look at I/O to the next, the most.
    longest_block: Cell<u64>,
}

static HUB: ClassCell = ClassCell::unbuilt();

impl Payload for Hub {
    const NAME: &'static CStr = c"greenloom._native.Hub";
    const DOC: &'static CStr = c"Hub(clock=None)\n--\n\nThe loop of a thread's green threads, without file descriptors: the base of eventlet's hubs.\n\n\
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
            batch: Cell::new(0),
            now: Cell::new(Time::ZERO),
            limit: Cell::new(0),
            stage: Cell::new(Stage::Ready),
            handed: RefCell::new(None),
            at_rest: Cell::new(false),
            running: Cell::new(false),
            stopping: Cell::new(false),
            own_wait: Cell::new(false),
            clock: Slot::empty(),
            canceled: Cell::new(0),
            canceled_young: Cell::new(0),
            has_closed: Cell::new(false),
            debug_blocking: Cell::new(false),
            asleep: Cell::new(false),
            polling: UnsafeCell::new(None),
            statistics: Statistics::default(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.greenlet.get());
        visit(self.clock.get());
    }

    fn clear(&self) {
        self.greenlet.set(None);
        self.clock.set(None);
    }
}

/// The time of CLOCK_MONOTONIC, as `time.monotonic` has it.
#[inline]
pub fn monotonic() -> Time {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: an out parameter; this clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Time::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

fn seconds(time: Time) -> f64 {
    time.as_nanos() as f64 / 1e9
}

fn from_seconds(seconds: f64) -> Time {
    // Saturates; NaN becomes zero.
    Time::from_nanos((seconds * 1e9) as u64)
}

impl Hub {
    /// The state of a hub object that can be served without its Python methods.
    ///
    /// # Safety
    /// A live object, which outlives `'a`; the interpreter's lock is held.
    pub unsafe fn if_plain<'a>(hub: *mut PyObject) -> Option<&'a Hub> {
        // SAFETY: the caller's word.
        unsafe {
            let this = This::<Hub>::try_of(hub)?;
            this.own_wait.set(is_own(hub, c"wait"));
            (FAST.iter().all(|name| is_own(hub, name)) && this.clock.get().is_null()).then(|| &*ptr::from_ref(&*this))
        }
    }

    /// Whether it waits natively, so that green objects can wait on it without listeners.
    #[inline]
    pub fn polls_itself(&self) -> bool {
        self.own_wait.get()
    }

    /// The loop's greenlet, borrowed.
    #[inline]
    pub fn greenlet(&self) -> *mut PyGreenlet {
        self.greenlet.get().cast()
    }

    /// A greenlet parks.
    #[inline]
    pub fn count_switch(&self) {
        self.statistics.switches.set(self.statistics.switches.get() + 1);
    }

    /// Makes sure that the loop's greenlet can be switched to: a new one takes the place of one that has ended.
    #[inline]
    pub fn ensure_greenlet(&self) -> Result<()> {
        // SAFETY: the slot has a greenlet.
        if unsafe { body(self.greenlet()).state.get() } == State::Dead { self.replace_greenlet() } else { Ok(()) }
    }

    #[cold]
    fn replace_greenlet(&self) -> Result<()> {
        // SAFETY: greenlets, with the interpreter's lock held.
        unsafe {
            let old = self.greenlet.object().ok_or(Raised)?;
            let run = Owned::new(ffi::PyObject_GetAttr(old.as_ptr(), c_name(c"_loop")?.as_ptr()))?;
            let parent = body(old.as_ptr().cast()).parent.get();
            let new = Owned::new(object::construct(run.as_ptr(), parent.cast()))?;
            ffi::PyObject_SetAttr(new.as_ptr(), c_name(c"_loop")?.as_ptr(), run.as_ptr());
            // Children of the old one that end without switching to the hub before go on with the new one.
            if object::set_parent(old.as_ptr(), new.as_ptr(), ptr::null_mut()) < 0 {
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
        let since = if self.timers.borrow().is_empty() { self.now.get() } else { monotonic() };
        self.ready.borrow_mut().push_back((since, work));
        if self.asleep.get() {
            self.ring();
        }
    }

    /// Ends the wait of the loop, once: in another OS thread, or in an override of `wait` that runs other code.
    #[cold]
    pub fn ring(&self) {
        self.asleep.set(false);
        // SAFETY: guarded by the lock; the poller is only replaced by its own thread, which sleeps.
        if let Some(polling) = unsafe { self.polling_if_any() } {
            polling.ring();
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

    /// The next switch of this turn, for who parks; `None` if the loop itself has to go on.
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
                *self.handed.borrow_mut() = Some(work);
                return None;
            }
            if !work.is_stale() {
                return Some(work);
            }
        }
    }

    /// Whether the loop would go on to run what is ready, with nothing else to look at before.
    fn may_begin_turn(&self) -> bool {
        // SAFETY: guarded by the lock.
        let waits = || unsafe { self.polling_if_any() }.is_some_and(Polling::has_waiters);
        self.running.get()
            && self.own_wait.get()
            && !self.stopping.get()
            && !self.has_closed.get()
            && !self.debug_blocking.get()
            && !self.ready.borrow().is_empty()
            && (self.stage.get() == Stage::Io || !waits())
    }

    fn begin_turn(&self, now: Option<Time>) {
        let timers = self.timers.borrow();
        if let Some(now) = now {
            self.now.set(now);
        } else if !timers.is_empty() {
            self.now.set(monotonic());
        }
        self.limit.set(timers.limit());
        self.canceled_young.set(0);
        self.batch.set(self.ready.borrow().len());
        self.stage.set(Stage::Ready);
    }

    /// The next work of this turn.
    #[inline]
    fn next(&self) -> Option<Work> {
        if self.stage.get() == Stage::Io {
            return self.io.borrow_mut().pop_front();
        }
        let mut timers = self.timers.borrow_mut();
        if let Some(at) = timers.next_at() {
            let first = self.batch.get() == 0 || self.ready.borrow().front().is_none_or(|(since, _)| at < *since);
            if first && let Some(work) = timers.pop_due(self.now.get(), self.limit.get()) {
                self.count_timer(at);
                return Some(work);
            }
        }
        if self.batch.get() == 0 {
            return None;
        }
        self.batch.set(self.batch.get() - 1);
        self.ready.borrow_mut().pop_front().map(|(_, work)| work)
    }

    /// Whether the timer was there when this turn began.
    fn existed(&self, key: TimerKey) -> bool {
        key.sequence() < self.limit.get()
    }

    fn count_timer(&self, at: Time) {
        let (lag, told) = (self.now.get().since(at).as_nanos() as u64, &self.statistics);
        told.timers.set(told.timers.get() + 1);
        told.lag.set(lag);
        told.longest_lag.set(told.longest_lag.get().max(lag));
    }

    /// The poller, made when it is first needed.
    ///
    /// # Safety
    /// The interpreter's lock is held, in the hub's thread.
    #[inline]
    pub unsafe fn polling(&self) -> Result<&Polling> {
        // SAFETY: the caller's word; it is replaced below only, when nothing else uses it.
        match unsafe { &*self.polling.get() } {
            Some(polling) if polling.is_current() => Ok(polling),
            // SAFETY: the same.
            _ => unsafe { self.renew_polling() },
        }
    }

    /// The poller, if there is one.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn polling_if_any(&self) -> Option<&Polling> {
        // SAFETY: the caller's word.
        unsafe { (*self.polling.get()).as_ref() }
    }

    /// The first poller, or the first one of a process that was forked: who waited in the parent tries again.
    #[cold]
    unsafe fn renew_polling(&self) -> Result<&Polling> {
        // SAFETY: the caller of `polling`'s word.
        unsafe {
            let former = (*self.polling.get()).replace(Polling::new()?);
            for work in former.map(Polling::into_waiting).into_iter().flatten() {
                self.make_ready(work);
            }
            (*self.polling.get()).as_ref().ok_or(Raised)
        }
    }
}

/// Whether an attribute of a hub is the native type's own: not overridden by a subclass or on the instance.
///
/// # Safety
/// A live instance; the interpreter's lock is held.
unsafe fn is_own(hub: *mut PyObject, name: &CStr) -> bool {
    // SAFETY: the caller's word; the looked-up method is compared only.
    unsafe {
        let found = || -> Result<bool> {
            let name = c_name(name)?;
            let kind = ffi::Py_TYPE(hub).cast();
            let of_class = Owned::new(ffi::PyObject_GetAttr(kind, name.as_ptr()))?;
            let own = Owned::new(ffi::PyObject_GetAttr(HUB.kind().cast(), name.as_ptr()))?;
            let dict = Owned::new(ffi::PyObject_GenericGetDict(hub, ptr::null_mut()))?;
            Ok(of_class.as_ptr() == own.as_ptr() && ffi::PyDict_Contains(dict.as_ptr(), name.as_ptr()) == 0)
        };
        found().unwrap_or_else(|_| {
            ffi::PyErr_Clear();
            false
        })
    }
}

fn c_name(name: &CStr) -> Result<Owned> {
    // SAFETY: the interpreter's lock is held by all callers.
    unsafe { Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr())) }
}

/// Calls a hub's Python method.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn call_hub<const N: usize>(hub: *mut PyObject, name: &CStr, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe { ffi::call_method(hub, c_name(name)?.as_ptr(), args) }
}

/// Asks a hub of any class to call something after some seconds. Returns its timer.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
pub unsafe fn schedule(hub: *mut PyObject, seconds: f64, callable: *mut PyObject) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe {
        let seconds = Owned::new(ffi::PyFloat_FromDouble(seconds))?;
        call_hub(hub, c"schedule_call_global", [seconds.as_ptr(), callable])
    }
}

/// Reports the pending exception as the hub does: printed, unless that is turned off.
///
/// # Safety
/// An exception is pending; the interpreter's lock is held.
#[cold]
pub unsafe fn squelch(hub: *mut PyObject) {
    // SAFETY: the caller's word.
    unsafe {
        let told = exception_info().and_then(|info| call_hub(hub, c"squelch_generic_exception", [info.as_ptr()]));
        if told.is_err() {
            ffi::PyErr_WriteUnraisable(hub);
        }
    }
}

/// The pending exception as `sys.exc_info` has it, taken out.
///
/// # Safety
/// An exception is pending; the interpreter's lock is held.
#[allow(deprecated)]
pub unsafe fn exception_info() -> Result<Owned> {
    // SAFETY: the caller's word; the references are taken over.
    unsafe {
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
        if traceback.is_null() {
            traceback = Owned::none().into_raw();
        } else {
            ffi::PyException_SetTraceback(value, traceback);
        }
        let info = Owned::new(ffi::PyTuple_New(3))?;
        for (index, item) in [kind, value, traceback].into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(info.as_ptr(), index as _, item);
        }
        Ok(info)
    }
}

/// Raises if the running greenlet is the loop's own, which cannot wait for itself.
///
/// # Safety
/// A live hub of any class; the interpreter's lock is held.
pub unsafe fn refuse_in_loop(thread: &Thread, hub: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let greenlet = Owned::new(ffi::PyObject_GetAttr(hub, c_name(c"greenlet")?.as_ptr()))?;
        if greenlet.as_ptr() == thread.current().cast() {
            return ffi::error(ffi::PyExc_RuntimeError, "do not call blocking functions from the mainloop");
        }
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------------
// The loop

impl Hub {
    /// Runs the loop until it is stopped.
    ///
    /// # Safety
    /// `this` is the hub's object, in its thread; the interpreter's lock is held.
    unsafe fn run(this: This<'_, Hub>) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            while !this.stopping.get() {
                Hub::turn(this)?;
            }
            this.clear();
        }
        Ok(())
    }

    /// Forgets all that waits, and closes the poller. The thread must have ended.
    pub fn close(&self) {
        self.clear();
        let io = self.io.take();
        // SAFETY: the interpreter's lock is held, and nobody waits.
        let polling = unsafe { (*self.polling.get()).take() };
        drop((io, polling));
    }

    /// Forgets all that is ready or waits for its time.
    fn clear(&self) {
        self.canceled.set(0);
        let (ready, timers) = (self.ready.take(), self.timers.take());
        drop((ready, timers));
    }

    /// One turn.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn turn(this: This<'_, Hub>) -> Result<()> {
        let object = this.as_ptr();
        // SAFETY: the caller's word.
        unsafe {
            while this.has_closed.get() {
                match call_hub(object, c"_close_next", []) {
                    Ok(more) => this.has_closed.set(ffi::truth(more.as_ptr())?),
                    // Who was told has ended with this error.
                    Err(Raised) => Hub::report(this, None, None)?,
                }
            }
            let now = this.time()?;
            this.begin_turn(Some(now));
            Hub::drain_watched(this)?;
            let took = this.time()?.since(now).as_nanos() as u64;
            this.statistics.longest_block.set(this.statistics.longest_block.get().max(took));
            Hub::look_at_io(this)?;
            this.stage.set(Stage::Io);
            Hub::drain_watched(this)
        }
    }

    /// As [`drain`](Self::drain), with the alarm for what takes too long, if it is wanted.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn drain_watched(this: This<'_, Hub>) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            if !this.debug_blocking.get() {
                return Hub::drain(this);
            }
            call_hub(this.as_ptr(), c"block_detect_pre", [])?;
            Hub::drain(this)?;
            call_hub(this.as_ptr(), c"block_detect_post", []).map(drop)
        }
    }

    /// Runs what is left of the stage.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn drain(this: This<'_, Hub>) -> Result<()> {
        loop {
            let handed = this.handed.take();
            let Some(work) = handed.or_else(|| this.next()) else { return Ok(()) };
            if !work.is_stale() {
                // SAFETY: the caller's word.
                unsafe { Hub::perform(this, work)? };
            }
        }
    }

    /// Does one piece of work. Its error is printed; only what ends programs ends the loop.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn perform(this: This<'_, Hub>, work: Work) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let (mut timer, mut fd) = (None, None);
            let result = match work {
                Work::Wake(ticket, outcome) => {
                    this.count_switch();
                    this.at_rest.set(true);
                    ticket.resume(outcome)
                }
                Work::Start { greenlet, args, kwargs } => {
                    this.count_switch();
                    this.at_rest.set(true);
                    park::start(greenlet, args, kwargs)
                }
                Work::Timer(object) => {
                    let result = Timer::fire(object.as_ptr());
                    timer = Some(object);
                    result.map_or(ptr::null_mut(), Owned::into_raw)
                }
                Work::Listener(number, direction) => {
                    fd = Some(number);
                    super::io::tell_listener(this.as_ptr(), number, direction).map_or(ptr::null_mut(), Owned::into_raw)
                }
            };
            this.at_rest.set(false);
            if !result.is_null() {
                ffi::decref(result);
                return Ok(());
            }
            Hub::report(this, timer, fd)
        }
    }

    /// Reports the pending exception, or returns it if it is one that ends programs.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    #[cold]
    unsafe fn report(this: This<'_, Hub>, timer: Option<Owned>, fd: Option<c_int>) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let pending = ffi::Pending::take();
            let system = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), c_name(c"SYSTEM_EXCEPTIONS")?.as_ptr()));
            pending.put_back();
            if system.is_err() || ffi::PyErr_ExceptionMatches(system?.as_ptr()) != 0 {
                return Err(Raised);
            }
            let info = exception_info()?;
            match fd {
                Some(fd) => {
                    let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
                    call_hub(this.as_ptr(), c"squelch_exception", [number.as_ptr(), info.as_ptr()])?;
                }
                None => {
                    let timer = timer.unwrap_or_else(Owned::none);
                    call_hub(this.as_ptr(), c"squelch_timer_exception", [timer.as_ptr(), info.as_ptr()])?;
                }
            }
        }
        Ok(())
    }

    /// The time, by the hub's own clock.
    fn time(&self) -> Result<Time> {
        let clock = self.clock.get();
        if clock.is_null() {
            return Ok(monotonic());
        }
        // SAFETY: kept by the slot; the interpreter's lock is held.
        unsafe { Ok(from_seconds(ffi::float(ffi::call(clock, [])?.as_ptr())?)) }
    }

    /// Waits for I/O, until the next timer is due; does not wait if something is ready.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn look_at_io(this: This<'_, Hub>) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let wait = if !this.ready.borrow().is_empty() || this.stopping.get() || this.has_closed.get() {
                0.0
            } else {
                let next = this.timers.borrow().next_at();
                match next {
                    Some(next) => next.since(this.time()?).as_secs_f64(),
                    None => Hub::default_sleep(this)?,
                }
            };
            if !this.own_wait.get() {
                let seconds = Owned::new(ffi::PyFloat_FromDouble(wait))?;
                this.asleep.set(true);
                let waited = call_hub(this.as_ptr(), c"wait", [seconds.as_ptr()]);
                this.asleep.set(false);
                return waited.map(drop);
            }
            Hub::poll(this, wait)
        }
    }

    unsafe fn default_sleep(this: This<'_, Hub>) -> Result<f64> {
        // SAFETY: the caller's word.
        unsafe {
            if is_own(this.as_ptr(), c"default_sleep") {
                return Ok(DEFAULT_SLEEP);
            }
            ffi::float(call_hub(this.as_ptr(), c"default_sleep", [])?.as_ptr())
        }
    }

    /// The native `wait`: polls, and leaves what became ready in `io`.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn poll(this: This<'_, Hub>, seconds: f64) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let wait = park::duration(seconds);
            let polling = this.polling()?;
            // A hub that waits in its own way comes here because the bell rang, and it goes on ringing until it is looked at.
            if wait.is_zero() && this.own_wait.get() && !polling.has_waiters() {
                return Ok(());
            }
            this.statistics.polls.set(this.statistics.polls.get() + 1);
            // What the renewed poller woke.
            let wait = if this.ready.borrow().is_empty() { wait } else { Duration::ZERO };
            if wait.is_zero() {
                super::io::checked(polling.wait(wait))?;
            } else {
                this.asleep.set(true);
                let state = ffi::PyEval_SaveThread();
                let waited = polling.wait(wait);
                ffi::PyEval_RestoreThread(state);
                this.asleep.set(false);
                super::io::checked(waited)?;
                if ffi::PyErr_CheckSignals() < 0 {
                    return Err(Raised);
                }
            }
            polling.report(|work| this.io.borrow_mut().push_back(work));
        }
        Ok(())
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What Python sees

/// The type.
pub fn class() -> Class<Hub> {
    let set_attribute: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> c_int =
        set_attribute;
    Class::new()
        .init(init)
        .slot(ffi::Py_tp_setattro, set_attribute as *mut c_void)
        .method(c"run", run_loop, c"run(*args, **kwargs)\n\nThe loop, until abort() is called. It runs in the hub's greenlet.")
        .method(
            c"switch",
            switch_to_hub,
            c"switch()\n\nSuspends the current greenlet, which must have arranged to be woken, and goes on with the hub. \
              Returns what it is woken with.",
        )
        .method(c"ensure_greenlet", ensure_greenlet, c"ensure_greenlet()\n\nReplaces the hub's greenlet if it has ended.")
        .method(
            c"schedule_call_global",
            schedule_call_global,
            c"schedule_call_global(seconds, callback, *args, **kwargs) -> Timer\n\nCalls the callback in the hub's greenlet \
              after that many seconds.",
        )
        .method(
            c"add_timer",
            add_timer,
            c"add_timer(timer) -> float\n\nStarts a timer; returns the time at which it is due, by the hub's clock.",
        )
        .method(c"timer_canceled", timer_canceled, c"timer_canceled(timer)\n\nA timer was cancelled: takes note of it.")
        .method(c"prepare_timers", prepare_timers, c"prepare_timers()\n\nDoes nothing: new timers take part at once.")
        .method(
            c"fire_timers",
            fire_timers,
            c"fire_timers(when)\n\nRuns what is ready, and what is due at the time *when*.",
        )
        .method(c"sleep_until", sleep_until, c"sleep_until() -> float or None\n\nWhen the next timer is due.")
        .method(c"default_sleep", default_sleep, c"default_sleep() -> float\n\nHow many seconds to wait at most without timers.")
        .method(c"wait", wait, c"wait(seconds=None)\n\nWaits for I/O, and leaves it to the loop to tell who waits for it.")
        .method(c"get_timers_count", timers_count, c"get_timers_count() -> int\n\nHow many timers there are, cancelled ones included.")
        .method(
            c"_poller_fileno",
            poller_fileno,
            c"_poller_fileno() -> int\n\nA file descriptor that can be read when wait(0) has something to do: what other OS \
              threads made ready. For hubs that wait in their own way.",
        )
        .method(c"_clear", clear, c"_clear()\n\nForgets all timers and all that is ready.")
        .method(
            c"notify_close",
            forget,
            c"notify_close(fileno)\n\nA file descriptor is being closed by its owner: who waits on it gets an IOClosed.",
        )
        .method(
            c"mark_as_reopened",
            forget,
            c"mark_as_reopened(fileno)\n\nA file descriptor has just been opened: who still waits on its number means a file that \
              is closed, and gets an IOClosed.",
        )
        .method(c"_note_closed", note_closed, c"_note_closed()\n\nThere is something in `closed`.")
        .method(c"statistics", statistics, c"statistics() -> dict\n\nWhat the hub has done and how late it was: switches, timers \
            fired, polls; timer_lag and longest_timer_lag, longest_block in seconds; ready, timers_pending, readers_and_writers.")
        .property(c"greenlet", get_greenlet, set_greenlet, c"The greenlet that the loop runs in.")
        .property(c"clock", get_clock, set_clock, c"A function that returns the time in seconds.")
        .property(c"running", |this| Ok(Owned::bool(this.running.get())), set_running, c"Whether the loop runs.")
        .property(
            c"stopping",
            |this| Ok(Owned::bool(this.stopping.get())),
            |this, value| {
                this.stopping.set(truth(value)?);
                Ok(())
            },
            c"Whether the loop ends with this turn.",
        )
        .property(
            c"debug_blocking",
            |this| Ok(Owned::bool(this.debug_blocking.get())),
            |this, value| {
                this.debug_blocking.set(truth(value)?);
                Ok(())
            },
            c"Whether to raise in code that blocks the loop too long.",
        )
        .getter(c"timers", timers, c"Pending timers as a new list of pairs: the time at which it is due, and the timer.")
        .getter(c"next_timers", |_| unsafe_list(), c"Always empty: new timers take part at once.")
        .property(
            c"timers_canceled",
            |this| integer(this.canceled.get() + this.canceled_young.get()),
            |_, _| Ok(()),
            c"How many cancelled timers are counted by get_timers_count().",
        )
}

/// The functions of the module about hubs.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        class::function(c"get_hub", get_hub, c"get_hub() -> hub\n\nThe hub of this thread, made if there is none."),
        class::function(c"_hubs", hubs, c"_hubs() -> list\n\nPairs of an OS thread's number and its hub."),
        class::function(c"_set_hub", set_hub, c"_set_hub(hub)\n\nSets this thread's hub; None removes it."),
        class::function(
            c"_current_hub",
            current_hub,
            c"_current_hub() -> hub or None\n\nThe hub of this thread, if there is one.",
        ),
        class::function(
            c"_set_hub_factory",
            set_hub_factory,
            c"_set_hub_factory(function)\n\nSets what makes a thread's hub.",
        ),
    ]
}

fn truth(value: Option<Owned>) -> Result<bool> {
    // SAFETY: setters are called with the interpreter's lock.
    value.map_or(Ok(false), |value| unsafe { ffi::truth(value.as_ptr()) })
}

fn integer(value: usize) -> Result<Owned> {
    // SAFETY: getters are called with the interpreter's lock.
    unsafe { Owned::new(ffi::PyLong_FromSize_t(value)) }
}

fn unsafe_list() -> Result<Owned> {
    // SAFETY: getters are called with the interpreter's lock.
    unsafe { Owned::new(ffi::PyList_New(0)) }
}

fn init(this: This<'_, Hub>, args: Args<'_>) -> Result<()> {
    let [clock] = args.parse("Hub", ["clock"], 0)?;
    // SAFETY: called by the interpreter.
    unsafe {
        if !clock.is_null() {
            set_clock(this, Some(Owned::borrow(clock)))?;
        }
        let name = c_name(c"run")?;
        let run = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), name.as_ptr()))?;
        let greenlet = Owned::new(object::construct(run.as_ptr(), ptr::null_mut()))?;
        // A greenlet forgets its function when it begins; the one that follows it needs it.
        if ffi::PyObject_SetAttr(greenlet.as_ptr(), c_name(c"_loop")?.as_ptr(), run.as_ptr()) < 0 {
            return Err(Raised);
        }
        this.greenlet.set(Some(greenlet));
    }
    Ok(())
}

/// `hub.name = value`: what concerns the fast path is looked at anew.
///
/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn set_attribute(this: *mut PyObject, name: *mut PyObject, value: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let result = ffi::PyObject_GenericSetAttr(this, name, value);
        if result == 0
            && let Ok(name) = text(name)
            && (name == "wait" || FAST.iter().any(|fast| fast.to_bytes() == name.as_bytes()))
        {
            let thread = current_thread();
            if !thread.is_null() {
                (*thread).hub.look_again(this);
            }
        }
        result
    }
}

fn run_loop(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    if this.running.get() {
        // SAFETY: called by the interpreter.
        return unsafe { ffi::error(ffi::PyExc_RuntimeError, "Already running!") };
    }
    let keep = this.owned();
    this.running.set(true);
    this.stopping.set(false);
    // SAFETY: called by the interpreter.
    unsafe {
        this.own_wait.set(is_own(this.as_ptr(), c"wait"));
        let result = Hub::run(this);
        this.running.set(false);
        this.stopping.set(false);
        this.at_rest.set(false);
        drop(keep);
        result.map(|()| Owned::none())
    }
}

fn switch_to_hub(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = current_thread();
        if thread.is_null() {
            return Err(Raised);
        }
        let thread = &*thread;
        if thread.hub.plain().is_some_and(|plain| ptr::eq(plain, &*this)) {
            return park::park(thread);
        }
        let me = thread.current();
        park::prepare_to_leave(thread, &this, me)?;
        this.count_switch();
        Owned::new(switch::switch(this.greenlet(), switch::Payload::Value(Owned::none().into_raw())))
    }
}

fn ensure_greenlet(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    this.ensure_greenlet()?;
    Ok(Owned::none())
}

fn schedule_call_global(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [delay, callback, ..] = args.positional else {
        // SAFETY: called by the interpreter.
        return unsafe { ffi::error(ffi::PyExc_TypeError, "schedule_call_global() needs seconds and a callback") };
    };
    let (rest, kwargs) = args.rest(2)?;
    // SAFETY: live objects.
    unsafe {
        let timer = Timer::make(Owned::borrow(*delay), Owned::borrow(*callback), rest, kwargs)?;
        if is_own(this.as_ptr(), c"add_timer") {
            start_timer(this, &timer)?;
        } else {
            call_hub(this.as_ptr(), c"add_timer", [timer.as_ptr()])?;
        }
        Ok(timer)
    }
}

/// Starts any timer object. Returns when it is due.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn start_timer(this: This<'_, Hub>, timer: &Owned) -> Result<Time> {
    // SAFETY: the caller's word.
    unsafe {
        let delay = Owned::new(ffi::PyObject_GetAttr(timer.as_ptr(), c_name(c"seconds")?.as_ptr()))?;
        let delay = ffi::float(delay.as_ptr())?;
        if delay == 0.0 && this.clock.get().is_null() {
            let now = monotonic();
            this.make_ready(Work::Timer(timer.clone()));
            return Ok(now);
        }
        let now = this.time()?;
        let at = if delay > 0.0 {
            now + park::duration(delay)
        } else {
            Time::from_nanos(now.as_nanos().saturating_sub(park::duration(-delay).as_nanos() as u64))
        };
        let key = this.add_timer(at, Work::Timer(timer.clone()));
        if let Some(timer) = This::<Timer>::try_of(timer.as_ptr()) {
            timer.started(key, this.owned());
        }
        Ok(at)
    }
}

fn add_timer(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [timer] = args.parse("add_timer", ["timer"], 1)?;
    // SAFETY: live objects.
    unsafe {
        let at = start_timer(this, &Owned::borrow(timer))?;
        Owned::new(ffi::PyFloat_FromDouble(seconds(at)))
    }
}

fn timer_canceled(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [timer] = args.parse("timer_canceled", ["timer"], 1)?;
    // SAFETY: a live object.
    let key = unsafe { This::<Timer>::try_of(timer) }.and_then(|timer| timer.stop());
    if key.is_none_or(|key| !this.existed(key)) {
        this.canceled_young.set(this.canceled_young.get() + 1);
    } else {
        this.canceled.set(this.canceled.get() + 1);
    }
    let count = count_timers(&this);
    if count > 1000 && count / 2 <= this.canceled.get() + this.canceled_young.get() {
        this.canceled.set(0);
        this.canceled_young.set(0);
    }
    Ok(Owned::none())
}

fn count_timers(hub: &Hub) -> usize {
    hub.timers.borrow().len() + hub.ready.borrow().len() + hub.canceled.get() + hub.canceled_young.get()
}

fn timers_count(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    integer(count_timers(&this))
}

fn prepare_timers(_: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    Ok(Owned::none())
}

fn fire_timers(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [when] = args.parse("fire_timers", ["when"], 1)?;
    // SAFETY: called by the interpreter, in the hub's greenlet.
    unsafe {
        this.begin_turn(Some(from_seconds(ffi::float(when)?)));
        Hub::drain(this)?;
    }
    Ok(Owned::none())
}

fn sleep_until(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let next = if this.ready.borrow().is_empty() { this.timers.borrow().next_at() } else { Some(this.time()?) };
    // SAFETY: called by the interpreter.
    next.map_or_else(|| Ok(Owned::none()), |next| unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds(next))) })
}

fn default_sleep(_: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(DEFAULT_SLEEP)) }
}

fn wait(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [timeout] = args.parse("wait", ["seconds"], 0)?;
    // SAFETY: called by the interpreter.
    unsafe {
        let none = timeout.is_null() || timeout == ffi::Py_None();
        Hub::poll(this, if none { DEFAULT_SLEEP } else { ffi::float(timeout)? })?;
        if !this.own_wait.get() {
            // Called by an override of wait: the loop does not know that there may be something.
            this.stage.set(Stage::Io);
            Hub::drain_watched(this)?;
        }
    }
    Ok(Owned::none())
}

fn poller_fileno(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe { Owned::new(ffi::PyLong_FromLong(this.polling()?.number().into())) }
}

fn clear(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    Hub::clear(&this);
    Ok(Owned::none())
}

fn forget(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let [number] = args.parse("mark_as_reopened", ["fileno"], 1)?;
    // SAFETY: called by the interpreter.
    unsafe {
        let fd = c_int::try_from(ffi::integer(number)?).unwrap_or(-1);
        forget_file(this, fd)?;
    }
    Ok(Owned::none())
}

/// Tells those that wait on a descriptor that their file is closed.
///
/// # Safety
/// The interpreter's lock is held, in the hub's thread.
unsafe fn forget_file(this: This<'_, Hub>, fd: c_int) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let polling = this.polling_if_any().filter(|polling| polling.is_current());
        if let Some(polling) = polling {
            polling.forget(fd, super::io::closed_error)?;
        }
        let listens = !this.own_wait.get() || polling.is_some_and(|polling| polling.listens(fd));
        if listens {
            let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
            call_hub(this.as_ptr(), c"_obsolete", [number.as_ptr()])?;
        }
    }
    Ok(())
}

/// A file was opened: as the `mark_as_reopened` of a hub of any class.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn note_opened(thread: &Thread, fd: c_int) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let hub = hub_object(thread)?;
        if let Some(native) = This::<Hub>::try_of(hub)
            && is_own(hub, c"mark_as_reopened")
        {
            return forget_file(native, fd);
        }
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        call_hub(hub, c"mark_as_reopened", [number.as_ptr()]).map(drop)
    }
}

/// A file is about to be closed: as the `notify_close` of the thread's hub, if it has one.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn note_closing(thread: &Thread, fd: c_int) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        let hub = thread.hub.get();
        let native = thread.hub.plain().filter(|hub| hub.polls_itself());
        let listens = |native: &Hub| native.polling_if_any().is_some_and(|polling| polling.listens(fd));
        if hub.is_null() || native.is_some_and(|native| !listens(native)) {
            return Ok(());
        }
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        call_hub(hub, c"notify_close", [number.as_ptr()]).map(drop)
    }
}

fn note_closed(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    this.has_closed.set(true);
    if this.asleep.get() {
        this.ring();
    }
    Ok(Owned::none())
}

fn statistics(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let told = &this.statistics;
    let in_seconds = |nanos: &Cell<u64>| nanos.get() as f64 / 1e9;
    // SAFETY: called by the interpreter; numbers as the format says.
    unsafe {
        let waiters = this.polling_if_any().map_or(0, Polling::waiters);
        Owned::new(ffi::Py_BuildValue(
            c"{s:K,s:K,s:K,s:d,s:d,s:d,s:n,s:n,s:n}".as_ptr(),
            c"switches".as_ptr(),
            told.switches.get(),
            c"timers".as_ptr(),
            told.timers.get(),
            c"polls".as_ptr(),
            told.polls.get(),
            c"timer_lag".as_ptr(),
            in_seconds(&told.lag),
            c"longest_timer_lag".as_ptr(),
            in_seconds(&told.longest_lag),
            c"longest_block".as_ptr(),
            in_seconds(&told.longest_block),
            c"ready".as_ptr(),
            this.ready.borrow().len(),
            c"timers_pending".as_ptr(),
            this.timers.borrow().len(),
            c"readers_and_writers".as_ptr(),
            waiters,
        ))
    }
}

fn get_greenlet(this: This<'_, Hub>) -> Result<Owned> {
    Ok(this.greenlet.object().unwrap_or_else(Owned::none))
}

fn set_greenlet(this: This<'_, Hub>, greenlet: Option<Owned>) -> Result<()> {
    match greenlet {
        // SAFETY: a live object.
        Some(greenlet) if unsafe { object::is_greenlet(greenlet.as_ptr()) } => {
            this.greenlet.set(Some(greenlet));
            Ok(())
        }
        // SAFETY: setters are called with the interpreter's lock.
        _ => unsafe { ffi::error(ffi::PyExc_TypeError, "a hub's greenlet must be a greenlet") },
    }
}

static MONOTONIC: GlobalObject = GlobalObject::null();

fn get_clock(this: This<'_, Hub>) -> Result<Owned> {
    if let Some(clock) = this.clock.object() {
        return Ok(clock);
    }
    // SAFETY: getters are called with the interpreter's lock.
    unsafe { get_clock_default().map(|clock| Owned::borrow(clock)) }
}

fn set_clock(this: This<'_, Hub>, clock: Option<Owned>) -> Result<()> {
    let monotonic = get_clock_default()?;
    let clock = clock.filter(|clock| !clock.is_none() && clock.as_ptr() != monotonic);
    this.clock.set(clock);
    // SAFETY: the interpreter's lock is held.
    unsafe {
        let thread = current_thread();
        if !thread.is_null() {
            (*thread).hub.look_again(this.as_ptr());
        }
    }
    Ok(())
}

/// `time.monotonic`, borrowed.
fn get_clock_default() -> Result<*mut PyObject> {
    // SAFETY: the interpreter's lock is held.
    unsafe {
        if MONOTONIC.object().is_null() {
            let time = Owned::new(ffi::PyImport_ImportModule(c"time".as_ptr()))?;
            MONOTONIC.set(Owned::new(ffi::PyObject_GetAttrString(time.as_ptr(), c"monotonic".as_ptr()))?.into_raw());
        }
        Ok(MONOTONIC.object())
    }
}

fn set_running(this: This<'_, Hub>, value: Option<Owned>) -> Result<()> {
    this.running.set(truth(value)?);
    Ok(())
}

fn timers(this: This<'_, Hub>) -> Result<Owned> {
    // SAFETY: getters are called with the interpreter's lock; the objects are collected before any code can run.
    unsafe {
        let mut found = Vec::new();
        let mut add = |at: Time, work: &Work| {
            let object = match work {
                Work::Timer(timer) => timer.clone(),
                Work::Wake(ticket, _) => Owned::borrow(ticket.greenlet()),
                Work::Start { greenlet, .. } => greenlet.clone(),
                Work::Listener(..) => return,
            };
            found.push((seconds(at), object));
        };
        this.ready.borrow().iter().for_each(|(since, work)| add(*since, work));
        this.timers.borrow().iter().for_each(|(key, work)| add(key.at(), work));
        let list = Owned::new(ffi::PyList_New(0))?;
        for (at, object) in found {
            let pair = Owned::new(ffi::Py_BuildValue(c"dO".as_ptr(), at, object.as_ptr()))?;
            if ffi::PyList_Append(list.as_ptr(), pair.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

fn get_hub(_: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = current_thread();
        if thread.is_null() {
            return Err(Raised);
        }
        hub_object(&*thread).map(|hub| Owned::borrow(hub))
    }
}

fn current_hub(_: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = current_thread();
        if thread.is_null() {
            return Err(Raised);
        }
        let hub = (*thread).hub.get();
        Ok(if hub.is_null() { Owned::none() } else { Owned::borrow(hub) })
    }
}

fn hubs(_: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter; the objects are collected before any code can run.
    unsafe {
        let list = Owned::new(ffi::PyList_New(0))?;
        for (ident, hub) in crate::thread::hubs() {
            let pair = Owned::new(ffi::Py_BuildValue(c"kO".as_ptr(), ident, hub.as_ptr()))?;
            if ffi::PyList_Append(list.as_ptr(), pair.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

fn set_hub(args: Args<'_>) -> Result<Owned> {
    let [hub] = args.parse("_set_hub", ["hub"], 1)?;
    // SAFETY: called by the interpreter.
    unsafe {
        if current_thread().is_null() {
            return Err(Raised);
        }
        this_thread().hub.set((hub != ffi::Py_None()).then(|| Owned::borrow(hub)));
    }
    Ok(Owned::none())
}

fn set_hub_factory(args: Args<'_>) -> Result<Owned> {
    let [factory] = args.parse("_set_hub_factory", ["function"], 1)?;
    // SAFETY: called by the interpreter.
    unsafe { MAKE_HUB.set(ffi::incref(factory)) };
    Ok(Owned::none())
}
