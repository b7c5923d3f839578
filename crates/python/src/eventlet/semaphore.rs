//! `Semaphore`, `BoundedSemaphore` and `Lock`.
//!
//! A lock stands under all of `threading` when that is patched, so no Python object is made and no Python code runs on
//! the way: a garbage collection or a signal, which come only there, find the state whole.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr;

use greenloom_hub::Time;

use super::clock::{self, Patience};
use super::fairness::spend_one;
use super::hub_ref;
use super::line::Line;
use super::park::park_until;
use super::ticket::Ticket;
use crate::greenlet::here;
use crate::greenlet::wait::{self, At, Awaited, Life, Wait};
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::object::{Object, list};
use crate::py::{
    self, Args, Class, ClassCell, Gil, Global, GlobalObject, Owned, Payload, Pending, Raised, Result, This, number,
};

/// The state of a semaphore.
pub struct Semaphore {
    counter: Cell<i64>,
    /// What the counter began with.
    original: Cell<i64>,
    line: Line,
    /// Who has taken a unit last, if that is noted.
    taker: Cell<Option<Life>>,
}

static SEMAPHORE: ClassCell = ClassCell::unbuilt();
static BOUNDED: Global<*mut PyTypeObject> = Global::new(std::ptr::null_mut());
static LOCK: Global<*mut PyTypeObject> = Global::new(std::ptr::null_mut());

impl Payload for Semaphore {
    const NAME: &'static CStr = c"eventlet.semaphore.Semaphore";
    const DOC: &'static CStr = c"Semaphore(value=1)\n--\n\n\
      A counter that acquire() takes one from and release() adds one to. With the counter at zero acquire() waits, \
      first come, first served. Also a context manager.";

    fn cell() -> &'static ClassCell {
        &SEMAPHORE
    }

    fn new() -> Semaphore {
        Semaphore::with(1)
    }
}

impl Semaphore {
    /// A semaphore object.
    pub fn make(gil: Gil<'_>, value: i64) -> Result<Owned> {
        py::make(gil, Semaphore::with(value))
    }

    fn with(value: i64) -> Semaphore {
        Semaphore { counter: Cell::new(value), original: Cell::new(value), line: Line::new(), taker: Cell::new(None) }
    }

    /// What can be acquired.
    #[inline]
    pub fn counter(&self) -> i64 {
        self.counter.get()
    }

    /// Sets the counter. Waiters go on if there is something to acquire.
    #[inline]
    pub fn set_counter(&self, gil: Gil<'_>, counter: i64) {
        self.counter.set(counter);
        self.settle(gil);
    }

