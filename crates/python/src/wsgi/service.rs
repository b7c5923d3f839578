//! What the connections of one `eventlet.wsgi.Server` have in common: its settings, limits, the dict that environs
//! begin with, and heads that come again and again.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_uint};

use greenloom_http::Limits;

use super::heads::Heads;
use super::settings::{Setting, Settings};
use super::words::{WORDS, module_dict};
use crate::http::request;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, int};
use crate::py::{Args, Class, ClassCell, Gil, Owned, Payload, Result, Slot, This, attribute_error, call};

/// Limits, and the objects that they were made of.
struct KnownLimits {
    made_of: [Owned; 4],
    limits: Limits,
}

/// The dict that environs begin with, and when it is good.
struct KnownBase {
    base: Owned,
    stderr: Owned,
    /// Of the server's class.
    version: c_uint,
}

/// The state of a service.
pub struct Service {
    server: Slot,
    /// `sys.stderr`, `eventlet.wsgi` and others, where programs may set what counts.
    modules: RefCell<Option<[Owned; 3]>>,
    limits: RefCell<Option<KnownLimits>>,
    base: RefCell<Option<KnownBase>>,
    /// The server makes the same dict each time.
    keeps_base: Cell<bool>,
    pub heads: Heads,
    /// What the server's attributes say.
    settings: Settings,
    /// A second, and how the log writes it.
    pub date: RefCell<(u64, Vec<u8>)>,
    /// Room for a line of the log.
    pub line: RefCell<Vec<u8>>,
    /// How many requests are being answered.
    outstanding: Cell<i64>,
}

static CLASS: ClassCell = ClassCell::unbuilt();

impl Payload for Service {
    const NAME: &'static CStr = c"greenloom._native.HttpService";
    const DOC: &'static CStr = c"HttpService(server)\n--\n\nWhat the connections of a server have in common.";

    fn cell() -> &'static ClassCell {
        &CLASS
    }

    fn new() -> Service {
        Service {
            server: Slot::empty(),
            modules: RefCell::new(None),
            limits: RefCell::new(None),
            base: RefCell::new(None),
            keeps_base: Cell::new(false),
            heads: Heads::default(),
            settings: Settings::default(),
            date: RefCell::default(),
            line: RefCell::default(),
            outstanding: Cell::new(0),
        }
    }

    fn made(this: This<'_, Service>, args: Args<'_>) -> Result<()> {
        let [server] = args.exactly()?;
        this.server.set(Some(server.owned()));
        let modules =
            [c"sys", c"eventlet.wsgi", c"eventlet.green.http.client"].map(|name| module_dict(this.gil(), name));
        let [sys, wsgi, client] = modules;
        this.modules.replace(Some([sys?, wsgi?, client?]));
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.server.get());
        if let Some(known) = &*self.base.borrow() {
            visit(known.base.as_ptr());
            visit(known.stderr.as_ptr());
        }
        self.heads.visit(visit);
        self.settings.visit(visit);
    }

    fn clear(&self) {
        self.server.set(None);
        let base = self.base.take();
        drop(base);
        self.heads.clear();
        self.settings.forget();
    }
}

/// The value of a name in a module's dict, borrowed from it; null if it is not there.
fn item(dict: &Owned, name: Object<'_>) -> *mut PyObject {
    // SAFETY: a live dict and a string, with the lock held; it keeps the value until code runs.
    unsafe { ffi::PyDict_GetItemWithError(dict.as_ptr(), name.as_ptr()) }
}

impl Service {
    /// The server.
    pub fn server(&self, gil: Gil<'_>) -> Owned {
        self.server.object().unwrap_or_else(|| Owned::none(gil))
    }

    /// What an attribute of the server says.
    pub fn setting(&self, gil: Gil<'_>, setting: Setting) -> Result<Owned> {
        self.settings.of(Object::of(&self.server(gil)), setting)
    }

    /// One more request is being answered, or one less.
    pub fn count(&self, change: i64) {
        self.outstanding.set(self.outstanding.get() + change);
    }

    /// The limits of this moment; `handler` is asked for them if something has changed.
    pub fn limits(&self, handler: Object<'_>) -> Result<Limits> {
        let gil = handler.gil();
        let line = self.setting(gil, Setting::UrlLengthLimit)?;
        let now = {
            let modules = self.modules.borrow();
            let [_, wsgi, client] = modules.as_ref().expect("set when it was made");
            let client = item(client, Object::word(&WORDS.max_headers));
            [
                line.as_ptr(),
                item(wsgi, Object::word(&WORDS.max_line)),
                item(wsgi, Object::word(&WORDS.max_total)),
                client,
            ]
        };
        if let Some(known) = &*self.limits.borrow()
            && known.made_of.iter().map(Owned::as_ptr).eq(now)
        {
            return Ok(known.limits);
        }
        self.limits_of(handler, now)
    }

