//! Suspending a greenlet and waking it.
//!
//! Whoever blocks takes a [`Ticket`], leaves it where its waker will find it, and [parks](park). A ticket is good for one
//! park: when the greenlet has gone on, for whatever reason, wakes with the old ticket do nothing. So a timer, an event and a
//! kill may race for one greenlet, and nobody needs to take back what comes late.
//!
//! ```text
//! let ticket = Ticket::take(thread);
//! waiters.push(ticket.clone());
//! let value = park(thread);          // null: an exception was thrown in
//! ```
//!
//! The greenlet that parks picks the next piece of ready work itself where it can, and so saves the way through the hub.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;
use std::time::Duration;

use ::hub::{Time, TimerKey};

use super::hub::Hub;
use super::hub_ref::hub_object;
use super::work::Work;
use crate::eventlet::hub_ref;
use crate::greenlet::switch::Handover;
use crate::greenlet::{self, PyGreenlet, State, Thread, body, names, record_of, switch};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Args, Class, ClassCell, GlobalObject, Owned, Payload, Pending, Result, This};

/// Names one park of one greenlet.
#[derive(Clone)]
pub struct Ticket {
    greenlet: Owned,
    park: u64,
}

impl Ticket {
    /// For the next park of the running greenlet.
    #[inline]
    pub fn take(thread: &Thread) -> Ticket {
        // SAFETY: the running greenlet is alive.
        unsafe {
            let me = thread.current();
            let park = body(me).parks.get() + 1;
            body(me).parks.set(park);
            Ticket { greenlet: Owned::borrow(me), park }
        }
    }

    /// The greenlet, borrowed.
    #[inline]
    pub fn greenlet(&self) -> *mut PyGreenlet {
        self.greenlet.as_ptr().cast()
    }

    /// Whether it names the same park.
    pub fn is_same(&self, other: &Ticket) -> bool {
        self.greenlet() == other.greenlet() && self.park == other.park
    }

    /// Whether the greenlet is still in that park.
    #[inline]
    pub fn is_valid(&self) -> bool {
        // SAFETY: the ticket keeps the greenlet.
        unsafe {
            let body = body(self.greenlet());
            body.parks.get() == self.park && body.state.get() == State::Active
        }
    }

    /// Makes the greenlet ready to go on with `outcome`, behind what is ready already. May be called from any OS thread.
    /// Returns whether it still waited.
    pub fn wake(self, outcome: Outcome) -> bool {
        if !self.is_valid() {
            return false;
        }
        // SAFETY: a valid ticket's greenlet has begun, so it has a handle; the record's objects are guarded by the lock.
        unsafe {
            let handle = body(self.greenlet()).handle().filter(|handle| handle.is_alive());
            let Some(record) = handle.and_then(|handle| record_of(handle)) else {
                return false;
            };
            match hub_ref::plain(record) {
                Some(hub) => hub.make_ready(Work::Wake(self, outcome)),
                None => self.wake_through(hub_ref::object_of(record), outcome),
            }
        }
        true
    }

    /// By way of the hub's Python methods. An error is printed: whoever wakes has nothing to do with it.
    #[cold]
    fn wake_through(self, hub: *mut PyObject, outcome: Outcome) {
        if hub.is_null() {
            return;
        }
        // SAFETY: live objects.
        unsafe {
            let done = WakeLater::make(self, outcome).and_then(|later| super::hub::schedule(hub, 0.0, later.as_ptr()));
            if done.is_err() {
                ffi::PyErr_WriteUnraisable(hub);
            }
        }
    }

    /// Switches to the greenlet, if it still waits.
    ///
    /// # Safety
    /// The interpreter's lock is held, in the greenlet's thread, whose record exists.
    #[inline]
    pub unsafe fn resume(self, outcome: Outcome) -> *mut PyObject {
        let greenlet = self.greenlet.into_raw().cast();
        // SAFETY: the caller's word.
        unsafe { switch::switch_owned(greenlet, outcome.into_payload()) }
    }
}

/// What a parked greenlet goes on with.
pub enum Outcome {
    /// Its park returns this.
    Value(Owned),
    /// Its park raises this exception, with this traceback if there is one.
    Throw(Owned, Option<Owned>),
}

impl Outcome {
    /// None.
    pub fn none() -> Outcome {
        Outcome::Value(Owned::none())
    }

    fn into_payload(self) -> Handover {
        match self {
            Outcome::Value(value) => Handover::Value(value.into_raw()),
            Outcome::Throw(exception, traceback) => {
                // SAFETY: an exception, with the lock held.
                unsafe { restore(&exception, traceback) };
                Handover::Throw
            }
        }
    }
}

