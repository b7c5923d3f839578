//! Timers: a function to call after some seconds.

use std::cell::Cell;
use std::ffi::CStr;

use greenloom_hub::TimerKey;

use super::Hub;
use crate::py::ffi::{self, PyObject};
use crate::py::{self, ClassCell, Gil, Owned, Payload, Result, Slot, This};

/// A timer.
pub struct Timer {
    pub(in crate::eventlet) seconds: Slot,
    pub(in crate::eventlet) callback: Slot,
    pub(in crate::eventlet) args: Slot,
    pub(in crate::eventlet) kwargs: Slot,
    pub(in crate::eventlet) called: Cell<bool>,
    pub(in crate::eventlet) scheduled_time: Slot,
    /// Where it is in its hub, while it waits there.
    key: Cell<Option<TimerKey>>,
    pub(in crate::eventlet) hub: Slot,
}

static TIMER: ClassCell = ClassCell::unbuilt();

impl Payload for Timer {
    const NAME: &'static CStr = c"greenloom._native.Timer";
    const DOC: &'static CStr =
        c"Timer(seconds, cb, *args, **kw)\n--\n\nA function that a hub calls once, in its own greenlet, \
          *seconds* after schedule() or hub.add_timer(timer).";

    fn cell() -> &'static ClassCell {
        &TIMER
    }

    fn new() -> Timer {
        Timer {
            seconds: Slot::empty(),
            callback: Slot::empty(),
            args: Slot::empty(),
            kwargs: Slot::empty(),
            called: Cell::new(false),
            scheduled_time: Slot::empty(),
            key: Cell::new(None),
            hub: Slot::empty(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        for slot in [&self.callback, &self.args, &self.kwargs] {
            visit(slot.get());
        }
    }

    fn clear(&self) {
        self.forget();
    }
}

impl Timer {
    /// A timer that is not started, with a tuple and a dict.
    pub fn make(gil: Gil<'_>, seconds: Owned, callback: Owned, args: Owned, kwargs: Option<Owned>) -> Result<Owned> {
        let timer = Timer::new();
        timer.set(seconds, callback, args, kwargs);
        py::make(gil, timer)
    }

    /// Sets what it calls, and when.
    pub fn set(&self, seconds: Owned, callback: Owned, args: Owned, kwargs: Option<Owned>) {
        self.seconds.set(Some(seconds));
        self.callback.set(Some(callback));
        self.args.set(Some(args));
        self.kwargs.set(kwargs);
    }

    /// Lets go of the function and its arguments.
    pub fn forget(&self) {
        let held = [self.callback.take(), self.args.take(), self.kwargs.take()];
        drop(held);
    }

    /// It waits in a hub now.
    pub fn started(&self, key: TimerKey, hub: Owned) {
        self.key.set(Some(key));
        self.hub.set(Some(hub));
    }

    /// Takes it out of the hub where it waits. Returns the place that it had there.
    pub fn stop(&self) -> Option<TimerKey> {
        let (key, hub) = (self.key.take()?, self.hub.take()?);
        // SAFETY: kept by the slot until now.
        if let Some(hub) = unsafe { This::<Hub>::try_of(hub.as_ptr()) } {
            hub.cancel_timer(key);
        }
        Some(key)
    }

    /// After how many seconds any timer object is due.
    ///
    /// # Safety
    /// A live object; the interpreter's lock is held.
    pub unsafe fn delay(timer: *mut PyObject) -> Result<f64> {
        // SAFETY: a live object, with the lock held.
        unsafe {
            let own =
                This::<Timer>::try_of(timer).filter(|this| this.is_exact()).and_then(|this| this.seconds.object());
            let seconds =
                own.map_or_else(|| Owned::new(ffi::PyObject_GetAttrString(timer, c"seconds".as_ptr())), Ok)?;
            py::float(seconds.as_ptr())
        }
    }

    /// Calls any timer object whose time has come.
    ///
    /// # Safety
    /// A live object; the interpreter's lock is held.
    pub unsafe fn fire(timer: *mut PyObject) -> Result<Owned> {
        // SAFETY: a live object, with the lock held.
        unsafe {
            match This::<Timer>::try_of(timer) {
                Some(this) => {
                    this.key.set(None);
                    this.hub.set(None);
                    if this.is_exact() { Timer::run(this) } else { py::call(timer, []) }
                }
                None => {
                    let called = Owned::new(ffi::PyObject_GetAttrString(timer, c"called".as_ptr()))?;
                    if py::truth(called.as_ptr())? { Ok(called) } else { py::call(timer, []) }
                }
            }
        }
    }

    /// Calls the function, once.
    pub fn run(this: This<'_, Timer>) -> Result<Owned> {
        if this.called.replace(true) {
            return Ok(Owned::none(this.gil()));
        }
        let (callback, args, kwargs) = (this.callback.take(), this.args.take(), this.kwargs.take());
        let (Some(callback), Some(args)) = (callback, args) else { return Ok(Owned::none(this.gil())) };
        let kwargs = kwargs.as_ref().map_or(std::ptr::null_mut(), Owned::as_ptr);
        // SAFETY: live objects, a tuple and a dict among them.
        unsafe { Owned::new(ffi::PyObject_Call(callback.as_ptr(), args.as_ptr(), kwargs)) }
    }
}
