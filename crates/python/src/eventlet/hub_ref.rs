//! A thread's hub, whatever its class.
//!
//! A thread keeps its hub in the [extension](crate::greenlet::Thread::extension) of its record. If the hub can be
//! served without its Python methods, it is *plain*, and where its state lies is noted beside it; that is looked up
//! once, and again when something of the hub is overridden. [`HubRef`] asks a hub for the same things in either case,
//! so that nobody else has to know which it is.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use greenloom_hub::{Time, TimerKey};

use super::clock::{after, monotonic};
use super::hub::{Hub, c_name, call_hub};
use super::ticket::{Outcome, Ticket};
use super::work::Work;
use crate::greenlet::{Thread, body, names, record_of};
use crate::py::ffi::{self, PyObject};
use crate::py::names::{Name, intern};
use crate::py::{
    self, Args, Class, ClassCell, GlobalObject, Owned, Payload, Pending, Result, This, assumed, exception_info,
};

static CANCEL: Name = Name::new(c"cancel");

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import with the lock held.
    unsafe {
        intern(&[&CANCEL])?;
        Class::<WakeLater>::new().call(WakeLater::call).build(module)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Where it is kept

/// Sets or removes a thread's hub.
pub fn set(thread: &Thread, hub: Option<Owned>) {
    // SAFETY: the object lives as long as the extension has it.
    let plain = hub.as_ref().and_then(|hub| unsafe { Hub::if_plain(hub.as_ptr()) });
    thread.extension.set(hub, plain.map_or(ptr::null(), |plain| ptr::from_ref(plain).cast()), close);
}

/// The thread has ended: lets go of the hub. What is left on the stack of its loop keeps it, but not what it has open.
///
/// # Safety
/// As the `AtEnd` of a thread.
unsafe fn close(hub: *mut PyObject) {
    // SAFETY: a live object; nobody waits in the hub any more.
    if let Some(hub) = unsafe { This::<Hub>::try_of(hub) } {
        hub.close();
    }
}

/// Looks anew whether the hub is plain, if it is the thread's, after something of it was overridden.
pub fn look_again(thread: &Thread, hub: *mut PyObject) {
    if thread.extension.object() == hub {
        // SAFETY: as in `set`.
        let plain = unsafe { Hub::if_plain(hub) };
        thread.extension.set_known(plain.map_or(ptr::null(), |plain| ptr::from_ref(plain).cast()));
    }
}

/// A thread's hub, borrowed; null if there is none.
#[inline]
pub fn object_of(thread: &Thread) -> *mut PyObject {
    thread.extension.object()
}

#[inline]
fn plain(thread: &Thread) -> Option<&Hub> {
    // SAFETY: null, or the payload of the hub that the extension keeps: nobody else fills it.
    unsafe { thread.extension.known().cast::<Hub>().as_ref() }
}

/// Whether it is the thread's hub, and plain.
pub fn is_plain(thread: &Thread, hub: &Hub) -> bool {
    ptr::eq(thread.extension.known(), ptr::from_ref(hub).cast())
}

/// The thread's hub, if green objects can wait on it without Python's help.
#[inline]
pub fn native(thread: &Thread) -> Option<&Hub> {
    plain(thread).filter(|hub| hub.polls_itself())
}

/// Makes a thread's hub: a Python function without arguments.
pub static MAKE_HUB: GlobalObject = GlobalObject::null();

/// The running thread's hub object, borrowed, made if there is none.
///
/// # Safety
/// The interpreter's lock is held.
#[inline]
pub unsafe fn hub_object(thread: &Thread) -> Result<*mut PyObject> {
    let hub = object_of(thread);
    // SAFETY: the lock is held, as `make_hub` asks for.
    if hub.is_null() { unsafe { make_hub(thread) } } else { Ok(hub) }
}

/// # Safety
/// The interpreter's lock is held.
#[cold]
unsafe fn make_hub(thread: &Thread) -> Result<*mut PyObject> {
    // SAFETY: the factory lives for ever, and the lock is held.
    unsafe {
        let factory = MAKE_HUB.object();
        if factory.is_null() {
            return py::error(ffi::PyExc_RuntimeError, "there is no hub: import eventlet.hubs first");
        }
        let hub = py::call(factory, [])?;
        // The factory may have been asked for the hub itself.
        if object_of(thread).is_null() {
            set(thread, Some(hub));
        }
        Ok(object_of(thread))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What it is asked for

/// A thread's hub.
#[derive(Clone, Copy)]
pub enum HubRef<'a> {
    /// Served without its Python methods.
    Plain(&'a Hub),
    /// Of another class, or with methods that were overridden: served through them. The thread keeps the object.
    Python(*mut PyObject),
}

impl<'a> HubRef<'a> {
    /// The running thread's hub, made if there is none.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    #[inline]
    pub unsafe fn of(thread: &'a Thread) -> Result<HubRef<'a>> {
        match plain(thread) {
            Some(hub) => Ok(HubRef::Plain(hub)),
            // SAFETY: the lock is held.
            None => unsafe { HubRef::of_any_class(thread) },
        }
    }

    /// # Safety
    /// The interpreter's lock is held.
    #[cold]
    unsafe fn of_any_class(thread: &'a Thread) -> Result<HubRef<'a>> {
        // SAFETY: the lock is held.
        let object = unsafe { hub_object(thread)? };
        Ok(plain(thread).map_or(HubRef::Python(object), HubRef::Plain))
    }

    /// A thread's hub, if it has one.
    #[inline]
    fn if_any(thread: &'a Thread) -> Option<HubRef<'a>> {
        let python = || Some(object_of(thread)).filter(|hub| !hub.is_null()).map(HubRef::Python);
        plain(thread).map(HubRef::Plain).or_else(python)
    }

    /// Makes a parked greenlet ready to go on with `outcome`. An error is printed: whoever wakes has nothing to do with
    /// it.
    ///
    /// # Safety
    /// The interpreter's lock is held; the ticket is of a greenlet of the hub's thread.
    #[inline]
    unsafe fn wake(self, ticket: Ticket, outcome: Outcome) {
        match self {
            HubRef::Plain(hub) => hub.make_ready(Work::Wake(ticket, outcome)),
            // SAFETY: the thread keeps the object, and the lock is held.
            HubRef::Python(hub) => unsafe {
                let woken = WakeLater::make(ticket, outcome).and_then(|later| schedule(hub, 0.0, later.as_ptr()));
                if woken.is_err() {
                    ffi::PyErr_WriteUnraisable(hub);
                }
            },
        }
    }

    /// Wakes a greenlet at a point in time.
    ///
    /// # Safety
    /// As [`wake`](Self::wake).
    pub unsafe fn wake_at(self, at: Time, ticket: Ticket, outcome: Outcome) -> Result<Alarm> {
        match self {
            HubRef::Plain(hub) => Ok(Alarm::Plain(hub.add_timer(at, Work::Wake(ticket, outcome)))),
            // SAFETY: the thread keeps the object, and the lock is held.
            HubRef::Python(hub) => unsafe {
                let later = WakeLater::make(ticket, outcome)?;
                let seconds = at.since(monotonic()).as_secs_f64();
                Ok(Alarm::Python(schedule(hub, seconds, later.as_ptr())?))
            },
        }
    }

    /// Wakes the running greenlet from its next park, after some seconds; with 0 behind what is ready. `None`: there is
    /// nothing to cancel.
    ///
    /// # Safety
    /// The interpreter's lock is held; the running thread's hub.
    #[inline]
    pub unsafe fn wake_me(self, thread: &Thread, seconds: f64) -> Result<Option<Alarm>> {
        match self {
            HubRef::Plain(hub) => {
                let work = Work::Wake(Ticket::take(thread), Outcome::none());
                Ok(hub.schedule(seconds, work).map(Alarm::Plain))
            }
            // SAFETY: the thread keeps the object, and the lock is held.
            HubRef::Python(hub) => unsafe {
                let hub = Owned::borrow(hub);
                let me = Owned::borrow(thread.current());
                let switch = Owned::new(ffi::PyObject_GetAttr(me.as_ptr(), names::SWITCH.object()))?;
                schedule(hub.as_ptr(), seconds, switch.as_ptr()).map(|timer| Some(Alarm::Python(timer)))
            },
        }
    }

    /// Begins a greenlet after some seconds; with 0 behind what is ready.
    ///
    /// # Safety
    /// The interpreter's lock is held; a greenlet of the hub's thread, a tuple and a dict.
    #[inline]
    pub unsafe fn start(self, seconds: f64, greenlet: &Owned, args: Owned, kwargs: Option<Owned>) -> Result<()> {
        match self {
            HubRef::Plain(hub) => {
                hub.schedule(seconds, Work::Start { greenlet: greenlet.clone(), args, kwargs });
                Ok(())
            }
            // SAFETY: the thread keeps the object, and the lock is held.
            HubRef::Python(hub) => unsafe {
                let switch = Owned::new(ffi::PyObject_GetAttr(greenlet.as_ptr(), names::SWITCH.object()))?;
                let seconds = Owned::new(ffi::PyFloat_FromDouble(seconds))?;
                let head = Owned::new(ffi::PyTuple_Pack(2, seconds.as_ptr(), switch.as_ptr()))?;
                let all = Owned::new(ffi::PySequence_Concat(head.as_ptr(), args.as_ptr()))?;
                let method = Owned::new(ffi::PyObject_GetAttrString(hub, c"schedule_call_global".as_ptr()))?;
                let kwargs = kwargs.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
                Owned::new(ffi::PyObject_Call(method.as_ptr(), all.as_ptr(), kwargs)).map(drop)
            },
        }
    }

    /// The greenlet of its loop.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    #[inline]
    pub unsafe fn loop_greenlet(self) -> Result<Owned> {
        // SAFETY: the thread keeps the hub, which keeps its greenlet; the lock is held.
        unsafe {
            match self {
                HubRef::Plain(hub) => Ok(Owned::borrow(hub.greenlet())),
                HubRef::Python(hub) => Owned::new(ffi::PyObject_GetAttr(hub, c_name(c"greenlet")?.as_ptr())),
            }
        }
    }

    /// Whether the running greenlet is that of its loop, which cannot wait for itself.
    ///
    /// # Safety
    /// The interpreter's lock is held; the running thread's hub.
    #[inline]
    pub unsafe fn is_loop(self, thread: &Thread) -> Result<bool> {
        match self {
            HubRef::Plain(hub) => Ok(hub.greenlet() == thread.current()),
            // SAFETY: the lock is held.
            HubRef::Python(_) => Ok(unsafe { self.loop_greenlet()? }.as_ptr() == thread.current().cast()),
        }
    }

    /// Makes sure that the loop's greenlet can be switched to.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn ensure_greenlet(self) -> Result<()> {
        match self {
            HubRef::Plain(hub) => hub.ensure_greenlet(),
            // SAFETY: the thread keeps the object, and the lock is held.
            HubRef::Python(hub) => unsafe { call_hub(hub, c"ensure_greenlet", []).map(drop) },
        }
    }
}

/// Raises, because the loop's own greenlet cannot wait for itself.
///
/// # Safety
/// The interpreter's lock is held.
#[cold]
pub unsafe fn refuse_in_loop<T>() -> Result<T> {
    // SAFETY: the lock is held.
    unsafe { py::error(ffi::PyExc_RuntimeError, "do not call blocking functions from the mainloop") }
}

impl Ticket {
    /// Makes the greenlet ready to go on with `outcome`, behind what is ready already. May be called from any OS
    /// thread. Returns whether it still waited.
    pub fn wake(self, outcome: Outcome) -> bool {
        if !self.is_valid() {
            return false;
        }
        // SAFETY: a valid ticket's greenlet has begun, so it has a handle; the record's objects are guarded by the
        // lock.
        unsafe {
            let handle = body(self.greenlet()).handle().filter(|handle| handle.is_alive());
            let Some(record) = handle.and_then(|handle| record_of(assumed(), handle)) else { return false };
            if let Some(hub) = HubRef::if_any(record) {
                hub.wake(self, outcome);
            }
        }
        true
    }
}

impl Hub {
    /// Does work after some seconds; with 0 behind what is ready, and `None` then.
    #[inline]
    fn schedule(&self, seconds: f64, work: Work) -> Option<TimerKey> {
        if seconds == 0.0 {
            self.make_ready(work);
            return None;
        }
        Some(self.add_timer(after(monotonic(), seconds), work))
    }
}

/// A timer of a hub.
pub enum Alarm {
    /// Of a plain one.
    Plain(TimerKey),
    /// Of another one: its timer object.
    Python(Owned),
}

impl Alarm {
    /// Cancels it, if it has not rung.
    ///
    /// # Safety
    /// The interpreter's lock is held. A pending exception is kept.
    #[inline]
    pub unsafe fn cancel(self, thread: &Thread) {
        match self {
            Alarm::Plain(key) => {
                if let Some(hub) = plain(thread) {
                    hub.cancel_timer(key);
                }
            }
            // SAFETY: a live object, and the lock is held.
            Alarm::Python(timer) => unsafe {
                let pending = Pending::take(timer.gil());
                if py::call_method(timer.as_ptr(), CANCEL.object(), []).is_err() {
                    ffi::PyErr_WriteUnraisable(timer.as_ptr());
                }
                drop(timer);
                pending.put_back();
            },
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// For hubs that are served through their Python methods

/// A callable that switches to a parked greenlet, for a timer of a hub written in Python.
pub struct WakeLater(Cell<Option<(Ticket, Outcome)>>);

static WAKE_LATER: ClassCell = ClassCell::unbuilt();

impl Payload for WakeLater {
    const NAME: &'static CStr = c"greenloom._native.WakeLater";
    const DOC: &'static CStr = c"Switches to a greenlet, if it still waits.";

    fn cell() -> &'static ClassCell {
        &WAKE_LATER
    }

    fn new() -> WakeLater {
        WakeLater(Cell::new(None))
    }
}

impl WakeLater {
    fn make(ticket: Ticket, outcome: Outcome) -> Result<Owned> {
        py::make(assumed(), WakeLater(Cell::new(Some((ticket, outcome)))))
    }

    fn call(this: This<'_, WakeLater>, _: Args<'_>) -> Result<Owned> {
        match this.0.take() {
            // SAFETY: called by the hub of the greenlet's thread.
            Some((ticket, outcome)) if ticket.is_valid() => unsafe { Owned::new(ticket.resume(outcome)) },
            _ => Ok(Owned::none(this.gil())),
        }
    }
}

/// Asks a hub of any class to call something after some seconds. Returns its timer.
///
/// # Safety
/// Live objects, with the interpreter's lock held.
unsafe fn schedule(hub: *mut PyObject, seconds: f64, callable: *mut PyObject) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe {
        let seconds = Owned::new(ffi::PyFloat_FromDouble(seconds))?;
        call_hub(hub, c"schedule_call_global", [seconds.as_ptr(), callable])
    }
}

/// Reports the pending exception as the hub does: printed, unless that is turned off.
///
/// # Safety
/// An exception is pending; the interpreter's lock is held.
#[cold]
pub unsafe fn squelch(hub: *mut PyObject) {
    // SAFETY: the caller's word.
    unsafe {
        let told =
            exception_info(assumed()).and_then(|info| call_hub(hub, c"squelch_generic_exception", [info.as_ptr()]));
        if told.is_err() {
            ffi::PyErr_WriteUnraisable(hub);
        }
    }
}
