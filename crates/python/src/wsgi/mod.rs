//! What `eventlet.wsgi` does for each request: reading it, its body, calling the application, sending the answer.
//!
//! Each file may use those above it:
//!
//! - [`words`]: names of attributes and keys; [`growing`]: a bytes object in the making.
//! - [`reader`]: what comes from the socket; [`input`]: a request's body.
//! - [`classes`]: the classes that are completed in Python; [`log_file`]: where lines of the access log go.
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
mod log_file;
mod reader;
mod serve;
mod service;
mod settings;
mod words;

use crate::py::ffi::{PyMethodDef, PyObject};
use crate::py::{Gil, Result, function};

/// The functions of the native module that are about this.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        function(
            c"_set_http_classes",
            classes::set_classes,
            c"_set_http_classes(input, response, logger, setattr, delattr)\n--\n\nSays which classes bodies, \
              responses and logs that write to a file are of, and by which methods a server tells of assignments.",
        ),
        function(
            c"_write_log_lines",
            log_file::write_all,
            c"_write_log_lines()\n--\n\nWrites the lines of access logs that were gathered.",
        ),
        function(
            c"_forget_log_lines",
            log_file::forget_all,
            c"_forget_log_lines()\n--\n\nForgets the lines of access logs that were gathered.",
        ),
    ]
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
        log_file::fill(Gil::assume(), module)?;
        service::class().build(module)?;
        serve::class().build(module)
    }
}
