//! Signals that come while the loop waits, and C code that is parked in the main greenlet meanwhile.
//!
//! The loop itself may not wait, but a handler may: it logs, and another green thread has the log's lock. So handlers
//! are called in a greenlet of their own, which is the first to run when a signal has ended the wait. What they raise
//! ends the loop, and so goes to the main greenlet. A hub that waits in its own way asks for it: see
//! [`Runner::wait_for`](super::Runner::wait_for). A signal that comes while the loop's greenlet runs has its handler
//! called there by the interpreter, which [`handle_in_loop`] then moves.

use std::ptr;

use super::{Hub, Runner};
use crate::eventlet::frame;
use crate::eventlet::ticket::{Outcome, Ticket};
use crate::eventlet::work::Work;
use crate::greenlet::{self, Here, PyGreenlet, body, here};
use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::object::{self, Object};
use crate::py::{self, Args, Gil, Global, GlobalObject, Owned, Raised, Result, This};

static DEFINITION: Global<PyMethodDef> = Global::new(PyMethodDef::zeroed());

static HANDLE_SIGNALS: GlobalObject = GlobalObject::null();

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill() -> Result<()> {
    // SAFETY: called at import, once; the definition and the object live for ever.
    unsafe {
        *DEFINITION.get() = py::function(c"handle_signals", handle_signals, c"");
        HANDLE_SIGNALS.set(Owned::new(ffi::PyCFunction_NewEx(DEFINITION.get(), ptr::null_mut(), ptr::null_mut()))?);
    }
    Ok(())
}

/// Calls those handlers that the frame below has not called yet; or, with a handler and what it is called with behind
/// [`run_handlers`]' own argument, that one.
fn handle_signals(args: Args<'_>) -> Result<Owned> {
    if let &[_, handler, number, frame] = args.positional {
        return call(handler, number, frame);
    }
    // SAFETY: the token says that the lock is held.
    if unsafe { ffi::PyErr_CheckSignals() } < 0 { Err(Raised) } else { Ok(Owned::none(args.gil())) }
}

fn call(handler: Object<'_>, number: Object<'_>, frame: Object<'_>) -> Result<Owned> {
    // SAFETY: live objects.
    unsafe { py::call_program(handler.as_ptr(), [number.as_ptr(), frame.as_ptr()]) }
}

/// Calls a signal's handler, with the number and the frame, where it may wait: not in the greenlet of the loop.
pub fn handle_in_loop(args: Args<'_>) -> Result<Owned> {
    let ([handler, number, frame], []) = args.parse("_handle_signal", ["handler", "signalnum", "frame"], [])?;
    let thread = here(args.gil())?;
    let hub = thread.extension.owned();
    let hub = hub.as_ref().and_then(|hub| Object::of(hub).instance::<Hub>());
    let Some(hub) = hub.filter(|hub| hub.greenlet() == thread.current()) else {
        return call(handler, number, frame);
    };
    // SAFETY: the hub is alive.
    let all = [unsafe { Owned::borrow(hub.as_ptr()) }, handler.owned(), number.owned(), frame.owned()];
    Runner::new(hub, thread).perform(Hub::handlers(hub, all)?)?;
    Ok(Owned::none(args.gil()))
}

/// Runs [`handle_signals`], whose first argument is the hub. A handler may end the wait of the loop, and no more than
/// that, by raising an OSError with EINTR, as in stock eventlet.
///
/// # Safety
/// As the `Runner` of a greenlet.
unsafe fn run_handlers(
    gil: Gil<'_>,
    _: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with; without a result an exception is pending. A tuple has its hub.
    unsafe {
        let result = frame::call(function, args, kwargs);
        if args.is_null() {
            return result;
        }
        let hub = This::<Hub>::of(ffi::PyTuple_GET_ITEM(args, 0));
        if !result.is_null() {
            hub.wake_by_signal();
        } else if ffi::PyErr_ExceptionMatches(ffi::PyExc_InterruptedError) != 0 {
            ffi::PyErr_Clear();
            return Owned::none(gil).into_raw();
        } else {
            hub.raised_by_signal.set(true);
        }
        result
    }
}

impl Hub {
    /// A signal has ended the wait of the loop: its handlers are called next.
    pub(super) fn begin_handlers(this: This<'_, Hub>) -> Result<()> {
        this.make_ready(Hub::all_handlers(this)?);
        Ok(())
    }

    /// What calls the handlers of all signals that have come.
    pub(super) fn all_handlers(this: This<'_, Hub>) -> Result<Work> {
        // SAFETY: the hub is alive.
        Hub::handlers(this, [unsafe { Owned::borrow(this.as_ptr()) }])
    }

    /// A greenlet that is to begin, and calls [`handle_signals`].
    fn handlers<const N: usize>(this: This<'_, Hub>, args: [Owned; N]) -> Result<Work> {
        let function = Object::word(&HANDLE_SIGNALS);
        // SAFETY: a fresh object, and the hub, which keeps the greenlet of its loop.
        unsafe {
            let greenlet = Owned::new(greenlet::make(this.gil(), greenlet::greenlet_type()))?;
            body(greenlet.as_ptr().cast()).runner.set(Some(run_handlers));
            if greenlet::set_up(greenlet.as_ptr().cast(), function.as_ptr(), this.greenlet().cast()) < 0 {
                return Err(Raised);
            }
            let args = object::tuple(this.gil(), args)?;
            Ok(Work::Start { greenlet, args, kwargs: None })
        }
    }

    /// A signal has ended the wait of the loop, and its handlers have raised nothing: a call of C in the main greenlet
    /// ends by it, as it does on an OS thread that it blocks.
    fn wake_by_signal(&self) {
        let Some(greenlet) = self.ends_by_signal.take() else { return };
        // SAFETY: the main greenlet, which is parked.
        let ticket = unsafe { Ticket::of_present_park(greenlet.as_ptr().cast()) };
        self.make_ready(Work::Wake(ticket, Outcome::none(greenlet.gil())));
    }

    /// Parks by `park` in a call of C. Returns whether a signal has ended it, too, where it may: in the main greenlet.
    pub fn in_call_of_c<T>(&self, thread: Here<'_>, park: impl FnOnce() -> T) -> (T, bool) {
        // SAFETY: the running greenlet.
        let is_main = unsafe { body(thread.current()).main };
        if !is_main {
            return (park(), false);
        }
        // SAFETY: the running greenlet.
        self.ends_by_signal.set(Some(unsafe { Owned::borrow(thread.current()) }));
        let value = park();
        (value, self.ends_by_signal.take().is_none())
    }
}
