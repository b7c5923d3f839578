//! What the attributes of a server say, read once, and again when one of them was assigned.
//!
//! `eventlet.wsgi.Server.__setattr__` tells of assignments. A server whose class looks attributes up in its own way,
//! has one of these names itself, or overrides what tells, is asked each time.

use std::cell::{Cell, RefCell};
use std::ffi::c_uint;
use std::ptr;

use super::classes::{SERVER_DELATTR, SERVER_SETATTR};
use super::words::WORDS;
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{GlobalObject, Owned, Result};

/// An attribute of a server.
#[derive(Clone, Copy)]
pub enum Setting {
    App,
    Environ,
    Keepalive,
    SocketTimeout,
    LogOutput,
    Log,
    LogFormat,
    LogXForwardedFor,
    UrlLengthLimit,
}

const COUNT: usize = 9;

/// Their names, in the same order.
static NAMES: [&GlobalObject; COUNT] = [
    &WORDS.app,
    &WORDS.environ,
    &WORDS.keepalive,
    &WORDS.socket_timeout,
    &WORDS.log_output,
    &WORDS.log,
    &WORDS.log_format,
    &WORDS.log_x_forwarded_for,
    &WORDS.url_length_limit,
];

/// What was read, and from a server of which class.
#[derive(Default)]
pub struct Settings {
    values: RefCell<Option<[Owned; COUNT]>>,
    /// The class's version.
    version: Cell<c_uint>,
}

impl Settings {
    /// What an attribute says now.
    #[inline]
    pub fn of(&self, server: Object<'_>, setting: Setting) -> Result<Owned> {
        let version = version_of(server);
        if version != 0
            && version == self.version.get()
            && let Some(values) = &*self.values.borrow()
        {
            return Ok(values[setting as usize].clone());
        }
        self.read(server, setting)
    }

    #[cold]
    fn read(&self, server: Object<'_>, setting: Setting) -> Result<Owned> {
        self.forget();
        let value = server.attribute(Object::word(NAMES[setting as usize]))?;
        if !is_plain(server) {
            return Ok(value);
        }
        let mut values = Vec::with_capacity(COUNT);
        for name in NAMES {
            // One that is missing is missed when it is needed.
            let Ok(value) = server.attribute(Object::word(name)) else {
                // SAFETY: the lock is held.
                unsafe { ffi::PyErr_Clear() };
                return Ok(value);
            };
            values.push(value);
        }
        let former = self.values.replace(values.try_into().ok());
        drop(former);
        self.version.set(version_of(server));
        Ok(value)
    }

    /// Something may have changed.
    pub fn forget(&self) {
        self.version.set(0);
        let values = self.values.take();
        drop(values);
    }

    pub fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        self.values.borrow().iter().flatten().for_each(|value| visit(value.as_ptr()));
    }
}

/// Of the server's class, which changes its version when it changes.
fn version_of(server: Object<'_>) -> c_uint {
    // SAFETY: reads the type of a live object.
    unsafe { (*ffi::Py_TYPE(server.as_ptr())).tp_version_tag }
}

/// Whether the attributes are those of the object alone, and their assignment is told of.
fn is_plain(server: Object<'_>) -> bool {
    // SAFETY: a live object, and its type, which it keeps.
    let (kind, looks_up) = unsafe {
        let kind = ffi::Py_TYPE(server.as_ptr());
        (Object::new(kind.cast()), (*kind).tp_getattro)
    };
    let found = |name: &GlobalObject| {
        let found = kind.attribute(Object::word(name)).ok();
        if found.is_none() {
            // SAFETY: the lock is held.
            unsafe { ffi::PyErr_Clear() };
        }
        found.map_or(ptr::null_mut(), |found| found.as_ptr())
    };
    looks_up.is_some_and(|looks_up| ptr::fn_addr_eq(looks_up, ffi::PyObject_GenericGetAttr as ffi::getattrofunc))
        && [(&WORDS.setattr, &SERVER_SETATTR), (&WORDS.delattr, &SERVER_DELATTR)]
            .into_iter()
            .all(|(name, ours)| found(name) == ours.object())
        && NAMES.into_iter().all(|name| found(name).is_null())
}
