//! `Event`: one value, or exception, that is sent once and that any number of green threads wait for.
//!
//! What is sent goes to who waits at that time, so a reset before they run takes nothing from them.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr;

use super::hub_ref::hub_object;
use super::line::Line;
use super::park::{self, park_until};
use super::ticket::{Outcome, Ticket};
use crate::greenlet::here;
use crate::greenlet::{self, throw};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Args, Class, ClassCell, Owned, Payload, Pending, Raised, Result, Slot, This, assumed};

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
A value that one green thread sends and others wait for. send() may be called once, from any OS thread, and does not wait.";

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
    fn outcome(&self) -> Outcome {
        let Some(exception) = self.exception.object() else {
            return Outcome::Value(self.result.object().unwrap_or_else(|| Owned::none(assumed())));
        };
        // SAFETY: a tuple; an exception is pending after it was made so, if not this one then one about its arguments.
        unsafe {
            make_pending(&exception);
            match crate::py::exception_info(assumed()) {
                Ok(info) => {
                    let traceback = Owned::borrow(ffi::PyTuple_GET_ITEM(info.as_ptr(), 2));
                    let traceback = (!traceback.is_none()).then_some(traceback);
                    Outcome::Throw(Owned::borrow(ffi::PyTuple_GET_ITEM(info.as_ptr(), 1)), traceback)
                }
                Err(Raised) => Outcome::Throw(Owned::borrow(Pending::take(assumed()).into_value()), None),
            }
        }
    }

    /// What was sent.
    fn received(&self) -> Result<Owned> {
        match self.exception.object() {
            None => Ok(self.result.object().unwrap_or_else(|| Owned::none(assumed()))),
            Some(exception) => {
                // SAFETY: called with the interpreter's lock.
                unsafe { make_pending(&exception) };
                Err(Raised)
            }
        }
    }

    fn send(&self, result: Owned, exception: Option<Owned>) -> Result<Owned> {
        if self.sent.replace(true) {
            return refuse("send() was called before: an event can be sent once");
        }
        self.result.set(Some(result));
        self.exception.set(exception);
        for place in self.waiters.take_all() {
            place.wake(self.outcome());
        }
        Ok(Owned::none(assumed()))
    }

    fn wait(&self, timeout: *mut PyObject) -> Result<Owned> {
        if self.sent.get() {
            return self.received();
        }
        // SAFETY: called by the interpreter.
        unsafe {
            let deadline = park::deadline(timeout)?;
            let thread = here(assumed())?;
            // Making the hub may let other threads run: it must be there for them to wake us through.
            hub_object(thread)?;
            if self.sent.get() {
                return self.received();
            }
            let ticket = Ticket::take(thread);
            let number = self.waiters.join(ticket.clone(), ());
            let woken = park_until(thread, &ticket, deadline);
            self.waiters.leave(number);
            Ok(woken?.unwrap_or_else(|| Owned::none(assumed())))
        }
    }
}

/// # Safety
/// A tuple; the interpreter's lock is held.
unsafe fn make_pending(exception: &Owned) {
    // SAFETY: the caller's word.
    unsafe {
        let tuple = exception.as_ptr();
        let item = |index| match index < ffi::PyTuple_GET_SIZE(tuple) {
            true => ffi::PyTuple_GET_ITEM(tuple, index),
            false => ptr::null_mut(),
        };
        let kind = if item(0).is_null() { greenlet::greenlet_exit() } else { item(0) };
        throw::make_pending(assumed(), kind, item(1), item(2));
    }
}

#[cold]
fn refuse(message: &str) -> Result<Owned> {
    // SAFETY: methods are called with the interpreter's lock.
    unsafe { py::error(ffi::PyExc_AssertionError, message) }
}

