//! Putting and getting, which wait for room and for items.

use super::container::{Container, attribute};
use super::{Offer, Queue};
use crate::eventlet::clock::deadline;
use crate::eventlet::fairness::spend_one;
use crate::eventlet::hub_ref::{self, HubRef, squelch};
use crate::eventlet::line::{Left, Waiter};
use crate::eventlet::park::{park_in, park_until};
use crate::eventlet::ticket::{Outcome, Ticket};
use crate::greenlet::wait::Wait;
use crate::greenlet::{Here, body, here, is_here};
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Gil, GlobalObject, Owned, Pending, Raised, Result, This};

static FULL: GlobalObject = GlobalObject::null();
static EMPTY: GlobalObject = GlobalObject::null();

/// Looks the exceptions up.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill() -> Result<()> {
    for (slot, name) in [(&FULL, c"Full"), (&EMPTY, c"Empty")] {
        // SAFETY: called at import with the lock held.
        slot.set(unsafe { attribute(c"queue", &[name])? });
    }
    Ok(())
}

/// How much room there is for items.
pub fn room(this: This<'_, Queue>, size: i64) -> i64 {
    this.limit.get().map_or(i64::MAX, |limit| limit - size)
}

/// Calls those that can go on: getters for items and offers, putters for room.
pub fn settle(this: This<'_, Queue>) -> Result<()> {
    if !this.getters.has_waiting() && !this.putters.has_waiting() {
        return Ok(());
    }
    this.getters.forget_dead();
    this.putters.forget_dead();
    let size = this.size()?;
    while (this.getters.called() as i64) < size + this.putters.len() as i64 && this.getters.call(this.gil()) {}
    let room = room(this, size);
    while (this.putters.called() as i64) < room && this.putters.call(this.gil()) {}
    if this.impatient.get() > 0 && this.getters.is_empty() {
        for ticket in this.putters.tickets(|offer| offer.impatient) {
            ticket.wake(this.gil(), Outcome::none(this.gil()));
        }
    }
    Ok(())
}

/// As [`settle`], with an exception pending, which stays.
#[cold]
fn settle_after_exception(this: This<'_, Queue>) {
    let pending = Pending::take(this.gil());
    if settle(this).is_err() {
        // SAFETY: an exception is pending; a live object.
        unsafe { ffi::PyErr_WriteUnraisable(this.as_ptr()) };
    }
    pending.put_back();
}

/// An item that can be taken now: from the container, or else the first offer.
fn take(this: This<'_, Queue>) -> Result<Option<Owned>> {
    if this.size()? > 0 {
        let item = this.fetch()?;
        settle(this)?;
        return Ok(Some(item));
    }
    let Some(putter) = this.putters.take_first() else { return Ok(None) };
    let item = pass(this, &putter)?;
    if !putter.was_called {
        putter.wake(this.gil(), Outcome::none(this.gil()));
    }
    Ok(Some(item))
}

/// Puts what is offered into the empty container and takes it out again: a subclass may do something in between.
fn pass(this: This<'_, Queue>, putter: &Waiter<Offer>) -> Result<Owned> {
    let overrides = this.overrides.get();
    if !overrides.put && !overrides.get {
        this.count_task();
        return Ok(putter.brings.item.clone());
    }
    this.store(Object::of(&putter.brings.item))?;
    this.fetch()
}

/// Whether the hub's own greenlet runs, which cannot wait.
fn in_loop(thread: Here<'_>) -> Result<bool> {
    HubRef::of(thread)?.is_loop(thread)
}

/// Lets a waiting greenlet go on: at once if it is of this thread, whose hub's greenlet runs.
fn resume(thread: Here<'_>, ticket: Ticket) -> Result<()> {
    let nothing = Outcome::none(thread.gil());
    // SAFETY: the ticket keeps its greenlet.
    if !ticket.is_valid() || !unsafe { is_here(body(ticket.greenlet())) } {
        ticket.wake(thread.gil(), nothing);
        return Ok(());
    }
    match ticket.resume(thread, nothing) {
        // SAFETY: an exception is pending; the running greenlet is alive.
        Err(Raised) => unsafe {
            if ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) == 0 {
                return Err(Raised);
            }
            squelch(thread, thread.current().cast());
            Ok(())
        },
        Ok(_) => Ok(()),
    }
}

#[cold]
fn refuse<T>(_: Gil<'_>, exception: &GlobalObject) -> Result<T> {
    // SAFETY: a class, which lives for ever; the token says that the lock is held.
    unsafe { ffi::PyErr_SetNone(exception.object()) };
    Err(Raised)
}

/// Puts an item in.
pub fn put(this: This<'_, Queue>, item: Object<'_>, block: bool, timeout: Option<Object<'_>>) -> Result<()> {
    spend_one(this.gil())?;
    if room(this, this.size()?) > 0 {
        this.store(item)?;
        return settle(this);
    }
    let thread = here(this.gil())?;
    if !block && in_loop(thread)? {
        return put_from_loop(this, thread, item);
    }
    if !block && this.getters.is_empty() {
        return refuse(this.gil(), &FULL);
    }
    put_slowly(this, thread, item, !block, timeout)
}

