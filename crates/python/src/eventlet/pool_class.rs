//! `GreenPool` as Python sees it: its type.

use std::ptr;

use super::frame;
use super::green_thread;
use super::hub_ref;
use super::park;
use super::pool::{Pool, leave};
use super::semaphore::{Semaphore, count, to_number};
use super::ticket::Ticket;
use crate::greenlet::wait::Wait;
use crate::greenlet::{self, Here, PyGreenlet, body, here};
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, Args, Class, Gil, Owned, Pending, Raised, Result, This, exception_info, number};

/// Runs a function whose result nobody wants.
///
/// # Safety
/// As the `Runner` of a greenlet.
unsafe fn run(
    gil: Gil<'_>,
    greenlet: *mut PyGreenlet,
    function: *mut PyObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: what a runner is called with; without a result an exception is pending.
    unsafe {
        let result = frame::call(function, args, kwargs);
        let result = if result.is_null() { report(gil).map_or(ptr::null_mut(), Owned::into_raw) } else { result };
        let pending = Pending::take(gil);
        leave(greenlet);
        pending.put_back();
        result
    }
}

/// Reports the pending exception of a function whose result nobody wants, but for those that end more than that.
/// Returns None.
///
/// # Safety
/// An exception is pending.
#[cold]
unsafe fn report(gil: Gil<'_>) -> Result<Owned> {
    // SAFETY: an exception is pending, whose triple is a tuple.
    unsafe {
        for passes in [greenlet::greenlet_exit(), ffi::PyExc_KeyboardInterrupt, ffi::PyExc_SystemExit] {
            if ffi::PyErr_ExceptionMatches(passes) != 0 {
                return Err(Raised);
            }
        }
        let info = exception_info(gil)?;
        let python = Owned::new(ffi::PyImport_ImportModule(c"eventlet.greenpool".as_ptr()))?;
        let report = Owned::new(ffi::PyObject_GetAttrString(python.as_ptr(), c"_report".as_ptr()))?;
        Owned::new(ffi::PyObject_Call(report.as_ptr(), info.as_ptr(), ptr::null_mut()))
    }
}

fn spawn(this: This<'_, Pool>, args: Args<'_>) -> Result<Owned> {
    args.led_by("spawn", &[c"function"], |args| start(this, args, true))
}

fn spawn_n(this: This<'_, Pool>, args: Args<'_>) -> Result<Owned> {
    args.led_by("spawn_n", &[c"function"], |args| start(this, args, false))?;
    Ok(Owned::none(this.gil()))
}

fn start(this: This<'_, Pool>, args: Args<'_>, wants_result: bool) -> Result<Owned> {
    let gil = this.gil();
    let function = args.positional[0];
    let (rest, kwargs) = args.rest(1)?;
    let thread = here(gil)?;
    // SAFETY: a tuple and a dict; greenlets go into the set of those that run.
    unsafe {
        if this.with_free(gil, Semaphore::counter)? <= 0 && this.has_current(thread)? {
            // It would wait for a place that only its own end makes free.
            return run_in_place(thread, function, &rest, kwargs.as_ref(), wants_result);
        }
        this.enter(gil)?;
        let started = green_thread::spawn_prepared(thread, wants_result, function, rest, kwargs, |greenlet| {
            let body = body(greenlet.as_ptr().cast());
            body.extension.set(Some(this.owned()));
            if !wants_result {
                body.runner.set(Some(run));
            }
        })
        .and_then(|greenlet| {
            match ffi::PySet_Add(Pool::object(gil, &this.running)?.as_ptr(), greenlet.as_ptr()) {
                -1 => Err(Raised),
                _ => Ok(greenlet),
            }
        });
        if started.is_err() {
            this.with_free(gil, |free| free.release(gil))?;
        }
        started
    }
}

