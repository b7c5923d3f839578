//! Descriptors to wait for, of what is no socket of ours.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::RawFd;

use greenloom_hub::Direction;

use super::class::forget_file;
use super::small_integer;
use super::wait::{deadline_after, os_error, seconds_object, seconds_or_none, timed_out, wait_natively};
use crate::eventlet::source::{LastTry, Ready, Source};
use crate::greenlet::here;
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, Args, Class, ClassCell, Gil, Owned, Payload, Result, This};

/// A descriptor to wait for.
pub struct Descriptor {
    fd: Cell<RawFd>,
    source: Source,
}

static DESCRIPTOR: ClassCell = ClassCell::unbuilt();

impl Payload for Descriptor {
    const NAME: &'static CStr = c"greenloom._native.Descriptor";
    const DOC: &'static CStr =
        c"Descriptor(fileno)\n--\n\nWaits for an open file descriptor, which is registered with the hub once.";

    fn cell() -> &'static ClassCell {
        &DESCRIPTOR
    }

    fn new() -> Descriptor {
        Descriptor { fd: Cell::new(-1), source: Source::new() }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        self.source.visit(visit);
    }

    fn end(&self, gil: Gil<'_>) {
        self.source.detach(gil, self.fd.get());
    }
}

/// Waits after an operation would have blocked.
fn wait_for(this: This<'_, Descriptor>, args: Args<'_>, direction: Direction) -> Result<Owned> {
    let ([], [timeout]) = args.parse("wait", [], ["timeout"])?;
    let deadline = deadline_after(seconds_or_none(timeout)?);
    let (fd, gil) = (this.fd.get(), args.gil());
    if fd < 0 {
        return os_error(gil, libc::EBADF);
    }
    match wait_natively(&this.source, here(gil)?, fd, direction, LastTry::WouldBlock, deadline)? {
        Some(Ready::TimedOut) => return timed_out(gil),
        Some(_) => {}
        None => wait_through_python(this, fd, direction, timeout)?,
    }
    if this.fd.get() < 0 { os_error(gil, libc::EBADF) } else { Ok(Owned::none(gil)) }
}

/// Waits through the hub's listeners, as `trampoline` does. Returns also when the descriptor was closed.
#[cold]
fn wait_through_python(
    this: This<'_, Descriptor>,
    fd: RawFd,
    direction: Direction,
    timeout: Option<Object<'_>>,
) -> Result<()> {
    let gil = this.gil();
    let read = Owned::bool(gil, direction == Direction::Read);
    let write = Owned::bool(gil, direction == Direction::Write);
    let seconds = seconds_object(gil, seconds_or_none(timeout)?)?;
    // SAFETY: live objects.
    unsafe {
        let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
        let function = Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"trampoline".as_ptr()))?;
        let error =
            Owned::new(ffi::PyObject_CallFunction(ffi::PyExc_TimeoutError, c"s".as_ptr(), c"timed out".as_ptr()))?;
        let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
        let args = [number.as_ptr(), read.as_ptr(), write.as_ptr(), seconds.as_ptr(), error.as_ptr()];
        let waited = py::call(function.as_ptr(), args);
        if waited.is_err() && this.fd.get() < 0 {
            ffi::PyErr_Clear();
            return Ok(());
        }
        waited.map(drop)
    }
}

/// The type.
pub fn descriptor_class() -> Class<Descriptor> {
    Class::new()
        .init(|this: This<'_, Descriptor>, args: Args<'_>| {
            let ([fd], []) = args.parse("Descriptor", ["fileno"], [])?;
            this.fd.set(small_integer(fd)?);
            Ok(())
        })
        .method(
            c"wait_read",
            |this: This<'_, Descriptor>, args: Args<'_>| wait_for(this, args, Direction::Read),
            c"wait_read($self, timeout=None)\n--\n\nAfter reading would have blocked: waits until it is worth another \
              try. Raises TimeoutError, and OSError if it was closed meanwhile.",
        )
        .method(
            c"wait_write",
            |this: This<'_, Descriptor>, args: Args<'_>| wait_for(this, args, Direction::Write),
            c"wait_write($self, timeout=None)\n--\n\nAs wait_read(), for writing.",
        )
        .method(
            c"close",
            |this: This<'_, Descriptor>, _: Args<'_>| {
                forget_file(this.gil(), &this.source, this.fd.replace(-1))?;
                Ok(Owned::none(this.gil()))
            },
            c"close($self)\n--\n\nForgets the descriptor, which is about to be closed: its waiters get an OSError.",
        )
}
