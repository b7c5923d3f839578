//! `Semaphore`, `BoundedSemaphore` and `Lock`.
//!
//! A lock stands under all of `threading` when that is patched, so no Python object is made and no Python code runs on
//! the way: a garbage collection or a signal, which come only there, find the state whole.

use std::cell::Cell;
use std::ffi::{CStr, c_void};

use ::hub::Time;

use super::hub_ref::hub_object;
use super::line::{Line, Stood};
use super::park::{self, park_until};
use super::ticket::Ticket;
use crate::greenlet::here;
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::{
    self, Args, Class, ClassCell, Global, GlobalObject, Owned, Payload, Pending, Raised, Result, This, assumed,
};

/// The state of a semaphore.
pub struct Semaphore {
    counter: Cell<i64>,
    /// What the counter began with.
    original: Cell<i64>,
    line: Line,
}

static SEMAPHORE: ClassCell = ClassCell::unbuilt();
static BOUNDED: Global<*mut PyTypeObject> = Global::new(std::ptr::null_mut());
static LOCK: Global<*mut PyTypeObject> = Global::new(std::ptr::null_mut());

impl Payload for Semaphore {
    const NAME: &'static CStr = c"eventlet.semaphore.Semaphore";
    const DOC: &'static CStr = c"Semaphore(value=1)\n--\n\n\
A counter that acquire() takes one from and release() adds one to. With the counter at zero acquire() waits; who waits goes \
on in the order of coming. Also a context manager.";

    fn cell() -> &'static ClassCell {
        &SEMAPHORE
    }

    fn new() -> Semaphore {
        Semaphore::with(1)
    }
}

impl Semaphore {
    /// A semaphore object.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    pub unsafe fn make(value: i64) -> Result<Owned> {
        py::make(assumed(), Semaphore::with(value))
    }

    fn with(value: i64) -> Semaphore {
        Semaphore { counter: Cell::new(value), original: Cell::new(value), line: Line::new() }
    }

    /// What can be acquired.
    #[inline]
    pub fn counter(&self) -> i64 {
        self.counter.get()
    }

    /// Sets the counter. Who waits goes on if there is something to acquire.
    #[inline]
    pub fn set_counter(&self, counter: i64) {
        self.counter.set(counter);
        self.settle();
    }

    /// Adds one.
    #[inline]
    pub fn release(&self) {
        self.set_counter(self.counter.get() + 1);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// As many are called as there are units to take.
    #[inline]
    fn settle(&self) {
        if self.line.has_waiting() {
            self.line.forget_dead();
            while (self.line.called() as i64) < self.counter.get() && self.line.call() {}
        }
    }

    /// As [`settle`](Self::settle), with an exception pending.
    #[cold]
    fn settle_after_exception(&self) {
        // A hub written in Python may be called.
        let pending = Pending::take(assumed());
        self.settle();
        pending.put_back();
    }

    /// Takes one without waiting, if that is possible.
    #[inline]
    fn try_acquire(&self) -> bool {
        let free = self.counter.get() > 0;
        if free {
            self.counter.set(self.counter.get() - 1);
        }
        free
    }

    /// Takes one, behind who waits already. Waits until that is possible.
    #[inline]
    pub fn acquire(&self) -> Result<()> {
        if self.line.is_empty() && self.try_acquire() {
            return Ok(());
        }
        // Without a deadline it never gives up.
        self.acquire_slowly(None).map(drop)
    }

    /// Waits in the line. Returns false when the time is up.
    #[cold]
    fn acquire_slowly(&self, deadline: Option<Time>) -> Result<bool> {
        // SAFETY: called with the interpreter's lock.
        unsafe {
            let thread = here(assumed())?;
            // Making the hub may let other threads run: it must be there for them to wake us through.
            hub_object(thread)?;
            let mut ticket = Ticket::take(thread);
            let number = self.line.join(ticket.clone(), ());
            self.settle();
            loop {
                let woken = park_until(thread, &ticket, deadline);
                let called = self.line.leave(number) == Stood::Called;
                let Ok(woken) = woken else {
                    if called {
                        self.settle_after_exception();
                    }
                    return Err(Raised);
                };
                if called && self.try_acquire() {
                    return Ok(true);
                }
                if woken.is_none() {
                    return Ok(false);
                }
                // Somebody who did not stand in the line was faster.
                ticket = Ticket::take(thread);
                self.line.rejoin(number, ticket.clone(), ());
            }
        }
    }

    fn acquire_with(&self, args: Args<'_>) -> Result<Owned> {
        if args.positional.is_empty() && !args.has_keywords() {
            self.acquire()?;
            return Ok(Owned::bool(assumed(), true));
        }
        let [blocking, timeout] = args.parse("acquire", ["blocking", "timeout"], 0)?;
        // SAFETY: called by the interpreter.
        unsafe {
            let blocking = blocking.is_null() || py::truth(blocking)?;
            let none = timeout.is_null() || timeout == ffi::Py_None();
            let seconds = if none { -1.0 } else { py::float(timeout)? };
            if seconds < 0.0 && seconds != -1.0 {
                return py::error(ffi::PyExc_ValueError, "a timeout must not be negative");
            }
            let timed = seconds != -1.0;
            if !blocking && timed {
                return py::error(ffi::PyExc_ValueError, "an acquire that does not block cannot have a timeout");
            }
            if !blocking {
                return Ok(Owned::bool(assumed(), self.try_acquire()));
            }
            if !timed {
                self.acquire()?;
                return Ok(Owned::bool(assumed(), true));
            }
            Ok(Owned::bool(assumed(), self.try_acquire() || self.acquire_slowly(park::deadline(timeout)?)?))
        }
    }
}

