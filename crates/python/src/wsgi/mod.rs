//! What `eventlet.wsgi` does for each request: reading it, its body, calling the application, sending the answer.
//!
//! Each file may use those above it:
//!
//! - [`words`]: names of attributes and keys; [`growing`]: a bytes object in the making.
//! - [`reader`]: what comes from the socket; [`input`]: a request's body.
//! - [`classes`]: the classes that are completed in Python.
//! - [`heads`]: those that come again; [`settings`]: what a server's attributes say.
//! - [`service`]: what connections have in common; [`connection`]: one of them, and the reading of its requests.
//! - [`log`]: the access log; [`answer`]: answering a request; [`serve`]: one after the other.

mod answer;
mod classes;
mod connection;
mod growing;
mod heads;
mod input;
mod log;
mod reader;
mod serve;
mod service;
mod settings;
mod words;

use crate::py::ffi::{PyMethodDef, PyObject};
use crate::py::{Gil, Result, function};

/// The functions of the native module that are about this.
pub fn functions() -> Vec<PyMethodDef> {
    vec![function(
        c"_set_http_classes",
        classes::set_classes,
        c"_set_http_classes(input, response, info, setattr, delattr)\n--\n\nSays which classes bodies and responses \
          are of, what the method of a log is that writes to a file, and by which a server tells of assignments.",
    )]
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the interpreter imports with the lock held; once.
    unsafe {
        words::fill(Gil::assume())?;
        reader::class().build(module)?;
        input::fill(module)?;
        service::class().build(module)?;
        serve::class().build(module)
    }
}