/// Makes an exception pending.
///
/// # Safety
/// An exception instance; the interpreter's lock is held.
pub unsafe fn restore(exception: &Owned, traceback: Option<Owned>) {
    // SAFETY: the caller's word; the references are handed over.
    #[allow(deprecated)]
    unsafe {
        let kind = ffi::incref(ffi::Py_TYPE(exception.as_ptr())).cast();
        let traceback = match traceback {
            Some(traceback) => traceback.into_raw(),
            None => ffi::PyException_GetTraceback(exception.as_ptr()),
        };
        ffi::PyErr_Restore(kind, exception.clone().into_raw(), traceback);
    }
}

/// What a park returns whose time is up.
static TIMED_OUT: GlobalObject = GlobalObject::null();

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word; the object lives for ever.
    unsafe {
        TIMED_OUT.set(py::call(ptr::addr_of_mut!(ffi::PyBaseObject_Type).cast(), [])?.into_raw());
        SWITCH_OUT.set(Owned::new(ffi::PyUnicode_InternFromString(c"switch_out".as_ptr()))?.into_raw());
        CANCEL.set(Owned::new(ffi::PyUnicode_InternFromString(c"cancel".as_ptr()))?.into_raw());
        Class::<WakeLater>::new().call(WakeLater::call).build(module)
    }
}

static SWITCH_OUT: GlobalObject = GlobalObject::null();
static CANCEL: GlobalObject = GlobalObject::null();

/// Suspends the running greenlet until somebody switches to it. Returns what it goes on with.
///
/// # Errors
/// What is thrown in; RuntimeError in the hub's own greenlet.
///
/// # Safety
/// The interpreter's lock is held, in the thread of the record.
#[inline]
pub unsafe fn park(thread: &Thread) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe {
        let value = match hub_ref::plain(thread) {
            Some(hub) => leave(thread, hub),
            None => leave_through_python(thread),
        };
        let me = body(thread.current());
        me.parks.set(me.parks.get() + 1);
        Owned::new(value)
    }
}

/// As [`park`], at most until `deadline`: None means that the time is up. Wake with `ticket`, which was taken for this park.
///
/// # Safety
/// As [`park`].
pub unsafe fn park_until(thread: &Thread, ticket: &Ticket, deadline: Option<Time>) -> Result<Option<Owned>> {
    // SAFETY: the caller's word.
    unsafe {
        let Some(deadline) = deadline else {
            return park(thread).map(Some);
        };
        let timed_out = Owned::borrow(TIMED_OUT.object());
        let alarm = Alarm::set(thread, deadline, ticket.clone(), Outcome::Value(timed_out))?;
        let value = park(thread);
        alarm.cancel(thread);
        let value = value?;
        Ok((value.as_ptr() != TIMED_OUT.object()).then_some(value))
    }
}

/// When `seconds` from now is; None for None. Negative times are now.
///
/// # Safety
/// A live object; the interpreter's lock is held.
pub unsafe fn deadline(seconds: *mut PyObject) -> Result<Option<Time>> {
    // SAFETY: the caller's word.
    unsafe {
        if seconds.is_null() || seconds == ffi::Py_None() {
            return Ok(None);
        }
        let seconds = py::float(seconds)?;
        Ok(Some(super::hub::monotonic() + duration(seconds)))
    }
}

/// A time span; negative ones and NaN count as none, infinite ones as for ever.
pub fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// The point that many seconds after `now`, or before it if they are negative.
pub fn after(now: Time, seconds: f64) -> Time {
    if seconds >= 0.0 {
        now + duration(seconds)
    } else {
        Time::from_nanos(now.as_nanos().saturating_sub(duration(-seconds).as_nanos() as u64))
    }
}

/// A timer that wakes with a ticket.
pub enum Alarm {
    /// Of a plain hub.
    Native(TimerKey),
    /// Of another one: its timer object.
    Python(Owned),
}

impl Alarm {
    /// Sets one in the running thread's hub.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn set(thread: &Thread, at: Time, ticket: Ticket, outcome: Outcome) -> Result<Alarm> {
        // SAFETY: the caller's word.
        unsafe {
            let object = hub_object(thread)?;
            match hub_ref::plain(thread) {
                Some(hub) => Ok(Alarm::Native(hub.add_timer(at, Work::Wake(ticket, outcome)))),
                None => {
                    let later = WakeLater::make(ticket, outcome)?;
                    let seconds = at.since(super::hub::monotonic()).as_secs_f64();
                    Ok(Alarm::Python(super::hub::schedule(object, seconds, later.as_ptr())?))
                }
            }
        }
    }

    /// Cancels it, if it has not rung.
    ///
    /// # Safety
    /// The interpreter's lock is held. A pending exception is kept.
    pub unsafe fn cancel(self, thread: &Thread) {
        match self {
            Alarm::Native(key) => {
                if let Some(hub) = hub_ref::plain(thread) {
                    hub.cancel_timer(key);
                }
            }
            // SAFETY: the caller's word.
            Alarm::Python(timer) => unsafe {
                let pending = Pending::take();
                if py::call_method(timer.as_ptr(), CANCEL.object(), []).is_err() {
                    ffi::PyErr_WriteUnraisable(timer.as_ptr());
                }
                drop(timer);
                pending.put_back();
            },
        }
    }
}

