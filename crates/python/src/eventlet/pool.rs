//! `GreenPool`: a limit to how many green threads run at a time.
//!
//! A green thread of a pool refers to it until its function has ended, however it ended: also one that is killed before
//! it began gives its place back.

use std::cell::Cell;
use std::ffi::CStr;

use super::line::Line;
use super::semaphore::Semaphore;
use super::ticket::Outcome;
use crate::greenlet::{PyGreenlet, body};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, ClassCell, Owned, Payload, Pending, Raised, Result, Slot, This, assumed};

/// The state of a pool.
pub struct Pool {
    pub size: Cell<i64>,
    /// A [`Semaphore`] of the free places.
    pub free: Slot,
    /// A set of the greenlets.
    pub running: Slot,
    /// Who waits for all to end.
    pub waiting: Line,
}

static POOL: ClassCell = ClassCell::unbuilt();

impl Payload for Pool {
    const NAME: &'static CStr = c"greenloom._native.GreenPool";
    const DOC: &'static CStr = c"GreenPool(size=1000)\n--\n\n\
At most *size* green threads at a time.";

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
    pub fn object(slot: &Slot) -> Result<Owned> {
        // SAFETY: called with the interpreter's lock.
        slot.object()
            .map_or_else(|| unsafe { py::error(ffi::PyExc_RuntimeError, "GreenPool.__init__() was not called") }, Ok)
    }

    /// Calls `f` with the semaphore.
    pub fn with_free<R>(&self, f: impl FnOnce(&Semaphore) -> R) -> Result<R> {
        let semaphore = Pool::object(&self.free)?;
        // SAFETY: it was made a semaphore, and lives during the call.
        let free = unsafe { This::<Semaphore>::of(semaphore.as_ptr()) };
        Ok(f(&free))
    }

    pub fn count_running(&self) -> Result<i64> {
        // SAFETY: a set.
        Ok(unsafe { ffi::PySet_Size(Pool::object(&self.running)?.as_ptr()) } as i64)
    }

    pub fn is_member(&self, greenlet: *mut PyGreenlet) -> Result<bool> {
        // SAFETY: a set, and a live greenlet.
        match unsafe { ffi::PySet_Contains(Pool::object(&self.running)?.as_ptr(), greenlet.cast()) } {
            -1 => Err(Raised),
            found => Ok(found != 0),
        }
    }

    /// Wakes who waits for all to end, if nothing runs and nobody is about to spawn.
    fn look_whether_idle(&self) -> Result<()> {
        if !self.waiting.is_empty() && self.count_running()? == 0 && self.with_free(Semaphore::waiting)? == 0 {
            for place in self.waiting.take_all() {
                place.wake(Outcome::none());
            }
        }
        Ok(())
    }

    /// A greenlet's function has ended.
    fn left(&self, greenlet: *mut PyGreenlet) -> Result<()> {
        self.with_free(Semaphore::release)?;
        // SAFETY: a set, and a live greenlet.
        if unsafe { ffi::PySet_Discard(Pool::object(&self.running)?.as_ptr(), greenlet.cast()) } < 0 {
            return Err(Raised);
        }
        self.look_whether_idle()
    }

    /// Waits for a free place.
    pub fn enter(&self) -> Result<()> {
        let entered = self.with_free(|free| free.acquire(assumed()))?;
        if entered.is_err() {
            // SAFETY: called with the interpreter's lock.
            unsafe {
                let pending = Pending::take(assumed());
                if self.look_whether_idle().is_err() {
                    ffi::PyErr_Clear();
                }
                pending.put_back();
            }
        }
        entered
    }
}

/// A greenlet's function has ended: it gives its place back, if it is of a pool.
///
/// # Safety
/// A live greenlet; the interpreter's lock is held, no exception is pending.
#[inline]
pub unsafe fn leave(greenlet: *mut PyGreenlet) {
    // SAFETY: the caller's word.
    unsafe {
        if let Some(pool) = body(greenlet).extension.take()
            && This::<Pool>::of(pool.as_ptr()).left(greenlet).is_err()
        {
            ffi::PyErr_WriteUnraisable(pool.as_ptr());
        }
    }
}
