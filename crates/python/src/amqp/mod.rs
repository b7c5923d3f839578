//! What the drop-in `amqp` does once for each frame, method and message: bytes become events and objects, and objects
//! become bytes. The frames are `crates/amqp`'s; here bytes and objects meet, with the types and the exceptions that
//! py-amqp 5.4 has. It knows sockets only as numbers to try, and neither greenlets nor eventlet.
//!
//! - [`shell`]: what the Python side brings at import: exceptions, and the rare types.
//! - [`texts`]: short texts that repeat.
//! - [`read`]: fields to objects.
//! - [`write`]: objects to fields.
//! - [`content`]: properties of messages, both ways.
//! - [`stream`]: frames to events.
//! - [`frames`]: a method and its content to frames.
//! - [`writer`]: frames to a transport.
//!
//! What py-amqp has too takes arguments by name, as there; the other functions take them by position only.

mod content;
mod frames;
mod read;
mod shell;
mod stream;
mod texts;
mod write;
mod writer;

use crate::py::ffi::{self, PyMethodDef, PyObject};
use crate::py::object::Object;
use crate::py::{Gil, Global, Raised, Result, function};

static FUNCTIONS: Global<[PyMethodDef; 8]> = Global::new([const { PyMethodDef::zeroed() }; 8]);

/// Adds the functions, `AmqpStream` and `AmqpWriter`.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the interpreter imports with the lock held, and a module that is alive meanwhile; the table is written
    // once and lives for ever.
    unsafe {
        let gil = Gil::assume();
        content::intern(gil)?;
        frames::intern(gil)?;
        stream::fill(gil, Object::new(module))?;
        writer::fill(gil, Object::new(module))?;
        *FUNCTIONS.get() = functions();
        if ffi::PyModule_AddFunctions(module, FUNCTIONS.get().cast()) < 0 { Err(Raised) } else { Ok(()) }
    }
}

fn functions() -> [PyMethodDef; 8] {
    [
        function(
            c"amqp_shell",
            shell::set,
            c"amqp_shell(frame_syntax_error, unexpected_frame, struct_error, rare, /)\n--\n\nThe exceptions to raise, \
              and a function that makes the bytes of a value of a rare type, or None; given a type's letter and \
              numbers it makes the value of them.",
        ),
        function(
            c"amqp_loads",
            read::loads,
            c"amqp_loads(format, buf, offset)\n--\n\nThe values of fields, a list, and the offset behind them.",
        ),
        function(
            c"amqp_item",
            read::item,
            c"amqp_item(buf, offset, /)\n--\n\nA table's value, and the offset behind it.",
        ),
        function(c"amqp_dumps", write::dumps, c"amqp_dumps(format, values)\n--\n\nFields of values, as bytes."),
        function(
            c"amqp_load_properties",
            content::load,
            c"amqp_load_properties(buf, offset)\n--\n\nThe properties of a message, a dict, and the offset \
              behind them.",
        ),
        function(
            c"amqp_dump_properties",
            content::dump,
            c"amqp_dump_properties(properties, /)\n--\n\nThe flags and fields of a dict of a message's \
              properties, as bytes.",
        ),
        function(
            c"amqp_message",
            content::message,
            c"amqp_message(serialize, list, /)\n--\n\nA class of messages' own function that serialises their \
              properties, and its own list of these. Where a message has both, the function is not called: \
              amqp_dump_properties() does the same.",
        ),
        PyMethodDef::zeroed(),
    ]
}
