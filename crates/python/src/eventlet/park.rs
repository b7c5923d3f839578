//! Suspending a greenlet and waking it.
//!
//! Whoever blocks takes a [`Ticket`], leaves it where its waker will find it, and [parks](park). A ticket is good for
//! one park: when the greenlet has gone on, for whatever reason, wakes with the old ticket do nothing. So a timer, an
//! event and a kill may race for one greenlet, and nobody needs to take back what comes late.
//!
//! ```text
//! let ticket = Ticket::take(thread);
//! waiters.push(ticket.clone());
//! let value = park(thread);          // null: an exception was thrown in
//! ```
//!
//! The greenlet that parks picks the next piece of ready work itself where it can, and so saves the way through the
//! hub.

use std::ptr;

use greenloom_hub::Time;

use super::end;
use super::hub::Hub;
use super::hub_ref::{self, HubRef, refuse_in_loop, squelch};
use super::ticket::{Outcome, Ticket};
use super::work::{self, Work};
use crate::greenlet::handover::Handover;
use crate::greenlet::switch;
use crate::greenlet::{self, PyGreenlet, Thread, body, names};
use crate::py::ffi::{self, PyObject};
use crate::py::names::{Name, intern};
use crate::py::{self, GlobalObject, Owned, Raised, Result, assumed};

/// What a park returns whose time is up.
static TIMED_OUT: GlobalObject = GlobalObject::null();

static SWITCH_OUT: Name = Name::new(c"switch_out");

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill() -> Result<()> {
    // SAFETY: called at import with the lock held; the object lives for ever.
    unsafe {
        TIMED_OUT.set(py::call(ptr::addr_of_mut!(ffi::PyBaseObject_Type).cast(), [])?.into_raw());
        intern(&[&SWITCH_OUT])
    }
}

/// Suspends the running greenlet until somebody switches to it. Returns what it goes on with.
///
/// # Errors
/// What is thrown in; RuntimeError in the hub's own greenlet.
///
/// # Safety
/// The interpreter's lock is held, in the thread of the record.
#[inline]
pub unsafe fn park(thread: &Thread) -> Result<Owned> {
    // SAFETY: the lock is held, in the thread of the record.
    unsafe {
        let value = match HubRef::of(thread) {
            Ok(HubRef::Plain(hub)) => leave(thread, hub),
            Ok(HubRef::Python(hub)) => leave_through_python(thread, hub),
            Err(Raised) => ptr::null_mut(),
        };
        let me = body(thread.current());
        me.parks.set(me.parks.get() + 1);
        Owned::new(value)
    }
}

/// As [`park`], at most until `deadline`: None means that the time is up. Wake with `ticket`, which was taken for this
/// park.
///
/// # Safety
/// As [`park`].
pub unsafe fn park_until(thread: &Thread, ticket: &Ticket, deadline: Option<Time>) -> Result<Option<Owned>> {
    // SAFETY: as `park`.
    unsafe {
        let Some(deadline) = deadline else {
            return park(thread).map(Some);
        };
        let timed_out = Outcome::Value(Owned::borrow(TIMED_OUT.object()));
        let alarm = HubRef::of(thread)?.wake_at(deadline, ticket.clone(), timed_out)?;
        let value = park(thread);
        alarm.cancel(thread);
        let value = value?;
        Ok((value.as_ptr() != TIMED_OUT.object()).then_some(value))
    }
}

/// The way to a plain hub, or past it to the next ready greenlet. Returns what the park is woken with.
///
/// # Safety
/// As [`park`].
#[inline]
unsafe fn leave(thread: &Thread, hub: &Hub) -> *mut PyObject {
    // SAFETY: as `park`; what is ready is kept by the work.
    unsafe {
        let me = thread.current();
        if prepare_to_leave(thread, hub, me).is_err() {
            return ptr::null_mut();
        }
        hub.count_switch();
        match hub.next_switch() {
            Some(Work::Wake(ticket, outcome)) => ticket.resume(outcome),
            Some(Work::Start { greenlet, args, kwargs }) => match work::try_begin(greenlet, args, kwargs) {
                Ok(value) => value,
                Err(work) => {
                    // It ends in the loop, where its error and its links meet nobody who waits for something else.
                    hub.hand_over(work);
                    switch_to_loop(hub)
                }
            },
            _ => switch_to_loop(hub),
        }
    }
}

/// Goes on with the loop.
///
/// # Safety
/// As [`park`].
#[inline]
unsafe fn switch_to_loop(hub: &Hub) -> *mut PyObject {
    // SAFETY: the hub keeps its greenlet; None is handed over.
    unsafe { switch::switch(assumed(), hub.greenlet(), Handover::Value(Owned::none(assumed()).into_raw())) }
}

/// The way to a plain hub's loop, and not past it: what its `switch` method does. Returns what the park is woken with.
///
/// # Safety
/// As [`park`].
pub unsafe fn leave_to_loop(thread: &Thread, hub: &Hub) -> Result<Owned> {
    // SAFETY: as `park`.
    unsafe {
        prepare_to_leave(thread, hub, thread.current())?;
        hub.count_switch();
        Owned::new(switch_to_loop(hub))
    }
}

/// What happens to a greenlet before it is left: it may want to know, and becomes a child of the hub.
///
/// # Safety
/// As [`park`].
#[inline]
unsafe fn prepare_to_leave(thread: &Thread, hub: &Hub, me: *mut PyGreenlet) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        if hub.greenlet() == me {
            return refuse_in_loop();
        }
        if !greenlet::is_exact(me) && !end::is_exact(me) || !(*me).dict.is_null() {
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
            squelch(hub_ref::object_of(thread));
        }
    }
}

#[cold]
unsafe fn leave_through_python(thread: &Thread, hub: *mut PyObject) -> *mut PyObject {
    // SAFETY: the thread keeps its hub until it is borrowed here; the lock is held.
    unsafe {
        let hub = Owned::borrow(hub);
        let switched = match HubRef::Python(hub.as_ptr()).is_loop(thread) {
            Ok(true) => refuse_in_loop(),
            Ok(false) => py::call_method(hub.as_ptr(), names::SWITCH.object(), []),
            Err(Raised) => Err(Raised),
        };
        switched.map_or(ptr::null_mut(), Owned::into_raw)
    }
}
