//! `Event`: one value, or exception, that is sent once and that any number of green threads wait for.
//!
//! What is sent goes to those that wait at that time, so a reset before they run takes nothing from them.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use super::clock::deadline;
use super::fairness::spend_one;
use super::hub_ref;
use super::line::Line;
use super::park::park_until;
use super::ticket::{Outcome, Ticket};
use crate::greenlet::wait::{At, Awaited, Wait};
use crate::greenlet::{here, throw};
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, tuple};
use crate::py::{
    self, Args, Class, ClassCell, Gil, Owned, Payload, Pending, Raised, Result, Slot, This, exception_info,
};

/// The state of an event.
pub struct Event {
    sent: Cell<bool>,
    result: Slot,
    /// The arguments of a raise statement, as a tuple.
    exception: Slot,
    waiters: Line,
}

static EVENT: ClassCell = ClassCell::unbuilt();

impl Payload for Event {
    const NAME: &'static CStr = c"eventlet.event.Event";
    const DOC: &'static CStr = c"Event()\n--\n\n\
          A value that one green thread sends and others wait for. send() may be called once, from any OS thread, and \
          does not wait.";

    fn cell() -> &'static ClassCell {
        &EVENT
    }

    fn new() -> Event {
        Event { sent: Cell::new(false), result: Slot::empty(), exception: Slot::empty(), waiters: Line::new() }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.result.get());
        visit(self.exception.get());
    }

    fn clear(&self) {
        self.result.set(None);
        self.exception.set(None);
    }
}

impl Event {
    /// What a wait gets. An exception given as a class is made anew each time.
    fn outcome(&self, gil: Gil<'_>) -> Outcome {
        let Some(exception) = self.exception.object() else {
            return Outcome::Value(self.result.object().unwrap_or_else(|| Owned::none(gil)));
        };
        make_pending(&exception);
        // SAFETY: an exception was made pending; if not that one, then one about its arguments.
        let Ok(info) = (unsafe { exception_info(gil) }) else {
            // SAFETY: there was no memory for the triple, which is what is pending now.
            return Outcome::Throw(unsafe { Owned::borrow(Pending::take(gil).into_value()) }, None);
        };
        // SAFETY: a triple, which keeps its items until they are borrowed here.
        let [value, traceback] =
            [1, 2].map(|index| unsafe { Owned::borrow(ffi::PyTuple_GET_ITEM(info.as_ptr(), index)) });
        Outcome::Throw(value, (!traceback.is_none()).then_some(traceback))
    }

    /// What was sent.
    fn received(&self, gil: Gil<'_>) -> Result<Owned> {
        let Some(exception) = self.exception.object() else {
            return Ok(self.result.object().unwrap_or_else(|| Owned::none(gil)));
        };
        make_pending(&exception);
        Err(Raised)
    }

    fn send(&self, gil: Gil<'_>, result: Owned, exception: Option<Owned>) -> Result<Owned> {
        if self.sent.replace(true) {
            return py::assertion_error(gil, "send() was called before: an event can be sent once");
        }
        self.result.set(Some(result));
        self.exception.set(exception);
        for waiter in self.waiters.take_all() {
            waiter.wake(gil, self.outcome(gil));
        }
        Ok(Owned::none(gil))
    }

    /// Waits, at most for the seconds in `timeout`.
    fn wait(&self, gil: Gil<'_>, timeout: Option<Object<'_>>) -> Result<Owned> {
        spend_one(gil)?;
        if self.sent.get() {
            return self.received(gil);
        }
        let deadline = deadline(timeout)?;
        let thread = here(gil)?;
        hub_ref::ensure(thread)?;
        if self.sent.get() {
            return self.received(gil);
        }
        let ticket = Ticket::take(thread);
        let place = self.waiters.join(ticket.clone(), ());
        let woken = park_until(thread, &ticket, &Wait { what: "event", at: Some(self), until: deadline });
        self.waiters.leave(place);
        Ok(woken?.unwrap_or_else(|| Owned::none(gil)))
    }

    fn has_exception(&self) -> bool {
        !self.exception.get().is_null()
    }

    fn has_result(&self) -> bool {
        self.sent.get() && !self.has_exception()
    }

    fn poll(&self, name: &str, args: Args<'_>, is_there: impl Fn() -> bool) -> Result<Owned> {
        let ([], [otherwise]) = args.parse(name, [], ["notready"])?;
        spend_one(args.gil())?;
        if is_there() {
            return self.received(args.gil());
        }
        Ok(otherwise.map_or_else(|| Owned::none(args.gil()), Object::owned))
    }
}

impl Awaited for Event {
    fn at(&self) -> At {
        At { object: ptr::from_ref(self) as usize, waiters: self.waiters.len(), ..At::default() }
    }
}

