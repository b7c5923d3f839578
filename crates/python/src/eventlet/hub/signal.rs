//! Signals that come while the loop waits, and C code that is parked in the main greenlet meanwhile.

use super::Hub;
use crate::eventlet::ticket::{Outcome, Ticket};
use crate::eventlet::work::Work;
use crate::greenlet::{Here, body};
use crate::py::Owned;

impl Hub {
    /// A signal has ended the wait of the loop, and its handlers have raised nothing: a call of C in the main greenlet
    /// ends by it, as it does on an OS thread that it blocks.
    pub(super) fn wake_by_signal(&self) {
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