/// The way to a plain hub, or past it to the next ready greenlet. Returns what the park is woken with.
///
/// # Safety
/// As [`park`].
#[inline]
unsafe fn leave(thread: &Thread, hub: &Hub) -> *mut PyObject {
    // SAFETY: the caller's word.
    unsafe {
        let me = thread.current();
        if prepare_to_leave(thread, hub, me).is_err() {
            return ptr::null_mut();
        }
        hub.count_switch();
        match hub.next_switch() {
            Some(Work::Wake(ticket, outcome)) => ticket.resume(outcome),
            Some(Work::Start { greenlet, args, kwargs }) => start(greenlet, args, kwargs),
            _ => switch::switch(hub.greenlet(), Handover::Value(Owned::none().into_raw())),
        }
    }
}

/// Switches to a greenlet that begins.
///
/// # Safety
/// As [`park`].
pub unsafe fn start(greenlet: Owned, args: Owned, kwargs: Option<Owned>) -> *mut PyObject {
    let kwargs = kwargs.map_or(ptr::null_mut(), Owned::into_raw);
    // SAFETY: the references are handed over.
    unsafe { switch::switch_owned(greenlet.into_raw().cast(), Handover::Call { args: args.into_raw(), kwargs }) }
}

/// What happens to a greenlet before it is left: it may want to know, and becomes a child of the hub.
///
/// # Safety
/// As [`park`].
#[inline]
pub unsafe fn prepare_to_leave(thread: &Thread, hub: &Hub, me: *mut PyGreenlet) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        if hub.greenlet() == me {
            return py::error(ffi::PyExc_RuntimeError, "do not call blocking functions from the mainloop");
        }
        if !greenlet::is_exact(me) && !super::green_thread::is_exact(me) || !(*me).dict.is_null() {
            tell_switch_out(thread, me);
        }
        hub.ensure_greenlet()?;
        let this = body(me);
        let loop_greenlet = hub.greenlet();
        if !this.main && this.parent.get() != loop_greenlet && body(loop_greenlet).parent.get() != me {
            let set = greenlet::set_parent(me.cast(), loop_greenlet.cast(), ptr::null_mut());
            if set < 0 {
                // Its own descendant: it stays where it is.
                ffi::PyErr_Clear();
            }
        }
        Ok(())
    }
}

/// Calls a greenlet's `switch_out`, if it has one.
#[cold]
unsafe fn tell_switch_out(thread: &Thread, me: *mut PyGreenlet) {
    // SAFETY: live objects, with the lock held.
    unsafe {
        let Ok(method) = Owned::new(ffi::PyObject_GetAttr(me.cast(), SWITCH_OUT.object())) else {
            ffi::PyErr_Clear();
            return;
        };
        if py::call(method.as_ptr(), []).is_err() {
            super::hub::squelch(hub_ref::object_of(thread));
        }
    }
}

#[cold]
unsafe fn leave_through_python(thread: &Thread) -> *mut PyObject {
    // SAFETY: live objects, with the lock held.
    unsafe {
        let switched = hub_object(thread).and_then(|hub| match hub_ref::plain(thread) {
            Some(plain) => Owned::new(leave(thread, plain)),
            None => {
                super::hub::refuse_in_loop(thread, hub)?;
                let hub = Owned::borrow(hub);
                py::call_method(hub.as_ptr(), names::SWITCH.object(), [])
            }
        });
        switched.map_or(ptr::null_mut(), Owned::into_raw)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// For hubs that are served through their Python methods

/// A callable that switches to a parked greenlet, for a timer of a hub written in Python.
pub struct WakeLater(Cell<Option<(Ticket, Outcome)>>);

static WAKE_LATER: ClassCell = ClassCell::unbuilt();

impl Payload for WakeLater {
    const NAME: &'static CStr = c"greenloom._native.WakeLater";
    const DOC: &'static CStr = c"Switches to a greenlet, if it still waits.";

    fn cell() -> &'static ClassCell {
        &WAKE_LATER
    }

    fn new() -> WakeLater {
        WakeLater(Cell::new(None))
    }
}

impl WakeLater {
    fn make(ticket: Ticket, outcome: Outcome) -> Result<Owned> {
        // SAFETY: wakers have the interpreter's lock.
        unsafe { py::make(WakeLater(Cell::new(Some((ticket, outcome))))) }
    }

    fn call(this: This<'_, WakeLater>, _: Args<'_>) -> Result<Owned> {
        match this.0.take() {
            // SAFETY: called by the hub of the greenlet's thread.
            Some((ticket, outcome)) if ticket.is_valid() => unsafe { Owned::new(ticket.resume(outcome)) },
            _ => Ok(Owned::none()),
        }
    }
}