    /// Adds one.
    #[inline]
    pub fn release(&self, gil: Gil<'_>) {
        self.set_counter(gil, self.counter.get() + 1);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// As many are called as there are units to take.
    #[inline]
    fn settle(&self, gil: Gil<'_>) {
        if self.line.has_waiting() {
            self.line.forget_dead();
            while (self.line.called() as i64) < self.counter.get() && self.line.call(gil) {}
        }
    }

    /// As [`settle`](Self::settle), with an exception pending.
    #[cold]
    fn settle_after_exception(&self, gil: Gil<'_>) {
        // A hub written in Python may be called.
        let pending = Pending::take(gil);
        self.settle(gil);
        pending.put_back();
    }

    /// Takes one without waiting, if that is possible.
    #[inline]
    fn try_acquire(&self, gil: Gil<'_>) -> bool {
        let free = self.counter.get() > 0;
        if free {
            self.counter.set(self.counter.get() - 1);
            self.taker.set(wait::taker(gil));
        }
        free
    }

    /// Takes one, behind those that wait already. Waits until that is possible. A free one does not switch, unless it
    /// is taken again and again for so long that others must have their turn.
    #[inline]
    pub fn acquire(&self, gil: Gil<'_>) -> Result<()> {
        spend_one(gil)?;
        if self.line.is_empty() && self.try_acquire(gil) {
            return Ok(());
        }
        // Without a deadline it never gives up.
        self.acquire_slowly(gil, None).map(drop)
    }

    /// Waits in the line. Returns false when the time is up.
    #[cold]
    fn acquire_slowly(&self, gil: Gil<'_>, deadline: Option<Time>) -> Result<bool> {
        let thread = here(gil)?;
        hub_ref::ensure(thread)?;
        let mut ticket = Ticket::take(thread);
        let mut place = self.line.join(ticket.clone(), ());
        self.settle(gil);
        loop {
            let wait = Wait { what: "semaphore", at: Some(self), until: deadline };
            let woken = park_until(thread, &ticket, &wait);
            let was_called = self.line.leave_called(place);
            let Ok(woken) = woken else {
                if was_called {
                    self.settle_after_exception(gil);
                }
                return Err(Raised);
            };
            if was_called && self.try_acquire(gil) {
                return Ok(true);
            }
            if woken.is_none() {
                return Ok(false);
            }
            // Somebody who did not stand in the line was faster.
            ticket = Ticket::take(thread);
            place = self.line.rejoin(place, ticket.clone(), ());
        }
    }

    fn acquire_with(&self, args: Args<'_>) -> Result<bool> {
        let gil = args.gil();
        if args.positional.is_empty() && !args.has_keywords() {
            self.acquire(gil)?;
            return Ok(true);
        }
        let ([], [blocking, timeout]) = args.parse("acquire", [], ["blocking", "timeout"])?;
        let patience = clock::patience(gil, blocking, timeout.and_then(Object::unless_none))?;
        if let Patience::Endless = patience {
            self.acquire(gil)?;
            return Ok(true);
        }
        spend_one(gil)?;
        if self.try_acquire(gil) {
            return Ok(true);
        }
        match patience {
            Patience::Seconds(seconds) => self.acquire_slowly(gil, Some(clock::after(clock::monotonic(), seconds))),
            _ => Ok(false),
        }
    }
}

impl Awaited for Semaphore {
    fn at(&self) -> At {
        let is_taken = self.counter.get() <= 0;
        let units = usize::try_from(self.original.get()).unwrap_or(0);
        At {
            object: ptr::from_ref(self) as usize,
            waiters: self.line.len(),
            // Of several units there are several takers.
            holder: self.taker.get().filter(|_| is_taken && units <= 1),
            all_taken: is_taken.then_some(units),
        }
    }

    fn detail(&self) -> String {
        format!("{} of {} free", self.counter.get(), self.original.get())
    }
}

/// The number in an argument for which floats and strings of digits will do. A string without a number is a TypeError.
pub fn count(object: Object<'_>, function: &str) -> Result<i64> {
    let gil = object.gil();
    // SAFETY: live objects, with the lock held.
    unsafe {
        let integer = (&raw mut ffi::PyLong_Type).cast();
        let number = if ffi::PyLong_Check(object.as_ptr()) != 0 {
            object.owned()
        } else {
            match py::call(integer, [object.as_ptr()]) {
                Ok(number) => number,
                Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_ValueError) != 0 => {
                    ffi::PyErr_Clear();
                    return py::type_error(gil, &format!("{function}() needs a number"));
                }
                Err(Raised) => return Err(Raised),
            }
        };
        match Object::of(&number).number()? {
            number if number >= 0 => Ok(number),
            number => py::value_error(gil, &format!("{function}() needs a number of zero or more, not {number}")),
        }
    }
}

fn init(this: This<'_, Semaphore>, args: Args<'_>) -> Result<()> {
    let ([], [value]) = args.parse("Semaphore", [], ["value"])?;
    let value = value.map_or(Ok(1), |value| count(value, "Semaphore"))?;
    this.original.set(value);
    this.set_counter(this.gil(), value);
    Ok(())
}

fn release(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    this.release(this.gil());
    Ok(Owned::bool(this.gil(), true))
}