/// # Safety
/// A tuple and a dict.
#[cold]
unsafe fn run_in_place(
    thread: Here<'_>,
    function: Object<'_>,
    args: &Owned,
    kwargs: Option<&Owned>,
    wants_result: bool,
) -> Result<Owned> {
    // SAFETY: a tuple and a dict; what could not be called has raised.
    unsafe {
        if wants_result {
            return green_thread::call_in_place(thread, function, args, kwargs);
        }
        let kwargs = kwargs.map_or(ptr::null_mut(), Owned::as_ptr);
        Owned::new(ffi::PyObject_Call(function.as_ptr(), args.as_ptr(), kwargs)).or_else(|Raised| report(thread.gil()))
    }
}

fn waitall(this: This<'_, Pool>, _: Args<'_>) -> Result<Owned> {
    let gil = this.gil();
    let thread = here(gil)?;
    if this.has_current(thread)? {
        return py::assertion_error(gil, "waitall() in a green thread of the same pool would wait for its own end");
    }
    hub_ref::ensure(thread)?;
    if this.count_running(gil)? > 0 {
        let place = this.waiting.join(Ticket::take(thread), ());
        let woken = park::park_in(thread, &Wait { what: "pool: all done", at: Some(&*this), until: None });
        this.waiting.leave(place);
        woken?;
    }
    Ok(Owned::none(gil))
}

fn init(this: This<'_, Pool>, args: Args<'_>) -> Result<()> {
    let ([], [size]) = args.parse("GreenPool", [], ["size"])?;
    let size = size.map_or(Ok(1000), |size| count(size, "GreenPool"))?;
    // SAFETY: null makes an empty set; the lock is held during the call.
    let running = unsafe { Owned::new(ffi::PySet_New(ptr::null_mut()))? };
    this.size.set(size);
    this.free.set(Some(Semaphore::make(args.gil(), size)?));
    this.running.set(Some(running));
    Ok(())
}

fn resize(this: This<'_, Pool>, args: Args<'_>) -> Result<Owned> {
    let ([size], []) = args.parse("resize", ["new_size"], [])?;
    let size = size.number()?;
    let more = size - this.size.replace(size);
    this.with_free(args.gil(), |free| free.set_counter(args.gil(), free.counter() + more))?;
    Ok(Owned::none(args.gil()))
}

/// The type.
pub fn class() -> Class<Pool> {
    Class::new()
        .init(init)
        .method(
            c"spawn",
            spawn,
            c"spawn($self, function, *args, **kwargs)\n--\n\nStarts a green thread; waits for a free place first. \
              In a green thread of the full pool itself, which would wait for ever, the function is called in place.",
        )
        .method(
            c"spawn_n",
            spawn_n,
            c"spawn_n($self, function, *args, **kwargs)\n--\n\nAs spawn(), for a result that nobody wants. Exceptions \
              are printed.",
        )
        .method(
            c"waitall",
            waitall,
            c"waitall($self)\n--\n\nWaits until nothing runs any more. AssertionError in a green thread of the pool \
              itself.",
        )
        .method(
            c"resize",
            resize,
            c"resize($self, new_size)\n--\n\nSets how many may run at a time. Those above that number run on, and \
              free() is negative meanwhile.",
        )
        .method(
            c"running",
            |this, _| number(this.gil(), this.count_running(this.gil())?),
            c"running($self)\n--\n\nHow many green threads run.",
        )
        .method(
            c"free",
            |this, _| number(this.gil(), this.with_free(this.gil(), Semaphore::counter)?),
            c"free($self)\n--\n\nHow many places are free.",
        )
        .method(
            c"waiting",
            |this, _| {
                let waiting = |free: &Semaphore| (free.waiting() as i64 - free.counter()).max(0);
                number(this.gil(), this.with_free(this.gil(), waiting)?)
            },
            c"waiting($self)\n--\n\nHow many wait for a free place.",
        )
        .property(
            c"size",
            |this| number(this.gil(), this.size.get()),
            |this, value| {
                this.size.set(to_number(this.gil(), value)?);
                Ok(())
            },
            c"The size that resize() compares with. Setting it changes nothing else.",
        )
        .getter(c"sem", |this| Pool::object(this.gil(), &this.free), c"The semaphore of the free places.")
        .getter(
            c"coroutines_running",
            |this| Pool::object(this.gil(), &this.running),
            c"The set of the greenlets that run.",
        )
}
