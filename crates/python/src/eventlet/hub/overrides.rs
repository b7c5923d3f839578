//! Which methods of a hub are the type's own, and which are Python code that overrides them.

use std::ffi::CStr;
use std::ptr;

use super::{Hub, c_name};
use crate::py::ffi::{self, PyObject};
use crate::py::{self, Gil, GlobalObject, Owned, Result, This};

/// Methods of which an override means that everything must go through Python.
pub const FAST: [&CStr; 7] =
    [c"switch", c"run", c"add_timer", c"schedule_call_global", c"ensure_greenlet", c"fire_timers", c"timer_canceled"];

/// Methods of which the loop calls an override.
pub const ASKED: [&CStr; 2] = [c"wait", c"default_sleep"];

/// Looks up which of the methods that the loop asks for are the type's own. Called when the loop begins and when an
/// attribute of the hub is set.
pub fn note_overrides(this: This<'_, Hub>) {
    // SAFETY: a live hub.
    let own = |name| unsafe { is_own(this.gil(), this.as_ptr(), name) };
    let [wait, default_sleep] = ASKED.map(own);
    this.own_wait.set(wait);
    this.looks_at_poller.set(wait || says_that_it_looks(this));
    this.own_default_sleep.set(default_sleep);
}

/// Whether the hub's `wait` has the attribute `_looks_at_poller`: it calls the type's own when the descriptor that
/// `_poller_fileno` names can be read.
fn says_that_it_looks(this: This<'_, Hub>) -> bool {
    // SAFETY: a live hub, with the lock held.
    let looks = unsafe {
        Owned::new(ffi::PyObject_GetAttrString(this.as_ptr(), c"wait".as_ptr()))
            .and_then(|wait| Owned::new(ffi::PyObject_GetAttrString(wait.as_ptr(), c"_looks_at_poller".as_ptr())))
            .and_then(|looks| py::truth(looks.as_ptr()))
    };
    looks.unwrap_or_else(|_| {
        // SAFETY: the lock is held.
        unsafe { ffi::PyErr_Clear() };
        false
    })
}

/// `eventlet.hubs.hub.BaseHub`, the native type's only direct subclass: what it defines is no override.
pub static BASE: GlobalObject = GlobalObject::null();

/// Whether an attribute of a hub is [`BASE`]'s own: not overridden by a subclass or on the instance.
///
/// # Safety
/// A live instance.
pub unsafe fn is_own(gil: Gil<'_>, hub: *mut PyObject, name: &CStr) -> bool {
    // SAFETY: a live instance, with the lock held; the looked-up method is compared only.
    unsafe {
        let found = || -> Result<bool> {
            let name = c_name(gil, name)?;
            let kind = ffi::Py_TYPE(hub).cast();
            let of_class = Owned::new(ffi::PyObject_GetAttr(kind, name.as_ptr()))?;
            let own = Owned::new(ffi::PyObject_GetAttr(BASE.object(), name.as_ptr()))?;
            let dict = Owned::new(ffi::PyObject_GenericGetDict(hub, ptr::null_mut()))?;
            Ok(of_class.as_ptr() == own.as_ptr() && ffi::PyDict_Contains(dict.as_ptr(), name.as_ptr()) == 0)
        };
        found().unwrap_or_else(|_| {
            ffi::PyErr_Clear();
            false
        })
    }
}