/// Gives the item to a getter, which runs at once.
#[cold]
fn put_from_loop(this: This<'_, Queue>, thread: Here<'_>, item: Object<'_>) -> Result<()> {
    let Some(ticket) = this.getters.call_by_ticket() else { return refuse(this.gil(), &FULL) };
    this.store(item)?;
    resume(thread, ticket)
}

fn put_slowly(
    this: This<'_, Queue>,
    thread: Here<'_>,
    item: Object<'_>,
    impatient: bool,
    timeout: Option<Object<'_>>,
) -> Result<()> {
    let deadline = if impatient { None } else { deadline(timeout)? };
    hub_ref::ensure(thread)?;
    let offer = Offer { item: item.owned(), impatient };
    let mut ticket = Ticket::take(thread);
    let mut place = this.putters.join(ticket.clone(), offer);
    this.impatient.set(this.impatient.get() + usize::from(impatient));
    let result = settle(this).and_then(|()| {
        loop {
            let woken = park_until(thread, &ticket, &Wait { what: "queue: room", at: Some(&*this), until: deadline })?;
            let offer = match this.putters.leave(place) {
                None => return Ok(()),
                Some(Left::Waiting(offer) | Left::Called(offer)) => offer,
            };
            if room(this, this.size()?) > 0 {
                this.store(item)?;
                return settle(this);
            }
            if woken.is_none() || (impatient && this.getters.is_empty()) {
                return refuse(this.gil(), &FULL);
            }
            // Somebody who did not stand in the line was faster.
            ticket = Ticket::take(thread);
            place = this.putters.rejoin(place, ticket.clone(), offer);
            settle(this)?;
        }
    });
    this.impatient.set(this.impatient.get() - usize::from(impatient));
    if result.is_err() {
        this.putters.leave(place);
        settle_after_exception(this);
    }
    result
}

/// Takes an item out.
pub fn get(this: This<'_, Queue>, block: bool, timeout: Option<Object<'_>>) -> Result<Owned> {
    spend_one(this.gil())?;
    if this.size()? > 0 {
        let item = this.fetch()?;
        settle(this)?;
        return Ok(item);
    }
    let thread = here(this.gil())?;
    if !block {
        return if in_loop(thread)? { get_from_loop(this, thread) } else { refuse(this.gil(), &EMPTY) };
    }
    if this.getters.is_empty()
        && let Some(item) = take(this)?
    {
        return Ok(item);
    }
    get_slowly(this, thread, timeout)
}

/// Takes an offer. Whoever brought it runs at once.
#[cold]
fn get_from_loop(this: This<'_, Queue>, thread: Here<'_>) -> Result<Owned> {
    let Some(putter) = this.putters.take_first() else { return refuse(this.gil(), &EMPTY) };
    let item = pass(this, &putter)?;
    if !putter.was_called {
        resume(thread, putter.into_ticket())?;
    }
    Ok(item)
}

fn get_slowly(this: This<'_, Queue>, thread: Here<'_>, timeout: Option<Object<'_>>) -> Result<Owned> {
    let deadline = deadline(timeout)?;
    hub_ref::ensure(thread)?;
    let mut ticket = Ticket::take(thread);
    let mut place = this.getters.join(ticket.clone(), ());
    let result = settle(this).and_then(|()| {
        loop {
            let woken =
                park_until(thread, &ticket, &Wait { what: "queue: an item", at: Some(&*this), until: deadline })?;
            if this.getters.leave_called(place)
                && let Some(item) = take(this)?
            {
                return Ok(item);
            }
            if woken.is_none() {
                return refuse(this.gil(), &EMPTY);
            }
            // Somebody who did not stand in the line was faster.
            ticket = Ticket::take(thread);
            place = this.getters.rejoin(place, ticket.clone(), ());
            settle(this)?;
        }
    });
    if result.is_err() {
        this.getters.leave(place);
        settle_after_exception(this);
    }
    result
}

/// An item that was taken out is dealt with.
pub fn task_done(this: This<'_, Queue>) -> Result<()> {
    let unfinished = this.unfinished.get() - 1;
    if unfinished < 0 {
        return py::value_error(this.gil(), "task_done() called too many times");
    }
    this.unfinished.set(unfinished);
    if unfinished == 0 {
        for waiter in this.joining.take_all() {
            waiter.wake(this.gil(), Outcome::none(this.gil()));
        }
    }
    Ok(())
}

/// Waits until all items are dealt with.
pub fn join(this: This<'_, Queue>) -> Result<()> {
    if this.unfinished.get() <= 0 {
        return Ok(());
    }
    let thread = here(this.gil())?;
    hub_ref::ensure(thread)?;
    if this.unfinished.get() > 0 {
        let place = this.joining.join(Ticket::take(thread), ());
        let woken = park_in(thread, &Wait { what: "queue: all done", at: Some(&*this), until: None });
        this.joining.leave(place);
        woken?;
    }
    Ok(())
}