/// The number in an argument for which floats and strings of digits will do. A string without a number is a TypeError.
///
/// # Safety
/// A live object; the interpreter's lock is held.
pub unsafe fn count(object: *mut PyObject, function: &str) -> Result<i64> {
    // SAFETY: the caller's word.
    unsafe {
        let integer = (&raw mut ffi::PyLong_Type).cast();
        let number = if ffi::PyLong_Check(object) != 0 {
            Owned::borrow(object)
        } else {
            match py::call(integer, [object]) {
                Ok(number) => number,
                Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_ValueError) != 0 => {
                    ffi::PyErr_Clear();
                    return py::error(ffi::PyExc_TypeError, &format!("{function}() needs a number"));
                }
                Err(Raised) => return Err(Raised),
            }
        };
        let number = py::integer(number.as_ptr())?;
        if number < 0 {
            return py::error(
                ffi::PyExc_ValueError,
                &format!("{function}() needs a number of zero or more, not {number}"),
            );
        }
        Ok(number)
    }
}

fn init(this: This<'_, Semaphore>, args: Args<'_>) -> Result<()> {
    let [value] = args.parse("Semaphore", ["value"], 0)?;
    // SAFETY: called by the interpreter.
    let value = if value.is_null() { 1 } else { unsafe { count(value, "Semaphore")? } };
    this.original.set(value);
    this.set_counter(value);
    Ok(())
}

fn release(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    this.release();
    Ok(Owned::bool(assumed(), true))
}

fn release_bounded(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    if this.counter.get() >= this.original.get() {
        // SAFETY: called by the interpreter.
        return unsafe { py::error(ffi::PyExc_ValueError, "Semaphore released too many times") };
    }
    this.release();
    Ok(Owned::bool(assumed(), true))
}

fn release_lock(this: This<'_, Semaphore>, _: Args<'_>) -> Result<Owned> {
    if this.counter.get() > 0 {
        // SAFETY: called by the interpreter.
        return unsafe { py::error(ffi::PyExc_RuntimeError, "release unlocked lock") };
    }
    this.release();
    Ok(Owned::bool(assumed(), true))
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
        this.acquire()?;
    } else {
        // SAFETY: called by the interpreter.
        unsafe { py::call_method(this.as_ptr(), ACQUIRE.object(), [])? };
    }
    Ok(Owned::none(assumed()))
}

fn exit(this: This<'_, Semaphore>, args: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let kind = ffi::Py_TYPE(this.as_ptr());
        if kind == LOCK.kind() {
            release_lock(this, args)?;
        } else if kind == SEMAPHORE.kind() {
            this.release();
        } else {
            py::call_method(this.as_ptr(), RELEASE.object(), [])?;
        }
    }
    Ok(Owned::none(assumed()))
}

