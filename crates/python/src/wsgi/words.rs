//! Names of attributes, keys and modules, made at import.

use std::ffi::CStr;

use crate::py::ffi;
use crate::py::object::intern;
use crate::py::{Gil, GlobalObject, Owned, Result};

macro_rules! words {
    ($($name:ident $text:literal)*) => {
        /// The words, by what they are for.
        pub struct Words {
            $(pub $name: GlobalObject,)*
        }

        pub static WORDS: Words = Words { $($name: GlobalObject::null(),)* };

        /// Called at import.
        pub fn fill(gil: Gil<'_>) -> Result<()> {
            $(intern(gil, &WORDS.$name, $text)?;)*
            Ok(())
        }
    };
}

words! {
    // Modules'.
    stderr c"stderr"
    max_line c"MAX_HEADER_LINE"
    max_total c"MAX_TOTAL_HEADER_SIZE"
    max_headers c"_MAXHEADERS"
    input_class c"Input"
    wsgi_local c"WSGI_LOCAL"
    already_handled c"already_handled"
    // The server's.
    app c"app"
    environ c"environ"
    base_environ c"base_environ"
    keepalive c"keepalive"
    socket_timeout c"socket_timeout"
    settimeout c"settimeout"
    log_output c"log_output"
    log c"log"
    log_format c"log_format"
    log_x_forwarded_for c"log_x_forwarded_for"
    default_log_format c"DEFAULT_LOG_FORMAT"
    url_length_limit c"url_length_limit"
    setattr c"__setattr__"
    delattr c"__delattr__"
    // The handler's.
    limits c"_limits"
    close_connection c"close_connection"
    wfile c"wfile"
    described c"_describe_connection"
    lines c"connection_lines"
    answer c"_answer_otherwise"
    fail c"_answer_failed"
    finish c"_finish_answer"
    log_response c"_log_response"
    date_time c"log_date_time_string"
    // Of logs, files, hubs, results and environs.
    info c"info"
    write c"write"
    flush c"flush"
    buffer c"buffer"
    raw c"raw"
    line_buffering c"line_buffering"
    write_through c"write_through"
    write_lines c"_write_lines"
    schedule c"schedule_call_global"
    forwarded c"HTTP_X_FORWARDED_FOR"
    close c"close"
    errors c"wsgi.errors"
    wsgi_input c"wsgi.input"
    eventlet_input c"eventlet.input"
    posthooks c"eventlet.posthooks"
    // The states of a connection.
    idle c"idle"
    request c"request"
    closing c"close"
}

/// The dict of a module, which is imported.
pub fn module_dict(_: Gil<'_>, name: &CStr) -> Result<Owned> {
    // SAFETY: the token says that the lock is held; a module has a dict as long as it lives, and those here do.
    unsafe {
        let module = Owned::new(ffi::PyImport_ImportModule(name.as_ptr()))?;
        Ok(Owned::borrow(ffi::PyModule_GetDict(module.as_ptr())))
    }
}
