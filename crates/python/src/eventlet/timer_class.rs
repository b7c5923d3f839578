//! The timer as Python sees it: its type.

use super::hub::timer::Timer;
use super::hub_ref;
use crate::greenlet::here;
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Args, Class, Gil, Owned, Raised, Result, This};

/// The type.
pub fn class() -> Class<Timer> {
    Class::new()
        .init(init)
        .call(|this: This<'_, Timer>, _: Args<'_>| Timer::run(this))
        .repr(repr)
        .method(
            c"schedule",
            schedule,
            c"schedule($self)\n--\n\nStarts the timer in this thread's hub. Returns the timer.",
        )
        .method(c"cancel", cancel, c"cancel($self)\n--\n\nPrevents the call; does nothing if it was made.")
        .method(c"copy", copy, c"copy($self)\n--\n\nA timer like this one, not started.")
        .property(
            c"seconds",
            |this| Ok(this.seconds.object().unwrap_or_else(|| Owned::none(this.gil()))),
            |this, value| {
                this.seconds.set(value);
                Ok(())
            },
            c"After how many seconds it is due.",
        )
        .flag(c"called", |timer| &timer.called, c"Whether it was called or cancelled.")
        .property(
            c"scheduled_time",
            |this| attribute(this.gil(), this.scheduled_time.object(), "scheduled_time"),
            |this, value| {
                this.scheduled_time.set(value);
                Ok(())
            },
            c"When it is due, by the hub's clock, since schedule().",
        )
        .getter(
            c"pending",
            |this| Ok(Owned::bool(this.gil(), !this.called.get())),
            c"Whether it was neither called nor cancelled.",
        )
        .property(
            c"tpl",
            get_tpl,
            set_tpl,
            c"The function, its arguments and its keyword arguments, until it is called.",
        )
}

fn attribute(gil: Gil<'_>, value: Option<Owned>, name: &str) -> Result<Owned> {
    value.map_or_else(|| py::attribute_error(gil, name), Ok)
}

fn init(this: This<'_, Timer>, args: Args<'_>) -> Result<()> {
    args.led_by("Timer", &[c"seconds", c"cb"], |args| {
        let (rest, kwargs) = args.rest(2)?;
        this.set(args.positional[0].owned(), args.positional[1].owned(), rest, kwargs);
        Ok(())
    })
}

fn get_tpl(this: This<'_, Timer>) -> Result<Owned> {
    let callback = attribute(this.gil(), this.callback.object(), "tpl")?;
    // SAFETY: live objects.
    unsafe {
        let args = this.args.object().map_or_else(|| Owned::new(ffi::PyTuple_New(0)), Ok)?;
        let kwargs = this.kwargs.object().map_or_else(|| Owned::new(ffi::PyDict_New()), Ok)?;
        Owned::new(ffi::PyTuple_Pack(3, callback.as_ptr(), args.as_ptr(), kwargs.as_ptr()))
    }
}

fn set_tpl(this: This<'_, Timer>, value: Option<Owned>) -> Result<()> {
    let Some(value) = value else {
        this.forget();
        return Ok(());
    };
    // SAFETY: a live object; three borrowed references out of it.
    unsafe {
        let [mut callback, mut args, mut kwargs]: [*mut PyObject; 3] = [std::ptr::null_mut(); 3];
        let parsed =
            ffi::PyArg_ParseTuple(value.as_ptr(), c"OOO".as_ptr(), &raw mut callback, &raw mut args, &raw mut kwargs);
        if parsed == 0 {
            return Err(Raised);
        }
        this.callback.set(Some(Owned::borrow(callback)));
        this.args.set(Some(Owned::new(ffi::PySequence_Tuple(args))?));
        this.kwargs.set(Some(Owned::borrow(kwargs)));
    }
    Ok(())
}

fn copy(this: This<'_, Timer>, _: Args<'_>) -> Result<Owned> {
    let callback = attribute(this.gil(), this.callback.object(), "tpl")?;
    // SAFETY: live objects.
    unsafe {
        let seconds = this.seconds.object().unwrap_or_else(|| Owned::none(this.gil()));
        let head = Owned::new(ffi::PyTuple_Pack(2, seconds.as_ptr(), callback.as_ptr()))?;
        let args = this.args.object().map_or_else(|| Owned::new(ffi::PyTuple_New(0)), Ok)?;
        let all = Owned::new(ffi::PySequence_Concat(head.as_ptr(), args.as_ptr()))?;
        let kind = ffi::Py_TYPE(this.as_ptr()).cast();
        Owned::new(ffi::PyObject_Call(kind, all.as_ptr(), this.kwargs.get()))
    }
}

fn schedule(this: This<'_, Timer>, _: Args<'_>) -> Result<Owned> {
    this.called.set(false);
    let hub = hub_ref::object(here(this.gil())?)?;
    // SAFETY: live objects.
    unsafe {
        let method = Owned::new(ffi::PyObject_GetAttrString(hub.as_ptr(), c"add_timer".as_ptr()))?;
        let at = py::call(method.as_ptr(), [this.as_ptr()])?;
        this.scheduled_time.set(Some(at));
    }
    Ok(this.owned())
}

fn cancel(this: This<'_, Timer>, _: Args<'_>) -> Result<Owned> {
    if this.called.replace(true) {
        return Ok(Owned::none(this.gil()));
    }
    // The hub where it waits, else this thread's.
    let hub = this.hub.object().map_or_else(|| hub_ref::object(here(this.gil())?), Ok)?;
    // SAFETY: live objects.
    unsafe {
        let method = Owned::new(ffi::PyObject_GetAttrString(hub.as_ptr(), c"timer_canceled".as_ptr()))?;
        py::call(method.as_ptr(), [this.as_ptr()])?;
    }
    this.forget();
    Ok(Owned::none(this.gil()))
}

fn repr(this: This<'_, Timer>) -> Result<Owned> {
    // SAFETY: %R takes objects; the lock is held during the call.
    unsafe {
        let none = ffi::Py_None();
        let or_none = |object: *mut PyObject| if object.is_null() { none } else { object };
        Owned::new(ffi::PyUnicode_FromFormat(
            c"Timer(%R, %R, *%R, **%R)".as_ptr(),
            or_none(this.seconds.get()),
            or_none(this.callback.get()),
            or_none(this.args.get()),
            or_none(this.kwargs.get()),
        ))
    }
}
