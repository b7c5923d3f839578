//! What the Python side brings at import: its exceptions, and the types that are rare enough to be made there.

use greenloom_amqp::Malformed;

use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, Args, Gil, GlobalObject, Owned, Raised, Result, runtime_error};

static FRAME_SYNTAX_ERROR: GlobalObject = GlobalObject::null();
static UNEXPECTED_FRAME: GlobalObject = GlobalObject::null();
static STRUCT_ERROR: GlobalObject = GlobalObject::null();
static RARE: GlobalObject = GlobalObject::null();

/// `amqp_shell(frame_syntax_error, unexpected_frame, struct_error, rare)`
pub fn set(args: Args<'_>) -> Result<Owned> {
    let given: [Object<'_>; 4] = args.exactly()?;
    for (place, object) in [&FRAME_SYNTAX_ERROR, &UNEXPECTED_FRAME, &STRUCT_ERROR, &RARE].into_iter().zip(given) {
        // A former one, of a second copy of the package, is left alive: somebody may be about to raise it.
        place.set(object.owned());
    }
    Ok(Owned::none(args.gil()))
}

/// A value of a type that is not made here: a decimal's scale and digits, or a timestamp's seconds.
pub fn rare(gil: Gil<'_>, letter: u8, numbers: [Owned; 2]) -> Result<Owned> {
    let letter = py::number(gil, letter.into())?;
    let [first, second] = &numbers;
    // SAFETY: live objects, and the token says that the lock is held.
    unsafe { py::call(known(gil, &RARE)?, [letter.as_ptr(), first.as_ptr(), second.as_ptr()]) }
}

/// The bytes for a value of a type that is not known here, its letter included; None if nobody knows it.
pub fn rare_bytes(value: Object<'_>) -> Result<Owned> {
    // SAFETY: live objects, with the lock held.
    unsafe { py::call(known(value.gil(), &RARE)?, [value.as_ptr()]) }
}

/// What came in is not AMQP.
#[cold]
pub fn malformed<T>(gil: Gil<'_>, problem: Malformed) -> Result<T> {
    syntax(gil, &problem.to_string())
}

/// What came in, or should go out, is not AMQP.
#[cold]
pub fn syntax<T>(gil: Gil<'_>, message: &str) -> Result<T> {
    fault(gil, &FRAME_SYNTAX_ERROR, message)
}

/// What came in came out of order.
#[cold]
pub fn unexpected<T>(gil: Gil<'_>, message: &str) -> Result<T> {
    fault(gil, &UNEXPECTED_FRAME, message)
}

/// A value does not fit its field.
#[cold]
pub fn misfit<T>(gil: Gil<'_>, message: &str) -> Result<T> {
    fault(gil, &STRUCT_ERROR, message)
}

/// A table or an array has a value of a type that AMQP has no letter for.
#[cold]
pub fn illegal<T>(key: Option<Object<'_>>, value: Object<'_>) -> Result<T> {
    // SAFETY: live objects, with the lock held; a format for each argument.
    unsafe {
        let kind = ffi::Py_TYPE(value.as_ptr());
        let error = known(value.gil(), &FRAME_SYNTAX_ERROR)?;
        match key {
            Some(key) => ffi::PyErr_Format(
                error,
                c"Table type %R for key %R not handled by amqp. [value: %R]\n".as_ptr(),
                kind,
                key.as_ptr(),
                value.as_ptr(),
            ),
            None => ffi::PyErr_Format(
                error,
                c"    Table type %R not handled by amqp. [value: %R]\n".as_ptr(),
                kind,
                value.as_ptr(),
            ),
        };
    }
    Err(Raised)
}

#[cold]
fn fault<T>(gil: Gil<'_>, class: &GlobalObject, message: &str) -> Result<T> {
    let class = known(gil, class)?;
    // SAFETY: an exception class that lives for ever, and the token says that the lock is held.
    unsafe { py::error(class, message) }
}

fn known(gil: Gil<'_>, place: &GlobalObject) -> Result<*mut PyObject> {
    let object = place.object();
    if object.is_null() { runtime_error(gil, "amqp_shell() was not called") } else { Ok(object) }
}
