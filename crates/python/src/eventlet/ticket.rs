//! A ticket: the name of one park of one greenlet, and what the greenlet goes on with.

use crate::greenlet::handover::Handover;
use crate::greenlet::switch;
use crate::greenlet::{Here, PyGreenlet, State, body};
use crate::py::ffi;
use crate::py::{Gil, Owned, Result};

/// Names one park of one greenlet.
#[derive(Clone)]
pub struct Ticket {
    greenlet: Owned,
    park: u64,
}

impl Ticket {
    /// For the next park of the running greenlet.
    #[inline]
    pub fn take(thread: Here<'_>) -> Ticket {
        // SAFETY: the running greenlet is alive.
        unsafe {
            let me = thread.current();
            let park = body(me).parks.get() + 1;
            body(me).parks.set(park);
            Ticket { greenlet: Owned::borrow(me), park }
        }
    }

    /// For the park that a greenlet is in.
    ///
    /// # Safety
    /// A live greenlet.
    pub unsafe fn of_present_park(greenlet: *mut PyGreenlet) -> Ticket {
        // SAFETY: a live greenlet.
        unsafe { Ticket { greenlet: Owned::borrow(greenlet), park: body(greenlet).parks.get() } }
    }

    /// The token: a ticket holds a greenlet.
    pub fn gil(&self) -> Gil<'_> {
        self.greenlet.gil()
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

    /// Switches to the greenlet, which still waits. Returns what the running one goes on with.
    ///
    /// # Errors
    /// What is thrown into the running one; `greenlet.error` if the greenlet is of another thread.
    #[inline]
    pub fn resume(self, thread: Here<'_>, outcome: Outcome) -> Result<Owned> {
        let greenlet = self.greenlet.into_raw().cast();
        // SAFETY: the ticket's reference is handed over, with what the outcome owns; so is what comes back.
        unsafe { Owned::new(switch::switch_owned(thread, greenlet, outcome.into_handover())) }
    }
}

/// What a parked greenlet goes on with.
pub enum Outcome {
    /// Its park returns this.
    Value(Owned),
    /// Its park raises this: an exception, with this traceback if there is one.
    Throw(Owned, Option<Owned>),
}

impl Outcome {
    /// None.
    pub fn none(gil: Gil<'_>) -> Outcome {
        Outcome::Value(Owned::none(gil))
    }

    fn into_handover(self) -> Handover {
        match self {
            Outcome::Value(value) => Handover::Value(value.into_raw()),
            Outcome::Throw(exception, traceback) => {
                // SAFETY: only exceptions are put into a `Throw`.
                unsafe { restore(&exception, traceback) };
                Handover::Throw
            }
        }
    }
}

/// Makes an exception pending.
///
/// # Safety
/// An exception, and a traceback.
pub unsafe fn restore(exception: &Owned, traceback: Option<Owned>) {
    // SAFETY: an exception, whose class is its type; the three references are handed over.
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
