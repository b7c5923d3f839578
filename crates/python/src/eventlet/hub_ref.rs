//! A thread's hub, whatever its class.
//!
//! A thread keeps its hub in the [extension](crate::greenlet::Thread::extension) of its record. If the hub can be served without
//! its Python methods, it is *plain*, and where its state lies is noted beside it; that is looked up once, and again when
//! something of the hub is overridden.

use std::ptr;

use super::hub::Hub;
use crate::greenlet::Thread;
use crate::py::ffi::{self, PyObject};
use crate::py::{self, GlobalObject, Owned, Result, This};

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

/// A thread's hub if it can be served without its Python methods.
#[inline]
pub fn plain(thread: &Thread) -> Option<&Hub> {
    // SAFETY: null, or the payload of the hub that the extension keeps: nobody else fills it.
    unsafe { thread.extension.known().cast::<Hub>().as_ref() }
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
    // SAFETY: the caller's word.
    if hub.is_null() { unsafe { make_hub(thread) } } else { Ok(hub) }
}

/// # Safety
/// The interpreter's lock is held.
#[cold]
unsafe fn make_hub(thread: &Thread) -> Result<*mut PyObject> {
    // SAFETY: the caller's word.
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
