//! Which classes sockets are of, as eventlet tells: what may be done to a wrapped object without asking Python, and
//! what a subclass has overridden.

use std::ffi::{CStr, c_int, c_uint, c_void};
use std::mem;
use std::ptr;

use super::Socket;
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::object::Object;
use crate::py::{self, Args, Global, GlobalObject, Owned, Result, This};

/// How an object of `_socket` begins, in all versions.
#[repr(C)]
pub(super) struct PySocket {
    ob_base: PyObject,
    pub(super) fd: c_int,
    pub(super) family: c_int,
    pub(super) kind: c_int,
    pub(super) protocol: c_int,
    error_handler: *mut c_void,
    /// In nanoseconds; negative for none.
    pub(super) timeout: i64,
}

// ---------------------------------------------------------------------------------------------------------------------
// What Python tells once

/// `socket.socket`, and that of the unpatched copy of the module; null if their objects do not begin as [`PySocket`].
pub(super) static PLAIN_SOCKETS: [GlobalObject; 2] = [const { GlobalObject::null() }; 2];

/// Methods of `GreenSocket` as it was defined: `_trampoline`, `send` and `__init__`.
pub(super) static OWN_METHODS: [GlobalObject; 3] = [const { GlobalObject::null() }; 3];

/// `socket.getdefaulttimeout`.
pub(super) static DEFAULT_TIMEOUT: GlobalObject = GlobalObject::null();

/// Names, interned; they live for ever.
pub(super) struct Names {
    pub(super) recv: Object<'static>,
    pub(super) recv_into: Object<'static>,
    pub(super) recvfrom: Object<'static>,
    pub(super) send: Object<'static>,
    pub(super) sendall: Object<'static>,
    pub(super) accept: Object<'static>,
    pub(super) connect: Object<'static>,
    pub(super) connect_ex: Object<'static>,
    pub(super) trampoline: Object<'static>,
    pub(super) init: Object<'static>,
    pub(super) plain_connect_ex: Object<'static>,
    pub(super) fileno: Object<'static>,
    pub(super) close: Object<'static>,
    pub(super) detach: Object<'static>,
    pub(super) io_refs: Object<'static>,
    pub(super) plain_send: Object<'static>,
    pub(super) setblocking: Object<'static>,
    pub(super) shut: Object<'static>,
}

static NAMES: Global<Option<Names>> = Global::new(None);

pub(super) fn names() -> &'static Names {
    // SAFETY: set at import, and never again.
    unsafe { (*NAMES.get()).as_ref().expect("set at import") }
}

/// The timeout of the sample, in nanoseconds.
const SAMPLE_TIMEOUT: i64 = 5_000_000_000;

/// Called at import.
///
/// # Safety
/// The interpreter's lock is held.
pub(super) unsafe fn fill_names() -> Result<()> {
    let intern = |name: &CStr| -> Result<Object<'static>> {
        // SAFETY: the lock is held; the strings live for ever.
        unsafe { Ok(Object::new(Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr()))?.into_raw())) }
    };
    // SAFETY: at import, when nobody has names yet.
    unsafe {
        *NAMES.get() = Some(Names {
            recv: intern(c"_slow_recv")?,
            recv_into: intern(c"_slow_recv_into")?,
            recvfrom: intern(c"_slow_recvfrom")?,
            send: intern(c"_slow_send")?,
            sendall: intern(c"_slow_sendall")?,
            accept: intern(c"_slow_accept")?,
            connect: intern(c"_slow_connect")?,
            connect_ex: intern(c"_slow_connect_ex")?,
            trampoline: intern(c"_trampoline")?,
            init: intern(c"__init__")?,
            plain_connect_ex: intern(c"connect_ex")?,
            fileno: intern(c"fileno")?,
            close: intern(c"close")?,
            detach: intern(c"detach")?,
            io_refs: intern(c"_io_refs")?,
            plain_send: intern(c"send")?,
            setblocking: intern(c"setblocking")?,
            shut: intern(c"_closed")?,
        });
    }
    Ok(())
}

pub(super) fn set_classes(args: Args<'_>) -> Result<Owned> {
    let parameters = ["plain", "original", "sample", "green", "getdefaulttimeout"];
    let ([plain, original, sample, green, default_timeout], []) = args.parse("_set_socket_classes", parameters, [])?;
    // SAFETY: called by the interpreter; the layout is believed only if it fits.
    unsafe {
        let fits = |sample: Object<'_>| -> Result<bool> {
            let fd = py::call(sample.attribute(names().fileno)?.as_ptr(), [])?;
            let fd = Object::of(&fd).number()?;
            let layout = sample.as_ptr().cast::<PySocket>();
            Ok((*ffi::Py_TYPE(sample.as_ptr())).tp_basicsize as usize >= mem::size_of::<PySocket>()
                && i64::from((*layout).fd) == fd
                && (*layout).family == libc::AF_INET
                && (*layout).kind == libc::SOCK_STREAM
                && (*layout).timeout == SAMPLE_TIMEOUT)
        };
        if !sample.is_none() && fits(sample)? {
            for (class, kept) in [plain, original].into_iter().zip(&PLAIN_SOCKETS) {
                kept.set(class.owned());
            }
        }
        for (own, name) in OWN_METHODS.iter().zip([names().trampoline, names().plain_send, names().init]) {
            own.set(green.attribute(name)?);
        }
        DEFAULT_TIMEOUT.set(default_timeout.owned());
    }
    Ok(Owned::none(args.gil()))
}

/// What a class, or an instance, has of its own in place of the methods of `GreenSocket` itself.
#[derive(Clone, Copy, Default)]
pub(super) struct Overrides {
    pub(super) trampoline: bool,
    pub(super) send: bool,
    pub(super) init: bool,
}

/// The class that was looked at last, its version then, and what was found.
static LOOKED_AT: Global<(*mut PyTypeObject, c_uint, Overrides)> =
    Global::new((ptr::null_mut(), 0, Overrides { trampoline: false, send: false, init: false }));

pub(super) fn overrides(this: This<'_, Socket>) -> Result<Overrides> {
    // SAFETY: live objects, with the interpreter's lock held.
    unsafe {
        let kind = ffi::Py_TYPE(this.as_ptr());
        let (known, version, found) = *LOOKED_AT.get();
        // The version is zero while unknown, and changes with each change of the class or of a base.
        let mut found = if known == kind && version == (*kind).tp_version_tag && version != 0 {
            found
        } else {
            let found = overrides_of_class(kind)?;
            *LOOKED_AT.get() = (kind, (*kind).tp_version_tag, found);
            found
        };
        let own = this.dict();
        if !own.is_null() && ffi::PyDict_Size(own) > 0 {
            found.trampoline |= ffi::PyDict_Contains(own, names().trampoline.as_ptr()) > 0;
            found.send |= ffi::PyDict_Contains(own, names().plain_send.as_ptr()) > 0;
        }
        Ok(found)
    }
}

#[cold]
unsafe fn overrides_of_class(kind: *mut PyTypeObject) -> Result<Overrides> {
    // SAFETY: a live class; what is looked up is compared only.
    unsafe {
        let kind = Object::new(kind.cast());
        let differs = |name: Object<'_>, own: &GlobalObject| -> Result<bool> {
            Ok(kind.attribute(name)?.as_ptr() != own.object())
        };
        let [trampoline, send, init] = &OWN_METHODS;
        Ok(Overrides {
            trampoline: differs(names().trampoline, trampoline)?,
            send: differs(names().plain_send, send)?,
            init: differs(names().init, init)?,
        })
    }
}