fn release_bounded(this: This<'_, Semaphore>, args: Args<'_>) -> Result<Owned> {
    if this.counter.get() >= this.original.get() {
        return py::value_error(this.gil(), "Semaphore released too many times");
    }
    release(this, args)
}

fn release_lock(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    if this.counter.get() > 0 {
        return py::runtime_error(this.gil(), "release unlocked lock");
    }
    this.release(this.gil());
    Ok(Owned::none(this.gil()))
}

static ACQUIRE: GlobalObject = GlobalObject::null();
static RELEASE: GlobalObject = GlobalObject::null();

/// Whether it is of one of the types here, and no subclass.
fn is_native(this: This<'_, Semaphore>) -> bool {
    // SAFETY: a live object; types live for ever.
    let kind = unsafe { ffi::Py_TYPE(this.as_ptr()) };
    kind == SEMAPHORE.kind() || kind == BOUNDED.kind() || kind == LOCK.kind()
}

fn enter(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    if is_native(this) {
        this.acquire(this.gil())?;
    } else {
        // SAFETY: live objects, and the interpreter that calls holds the lock.
        unsafe { py::call_method(this.as_ptr(), ACQUIRE.object(), [])? };
    }
    // SAFETY: live objects.
    let is_lock = unsafe { ffi::PyObject_TypeCheck(this.as_ptr(), LOCK.kind()) } != 0;
    // A lock's result is that of threading's, a semaphore's that of stock's.
    Ok(if is_lock { Owned::bool(this.gil(), true) } else { Owned::none(this.gil()) })
}

fn exit(this: This<'_, Semaphore>, args: Args<'_>) -> Result<Owned> {
    // SAFETY: a live object; types live for ever.
    let kind = unsafe { ffi::Py_TYPE(this.as_ptr()) };
    if kind == LOCK.kind() {
        release_lock(this, args)?;
    } else if kind == SEMAPHORE.kind() {
        this.release(this.gil());
    } else {
        // SAFETY: live objects, and the interpreter that calls holds the lock.
        unsafe { py::call_method(this.as_ptr(), RELEASE.object(), [])? };
    }
    Ok(Owned::none(this.gil()))
}

/// What an attribute that must be a number is set to.
pub fn to_number(gil: Gil<'_>, value: Option<Owned>) -> Result<i64> {
    match value {
        Some(value) => Object::of(&value).number(),
        None => py::attribute_error(gil, "this attribute cannot be deleted"),
    }
}

/// The greenlets that wait, as a new list.
fn waiters(this: This<'_, Semaphore>) -> Result<Owned> {
    list(this.gil(), this.line.greenlets())
}

const ACQUIRE_DOC: &CStr = c"acquire($self, blocking=True, timeout=None)\n--\n\nTakes one. Waits until there is one, \
behind those that wait already; returns True. With blocking=False or a timeout in seconds it takes what is there even \
if others wait, and returns False if there is nothing, within that time. A timeout is checked as threading.Lock checks \
it: ValueError if it is negative or NaN, OverflowError above threading.TIMEOUT_MAX; None and -1 stand for none.";

