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

use super::end;
use super::hub::Hub;
use super::hub_ref::{HubRef, refuse_in_loop, squelch};
use super::ticket::{Outcome, Ticket, restore};
use super::work::{self, Work};
use crate::greenlet::handover::Handover;
use crate::greenlet::recording;
use crate::greenlet::switch;
use crate::greenlet::wait::{Wait, with_wait};
use crate::greenlet::{self, Here, PyGreenlet, body};
use crate::py::ffi;
use crate::py::names::{Name, intern};
use crate::py::{self, GlobalObject, Owned, Raised, Result};

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
        TIMED_OUT.set(py::call(ptr::addr_of_mut!(ffi::PyBaseObject_Type).cast(), [])?);
        intern(&[&SWITCH_OUT])
    }
}

/// Suspends the running greenlet until somebody switches to it. Returns what it goes on with.
///
/// # Errors
/// What is thrown in; RuntimeError in the hub's own greenlet.
#[inline]
pub fn park(thread: Here<'_>) -> Result<Owned> {
    let value = match HubRef::of(thread) {
        _ if thread.interruptions.any() && interrupted(thread) => Err(Raised),
        Ok(HubRef::Plain(hub)) => leave(thread, hub),
        Ok(hub) => leave_through_python(thread, &hub),
        Err(Raised) => Err(Raised),
    };
    // SAFETY: the running greenlet.
    let me = unsafe { body(thread.current()) };
    me.parks.set(me.parks.get() + 1);
    value
}

/// Raises what was thrown into the running greenlet beneath a C function and did not reach Python yet. Returns whether
/// there was such a thing.
#[cold]
fn interrupted(thread: Here<'_>) -> bool {
    let Some(exception) = thread.interruptions.take(thread.ident(), thread.current()) else { return false };
    // SAFETY: it is an exception.
    unsafe { restore(&exception, None) };
    true
}

/// As [`park`], and says for what, to a timeline and to those who look: empty for one that merely gives way.
#[inline]
pub fn park_for(thread: Here<'_>, what: &'static str) -> Result<Owned> {
    park_in(thread, &Wait { what, at: None, until: None })
}

/// As [`park_for`], and says where, and until when if others see to that.
#[inline]
pub fn park_in(thread: Here<'_>, wait: &Wait<'_>) -> Result<Owned> {
    in_wait(thread, wait, || park(thread))
}

/// Calls `park`, which parks the running greenlet, and says for what to a timeline and to those who look.
#[inline]
pub fn in_wait<R>(thread: Here<'_>, wait: &Wait<'_>, park: impl FnOnce() -> R) -> R {
    if recording::is_on() {
        recording::waits_for(&thread, wait.what);
    }
    with_wait(thread, wait, park)
}

/// As [`park_in`], at most until the wait's end, if it has one: None means that the time is up. Wake with `ticket`,
/// which was taken for this park.
pub fn park_until(thread: Here<'_>, ticket: &Ticket, wait: &Wait<'_>) -> Result<Option<Owned>> {
    let Some(deadline) = wait.until else {
        return park_in(thread, wait).map(Some);
    };
    // SAFETY: the object lives for ever.
    let timed_out = Outcome::Value(unsafe { Owned::borrow(TIMED_OUT.object()) });
    let alarm = HubRef::of(thread)?.wake_at(deadline, ticket.clone(), timed_out)?;
    let value = park_in(thread, wait);
    alarm.cancel(&thread);
    let value = value?;
    Ok((value.as_ptr() != TIMED_OUT.object()).then_some(value))
}

/// The way to a plain hub, or past it to the next ready greenlet. Returns what the park is woken with.
#[inline]
fn leave(thread: Here<'_>, hub: &Hub) -> Result<Owned> {
    prepare_to_leave(thread, hub)?;
    hub.count_switch();
    if recording::is_on() {
        recording::leaves(&thread);
    }
    match hub.next_switch() {
        Some(Work::Wake(ticket, outcome)) => ticket.resume(thread, outcome),
        Some(Work::Start { greenlet, args, kwargs }) => {
            // SAFETY: what is to begin is a greenlet, with a tuple and a dict.
            match unsafe { work::try_begin(thread, greenlet, args, kwargs) } {
                Ok(value) => value,
                Err(work) => {
                    // It ends in the loop, where its error and its links meet no waiter for something else.
                    hub.hand_over(work);
                    switch_to_loop(thread, hub)
                }
            }
        }
        _ => switch_to_loop(thread, hub),
    }
}

/// Goes on with the loop.
#[inline]
fn switch_to_loop(thread: Here<'_>, hub: &Hub) -> Result<Owned> {
    let handover = Handover::Value(Owned::none(thread.gil()).into_raw());
    // SAFETY: the hub keeps its greenlet; None is handed over, and what comes back is owned.
    unsafe { Owned::new(switch::switch(thread.gil(), hub.greenlet(), handover)) }
}

/// The way to a plain hub's loop, and not past it: what its `switch` method does. Returns what the park is woken with.
pub fn leave_to_loop(thread: Here<'_>, hub: &Hub) -> Result<Owned> {
    prepare_to_leave(thread, hub)?;
    hub.count_switch();
    if recording::is_on() {
        recording::leaves(&thread);
    }
    switch_to_loop(thread, hub)
}

/// What happens to the running greenlet before it is left: it may want to know, and becomes a child of the hub.
#[inline]
fn prepare_to_leave(thread: Here<'_>, hub: &Hub) -> Result<()> {
    let me = thread.current();
    if hub.greenlet() == me {
        return refuse_in_loop(thread.gil());
    }
    // SAFETY: the running greenlet, and that of the loop, which the hub keeps.
    unsafe {
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
///
/// # Safety
/// A live greenlet.
#[cold]
unsafe fn tell_switch_out(thread: Here<'_>, me: *mut PyGreenlet) {
    // SAFETY: a live greenlet, which its method keeps; after a call that failed an exception is pending.
    unsafe {
        let Ok(method) = Owned::new(ffi::PyObject_GetAttr(me.cast(), SWITCH_OUT.object())) else {
            ffi::PyErr_Clear();
            return;
        };
        if py::call(method.as_ptr(), []).is_err() {
            squelch(thread, method.as_ptr());
        }
    }
}

#[cold]
fn leave_through_python(thread: Here<'_>, hub: &HubRef<'_>) -> Result<Owned> {
    if hub.is_loop(thread)? { refuse_in_loop(thread.gil()) } else { hub.switch() }
}
