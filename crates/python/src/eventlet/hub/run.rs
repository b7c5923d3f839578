//! The loop: one turn after the other, in the hub's greenlet.

use std::ffi::c_int;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

use greenloom_hub::{Direction, Time};

use super::timer::Timer;
use super::{DEFAULT_SLEEP, Hub, Stage, c_name, call_hub, is_own};
use crate::eventlet::clock::{self, from_seconds, monotonic};
use crate::eventlet::polling::{checked, may_be_closed};
use crate::eventlet::work::{self, Work};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Owned, Pending, Raised, Result, This, assumed, exception_info};

impl Hub {
    /// Runs the loop until it is stopped.
    ///
    /// # Safety
    /// `this` is the hub's object, in its thread; the interpreter's lock is held.
    pub(in crate::eventlet) unsafe fn run(this: This<'_, Hub>) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let mut now = this.time()?;
            this.statistics.looked_at.set(now);
            while !this.stopping.get() {
                now = Hub::turn(this, now)?;
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
    pub(in crate::eventlet) fn clear(&self) {
        self.canceled.set(0);
        let (ready, timers) = (self.ready.take(), self.timers.take());
        drop((ready, timers));
    }

    /// One turn, which begins at `now`. Returns when it ended.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn turn(this: This<'_, Hub>, now: Time) -> Result<Time> {
        let object = this.as_ptr();
        // SAFETY: the caller's word.
        unsafe {
            let tells = this.has_closed.get();
            while this.has_closed.get() {
                match call_hub(object, c"_close_next", []) {
                    Ok(more) => this.has_closed.set(py::truth(more.as_ptr())?),
                    // Who was told has ended with this error.
                    Err(Raised) => Hub::report(this, None, None)?,
                }
            }
            this.begin_turn(Some(if tells { this.time()? } else { now }));
            Hub::drain_watched(this)?;
            let now = this.time()?;
            this.count_block(now);
            Hub::look_at_io(this, now)?;
            this.stage.set(Stage::Io);
            if this.own_wait.get() && this.io.borrow().is_empty() && !this.debug_blocking.get() {
                // Nothing has run since it looked.
                return Ok(this.statistics.looked_at.get());
            }
            Hub::drain_watched(this)?;
            this.time()
        }
    }

    /// As [`drain`](Self::drain), with the alarm for what takes too long, if it is wanted.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    pub(in crate::eventlet) unsafe fn drain_watched(this: This<'_, Hub>) -> Result<()> {
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
    pub(in crate::eventlet) unsafe fn drain(this: This<'_, Hub>) -> Result<()> {
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
                    work::begin(greenlet, args, kwargs)
                }
                Work::Timer(object) => {
                    let result = Timer::fire(object.as_ptr());
                    timer = Some(object);
                    result.map_or(ptr::null_mut(), Owned::into_raw)
                }
                Work::Listener(number, direction) => {
                    fd = Some(number);
                    tell_listener(this.as_ptr(), number, direction).map_or(ptr::null_mut(), Owned::into_raw)
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
            let pending = Pending::take(this.gil());
            let system = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), c_name(c"SYSTEM_EXCEPTIONS")?.as_ptr()));
            pending.put_back();
            if system.is_err() || ffi::PyErr_ExceptionMatches(system?.as_ptr()) != 0 {
                return Err(Raised);
            }
            let info = exception_info(this.gil())?;
            match fd {
                Some(fd) => {
                    let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
                    call_hub(this.as_ptr(), c"squelch_exception", [number.as_ptr(), info.as_ptr()])?;
                }
                None => {
                    let timer = timer.unwrap_or_else(|| Owned::none(this.gil()));
                    call_hub(this.as_ptr(), c"squelch_timer_exception", [timer.as_ptr(), info.as_ptr()])?;
                }
            }
        }
        Ok(())
    }

    /// The time, by the hub's own clock.
    pub(in crate::eventlet) fn time(&self) -> Result<Time> {
        let clock = self.clock.get();
        if clock.is_null() {
            return Ok(monotonic());
        }
        // SAFETY: kept by the slot; the interpreter's lock is held.
        unsafe { Ok(from_seconds(py::float(py::call(clock, [])?.as_ptr())?)) }
    }

    /// The loop comes to look at I/O: what ran since it last did has kept it so long.
    fn count_block(&self, now: Time) {
        let told = &self.statistics;
        let took = now.since(told.looked_at.get()).as_nanos() as u64;
        told.longest_block.set(told.longest_block.get().max(took));
        told.looked_at.set(now);
    }

    /// Waits for I/O, until the next timer is due; does not wait if something is ready.
    ///
    /// A signal's handler may end the wait, and no more than that, by raising an OSError with EINTR, as in stock
    /// eventlet.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn look_at_io(this: This<'_, Hub>, now: Time) -> Result<()> {
        // SAFETY: as `run`; without a result an exception is pending.
        unsafe {
            let looked = Hub::wait_for_io(this, now);
            if looked.is_err() && ffi::PyErr_ExceptionMatches(ffi::PyExc_InterruptedError) != 0 {
                ffi::PyErr_Clear();
                this.statistics.looked_at.set(this.time()?);
                return Ok(());
            }
            looked
        }
    }

    /// # Safety
    /// As [`run`](Self::run).
    unsafe fn wait_for_io(this: This<'_, Hub>, now: Time) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            // Whoever wakes the hub from another OS thread finds a bell to ring, in its first wait too.
            this.polling()?;
            let next = this.timers.borrow().next_at();
            // It may be Python code, during which others make work ready.
            let longest = if next.is_none() { Hub::default_sleep(this)? } else { 0.0 };
            let wait = if !this.ready.borrow().is_empty() || this.stopping.get() || this.has_closed.get() {
                0.0
            } else {
                this.timers.borrow().next_at().map_or(longest, |next| next.since(now).as_secs_f64())
            };
            if !this.own_wait.get() {
                let seconds = Owned::new(ffi::PyFloat_FromDouble(wait))?;
                this.asleep.set(true);
                let waited = call_hub(this.as_ptr(), c"wait", [seconds.as_ptr()]);
                this.asleep.set(false);
                waited?;
                if this.statistics.looked_at.get() == now {
                    // It has not told when it looked, and so ran nobody since.
                    this.statistics.looked_at.set(this.time()?);
                }
                return Ok(());
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
            py::float(call_hub(this.as_ptr(), c"default_sleep", [])?.as_ptr())
        }
    }

    /// The native `wait`: polls, and leaves what became ready in `io`.
    ///
    /// # Safety
    /// As [`run`](Self::run).
    pub(in crate::eventlet) unsafe fn poll(this: This<'_, Hub>, seconds: f64) -> Result<()> {
        // SAFETY: the caller's word.
        unsafe {
            let wait = clock::duration(seconds);
            let polling = this.polling()?;
            // A hub that waits in its own way comes here because the bell rang, and it goes on ringing until it is
            // looked at.
            if wait.is_zero() && this.own_wait.get() && !polling.has_waiters() {
                return Ok(());
            }
            this.statistics.polls.set(this.statistics.polls.get() + 1);
            // What the renewed poller woke.
            let wait = if this.ready.borrow().is_empty() { wait } else { Duration::ZERO };
            if wait.is_zero() {
                match polling.wait(wait) {
                    Err(error) if may_be_closed(&error) && this.renew_if_closed()? => return Ok(()),
                    waited => checked(waited)?,
                }
            } else {
                this.asleep.set(true);
                let state = ffi::PyEval_SaveThread();
                let waited = polling.wait(wait);
                ffi::PyEval_RestoreThread(state);
                this.asleep.set(false);
                match waited {
                    Err(error) if may_be_closed(&error) && this.renew_if_closed()? => return Ok(()),
                    waited => checked(waited)?,
                }
                if ffi::PyErr_CheckSignals() < 0 {
                    return Err(Raised);
                }
            }
            this.statistics.looked_at.set(this.time()?);
            polling.report(|work| this.io.borrow_mut().push_back(work));
        }
        Ok(())
    }
}

/// Calls the listener of a descriptor, in the hub's greenlet.
///
/// # Safety
/// A live hub; the interpreter's lock is held.
pub unsafe fn tell_listener(hub: *mut PyObject, fd: RawFd, direction: Direction) -> Result<Owned> {
    // SAFETY: the caller's word; what is borrowed from a dict is kept before code can run.
    unsafe {
        let listeners = Owned::new(ffi::PyObject_GetAttrString(hub, c"listeners".as_ptr()))?;
        let kind = if direction == Direction::Read { "read" } else { "write" };
        let kind = py::string(assumed(), kind)?;
        let bucket = Owned::new(ffi::PyObject_GetItem(listeners.as_ptr(), kind.as_ptr()))?;
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        let listener = ffi::PyDict_GetItemWithError(bucket.as_ptr(), number.as_ptr());
        if listener.is_null() {
            return if ffi::PyErr_Occurred().is_null() { Ok(Owned::none(assumed())) } else { Err(Raised) };
        }
        let listener = Owned::borrow(listener);
        let callback = Owned::new(ffi::PyObject_GetAttrString(listener.as_ptr(), c"cb".as_ptr()))?;
        py::call(callback.as_ptr(), [number.as_ptr()])
    }
}
