//! The loop, in the hub's greenlet: what [`greenloom_hub::run_turn`] asks for, whose order it has.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::{Duration, Instant};

use greenloom_hub::{Budget, Direction, Loop, TURN_EVERY, Time, run_turn};

use super::timer::Timer;
use super::{DEFAULT_SLEEP, Hub, Stage, c_name, call_hub};
use crate::eventlet::clock::{self, from_seconds, monotonic};
use crate::eventlet::polling::{checked, may_be_closed};
use crate::eventlet::work::{self, Work};
use crate::greenlet::Here;
use crate::greenlet::recording::{self, Wake};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, Owned, Pending, Raised, Result, This, exception_info};

/// The loop of a hub, in its thread.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    hub: This<'a, Hub>,
    thread: Here<'a>,
}

/// Its turns.
struct Turns<'a> {
    runner: Runner<'a>,
    /// When the last one ended.
    ended: Cell<Time>,
    /// Whether the alarm is set for what takes too long.
    is_watched: Cell<bool>,
}

impl Loop for Turns<'_> {
    type Error = Raised;

    #[inline]
    fn budget(&self) -> &Budget {
        &self.runner.hub.budget
    }

    fn batch(&self) -> u32 {
        self.runner.hub.count_ready()
    }

    /// The turn in which the hub is stopped is finished, as in stock eventlet.
    fn is_ending(&self) -> bool {
        false
    }

    /// Also makes the first poller: a waker in another OS thread finds a bell to ring.
    #[inline]
    fn renew(&self) -> Result<()> {
        // SAFETY: not used at all.
        unsafe { self.runner.hub.polling(self.runner.thread).map(drop) }
    }

    /// Tells those whose descriptors were closed; then the turn begins.
    #[inline]
    fn receive(&self) -> Result<()> {
        let Runner { hub, .. } = self.runner;
        if hub.has_closed.get() {
            self.runner.tell_closed()?;
            self.ended.set(hub.time()?);
        }
        hub.begin_turn(Some(self.ended.get()));
        self.is_watched.set(hub.debug_blocking.get());
        if self.is_watched.get() { self.runner.begin_watch() } else { Ok(()) }
    }

    #[inline]
    fn run_due(&self) -> Result<bool> {
        let handed = self.runner.hub.handed.take();
        self.runner.run(handed.or_else(|| self.runner.hub.next_due()))
    }

    #[inline]
    fn run_next(&self) -> Result<bool> {
        self.runner.run(self.runner.hub.next_ready())
    }

    /// Looks at I/O, and runs what that made ready.
    fn look(&self) -> Result<()> {
        let Runner { hub, .. } = self.runner;
        if self.is_watched.get() {
            self.runner.end_watch()?;
        }
        let now = hub.time()?;
        hub.statistics.count_look(now);
        self.runner.look_at_io(now)?;
        hub.stage.set(Stage::Io);
        if hub.own_wait.get() && hub.io.borrow().is_empty() && !hub.debug_blocking.get() {
            // Nothing has run since it looked.
            self.ended.set(hub.statistics.looked_at());
            return Ok(());
        }
        self.runner.drain_watched()?;
        self.ended.set(hub.time()?);
        Ok(())
    }
}

