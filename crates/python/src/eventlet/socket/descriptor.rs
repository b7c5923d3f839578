//! Descriptors to wait for, of what is no socket of ours.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::RawFd;

use greenloom_hub::Direction;

use super::class::forget_file;
use super::small_integer;
use super::wait::{deadline_after, here, os_error, seconds_object, seconds_or_none, timed_out, wait_natively};
use crate::eventlet::source::{Ready, Source};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Args, Class, ClassCell, Owned, Payload, Result, This, assumed};

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
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: deallocated with the interpreter's lock.
        unsafe { self.source.detach(self.fd.get()) };
    }
}

/// Waits after an operation would have blocked.
fn wait_for(this: This<'_, Descriptor>, args: Args<'_>, direction: Direction) -> Result<Owned> {
    let [timeout] = args.parse("wait", ["timeout"], 0)?;
    let deadline = deadline_after(seconds_or_none(timeout)?);
    // SAFETY: called by the interpreter.
    unsafe {
        let fd = this.fd.get();
        if fd < 0 {
            return os_error(libc::EBADF);
        }
        match wait_natively(&this.source, here()?, fd, direction, true, deadline)? {
            Some(Ready::TimedOut) => return timed_out(),
            Some(_) => {}
            None => {
                let hubs = Owned::new(ffi::PyImport_ImportModule(c"eventlet.hubs".as_ptr()))?;
                let function = Owned::new(ffi::PyObject_GetAttrString(hubs.as_ptr(), c"trampoline".as_ptr()))?;
                let error = Owned::new(ffi::PyObject_CallFunction(
                    ffi::PyExc_TimeoutError,
                    c"s".as_ptr(),
                    c"timed out".as_ptr(),
                ))?;
                let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
                let (read, write) = (
                    Owned::bool(assumed(), direction == Direction::Read),
                    Owned::bool(assumed(), direction == Direction::Write),
                );
                let seconds = seconds_object(seconds_or_none(timeout)?)?;
                let args = [number.as_ptr(), read.as_ptr(), write.as_ptr(), seconds.as_ptr(), error.as_ptr()];
                let waited = py::call(function.as_ptr(), args);
                if waited.is_err() && this.fd.get() < 0 {
                    ffi::PyErr_Clear();
                } else {
                    waited?;
                }
            }
        }
        if this.fd.get() < 0 { os_error(libc::EBADF) } else { Ok(Owned::none(assumed())) }
    }
}

pub fn descriptor_class() -> Class<Descriptor> {
    Class::new()
        .init(|this: This<'_, Descriptor>, args: Args<'_>| {
            let [fd] = args.parse("Descriptor", ["fileno"], 1)?;
            this.fd.set(small_integer(fd)?);
            Ok(())
        })
        .method(
            c"wait_read",
            |this: This<'_, Descriptor>, args: Args<'_>| wait_for(this, args, Direction::Read),
            c"wait_read(timeout=None)\n\nAfter reading would have blocked: waits until it is worth another try. Raises \
                TimeoutError, \
              and OSError if it was closed meanwhile.",
        )
        .method(
            c"wait_write",
            |this: This<'_, Descriptor>, args: Args<'_>| wait_for(this, args, Direction::Write),
            c"wait_write(timeout=None)\n\nAs wait_read(), for writing.",
        )
        .method(
            c"close",
            |this: This<'_, Descriptor>, _: Args<'_>| {
                // SAFETY: called by the interpreter.
                unsafe { forget_file(&this.source, this.fd.replace(-1))? };
                Ok(Owned::none(assumed()))
            },
            c"close()\n\nForgets the descriptor, which is about to be closed: who waits gets an OSError.",
        )
}
