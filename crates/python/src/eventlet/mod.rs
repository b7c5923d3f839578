//! The hot paths of the `eventlet` package: the hub and what parks on it.
//!
//! - [`hub`]: the hub's state and its loop, which runs in the hub's greenlet.
//! - [`park`]: how a greenlet is suspended and woken; all that blocks is built of it.
//! - [`timer`]: timers as Python sees them.
//! - [`green_thread`]: sleep, spawn, kill and the `GreenThread` type.
//! - [`event`], [`semaphore`], [`queue`], [`pool`]: what green threads wait for each other with; [`mod@line`] is how they stand in
//!   line there.
//! - [`local`]: values of which each green thread has its own.
//! - [`io`]: file descriptors, edge-triggered.
//! - [`patch`]: what monkey-patching needs of C.
//! - [`socket`]: green sockets, and the wait of what else has a descriptor.
//!
//! A hub written in Python, or one whose methods are overridden, is served too: what concerns it goes through its Python
//! methods then ([`HubSlot::plain`] is null). Everything here is guarded by the interpreter's lock, also from another OS thread.

pub mod event;
pub mod green_thread;
pub mod hub;
pub mod io;
pub mod line;
pub mod local;
pub mod park;
pub mod patch;
pub mod pool;
pub mod queue;
pub mod semaphore;
pub mod socket;
pub mod timer;
pub mod work;

use std::cell::Cell;
use std::ptr;

use crate::class::This;
use crate::ffi::{self, GlobalObject, Owned, PyMethodDef, PyObject, Result, Slot};
use crate::thread::Thread;

use hub::Hub;

/// A thread's hub.
pub struct HubSlot {
    object: Slot,
    plain: Cell<*const Hub>,
}

impl HubSlot {
    /// No hub yet.
    pub const fn empty() -> HubSlot {
        HubSlot { object: Slot::empty(), plain: Cell::new(ptr::null()) }
    }

    /// Sets or removes the hub.
    pub fn set(&self, hub: Option<Owned>) {
        // SAFETY: the object lives as long as the slot has it.
        let plain = hub.as_ref().and_then(|hub| unsafe { Hub::if_plain(hub.as_ptr()) });
        self.plain.set(plain.map_or(ptr::null(), ptr::from_ref));
        self.object.set(hub);
    }

    /// The thread has ended: lets go of the hub. What is left on the stack of its loop keeps it, but not what it has open.
    pub fn end(&self) {
        if let Some(hub) = self.object.object() {
            // SAFETY: kept by the reference; nobody waits in it any more.
            if let Some(hub) = unsafe { This::<Hub>::try_of(hub.as_ptr()) } {
                hub.close();
            }
        }
        self.set(None);
    }

    /// Looks anew whether the hub is plain, after something of it was overridden.
    pub fn look_again(&self, hub: *mut PyObject) {
        if self.object.get() == hub {
            // SAFETY: as in `set`.
            let plain = unsafe { Hub::if_plain(hub) };
            self.plain.set(plain.map_or(ptr::null(), ptr::from_ref));
        }
    }

    /// The hub, borrowed; null if there is none.
    #[inline]
    pub fn get(&self) -> *mut PyObject {
        self.object.get()
    }

    /// The hub if it can be served without its Python methods.
    #[inline]
    pub fn plain(&self) -> Option<&Hub> {
        // SAFETY: null, or the payload of the hub that the slot keeps.
        unsafe { self.plain.get().as_ref() }
    }
}

/// Makes a thread's hub: a Python function without arguments.
static MAKE_HUB: GlobalObject = GlobalObject::null();

/// The running thread's hub object, borrowed, made if there is none.
///
/// # Safety
/// The interpreter's lock is held.
#[inline]
pub unsafe fn hub_object(thread: &Thread) -> Result<*mut PyObject> {
    let hub = thread.hub.get();
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
            return ffi::error(ffi::PyExc_RuntimeError, "there is no hub: import eventlet.hubs first");
        }
        let hub = ffi::call(factory, [])?;
        // The factory may have been asked for the hub itself.
        if thread.hub.get().is_null() {
            thread.hub.set(Some(hub));
        }
        Ok(thread.hub.get())
    }
}

/// The functions of the native module that are eventlet's.
pub fn functions() -> Vec<PyMethodDef> {
    let mut functions = green_thread::functions();
    functions.extend(hub::functions());
    functions.extend(io::functions());
    functions.extend(local::functions());
    functions.extend(patch::functions());
    functions.extend(socket::functions());
    functions
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word.
    unsafe {
        park::fill(module)?;
        hub::class().build(module)?;
        timer::class().build(module)?;
        green_thread::ready(module)?;
        event::class().build(module)?;
        semaphore::fill(module)?;
        queue::fill(module)?;
        pool::class().build(module)?;
        local::class().build(module)?;
        socket::fill(module)
    }
}
