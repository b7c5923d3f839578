//! The properties of a message: flags, and a field for each that is set.

use std::ffi::CStr;

use greenloom_amqp::wire::{Field, Reader};

use super::read::{short, table, take, with_rest};
use super::texts::short_text;
use super::write::Fields;
use crate::py::ffi;
use crate::py::object::{self, Object, bytes, int, put, unsigned};
use crate::py::{self, Args, Gil, GlobalObject, Owned, Raised, Result};

/// The names, from the highest flag down, and the letters of their fields.
const PROPERTIES: [(&CStr, u8); 14] = [
    (c"content_type", b's'),
    (c"content_encoding", b's'),
    (c"application_headers", b'F'),
    (c"delivery_mode", b'o'),
    (c"priority", b'o'),
    (c"correlation_id", b's'),
    (c"reply_to", b's'),
    (c"expiration", b's'),
    (c"message_id", b's'),
    (c"timestamp", b'L'),
    (c"type", b's'),
    (c"user_id", b's'),
    (c"app_id", b's'),
    (c"cluster_id", b's'),
];

static NAMES: [GlobalObject; PROPERTIES.len()] = [const { GlobalObject::null() }; PROPERTIES.len()];

/// The place of `content_encoding` in the list.
const ENCODING: usize = 1;

/// Whether the flags say that the message tells its encoding.
pub const HAS_ENCODING: u16 = 1 << (15 - ENCODING);

/// The attribute of a message that has them.
pub static PROPERTIES_NAME: GlobalObject = GlobalObject::null();
static LIST_NAME: GlobalObject = GlobalObject::null();
static SERIALIZE_NAME: GlobalObject = GlobalObject::null();

/// The class's own function that serialises properties, and its own list of them.
static SERIALIZE: GlobalObject = GlobalObject::null();
static LIST: GlobalObject = GlobalObject::null();

/// Makes the names, at import.
pub fn intern(gil: Gil<'_>) -> Result<()> {
    object::intern(gil, &PROPERTIES_NAME, c"properties")?;
    object::intern(gil, &LIST_NAME, c"PROPERTIES")?;
    object::intern(gil, &SERIALIZE_NAME, c"_serialize_properties")?;
    PROPERTIES.iter().zip(&NAMES).try_for_each(|((text, _), name)| object::intern(gil, name, text))
}

/// The name of the property that tells how a message's text is encoded.
pub fn content_encoding<'a>() -> Object<'a> {
    Object::word(&NAMES[ENCODING])
}

/// `amqp_load_properties(buf, offset)`
pub fn load(args: Args<'_>) -> Result<Owned> {
    let ([buffer, offset], []) = args.parse("decode_properties_basic", ["buf", "offset"], [])?;
    with_rest(buffer, offset, |reader| read(args.gil(), reader))
}

/// The properties in a content header, from their flags on.
pub fn read(gil: Gil<'_>, reader: &mut Reader<'_>) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    let properties = unsafe { Owned::new(ffi::PyDict_New())? };
    let flags = take::<u16>(gil, reader)?;
    for (place, ((_, letter), name)) in PROPERTIES.iter().zip(&NAMES).enumerate() {
        if flags & 1 << (15 - place) == 0 {
            continue;
        }
        let value = match letter {
            b's' => short_text(gil, short(gil, reader)?)?,
            b'o' => int(gil, take::<u8>(gil, reader)?.into())?,
            b'L' => unsigned(gil, take(gil, reader)?)?,
            _ => table(gil, reader, 0)?,
        };
        put(&properties, Object::word(name), &value)?;
    }
    Ok(properties)
}

/// `amqp_dump_properties(properties)`
pub fn dump(args: Args<'_>) -> Result<Owned> {
    let [properties] = args.exactly()?;
    let mut out = Vec::with_capacity(128);
    put_properties(properties, &mut out)?;
    bytes(args.gil(), &out)
}

/// `amqp_message(serialize, list)`
pub fn message(args: Args<'_>) -> Result<Owned> {
    let [serialize, list] = args.exactly()?;
    SERIALIZE.set(serialize.owned());
    LIST.set(list.owned());
    Ok(Owned::none(args.gil()))
}

/// Appends the flags and fields of a message's properties: as its method makes them, which is not called where it is
/// the one that does what is done here.
pub fn put_properties_of(message: Object<'_>, out: &mut Vec<u8>) -> Result<()> {
    let serialize = message.attribute(Object::word(&SERIALIZE_NAME))?;
    // SAFETY: a live object, with the lock held, and looked into only where it is a method.
    let known = unsafe {
        ffi::is_method(serialize.as_ptr())
            && ffi::PyMethod_Function(serialize.as_ptr()) == SERIALIZE.object()
            && ffi::PyMethod_Self(serialize.as_ptr()) == message.as_ptr()
    };
    if known && message.attribute(Object::word(&LIST_NAME))?.as_ptr() == LIST.object() {
        let properties = message.attribute(Object::word(&PROPERTIES_NAME))?;
        return put_properties(Object::of(&properties), out);
    }
    // SAFETY: a live object, with the lock held.
    let properties = unsafe { py::call(serialize.as_ptr(), [])? };
    out.extend_from_slice(Object::of(&properties).content()?);
    Ok(())
}

/// Appends the flags and fields of a dict of properties.
fn put_properties(properties: Object<'_>, out: &mut Vec<u8>) -> Result<()> {
    let at = out.len();
    let mut flags = 0u16;
    flags.put(out);
    for (place, ((_, letter), name)) in PROPERTIES.iter().zip(&NAMES).enumerate() {
        let Some(value) = item(properties, name)? else { continue };
        if !Object::of(&value).is_none() {
            flags |= 1 << (15 - place);
            Fields { out: &mut *out, bits: 0 }.put(*letter, Object::of(&value))?;
        }
    }
    out[at..at + 2].copy_from_slice(&flags.to_be_bytes());
    Ok(())
}

/// An item of a mapping, if it has one of that name.
fn item(mapping: Object<'_>, name: &GlobalObject) -> Result<Option<Owned>> {
    // SAFETY: live objects, with the lock held; what a dict lends is borrowed again at once.
    unsafe {
        if ffi::PyDict_CheckExact(mapping.as_ptr()) != 0 {
            let value = ffi::PyDict_GetItemWithError(mapping.as_ptr(), name.object());
            let found = (!value.is_null()).then(|| Owned::borrow(value));
            return if found.is_none() && !ffi::PyErr_Occurred().is_null() { Err(Raised) } else { Ok(found) };
        }
        match Owned::new(ffi::PyObject_GetItem(mapping.as_ptr(), name.object())) {
            Ok(value) => Ok(Some(value)),
            Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_KeyError) != 0 => {
                ffi::PyErr_Clear();
                Ok(None)
            }
            Err(raised) => Err(raised),
        }
    }
}