    #[cold]
    fn limits_of(&self, handler: Object<'_>, now: [*mut PyObject; 4]) -> Result<Limits> {
        // SAFETY: live objects, which were just looked up, or null for what somebody has deleted.
        let made_of = now.map(|object| unsafe { Object::new_or_none(object) }.map(Object::owned));
        let limits = handler.attribute(Object::word(&WORDS.limits))?;
        // SAFETY: a live object, with the lock held.
        let limits = request::limits(Object::of(&unsafe { call(limits.as_ptr(), []) }?))?;
        if let [Some(a), Some(b), Some(c), Some(d)] = made_of {
            let former = self.limits.replace(Some(KnownLimits { made_of: [a, b, c, d], limits }));
            drop(former);
        }
        Ok(limits)
    }

    /// The class of requests' bodies, which programs may replace.
    pub fn input_class(&self, gil: Gil<'_>) -> Result<Owned> {
        self.of_wsgi(gil, Object::word(&WORDS.input_class))
    }

    /// What a name in `eventlet.wsgi` stands for now.
    pub fn of_wsgi(&self, gil: Gil<'_>, name: Object<'_>) -> Result<Owned> {
        let modules = self.modules.borrow();
        let [_, wsgi, _] = modules.as_ref().expect("set when it was made");
        // SAFETY: what the dict has, or null.
        match unsafe { Object::new_or_none(item(wsgi, name)) } {
            Some(object) => Ok(object.owned()),
            None => attribute_error(gil, "eventlet.wsgi lacks a name that it needs"),
        }
    }

    /// The dict that environs begin with, if it is known without asking the server.
    pub fn known_base(&self, gil: Gil<'_>) -> Result<Option<Owned>> {
        let server = self.server(gil);
        let server = Object::of(&server);
        let of_program = self.settings.of(server, Setting::Environ)?;
        let now = {
            let modules = self.modules.borrow();
            let [sys, ..] = modules.as_ref().expect("set when it was made");
            // SAFETY: a live object, whose class changes its version when it changes.
            (item(sys, Object::word(&WORDS.stderr)), unsafe { (*ffi::Py_TYPE(server.as_ptr())).tp_version_tag })
        };
        let good = self.keeps_base.get() && Object::of(&of_program).is_none() && now.1 != 0;
        let known = self.base.borrow();
        let known = known.as_ref().filter(|known| good && (known.stderr.as_ptr(), known.version) == now);
        Ok(known.map(|known| known.base.clone()))
    }

    /// The dict that environs begin with; the server is asked for it if it may have changed.
    pub fn base(&self, gil: Gil<'_>) -> Result<Owned> {
        if let Some(known) = self.known_base(gil)? {
            return Ok(known);
        }
        let server = self.server(gil);
        let server = Object::of(&server);
        let method = server.attribute(Object::word(&WORDS.base_environ))?;
        // SAFETY: live objects, with the lock held.
        let base = unsafe { call(method.as_ptr(), []) }?;
        // SAFETY: a live object, with the lock held; it was asked for its class's method.
        let version = unsafe { (*ffi::Py_TYPE(server.as_ptr())).tp_version_tag };
        // SAFETY: what the dict has, or null.
        let stderr = unsafe { ffi::PyDict_GetItemWithError(base.as_ptr(), WORDS.errors.object()) };
        // SAFETY: a live object.
        if let Some(stderr) = unsafe { Object::new_or_none(stderr) } {
            let stderr = stderr.owned();
            let former = self.base.replace(Some(KnownBase { base: base.clone(), stderr, version }));
            drop(former);
        }
        Ok(base)
    }
}

/// `forget_settings()`
fn forget_settings(this: This<'_, Service>, _: Args<'_>) -> Result<Owned> {
    this.settings.forget();
    Ok(Owned::none(this.gil()))
}

pub fn class() -> Class<Service> {
    Class::new()
        .method(
            c"forget_settings",
            forget_settings,
            c"forget_settings($self)\n--\n\nSays that an attribute of the server was assigned or deleted.",
        )
        .property(
            c"outstanding",
            |this: This<'_, Service>| int(this.gil(), this.outstanding.get()),
            |this, value| {
                this.outstanding.set(value.map_or(Ok(0), |value| Object::of(&value).number())?);
                Ok(())
            },
            c"How many requests are being answered.",
        )
        .flag(
            c"keeps_base",
            |service| &service.keeps_base,
            c"Whether the server's base_environ() has no changes to tell.",
        )
}
