//! The classes of bodies and responses, which are completed in Python, and methods of others that are known by what
//! they were when they were defined.

use super::input::Input;
use super::words::WORDS;
use crate::http::response::Response;
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Args, GlobalObject, Owned, Payload, Raised, Result};

/// `eventlet.wsgi.Input` and the class of responses, as they were defined.
pub static INPUT_CLASS: GlobalObject = GlobalObject::null();
pub static RESPONSE_CLASS: GlobalObject = GlobalObject::null();

/// `eventlet.wsgi.LoggerFileWrapper`, and its method `info` as it was defined.
pub static FILE_LOGGER: GlobalObject = GlobalObject::null();
pub static FILE_LOGGER_INFO: GlobalObject = GlobalObject::null();

/// The methods of `eventlet.wsgi.Server` of these names, as they were defined.
pub static SERVER_SETATTR: GlobalObject = GlobalObject::null();
pub static SERVER_DELATTR: GlobalObject = GlobalObject::null();

/// `_set_http_classes(input, response, logger, setattr, delattr)`: called when `eventlet.wsgi` is imported.
pub fn set_classes(args: Args<'_>) -> Result<Owned> {
    let [input, response, logger, setattr, delattr] = args.exactly()?;
    FILE_LOGGER_INFO.set(logger.attribute(Object::word(&WORDS.info))?);
    for (place, object) in [(&FILE_LOGGER, logger), (&SERVER_SETATTR, setattr), (&SERVER_DELATTR, delattr)] {
        place.set(object.owned());
    }
    for (place, base, class) in
        [(&INPUT_CLASS, Input::cell().kind(), input), (&RESPONSE_CLASS, Response::cell().kind(), response)]
    {
        // SAFETY: live objects, with the lock held.
        let derived = unsafe { ffi::PyObject_IsSubclass(class.as_ptr(), base.cast()) };
        match derived {
            1 => place.set(class.owned()),
            0 => return py::type_error(args.gil(), "a subclass is needed"),
            _ => return Err(Raised),
        }
    }
    Ok(Owned::none(args.gil()))
}

/// Whether this is the class of bodies whose instances can be made here.
pub fn is_input(class: Object<'_>) -> bool {
    class.as_ptr() == INPUT_CLASS.object()
}