fn number(value: i64) -> Result<Owned> {
    // SAFETY: called with the interpreter's lock.
    unsafe { Owned::new(ffi::PyLong_FromLongLong(value)) }
}

/// What an attribute that must be a number is set to.
pub fn to_number(value: Option<Owned>) -> Result<i64> {
    // SAFETY: setters are called with the interpreter's lock.
    unsafe {
        match value {
            Some(value) => py::integer(value.as_ptr()),
            None => py::error(ffi::PyExc_AttributeError, "this attribute cannot be deleted"),
        }
    }
}

const ACQUIRE_DOC: &CStr = c"acquire(blocking=True, timeout=None) -> bool\n\nTakes one. Waits until there is one, behind those who wait \
already; returns True. With blocking=False or a timeout in seconds it takes what is there even if others wait, and returns False \
if there is nothing, within that time.";

fn class() -> Class<Semaphore> {
    let repr: unsafe extern "C-unwind" fn(*mut PyObject) -> *mut PyObject = repr;
    Class::new()
        .init(init)
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .method(c"acquire", |this, args| this.acquire_with(args), ACQUIRE_DOC)
        .method(
            c"release",
            release,
            c"release(blocking=True)\n\nAdds one; the first who waits goes on. Never waits, from any OS thread. Returns True.",
        )
        .method(
            c"locked",
            |this, _| Ok(Owned::bool(assumed(), this.counter.get() <= 0)),
            c"locked() -> bool\n\nWhether there is nothing to acquire.",
        )
        .method(c"bounded", |_, _| Ok(Owned::bool(assumed(), false)), c"bounded() -> bool\n\nFalse: release() never waits.")
        .method(c"__enter__", enter, c"Acquires it. Returns None.")
        .method(c"__exit__", exit, c"Releases it.")
        .property(
            c"counter",
            |this| number(this.counter.get()),
            |this, value| {
                this.set_counter(to_number(value)?);
                Ok(())
            },
            c"How many can be acquired. May be set: who waits goes on.",
        )
        .getter(
            c"balance",
            |this| number(this.counter.get() - this.line.len() as i64),
            c"The counter less the number of those who wait.",
        )
        .getter(
            c"_waiters",
            |this| {
                let greenlets = this.line.greenlets();
                // SAFETY: called by the interpreter; the list is filled before anybody sees it.
                unsafe {
                    let list = Owned::new(ffi::PyList_New(greenlets.len() as ffi::Py_ssize_t))?;
                    for (index, greenlet) in greenlets.into_iter().enumerate() {
                        ffi::PyList_SET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t, greenlet.into_raw());
                    }
                    Ok(list)
                }
            },
            c"The greenlets that wait, as a new list.",
        )
}

fn bounded_class() -> Class<Semaphore> {
    Class::new()
        .method(
            c"release",
            release_bounded,
            c"release(blocking=True)\n\nAs Semaphore.release(); ValueError if it was released more \
            often than acquired.",
        )
        .property(
            c"original_counter",
            |this| number(this.original.get()),
            |this, value| {
                this.original.set(to_number(value)?);
                Ok(())
            },
            c"What the counter began with.",
        )
}

fn lock_class() -> Class<Semaphore> {
    Class::new().method(c"release", release_lock, c"release()\n\nUnlocks it. RuntimeError if it is not locked.").method(
        c"_at_fork_reinit",
        |this, _| {
            drop(this.line.take_all());
            this.counter.set(1);
            Ok(Owned::none(assumed()))
        },
        c"_at_fork_reinit()\n\nUnlocks it, and forgets who waits.",
    )
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        ACQUIRE.set(Owned::new(ffi::PyUnicode_InternFromString(c"acquire".as_ptr()))?.into_raw());
        RELEASE.set(Owned::new(ffi::PyUnicode_InternFromString(c"release".as_ptr()))?.into_raw());
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

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter; arguments as the format says.
    unsafe {
        let semaphore = This::<Semaphore>::of(this);
        ffi::PyUnicode_FromFormat(
            c"<%s at %p counter=%lld waiters[%zd]>".as_ptr(),
            (*ffi::Py_TYPE(this)).tp_name,
            this,
            semaphore.counter.get(),
            semaphore.line.len() as ffi::Py_ssize_t,
        )
    }
}
