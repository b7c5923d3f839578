//! A method and its content to frames.

use greenloom_amqp::frame::{BODY, HEADER, METHOD, OVERHEAD, put_frame};
use greenloom_amqp::wire::Field;

use super::read::letters;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{self, Object, bytes};
use crate::py::{self, Args, Gil, GlobalObject, Owned, Raised, Result, type_error, value_error};

static BODY_NAME: GlobalObject = GlobalObject::null();
static PROPERTIES: GlobalObject = GlobalObject::null();
static SERIALIZE_PROPERTIES: GlobalObject = GlobalObject::null();
static CONTENT_ENCODING: GlobalObject = GlobalObject::null();
static UTF_8: GlobalObject = GlobalObject::null();
static SETDEFAULT: GlobalObject = GlobalObject::null();
static ENCODE: GlobalObject = GlobalObject::null();

/// Makes the names, at import.
pub fn intern(gil: Gil<'_>) -> Result<()> {
    [
        (&BODY_NAME, c"body"),
        (&PROPERTIES, c"properties"),
        (&SERIALIZE_PROPERTIES, c"_serialize_properties"),
        (&CONTENT_ENCODING, c"content_encoding"),
        (&UTF_8, c"utf-8"),
        (&SETDEFAULT, c"setdefault"),
        (&ENCODE, c"encode"),
    ]
    .into_iter()
    .try_for_each(|(place, name)| object::intern(gil, place, name))
}

/// `amqp_frames(kind, channel, method, arguments, content, limit)`
pub fn frames(args: Args<'_>) -> Result<Owned> {
    let [kind, channel, method, arguments, content, limit] = args.exactly()?;
    let gil = args.gil();
    let limit = limit.size()?;
    if limit <= OVERHEAD {
        return value_error(gil, "a frame of so few bytes has no room for anything");
    }
    let (kind, channel) = (within(kind)?, within(channel)?);
    let mut class = 0u16;
    let mut out = Vec::with_capacity(256);
    let mut ends = Vec::new();
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
        return bytes(gil, &out);
    }
    // First the body: it may add to the properties.
    let body = body_of(content)?;
    let properties = call(content, &SERIALIZE_PROPERTIES, [])?;
    ends.push(out.len());
    let (properties, body) = (Object::of(&properties).content()?, Object::of(&body).content()?);
    put_frame(&mut out, HEADER, channel, |out| {
        class.put(out);
        0u16.put(out);
        (body.len() as u64).put(out);
        out.extend_from_slice(properties);
    });
    ends.push(out.len());
    // What is larger than one frame goes out in pieces: it is not worth a copy of all of it.
    let whole = out.len() + OVERHEAD + body.len() <= limit;
    if whole {
        if !body.is_empty() {
            put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(body));
        }
        return bytes(gil, &out);
    }
    let pieces = body.chunks(limit - OVERHEAD).map(|piece| {
        let mut out = Vec::with_capacity(piece.len() + OVERHEAD);
        put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(piece));
        bytes(gil, &out)
    });
    let heads = [&out[..ends[0]], &out[ends[0]..ends[1]]].map(|head| bytes(gil, head));
    list(gil, heads.into_iter().chain(pieces))
}

/// A message's body as bytes. A string is encoded as its properties say; if they do not, they say UTF-8 from then on.
fn body_of(content: Object<'_>) -> Result<Owned> {
    let body = get(content, &BODY_NAME)?;
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
    let properties = get(content, &PROPERTIES)?;
    let default = [Object::word(&CONTENT_ENCODING).as_ptr(), Object::word(&UTF_8).as_ptr()];
    let encoding = call(Object::of(&properties), &SETDEFAULT, default)?;
    call(object, &ENCODE, [encoding.as_ptr()])
}

fn get(object: Object<'_>, name: &GlobalObject) -> Result<Owned> {
    // SAFETY: live objects, with the lock held.
    unsafe { Owned::new(ffi::PyObject_GetAttr(object.as_ptr(), name.object())) }
}

fn call<const N: usize>(object: Object<'_>, name: &GlobalObject, args: [*mut PyObject; N]) -> Result<Owned> {
    // SAFETY: live objects, with the lock held; the caller keeps the arguments for the call.
    unsafe { py::call_method(object.as_ptr(), name.object(), args) }
}

fn within<T: TryFrom<usize>>(number: Object<'_>) -> Result<T> {
    T::try_from(number.size()?).or_else(|_| value_error(number.gil(), "a number does not fit a frame's head"))
}

fn list(_: Gil<'_>, items: impl Iterator<Item = Result<Owned>>) -> Result<Owned> {
    // SAFETY: the token says that the lock is held; the list is seen by nobody until it is returned.
    unsafe {
        let list = Owned::new(ffi::PyList_New(0))?;
        for item in items {
            if ffi::PyList_Append(list.as_ptr(), item?.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}
