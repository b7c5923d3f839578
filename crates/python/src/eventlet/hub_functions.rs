//! The functions of the module about hubs, and what a thread's hub is told of files that are opened and closed.

use std::ffi::{c_int, c_ulong};
use std::os::fd::RawFd;

use greenloom_hub::Direction;

use super::hub::signal::handle_in_loop;
use super::hub::{BASE, Hub, call_hub, is_own};
use super::hub_class::forget_file;
use super::hub_ref::{self, MAKE_HUB};
use super::park::in_wait;
use super::polling::{Wanted, checked, may_be_closed};
use super::source::Descriptor;
use crate::greenlet::wait::{Awaited, Wait};
use crate::greenlet::{Here, here, of_all_threads};
use crate::py::ffi::{self, PyMethodDef};
use crate::py::object::Object;
use crate::py::{self, Args, Owned, Raised, Result, This};
use crate::tstate;

/// The functions of the module about hubs.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
        c"_listen",
        listen,
        c"_listen(hub, fileno, read, write)\n--\n\nMakes the hub's loop call the listeners of a file descriptor in \
          these directions, and in no other.",
    ),
        py::function(
            c"_switch",
            switch_for,
            c"_switch(hub, fileno, read)\n--\n\nhub.switch() of a green thread that listens for a file descriptor, or \
              with None for any of several: those who look see that.",
        ),
        py::function(c"get_hub", get_hub, c"get_hub()\n--\n\nThe hub of this thread, made if there is none."),
        py::function(c"_hubs", hubs, c"_hubs()\n--\n\nPairs of an OS thread's number and its hub."),
        py::function(
            c"_is_os_thread",
            is_os_thread,
            c"_is_os_thread(ident)\n--\n\nWhether an OS thread of that number runs Python code of this interpreter.",
        ),
        py::function(c"_set_hub", set_hub, c"_set_hub(hub)\n--\n\nSets this thread's hub; None removes it."),
        py::function(
            c"_current_hub",
            current_hub,
            c"_current_hub()\n--\n\nThe hub of this thread, if there is one.",
        ),
        py::function(
            c"_set_base_hub",
            set_base_hub,
            c"_set_base_hub(class)\n--\n\nSets the class whose methods are not taken for overrides of the native ones.",
        ),
        py::function(
            c"_handle_signal",
            handle_in_loop,
            c"_handle_signal(handler, signalnum, frame)\n--\n\nCalls a handler of a signal where it may wait: if this \
              is the greenlet of the hub's loop, in another one.",
        ),
        py::function(
            c"_set_hub_factory",
            set_hub_factory,
            c"_set_hub_factory(function)\n--\n\nSets what makes a thread's hub.",
        ),
    ]
}

/// A file was opened: as the `mark_as_reopened` of a hub of any class.
pub fn note_opened(thread: Here<'_>, fd: c_int) -> Result<()> {
    let hub = hub_ref::object(thread)?;
    // SAFETY: a live object.
    unsafe {
        if let Some(native) = This::<Hub>::try_of(hub.as_ptr())
            && is_own(hub.gil(), hub.as_ptr(), c"mark_as_reopened")
        {
            return forget_file(native, fd);
        }
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        call_hub(hub.gil(), hub.as_ptr(), c"mark_as_reopened", [number.as_ptr()]).map(drop)
    }
}

/// A file is about to be closed: as the `notify_close` of the thread's hub, if it has one.
pub fn note_closing(thread: Here<'_>, fd: c_int) -> Result<()> {
    // SAFETY: used at once.
    let listens = |native: &Hub| unsafe { native.polling_if_any() }.is_some_and(|polling| polling.listens(fd));
    if hub_ref::native(&thread).is_some_and(|native| !listens(native)) {
        return Ok(());
    }
    let Some(hub) = thread.extension.owned() else { return Ok(()) };
    // SAFETY: live objects.
    unsafe {
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        call_hub(hub.gil(), hub.as_ptr(), c"notify_close", [number.as_ptr()]).map(drop)
    }
}