impl<'a> Runner<'a> {
    /// Of the hub of the running thread.
    pub(in crate::eventlet) fn new(hub: This<'a, Hub>, thread: Here<'a>) -> Runner<'a> {
        Runner { hub, thread }
    }

    /// Runs the loop until it is stopped.
    pub(in crate::eventlet) fn run_loop(self) -> Result<()> {
        let now = self.hub.time()?;
        self.hub.statistics.looked(now);
        let turns = Turns { runner: self, ended: Cell::new(now), is_watched: Cell::new(false) };
        while !self.hub.stopping.get() {
            run_turn(&turns)?;
        }
        self.hub.clear();
        Ok(())
    }

    #[cold]
    fn tell_closed(self) -> Result<()> {
        while self.hub.has_closed.get() {
            match self.call(c"_close_next") {
                // SAFETY: a live object.
                Ok(more) => self.hub.has_closed.set(unsafe { py::truth(more.as_ptr())? }),
                // Whoever was told has ended with this error.
                Err(Raised) => self.report(None, None)?,
            }
        }
        Ok(())
    }

    /// Calls a method of the hub.
    fn call(self, name: &std::ffi::CStr) -> Result<Owned> {
        // SAFETY: a live object.
        unsafe { call_hub(self.hub.gil(), self.hub.as_ptr(), name, []) }
    }

    #[cold]
    fn begin_watch(self) -> Result<()> {
        self.call(c"block_detect_pre").map(drop)
    }

    #[cold]
    fn end_watch(self) -> Result<()> {
        self.call(c"block_detect_post").map(drop)
    }

    /// As [`drain`](Self::drain), with the alarm for what takes too long, if it is wanted.
    pub(in crate::eventlet) fn drain_watched(self) -> Result<()> {
        if !self.hub.debug_blocking.get() {
            return self.drain();
        }
        self.begin_watch()?;
        self.drain()?;
        self.end_watch()
    }

    /// Runs what is left of the stage.
    pub(in crate::eventlet) fn drain(self) -> Result<()> {
        loop {
            let handed = self.hub.handed.take();
            if !self.run(handed.or_else(|| self.hub.next()))? {
                return Ok(());
            }
        }
    }

    /// Does a piece of work, unless there is nothing left of it to do. Returns whether there is one at all.
    #[inline]
    fn run(self, work: Option<Work>) -> Result<bool> {
        let Some(work) = work else { return Ok(false) };
        if !work.is_stale() {
            self.perform(work)?;
        }
        Ok(true)
    }

    /// Does one piece of work. Its error is printed; only what ends programs ends the loop.
    pub(super) fn perform(self, work: Work) -> Result<()> {
        let (mut timer, mut fd) = (None, None);
        // SAFETY: what is to begin is a greenlet, with a tuple and a dict; the other objects are alive.
        let result = unsafe {
            match work {
                Work::Wake(ticket, outcome) => {
                    self.note_leaving();
                    ticket.resume(self.thread, outcome)
                }
                Work::Start { greenlet, args, kwargs } => {
                    self.note_leaving();
                    work::begin(self.thread, greenlet, args, kwargs)
                }
                Work::Timer(object) => {
                    let result = Timer::fire(object.as_ptr());
                    timer = Some(object);
                    result
                }
                Work::Listener(number, direction) => {
                    fd = Some(number);
                    tell_listener(self.hub.gil(), self.hub.as_ptr(), number, direction)
                }
            }
        };
        self.hub.at_rest.set(false);
        match result {
            Ok(_) => Ok(()),
            Err(Raised) => self.report(timer, fd),
        }
    }

    /// The loop's greenlet is left for one that is ready, and goes on after it.
    #[inline]
    fn note_leaving(self) {
        self.hub.count_switch();
        self.hub.at_rest.set(true);
        if recording::is_on() {
            recording::waits_for(&self.thread, "");
        }
    }

    /// Reports the pending exception, or returns it if it is one that ends programs, or a signal's.
    #[cold]
    fn report(self, timer: Option<Owned>, fd: Option<c_int>) -> Result<()> {
        let (object, gil) = (self.hub.as_ptr(), self.hub.gil());
        if self.hub.raised_by_signal.take() {
            return Err(Raised);
        }
        // SAFETY: an exception is pending; live objects.
        unsafe {
            let pending = Pending::take(gil);
            let system = Owned::new(ffi::PyObject_GetAttr(object, c_name(gil, c"SYSTEM_EXCEPTIONS")?.as_ptr()));
            pending.put_back();
            if system.is_err() || ffi::PyErr_ExceptionMatches(system?.as_ptr()) != 0 {
                return Err(Raised);
            }
            let info = exception_info(gil)?;
            match fd {
                Some(fd) => {
                    let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
                    call_hub(gil, object, c"squelch_exception", [number.as_ptr(), info.as_ptr()])?;
                }
                None => {
                    let timer = timer.unwrap_or_else(|| Owned::none(gil));
                    call_hub(gil, object, c"squelch_timer_exception", [timer.as_ptr(), info.as_ptr()])?;
                }
            }
        }
        Ok(())
    }

    /// Waits for I/O, until the next timer is due; does not wait if something is ready.
    ///
    /// A signal's handler may end the wait, and no more than that, by raising an OSError with EINTR, as in stock
    /// eventlet.
    fn look_at_io(self, now: Time) -> Result<()> {
        let looked = self.wait_for_io(now);
        // SAFETY: without a result an exception is pending.
        unsafe {
            if looked.is_err() && ffi::PyErr_ExceptionMatches(ffi::PyExc_InterruptedError) != 0 {
                ffi::PyErr_Clear();
                self.hub.statistics.looked(self.hub.time()?);
                return Ok(());
            }
        }
        looked
    }

    fn wait_for_io(self, now: Time) -> Result<()> {
        let hub = self.hub;
        let is_ready = || !hub.ready.borrow().is_empty() || !hub.io.borrow().is_empty();
        let has_work = || is_ready() || hub.stopping.get() || hub.has_closed.get();
        let until_timer = || hub.timers.borrow().next_at().map(|next| next.since(now).as_secs_f64());
        let mut wait = 0.0;
        if !has_work() {
            wait = match until_timer() {
                Some(seconds) => seconds,
                None => {
                    let longest = self.default_sleep()?;
                    // It may have been Python code, during which others made work ready.
                    if has_work() { 0.0 } else { until_timer().unwrap_or(longest) }
                }
            };
        }
        if hub.own_wait.get() { self.poll(wait) } else { self.wait_through_python(now, wait) }
    }

    /// Waits with an override of `wait`.
    fn wait_through_python(self, now: Time, seconds: f64) -> Result<()> {
        let hub = self.hub;
        hub.asleep.set(true);
        hub.statistics.set_waits(true);
        // SAFETY: live objects.
        let waited = unsafe {
            Owned::new(ffi::PyFloat_FromDouble(seconds))
                .and_then(|seconds| call_hub(hub.gil(), hub.as_ptr(), c"wait", [seconds.as_ptr()]))
        };
        hub.asleep.set(false);
        hub.statistics.set_waits(false);
        waited?;
        if hub.statistics.looked_at() == now {
            // It has not told when it looked, and so ran nobody since.
            hub.statistics.looked(hub.time()?);
        }
        Ok(())
    }

    fn default_sleep(self) -> Result<f64> {
        if self.hub.own_default_sleep.get() {
            return Ok(DEFAULT_SLEEP);
        }
        // SAFETY: a live object.
        unsafe { py::float(self.call(c"default_sleep")?.as_ptr()) }
    }

    /// The native `wait`: polls, and leaves what became ready in `io`.
    pub(in crate::eventlet) fn poll(self, seconds: f64) -> Result<()> {
        let hub = self.hub;
        hub.hand_overs.refill(TURN_EVERY);
        let wait = clock::duration(seconds);
        // SAFETY: no code of others runs until it was last used, but for signal handlers; after these it is asked for
        // anew.
        let polling = unsafe { hub.polling(self.thread)? };
        // A hub that waits in its own way comes here because the bell rang, and it goes on ringing until it is looked
        // at.
        if wait.is_zero() && hub.own_wait.get() && !polling.has_waiters() {
            return Ok(());
        }
        // What the renewed poller woke.
        let wait = if hub.ready.borrow().is_empty() { wait } else { Duration::ZERO };
        let waited = if wait.is_zero() {
            // SAFETY: the hub's thread.
            unsafe { polling.wait(wait) }
        } else {
            hub.asleep.set(true);
            // SAFETY: the hub's thread; no object is touched.
            let waited = unsafe { self.without_the_lock(|| polling.wait(wait)) };
            hub.asleep.set(false);
            waited
        };
        let by_signal = match waited {
            Err(error) if may_be_closed(&error) && hub.renew_if_closed(self.thread)? => return Ok(()),
            waited => checked(hub.gil(), waited)?,
        };
        if by_signal {
            Hub::begin_handlers(hub)?;
        // SAFETY: the lock is held again.
        } else if !wait.is_zero() && unsafe { ffi::PyErr_CheckSignals() } < 0 {
            return Err(Raised);
        }
        hub.statistics.looked(hub.time()?);
        // SAFETY: asked for anew, as signal handlers may have run; the hub's thread.
        unsafe {
            if let Some(polling) = hub.polling_if_any().filter(|polling| polling.is_current()) {
                polling.report(|work| {
                    if recording::is_on() {
                        work.tell_woken(Some(Wake::Io));
                    }
                    hub.io.borrow_mut().push_back(work);
                });
            }
        }
        Ok(())
    }

    /// For a hub that waits in its own way: until a descriptor can be read, for these seconds at most. The handlers of
    /// a signal that ends the wait are called here and now: where Python code goes on, the interpreter would call them
    /// in the loop's greenlet. If they wait, the loop goes on meanwhile.
    pub(in crate::eventlet) fn wait_for(self, fd: RawFd, seconds: Option<f64>) -> Result<()> {
        let limit = seconds.map(clock::duration).map(|span| libc::timespec {
            tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, which lives over the call, as the limit does; no object is touched.
        let by_signal = unsafe {
            self.without_the_lock(|| {
                libc::ppoll(&mut poll, 1, limit, ptr::null()) < 0
                    && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            })
        };
        if by_signal { self.perform(Hub::all_handlers(self.hub)?) } else { Ok(()) }
    }

    /// Waits without the interpreter's lock.
    ///
    /// # Safety
    /// No object is touched.
    unsafe fn without_the_lock<T>(self, wait: impl FnOnce() -> T) -> T {
        if recording::is_on() {
            recording::idle(&self.thread);
        }
        // SAFETY: the hub's thread has the lock, and has it again afterwards.
        let (waited, until) = unsafe {
            let state = ffi::PyEval_SaveThread();
            self.hub.statistics.set_waits(true);
            let waited = wait();
            self.hub.statistics.set_waits(false);
            let until = recording::is_on().then(Instant::now);
            ffi::PyEval_RestoreThread(state);
            (waited, until)
        };
        if let Some(until) = until {
            recording::busy(&self.thread, until);
        }
        waited
    }
}

impl Hub {
    /// Forgets all that waits, and closes the poller. The thread must have ended.
    pub fn close(&self) {
        self.clear();
        let io = self.io.take();
        // SAFETY: nobody waits, and so nobody uses it.
        let polling = unsafe { (*self.polling.get()).take() };
        drop((io, polling));
    }

    /// Forgets all that is ready or waits for its time.
    pub(in crate::eventlet) fn clear(&self) {
        self.canceled.set(0);
        let (ready, timers) = (self.ready.take(), self.timers.take());
        drop((ready, timers));
    }

    /// The time, by the hub's own clock.
    pub(in crate::eventlet) fn time(&self) -> Result<Time> {
        let Some(clock) = self.clock.object() else { return Ok(monotonic()) };
        // SAFETY: live objects.
        unsafe { Ok(from_seconds(py::float(py::call(clock.as_ptr(), [])?.as_ptr())?)) }
    }
}

/// Calls the listener of a descriptor, in the hub's greenlet.
///
/// # Safety
/// A live hub.
unsafe fn tell_listener(gil: Gil<'_>, hub: *mut PyObject, fd: RawFd, direction: Direction) -> Result<Owned> {
    let kind = py::string(gil, if direction == Direction::Read { "read" } else { "write" })?;
    // SAFETY: live objects; what is borrowed from a dict is kept before code can run.
    unsafe {
        let listeners = Owned::new(ffi::PyObject_GetAttrString(hub, c"listeners".as_ptr()))?;
        let bucket = Owned::new(ffi::PyObject_GetItem(listeners.as_ptr(), kind.as_ptr()))?;
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        let listener = ffi::PyDict_GetItemWithError(bucket.as_ptr(), number.as_ptr());
        if listener.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(Owned::none(gil)) } else { Err(Raised) };
        }
        let listener = Owned::borrow(listener);
        let callback = Owned::new(ffi::PyObject_GetAttrString(listener.as_ptr(), c"cb".as_ptr()))?;
        py::call(callback.as_ptr(), [number.as_ptr()])
    }
}
