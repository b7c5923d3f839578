//! `GreenPool`: a limit to how many green threads run at a time.
//!
//! A green thread of a pool refers to it until its function has ended, however it ended: also one that is killed before
//! it began gives its place back.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use super::line::Line;
use super::semaphore::Semaphore;
use super::ticket::Outcome;
use crate::greenlet::wait::{At, Awaited};
use crate::greenlet::{Here, PyGreenlet, body};
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, ClassCell, Gil, Owned, Payload, Pending, Raised, Result, Slot, This};

/// The state of a pool.
pub struct Pool {
    pub size: Cell<i64>,
    /// A [`Semaphore`] of the free places.
    pub free: Slot,
    /// A set of the greenlets.
    pub running: Slot,
    /// The waiters for all to end.
    pub waiting: Line,
}

static POOL: ClassCell = ClassCell::unbuilt();

impl Payload for Pool {
    const NAME: &'static CStr = c"greenloom._native.GreenPool";
    const DOC: &'static CStr = c"GreenPool(size=1000)\n--\n\nAt most *size* green threads at a time.";

    fn cell() -> &'static ClassCell {
        &POOL
    }

    fn new() -> Pool {
        Pool { size: Cell::new(0), free: Slot::empty(), running: Slot::empty(), waiting: Line::new() }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.free.get());
        visit(self.running.get());
    }

    fn clear(&self) {
        self.free.set(None);
        self.running.set(None);
    }
}

impl Pool {
    /// What is in a slot that `__init__` fills.
    pub fn object(gil: Gil<'_>, slot: &Slot) -> Result<Owned> {
        slot.object().map_or_else(|| py::runtime_error(gil, "GreenPool.__init__() was not called"), Ok)
    }

    /// Calls `f` with the semaphore.
    pub fn with_free<R>(&self, gil: Gil<'_>, f: impl FnOnce(&Semaphore) -> R) -> Result<R> {
        let semaphore = Pool::object(gil, &self.free)?;
        // SAFETY: it was made a semaphore, and lives during the call.
        let free = unsafe { This::<Semaphore>::of(semaphore.as_ptr()) };
        Ok(f(&free))
    }

    pub fn count_running(&self, gil: Gil<'_>) -> Result<i64> {
        // SAFETY: a set.
        Ok(unsafe { ffi::PySet_Size(Pool::object(gil, &self.running)?.as_ptr()) } as i64)
    }

    /// Whether the running greenlet is one of its green threads.
    pub fn has_current(&self, thread: Here<'_>) -> Result<bool> {
        let running = Pool::object(thread.gil(), &self.running)?;
        // SAFETY: a set, and the greenlet that runs, which is alive.
        match unsafe { ffi::PySet_Contains(running.as_ptr(), thread.current().cast()) } {
            -1 => Err(Raised),
            found => Ok(found != 0),
        }
    }

    /// Wakes the waiters for all to end, if nothing runs and nobody is about to spawn.
    fn look_whether_idle(&self, gil: Gil<'_>) -> Result<()> {
        if !self.waiting.is_empty() && self.count_running(gil)? == 0 && self.with_free(gil, Semaphore::waiting)? == 0 {
            for place in self.waiting.take_all() {
                place.wake(gil, Outcome::none(gil));
            }
        }
        Ok(())
    }

    /// A greenlet's function has ended.
    fn left(&self, greenlet: Object<'_>) -> Result<()> {
        let gil = greenlet.gil();
        self.with_free(gil, |free| free.release(gil))?;
        // SAFETY: a set, and a live object, with the lock held.
        if unsafe { ffi::PySet_Discard(Pool::object(gil, &self.running)?.as_ptr(), greenlet.as_ptr()) } < 0 {
            return Err(Raised);
        }
        self.look_whether_idle(gil)
    }

    /// Waits for a free place.
    pub fn enter(&self, gil: Gil<'_>) -> Result<()> {
        let entered = self.with_free(gil, |free| free.acquire(gil))?;
        if entered.is_err() {
            let pending = Pending::take(gil);
            if self.look_whether_idle(gil).is_err() {
                // SAFETY: the token says that the lock is held.
                unsafe { ffi::PyErr_Clear() };
            }
            pending.put_back();
        }
        entered
    }
}

impl Awaited for Pool {
    fn at(&self) -> At {
        At { object: ptr::from_ref(self) as usize, waiters: self.waiting.len(), ..At::default() }
    }

    fn detail(&self) -> String {
        // SAFETY: the slot has a set, and nobody waits without the lock.
        let running = self.running.object().map_or(0, |running| unsafe { ffi::PySet_Size(running.as_ptr()) });
        format!("{running} of {} run", self.size.get())
    }
}

/// A greenlet's function has ended: it gives its place back, if it is of a pool.
///
/// # Safety
/// A live greenlet; no exception is pending.
#[inline]
pub unsafe fn leave(greenlet: *mut PyGreenlet) {
    // SAFETY: a live greenlet, whose extension is a pool.
    unsafe {
        if let Some(pool) = body(greenlet).extension.take()
            && This::<Pool>::of(pool.as_ptr()).left(Object::new(greenlet.cast())).is_err()
        {
            ffi::PyErr_WriteUnraisable(pool.as_ptr());
        }
    }
}