fn switch_for(args: Args<'_>) -> Result<Owned> {
    let ([hub, fd, read], []) = args.parse("_switch", ["hub", "fileno", "read"], [])?;
    let thread = here(args.gil())?;
    let direction = if read.truth()? { Direction::Read } else { Direction::Write };
    let listened = match fd.unless_none() {
        Some(fd) => Some(Descriptor { fd: RawFd::try_from(fd.number()?).unwrap_or(-1), direction }),
        None => None,
    };
    let at = listened.as_ref().map(|descriptor| descriptor as &dyn Awaited);
    let wait = Wait { what: if at.is_some() { "I/O" } else { "select" }, at, until: None };
    // SAFETY: a live object.
    in_wait(thread, &wait, || unsafe { call_hub(args.gil(), hub.as_ptr(), c"switch", []) })
}

fn is_os_thread(args: Args<'_>) -> Result<Owned> {
    let ([ident], []) = args.parse("_is_os_thread", ["ident"], [])?;
    // Numbers that are no OS thread's have no frame.
    let ident = ident.number()? as c_ulong;
    // SAFETY: called by the interpreter.
    let frame = unsafe { tstate::frame_of_thread(ident) };
    // SAFETY: a new reference, or null.
    unsafe { ffi::xdecref(frame) };
    Ok(Owned::bool(args.gil(), !frame.is_null()))
}

fn get_hub(args: Args<'_>) -> Result<Owned> {
    hub_ref::object(here(args.gil())?)
}

fn current_hub(args: Args<'_>) -> Result<Owned> {
    let hub = here(args.gil())?.extension.owned();
    Ok(hub.unwrap_or_else(|| Owned::none(args.gil())))
}

fn hubs(args: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter; the objects are collected before any code can run.
    unsafe {
        let list = Owned::new(ffi::PyList_New(0))?;
        for (ident, hub) in of_all_threads(args.gil(), |thread| thread.extension.owned()) {
            let pair = Owned::new(ffi::Py_BuildValue(c"kO".as_ptr(), ident, hub.as_ptr()))?;
            if ffi::PyList_Append(list.as_ptr(), pair.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}

fn set_hub(args: Args<'_>) -> Result<Owned> {
    let ([hub], []) = args.parse("_set_hub", ["hub"], [])?;
    let thread = here(args.gil())?;
    hub_ref::set(&thread, hub.unless_none().map(Object::owned));
    Ok(Owned::none(args.gil()))
}

fn set_base_hub(args: Args<'_>) -> Result<Owned> {
    let ([class], []) = args.parse("_set_base_hub", ["class"], [])?;
    BASE.set(class.owned());
    Ok(Owned::none(args.gil()))
}

fn set_hub_factory(args: Args<'_>) -> Result<Owned> {
    let ([factory], []) = args.parse("_set_hub_factory", ["function"], [])?;
    MAKE_HUB.set(factory.owned());
    Ok(Owned::none(args.gil()))
}

fn listen(args: Args<'_>) -> Result<Owned> {
    let ([hub, fd, read, write], []) = args.parse("_listen", ["hub", "fileno", "read", "write"], [])?;
    let thread = here(args.gil())?;
    let Some(hub) = hub.instance::<Hub>() else {
        return py::type_error(args.gil(), "_listen() needs a native hub");
    };
    let fd = RawFd::try_from(fd.number()?).unwrap_or(-1);
    let wanted = Wanted { read: read.truth()?, write: write.truth()? };
    // SAFETY: the poller is looked up anew after it was renewed.
    unsafe {
        match hub.polling(thread)?.listen(fd, wanted) {
            Err(error) if may_be_closed(&error) && hub.renew_if_closed(thread)? => {
                checked(args.gil(), hub.polling(thread)?.listen(fd, wanted))?
            }
            done => checked(args.gil(), done)?,
        }
    }
    Ok(Owned::none(args.gil()))
}