/// The type.
pub fn class() -> Class<Event> {
    let repr: unsafe extern "C-unwind" fn(*mut PyObject) -> *mut PyObject = repr;
    Class::<Event>::new()
        .init(|_, args| args.parse::<0>("Event", [], 0).map(drop))
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .method(
            c"send",
            |this, args| {
                let [result, exception] = args.parse("send", ["result", "exc"], 0)?;
                // SAFETY: called by the interpreter.
                unsafe {
                    let result = if result.is_null() { Owned::none(assumed()) } else { Owned::borrow(result) };
                    let none = exception.is_null() || exception == ffi::Py_None();
                    let exception = if none {
                        None
                    } else if ffi::PyTuple_Check(exception) != 0 {
                        Some(Owned::borrow(exception))
                    } else {
                        Some(Owned::new(ffi::PyTuple_Pack(1, exception))?)
                    };
                    this.send(result, exception)
                }
            },
            c"send(result=None, exc=None)\n\nSends a value, or with *exc* an exception, to who waits now and later. Those who wait \
              go on when it is their turn; the caller goes on at once. AssertionError if it was called before.",
        )
        .method(
            c"send_exception",
            |this, args| this.send(Owned::none(assumed()), Some(args.rest(0)?.0)),
            c"send_exception(*throw_args)\n\nSends an exception: an instance, or what sys.exc_info() returns.",
        )
        .method(
            c"wait",
            |this, args| {
                let [timeout] = args.parse("wait", ["timeout"], 0)?;
                this.wait(timeout)
            },
            c"wait(timeout=None)\n\nWaits until something is sent, and returns or raises it. Returns None if nothing is sent \
              within *timeout* seconds.",
        )
        .method(
            c"reset",
            |this, _| {
                if !this.sent.replace(false) {
                    return refuse("reset() of an event that was not sent");
                }
                this.clear();
                Ok(Owned::none(assumed()))
            },
            c"reset()\n\nMakes it possible to send again. A new event is better. AssertionError if nothing was sent.",
        )
        .method(c"ready", |this, _| Ok(Owned::bool(assumed(), this.sent.get())), c"ready() -> bool\n\nWhether wait() returns at once.")
        .method(
            c"has_exception",
            |this, _| Ok(Owned::bool(assumed(), this.has_exception())),
            c"has_exception() -> bool\n\nWhether an exception was sent.",
        )
        .method(
            c"has_result",
            |this, _| Ok(Owned::bool(assumed(), this.sent.get() && !this.has_exception())),
            c"has_result() -> bool\n\nWhether a value was sent.",
        )
        .method(
            c"poll",
            |this, args| this.poll("poll", args, this.sent.get()),
            c"poll(notready=None)\n\nReturns or raises what was sent, or returns *notready*.",
        )
        .method(
            c"poll_exception",
            |this, args| this.poll("poll_exception", args, this.has_exception()),
            c"poll_exception(notready=None)\n\nRaises the exception that was sent, or returns *notready*.",
        )
        .method(
            c"poll_result",
            |this, args| this.poll("poll_result", args, this.sent.get() && !this.has_exception()),
            c"poll_result(notready=None)\n\nReturns the value that was sent, or *notready*.",
        )
}

impl Event {
    fn has_exception(&self) -> bool {
        !self.exception.get().is_null()
    }

    fn poll(&self, name: &str, args: Args<'_>, there: bool) -> Result<Owned> {
        let [otherwise] = args.parse(name, ["notready"], 0)?;
        if there {
            return self.received();
        }
        // SAFETY: a live argument.
        Ok(if otherwise.is_null() { Owned::none(assumed()) } else { unsafe { Owned::borrow(otherwise) } })
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter; arguments as the format says.
    unsafe {
        let event = This::<Event>::of(this);
        let state = match (event.sent.get(), event.exception.object()) {
            (false, _) => Ok(None),
            (true, Some(exception)) => {
                Owned::new(ffi::PyUnicode_FromFormat(c" exc=%R".as_ptr(), exception.as_ptr())).map(Some)
            }
            (true, None) => {
                let result = event.result.object().unwrap_or_else(|| Owned::none(assumed()));
                Owned::new(ffi::PyUnicode_FromFormat(c" result=%R".as_ptr(), result.as_ptr())).map(Some)
            }
        };
        let Ok(state) = state else { return ptr::null_mut() };
        ffi::PyUnicode_FromFormat(
            c"<%s at %p%V waiters[%zd]>".as_ptr(),
            (*ffi::Py_TYPE(this)).tp_name,
            this,
            state.as_ref().map_or(ptr::null_mut(), Owned::as_ptr),
            c"".as_ptr(),
            event.waiters.len() as ffi::Py_ssize_t,
        )
    }
}
