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
use super::seen;
use super::ticket::{Outcome, Ticket};
use super::work::Work;
use crate::greenlet::{Here, Thread, body, here, names, record_of};
use crate::py::ffi::{self, PyObject};
use crate::py::names::{Name, intern};
use crate::py::object::Object;
use crate::py::{
    self, Args, Class, ClassCell, Gil, GlobalObject, Owned, Payload, Pending, Raised, Result, This, exception_info,
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
    let known = plain.map_or(ptr::null(), |plain| ptr::from_ref(plain).cast());
    let statistics = hub.as_ref().and_then(|hub| Object::of(hub).instance::<Hub>()).map(|hub| hub.statistics.clone());
    seen::note(thread, statistics);
    // SAFETY: null, or the payload of the hub, which lives as long as that does.
    unsafe { thread.extension.set(hub, known, close) };
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
pub fn look_again(thread: &Thread, hub: This<'_, Hub>) {
    if thread.extension.object() == hub.as_ptr() {
        // SAFETY: the object that the extension keeps.
        let plain = unsafe { Hub::if_plain(hub.as_ptr()) };
        let known = plain.map_or(ptr::null(), |plain| ptr::from_ref(plain).cast());
        // SAFETY: null, or the payload of the hub, which lives as long as that does.
        unsafe { thread.extension.set_known(known) };
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

/// The thread's hub, if what is registered with its poller is woken: it polls itself, or looks there in its own `wait`.
#[inline]
pub fn watching(thread: &Thread) -> Option<&Hub> {
    plain(thread).filter(|hub| hub.looks_at_poller())
}

/// Makes a thread's hub: a Python function without arguments.
pub static MAKE_HUB: GlobalObject = GlobalObject::null();

/// Makes the running thread's hub, if there is none. Before a greenlet is left where others will find it: making the
/// hub may let other threads run, and they wake it through the hub.
///
/// # Errors
/// Those of the hub's constructor.
#[inline]
pub fn ensure(thread: Here<'_>) -> Result<()> {
    if object_of(&thread).is_null() { make_hub(thread) } else { Ok(()) }
}

/// The running thread's hub, made if there is none.
///
/// # Errors
/// As [`ensure`].
pub fn object(thread: Here<'_>) -> Result<Owned> {
    ensure(thread)?;
    thread.extension.owned().ok_or(Raised)
}

#[cold]
fn make_hub(thread: Here<'_>) -> Result<()> {
    let factory = MAKE_HUB.object();
    if factory.is_null() {
        return py::runtime_error(thread.gil(), "there is no hub: import eventlet.hubs first");
    }
    // SAFETY: the factory lives for ever.
    let hub = unsafe { py::call(factory, [])? };
    // The factory may have been asked for the hub itself.
    if object_of(&thread).is_null() {
        set(&thread, Some(hub));
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------------
// What it is asked for

/// A thread's hub.
pub enum HubRef<'a> {
    /// Served without its Python methods.
    Plain(&'a Hub),
    /// Of another class, or with methods that were overridden: served through them.
    Python(Owned),
}

impl<'a> HubRef<'a> {
    /// The running thread's hub, made if there is none.
    ///
    /// # Errors
    /// As [`ensure`].
    #[inline]
    pub fn of(thread: Here<'a>) -> Result<HubRef<'a>> {
        match plain(thread.record()) {
            Some(hub) => Ok(HubRef::Plain(hub)),
            None => HubRef::of_any_class(thread),
        }
    }

    #[cold]
    fn of_any_class(thread: Here<'a>) -> Result<HubRef<'a>> {
        ensure(thread)?;
        HubRef::if_any(thread.record()).ok_or(Raised)
    }

    /// A thread's hub, if it has one.
    #[inline]
    fn if_any(thread: &'a Thread) -> Option<HubRef<'a>> {
        plain(thread).map(HubRef::Plain).or_else(|| thread.extension.owned().map(HubRef::Python))
    }

    /// Makes a parked greenlet of the hub's thread ready to go on with `outcome`. An error is printed: the waker
    /// has nothing to do with it.
    #[inline]
    fn wake(&self, ticket: Ticket, outcome: Outcome) {
        match self {
            HubRef::Plain(hub) => hub.make_ready(Work::Wake(ticket, outcome)),
            HubRef::Python(hub) => {
                let woken = WakeLater::make(hub.gil(), ticket, outcome).and_then(|later| schedule(hub, 0.0, &later));
                if woken.is_err() {
                    // SAFETY: an exception is pending; a live object.
                    unsafe { ffi::PyErr_WriteUnraisable(hub.as_ptr()) };
                }
            }
        }
    }

    /// Wakes a greenlet of the hub's thread at a point in time.
    pub fn wake_at(&self, at: Time, ticket: Ticket, outcome: Outcome) -> Result<Alarm> {
        match self {
            HubRef::Plain(hub) => Ok(Alarm::Plain(hub.add_timer(at, Work::Wake(ticket, outcome)))),
            HubRef::Python(hub) => {
                let later = WakeLater::make(hub.gil(), ticket, outcome)?;
                let seconds = at.since(monotonic()).as_secs_f64();
                Ok(Alarm::Python(schedule(hub, seconds, &later)?))
            }
        }
    }

    /// Wakes the running greenlet from its next park, after some seconds; with 0 behind what is ready. `None`: there is
    /// nothing to cancel.
    #[inline]
    pub fn wake_me(&self, thread: Here<'_>, seconds: f64) -> Result<Option<Alarm>> {
        match self {
            HubRef::Plain(hub) => {
                let work = Work::Wake(Ticket::take(thread), Outcome::none(thread.gil()));
                Ok(hub.schedule(seconds, work).map(Alarm::Plain))
            }
            HubRef::Python(hub) => {
                // SAFETY: the running greenlet, which is kept while its attribute is looked up.
                let switch = unsafe {
                    let me = Owned::borrow(thread.current());
                    Owned::new(ffi::PyObject_GetAttr(me.as_ptr(), names::SWITCH.object()))?
                };
                schedule(hub, seconds, &switch).map(|timer| Some(Alarm::Python(timer)))
            }
        }
    }

    /// Begins a greenlet of the hub's thread after some seconds; with 0 behind what is ready.
    ///
    /// # Safety
    /// A greenlet, a tuple and a dict.
    #[inline]
    pub unsafe fn start(&self, seconds: f64, greenlet: &Owned, args: Owned, kwargs: Option<Owned>) -> Result<()> {
        match self {
            HubRef::Plain(hub) => {
                hub.schedule(seconds, Work::Start { greenlet: greenlet.clone(), args, kwargs });
                Ok(())
            }
            // SAFETY: live objects, a tuple and a dict among them.
            HubRef::Python(hub) => unsafe {
                let switch = Owned::new(ffi::PyObject_GetAttr(greenlet.as_ptr(), names::SWITCH.object()))?;
                let seconds = Owned::new(ffi::PyFloat_FromDouble(seconds))?;
                let head = Owned::new(ffi::PyTuple_Pack(2, seconds.as_ptr(), switch.as_ptr()))?;
                let all = Owned::new(ffi::PySequence_Concat(head.as_ptr(), args.as_ptr()))?;
                let method = Owned::new(ffi::PyObject_GetAttrString(hub.as_ptr(), c"schedule_call_global".as_ptr()))?;
                let kwargs = kwargs.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
                Owned::new(ffi::PyObject_Call(method.as_ptr(), all.as_ptr(), kwargs)).map(drop)
            },
        }
    }

    /// The greenlet of its loop.
    #[inline]
    pub fn loop_greenlet(&self) -> Result<Owned> {
        // SAFETY: live objects: a plain hub keeps its greenlet.
        unsafe {
            match self {
                HubRef::Plain(hub) => Ok(Owned::borrow(hub.greenlet())),
                HubRef::Python(hub) => {
                    Owned::new(ffi::PyObject_GetAttr(hub.as_ptr(), c_name(hub.gil(), c"greenlet")?.as_ptr()))
                }
            }
        }
    }

    /// Whether the running greenlet is that of its loop, which cannot wait for itself; of the running thread's hub.
    #[inline]
    pub fn is_loop(&self, thread: Here<'_>) -> Result<bool> {
        match self {
            HubRef::Plain(hub) => Ok(hub.greenlet() == thread.current()),
            HubRef::Python(_) => Ok(self.loop_greenlet()?.as_ptr() == thread.current().cast()),
        }
    }

    /// Suspends the running greenlet through the hub's own method.
    pub fn switch(&self) -> Result<Owned> {
        let HubRef::Python(hub) = self else { unreachable!("a plain hub is left without its method") };
        // SAFETY: a live object.
        unsafe { py::call_method(hub.as_ptr(), names::SWITCH.object(), []) }
    }

    /// Makes sure that the loop's greenlet can be switched to.
    pub fn ensure_greenlet(&self) -> Result<()> {
        match self {
            HubRef::Plain(hub) => hub.ensure_greenlet(),
            // SAFETY: a live object.
            HubRef::Python(hub) => unsafe { call_hub(hub.gil(), hub.as_ptr(), c"ensure_greenlet", []).map(drop) },
        }
    }
}

/// Raises, because the loop's own greenlet cannot wait for itself.
#[cold]
pub fn refuse_in_loop<T>(gil: Gil<'_>) -> Result<T> {
    py::runtime_error(gil, "do not call blocking functions from the mainloop")
}

impl Ticket {
    /// Makes the greenlet ready to go on with `outcome`, behind what is ready already. May be called from any OS
    /// thread. Returns whether it still waited.
    pub fn wake(self, gil: Gil<'_>, outcome: Outcome) -> bool {
        if !self.is_valid() {
            return false;
        }
        // SAFETY: the ticket keeps its greenlet, which has begun and so has a handle.
        let handle = unsafe { body(self.greenlet()) }.handle().filter(|handle| handle.is_alive());
        let Some(record) = handle.and_then(|handle| record_of(gil, handle)) else { return false };
        if let Some(hub) = HubRef::if_any(record) {
            hub.wake(self, outcome);
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
    /// Cancels it, if it has not rung. A pending exception is kept.
    #[inline]
    pub fn cancel(self, thread: &Thread) {
        match self {
            Alarm::Plain(key) => {
                if let Some(hub) = plain(thread) {
                    hub.cancel_timer(key);
                }
            }
            Alarm::Python(timer) => {
                let pending = Pending::take(timer.gil());
                // SAFETY: a live object; after a call that failed an exception is pending.
                unsafe {
                    if py::call_method(timer.as_ptr(), CANCEL.object(), []).is_err() {
                        ffi::PyErr_WriteUnraisable(timer.as_ptr());
                    }
                }
                drop(timer);
                pending.put_back();
            }
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
    fn make(gil: Gil<'_>, ticket: Ticket, outcome: Outcome) -> Result<Owned> {
        py::make(gil, WakeLater(Cell::new(Some((ticket, outcome)))))
    }

    fn call(this: This<'_, WakeLater>, _: Args<'_>) -> Result<Owned> {
        match this.0.take() {
            Some((ticket, outcome)) if ticket.is_valid() => ticket.resume(here(this.gil())?, outcome),
            _ => Ok(Owned::none(this.gil())),
        }
    }
}

/// Asks a hub of any class to call something after some seconds. Returns its timer.
fn schedule(hub: &Owned, seconds: f64, callable: &Owned) -> Result<Owned> {
    // SAFETY: live objects.
    unsafe {
        let seconds = Owned::new(ffi::PyFloat_FromDouble(seconds))?;
        call_hub(hub.gil(), hub.as_ptr(), c"schedule_call_global", [seconds.as_ptr(), callable.as_ptr()])
    }
}

/// Reports the pending exception as the thread's hub does: printed, unless that is turned off. Without a hub it is
/// printed.
///
/// # Safety
/// An exception is pending; `culprit` is a live object, which raised it.
#[cold]
pub unsafe fn squelch(thread: Here<'_>, culprit: *mut PyObject) {
    // SAFETY: an exception is pending, be it that one or one that came instead.
    unsafe {
        let told = exception_info(thread.gil()).and_then(|info| {
            let hub = object(thread)?;
            call_hub(hub.gil(), hub.as_ptr(), c"squelch_generic_exception", [info.as_ptr()])
        });
        if told.is_err() {
            ffi::PyErr_WriteUnraisable(culprit);
        }
    }
}
