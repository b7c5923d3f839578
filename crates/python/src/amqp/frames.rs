//! A method and its content to frames.

use greenloom_amqp::frame::{BODY, HEADER, METHOD, OVERHEAD, put_frame};
use greenloom_amqp::wire::Field;

use super::content::{PROPERTIES_NAME, content_encoding, put_properties_of};
use super::read::letters;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{self, Object};
use crate::py::{self, Gil, GlobalObject, Owned, Result, type_error, value_error};

static BODY_NAME: GlobalObject = GlobalObject::null();
static UTF_8: GlobalObject = GlobalObject::null();
static SETDEFAULT: GlobalObject = GlobalObject::null();
static ENCODE: GlobalObject = GlobalObject::null();

/// Makes the names, at import.
pub fn intern(gil: Gil<'_>) -> Result<()> {
    [(&BODY_NAME, c"body"), (&UTF_8, c"utf-8"), (&SETDEFAULT, c"setdefault"), (&ENCODE, c"encode")]
        .into_iter()
        .try_for_each(|(place, name)| object::intern(gil, place, name))
}

/// What goes out for one method.
pub enum Frames {
    /// In one piece, which fits a frame's limit.
    Whole(Vec<u8>),
    /// Each in a piece of its own.
    Pieces(Vec<Vec<u8>>),
}

/// Makes the frames of a method and its content: a message, or something false.
pub fn frames([kind, channel, method, arguments, content]: [Object<'_>; 5], limit: Object<'_>) -> Result<Frames> {
    let gil = kind.gil();
    let limit = limit.size()?;
    if limit <= OVERHEAD {
        return value_error(gil, "a frame of so few bytes has no room for anything");
    }
    let (kind, channel) = (within(kind)?, within(channel)?);
    let mut class = 0u16;
    let mut out = Vec::with_capacity(256);
    if kind == METHOD {
        let Some([first, second]) = method.tuple_items() else {
            return type_error(gil, "a method is a pair of numbers");
        };
        class = within(first)?;
        let (number, arguments) = (within::<u16>(second)?, letters(arguments)?);
        put_frame(&mut out, METHOD, channel, |out| {
            class.put(out);
            number.put(out);
            out.extend_from_slice(&arguments);
        });
    } else {
        if let Some([first, _]) = method.tuple_items() {
            class = within(first)?;
        }
        put_frame(&mut out, kind, channel, |_| {});
    }
    if !content.truth()? {
        return Ok(Frames::Whole(out));
    }
    // First the body: it may add to the properties.
    let body = body_of(content)?;
    let body = Object::of(&body).content()?;
    let header_at = out.len();
    // Room for all of it, or for the heads where the body goes in pieces.
    out.reserve(128 + if body.len() < limit { body.len() } else { 0 });
    let mut properties = Ok(());
    put_frame(&mut out, HEADER, channel, |out| {
        class.put(out);
        0u16.put(out);
        (body.len() as u64).put(out);
        properties = put_properties_of(content, out);
    });
    properties?;
    // What is larger than one frame goes out in pieces: it is not worth a copy of all of it.
    if out.len() + OVERHEAD + body.len() <= limit {
        if !body.is_empty() {
            put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(body));
        }
        return Ok(Frames::Whole(out));
    }
    let header = out.split_off(header_at);
    let pieces = body.chunks(limit - OVERHEAD).map(|piece| {
        let mut out = Vec::with_capacity(piece.len() + OVERHEAD);
        put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(piece));
        out
    });
    Ok(Frames::Pieces([out, header].into_iter().chain(pieces).collect()))
}

/// A message's body as bytes. A string is encoded as its properties say; if they do not, they say UTF-8 from then on.
fn body_of(content: Object<'_>) -> Result<Owned> {
    let body = content.attribute(Object::word(&BODY_NAME))?;
    let object = Object::of(&body);
    // SAFETY: live objects, with the lock held.
    unsafe {
        if ffi::PyBytes_Check(object.as_ptr()) != 0 {
            return Ok(body);
        }
        if !object.is_str() {
            return Owned::new(ffi::PyBytes_FromObject(object.as_ptr()));
        }
    }
    let properties = content.attribute(Object::word(&PROPERTIES_NAME))?;
    let default = [content_encoding().as_ptr(), Object::word(&UTF_8).as_ptr()];
    let encoding = call(Object::of(&properties), &SETDEFAULT, default)?;
    call(object, &ENCODE, [encoding.as_ptr()])
}

fn call<const N: usize>(object: Object<'_>, name: &GlobalObject, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: live objects, with the lock held; the caller keeps the arguments for the call.
    unsafe { py::call_method(object.as_ptr(), name.object(), args) }
}

fn within<T: TryFrom<usize>>(number: Object<'_>) -> Result<T> {
    T::try_from(number.size()?).or_else(|_| value_error(number.gil(), "a number does not fit a frame's head"))
}