fn class() -> Class<Semaphore> {
    Class::new()
        .init(init)
        .repr(repr)
        .method(
            c"acquire",
            |this, args| this.acquire_with(args).map(|taken| Owned::bool(args.gil(), taken)),
            ACQUIRE_DOC,
        )
        .method(
            c"release",
            release,
            c"release($self, blocking=True)\n--\n\nAdds one; the first that waits goes on. Never waits, from any OS \
              thread. Returns True.",
        )
        .method(
            c"locked",
            |this, _| {
                spend_one(this.gil())?;
                Ok(Owned::bool(this.gil(), this.counter.get() <= 0))
            },
            c"locked($self)\n--\n\nWhether there is nothing to acquire.",
        )
        .method(
            c"bounded",
            |this, _| Ok(Owned::bool(this.gil(), false)),
            c"bounded($self)\n--\n\nFalse: release() never waits.",
        )
        .method(c"__enter__", enter, c"__enter__($self)\n--\n\nAcquires it. Returns None.")
        .method(c"__exit__", exit, c"__exit__($self, typ, val, tb)\n--\n\nReleases it.")
        .property(
            c"counter",
            |this| number(this.gil(), this.counter.get()),
            |this, value| {
                this.set_counter(this.gil(), to_number(this.gil(), value)?);
                Ok(())
            },
            c"How many can be acquired. May be set: waiters go on.",
        )
        .getter(
            c"balance",
            |this| number(this.gil(), this.counter.get() - this.line.len() as i64),
            c"The counter less the number of waiters.",
        )
        .getter(c"_waiters", waiters, c"The greenlets that wait, as a new list.")
}

fn bounded_class() -> Class<Semaphore> {
    Class::new()
        .method(
            c"release",
            release_bounded,
            c"release($self, blocking=True)\n--\n\nAs Semaphore.release(); ValueError if it was released more often \
              than acquired.",
        )
        .property(
            c"original_counter",
            |this| number(this.gil(), this.original.get()),
            |this, value| {
                this.original.set(to_number(this.gil(), value)?);
                Ok(())
            },
            c"What the counter began with.",
        )
}

fn lock_class() -> Class<Semaphore> {
    Class::new()
        .init(|_, args| args.parse("Lock", [], []).map(|([], [])| ()))
        .repr(lock_repr)
        .method(
            c"release",
            release_lock,
            c"release($self, blocking=True)\n--\n\nUnlocks it. RuntimeError if it is not locked.",
        )
        .method(
            c"_at_fork_reinit",
            |this, _| {
                this.line.forget_dead();
                this.set_counter(this.gil(), 1);
                Ok(Owned::none(this.gil()))
            },
            c"_at_fork_reinit($self)\n--\n\nUnlocks it, in a child process. The first waiter goes on.",
        )
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once, with the lock held.
    unsafe {
        ACQUIRE.set(Owned::new(ffi::PyUnicode_InternFromString(c"acquire".as_ptr()))?);
        RELEASE.set(Owned::new(ffi::PyUnicode_InternFromString(c"release".as_ptr()))?);
        class().build(module)?;
        *BOUNDED.get() = bounded_class().derive(
            module,
            c"eventlet.semaphore.BoundedSemaphore",
            c"BoundedSemaphore(value=1)\n--\n\nA semaphore whose counter never exceeds what it began with.",
            SEMAPHORE.kind(),
        )?;
        *LOCK.get() = lock_class().derive(
            module,
            c"eventlet.lock.Lock",
            c"Lock()\n--\n\nA lock, as threading.Lock. Any green thread may unlock it.",
            SEMAPHORE.kind(),
        )?;
    }
    Ok(())
}

fn repr(this: This<'_, Semaphore>) -> Result<Owned> {
    // SAFETY: a live object; arguments as the format says.
    unsafe {
        Owned::new(ffi::PyUnicode_FromFormat(
            c"<%s at %p counter=%lld waiters[%zd]>".as_ptr(),
            (*ffi::Py_TYPE(this.as_ptr())).tp_name,
            this.as_ptr(),
            this.counter.get(),
            this.line.len() as ffi::Py_ssize_t,
        ))
    }
}

/// As that of CPython's locks.
fn lock_repr(this: This<'_, Semaphore>) -> Result<Owned> {
    let state = if this.counter.get() > 0 { c"unlocked" } else { c"locked" };
    // SAFETY: a live object; arguments as the format says.
    unsafe {
        let kind = (*ffi::Py_TYPE(this.as_ptr())).tp_name;
        let form = c"<%s %s object at %p>".as_ptr();
        Owned::new(ffi::PyUnicode_FromFormat(form, state.as_ptr(), kind, this.as_ptr()))
    }
}