/// Makes the exception pending that a raise statement would raise which is given the items of this tuple.
fn make_pending(exception: &Owned) {
    // SAFETY: a tuple, of which no item is read that it does not have; it keeps them during the call.
    unsafe {
        let count = ffi::PyTuple_GET_SIZE(exception.as_ptr()).min(3);
        let mut items = [ptr::null_mut(); 3];
        for index in 0..count {
            items[index as usize] = ffi::PyTuple_GET_ITEM(exception.as_ptr(), index);
        }
        let [kind, value, traceback] = throw::arguments(items);
        throw::make_pending(exception.gil(), kind, value, traceback);
    }
}

fn send(this: This<'_, Event>, args: Args<'_>) -> Result<Owned> {
    let ([], [result, exception]) = args.parse("send", [], ["result", "exc"])?;
    let result = result.map_or_else(|| Owned::none(args.gil()), Object::owned);
    let triple = |exception: Object<'_>| {
        if exception.is_tuple() { Ok(exception.owned()) } else { tuple(args.gil(), [exception.owned()]) }
    };
    this.send(args.gil(), result, exception.and_then(Object::unless_none).map(triple).transpose()?)
}

fn reset(this: This<'_, Event>, args: Args<'_>) -> Result<Owned> {
    if !this.sent.replace(false) {
        return py::assertion_error(args.gil(), "reset() of an event that was not sent");
    }
    this.clear();
    Ok(Owned::none(args.gil()))
}

/// The type.
pub fn class() -> Class<Event> {
    Class::<Event>::new()
        .init(|_, args| args.parse("Event", [], []).map(|([], [])| ()))
        .repr(repr)
        .method(
            c"send",
            send,
            c"send($self, result=None, exc=None)\n--\n\nSends a value, or with *exc* an exception, to those that wait \
              now and later. They go on when it is their turn; the caller goes on at once. AssertionError if it was \
              called before.",
        )
        .method(
            c"send_exception",
            |this, args| this.send(args.gil(), Owned::none(args.gil()), Some(args.rest(0)?.0)),
            c"send_exception($self, *args)\n--\n\nSends an exception: an instance, or what sys.exc_info() returns.",
        )
        .method(
            c"wait",
            |this, args| {
                let ([], [timeout]) = args.parse("wait", [], ["timeout"])?;
                this.wait(args.gil(), timeout)
            },
            c"wait($self, timeout=None)\n--\n\nWaits until something is sent, and returns or raises it. Returns None \
              if nothing is sent within *timeout* seconds.",
        )
        .method(
            c"reset",
            reset,
            c"reset($self)\n--\n\nMakes it possible to send again. A new event is better. AssertionError if nothing \
              was sent.",
        )
        .method(
            c"ready",
            |this, _| Ok(Owned::bool(this.gil(), this.sent.get())),
            c"ready($self)\n--\n\nWhether wait() returns at once.",
        )
        .method(
            c"has_exception",
            |this, _| Ok(Owned::bool(this.gil(), this.has_exception())),
            c"has_exception($self)\n--\n\nWhether an exception was sent.",
        )
        .method(
            c"has_result",
            |this, _| Ok(Owned::bool(this.gil(), this.has_result())),
            c"has_result($self)\n--\n\nWhether a value was sent.",
        )
        .method(
            c"poll",
            |this, args| this.poll("poll", args, || this.sent.get()),
            c"poll($self, notready=None)\n--\n\nReturns or raises what was sent, or returns *notready*.",
        )
        .method(
            c"poll_exception",
            |this, args| this.poll("poll_exception", args, || this.has_exception()),
            c"poll_exception($self, notready=None)\n--\n\nRaises the exception that was sent, or returns *notready*.",
        )
        .method(
            c"poll_result",
            |this, args| this.poll("poll_result", args, || this.has_result()),
            c"poll_result($self, notready=None)\n--\n\nReturns the value that was sent, or *notready*.",
        )
}

fn repr(event: This<'_, Event>) -> Result<Owned> {
    let state = match (event.sent.get(), event.exception.object()) {
        (false, _) => None,
        (true, Some(exception)) => Some((c" exc=%R", exception)),
        (true, None) => Some((c" result=%R", event.result.object().unwrap_or_else(|| Owned::none(event.gil())))),
    };
    // SAFETY: live objects, as the formats say; null and a string for `%V`, of which one is there.
    unsafe {
        let state = state.map(|(form, object)| Owned::new(ffi::PyUnicode_FromFormat(form.as_ptr(), object.as_ptr())));
        let state = state.transpose()?;
        Owned::new(ffi::PyUnicode_FromFormat(
            c"<%s at %p%V waiters[%zd]>".as_ptr(),
            (*ffi::Py_TYPE(event.as_ptr())).tp_name,
            event.as_ptr(),
            state.as_ref().map_or(ptr::null_mut(), Owned::as_ptr),
            c"".as_ptr(),
            event.waiters.len() as ffi::Py_ssize_t,
        ))
    }
}
