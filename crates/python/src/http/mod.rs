//! What `eventlet.wsgi` and `eventlet.websocket` do once for each request and frame: heads become environs, chunks
//! become data, response headers become bytes, frames are read and masked. The rules are `crates/http`'s; here bytes
//! and objects meet.
//!
//! - [`request`]: heads and environs.
//! - [`response`]: the object behind `start_response`.
//! - [`frames`]: chunks and websocket frames.
//! - [`pairs`]: what an application gives as headers.
//!
//! The functions take positional arguments only.

mod frames;
mod pairs;
pub mod request;
pub mod response;

use std::ffi::CStr;

use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::object::Object;
use crate::py::{Gil, Global, function};

static FUNCTIONS: Global<[PyMethodDef; 9]> = Global::new([const { PyMethodDef::zeroed() }; 9]);

const FLAGS: [(&CStr, i64); 11] = [
    (c"HTTP_VERSION_1_1", request::VERSION_1_1),
    (c"HTTP_PERSISTENT", request::PERSISTENT),
    (c"HTTP_CHUNKED", request::CHUNKED),
    (c"HTTP_EXPECTS_CONTINUE", request::EXPECTS_CONTINUE),
    (c"HTTP_ASKED_KEEP_ALIVE", request::ASKED_KEEP_ALIVE),
    (c"HTTP_HAS_DATE", response::HAS_DATE),
    (c"HTTP_HAS_LENGTH", response::HAS_LENGTH),
    (c"HTTP_HAS_CONNECTION", response::HAS_CONNECTION),
    (c"HTTP_SAYS_CLOSE", response::SAYS_CLOSE),
    (c"HTTP_NO_ENDING", response::NO_ENDING),
    (c"HTTP_CHUNKED_ENDING", response::CHUNKED_ENDING),
];

/// Adds the functions, `HttpError` and the flags. Returns false with an exception.
///
/// # Safety
/// Called at import, once.
pub unsafe fn add_to(module: *mut PyObject) -> bool {
    // SAFETY: the interpreter imports with the lock held, and a module that is alive meanwhile.
    let (gil, module) = unsafe { (Gil::assume(), Object::new(module)) };
    // SAFETY: this is called once.
    if request::fill(gil, module).is_err() || unsafe { response::fill(gil, module) }.is_err() {
        return false;
    }
    let module = module.as_ptr();
    // SAFETY: the table is written once and lives for ever; names are literals; the lock is held.
    unsafe {
        *FUNCTIONS.get() = functions();
        ffi::PyModule_AddFunctions(module, FUNCTIONS.get().cast()) == 0
            && FLAGS.into_iter().all(|(name, flag)| ffi::PyModule_AddIntConstant(module, name.as_ptr(), flag as _) == 0)
    }
}

fn functions() -> [PyMethodDef; 9] {
    [
        function(
            c"http_request",
            request::request,
            c"http_request(buffer, base, limits, connection)\n--\n\nReads the request head that the bytes \
              begin with. Returns the environ, the request line, the head's length, flags and the body's length; None \
              while the head is incomplete. The environ is a copy of the dict base with what the connection has \
              (SERVER_NAME, SERVER_PORT, REMOTE_ADDR, REMOTE_PORT, eventlet.set_idle) and the head says. Raises \
              HttpError if it must not be served. limits is (request line, header line, all headers, number of \
              headers, whether to be tolerant, whether Host is required).",
        ),
        function(
            c"http_head",
            request::head,
            c"http_head(buffer, limits)\n--\n\nReads a request head as http_request, and returns the \
              method, the target, the minor version, a list of (name, value) and flags.",
        ),
        function(
            c"http_framing",
            request::framing,
            c"http_framing(headers, minor, limits)\n--\n\nReads off a request's headers where its body ends: its \
              length, or None if there is no body; whether it is chunked; whether the connection must be closed after \
              it.",
        ),
        function(c"http_field", response::field, c"http_field(name, value)\n--\n\nThe line of a response header."),
        function(
            c"http_chunks",
            frames::chunks,
            c"http_chunks(buffer, state, limit)\n--\n\nDecodes chunks until the bytes are used up, the body is at \
              its end (state -2), or limit bytes of data are there. Returns the data, how much of the buffer is used \
              up, and the state for the next call. The first state is 0; a positive one says how much of a chunk's \
              data is to come. Raises ValueError if the bytes are no chunks.",
        ),
        function(
            c"websocket_frame",
            frames::frame,
            c"websocket_frame(buffer)\n--\n\nReads a frame's header: its first byte, the mask or None, the \
              payload's length and the header's; None while it is incomplete.",
        ),
        function(
            c"websocket_mask",
            frames::mask,
            c"websocket_mask(data, mask, offset)\n--\n\nMasks a part of a payload that begins at offset, or takes \
              its mask away.",
        ),
        function(
            c"websocket_pack",
            frames::pack,
            c"websocket_pack(first, payload, mask)\n--\n\nA frame; mask may be None.",
        ),
        PyMethodDef::zeroed(),
    ]
}
