//! Fields to objects.
//!
//! What is cut off or unknown is a FrameSyntaxError. A text that is not UTF-8 is bytes where a table has it, and a
//! UnicodeDecodeError where a method has it, as with py-amqp.

use std::borrow::Cow;

use greenloom_amqp::Malformed;
use greenloom_amqp::wire::{Field, Reader};

use super::shell;
use super::texts::{short_text, text, text_or_bytes};
use crate::py::ffi;
use crate::py::object::{Object, bytes, int, put, size, tuple, unsigned};
use crate::py::{Args, Gil, Owned, Raised, Result};

/// What is nested deeper is refused: a frame could otherwise nest tens of thousands of times and overflow the stack.
const MAX_DEPTH: usize = 64;

const LETTERS: &[u8] = b"boBlLfsSxFAT";

/// `amqp_loads(format, buf, offset)`
pub fn loads(args: Args<'_>) -> Result<Owned> {
    let ([format, buffer, offset], []) = args.parse("loads", ["format", "buf", "offset"], [])?;
    let gil = args.gil();
    let format = letters(format)?;
    if let Some(letter) = format.iter().find(|letter| !LETTERS.contains(letter)) {
        return unknown(gil, *letter);
    }
    if format.is_empty() {
        return tuple(gil, [list(gil)?, offset.owned()]);
    }
    with_rest(buffer, offset, |reader| {
        let values = list(gil)?;
        let (mut bits, mut count) = (0u8, 0);
        for letter in format.iter() {
            if *letter == b'b' {
                if count == 0 {
                    (bits, count) = (take(gil, reader)?, 8);
                }
                append(&values, Owned::bool(gil, bits & 1 != 0))?;
                (bits, count) = (bits >> 1, count - 1);
            } else {
                count = 0;
                append(&values, argument(gil, *letter, reader)?)?;
            }
        }
        Ok(values)
    })
}

/// `amqp_item(buffer, offset)`
pub fn item(args: Args<'_>) -> Result<Owned> {
    let [buffer, offset] = args.exactly()?;
    with_rest(buffer, offset, |reader| value(args.gil(), reader, 0))
}

/// What `read` makes of the buffer from an offset on, and the offset behind it.
pub fn with_rest(
    buffer: Object<'_>,
    offset: Object<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<Owned>,
) -> Result<Owned> {
    let gil = buffer.gil();
    let kept = octets(buffer)?;
    let whole = Object::of(&kept).content()?;
    let Some(rest) = whole.get(offset.size()?..) else {
        return shell::malformed(gil, Malformed("an offset behind the end"));
    };
    let mut reader = Reader::new(rest);
    let made = read(&mut reader)?;
    tuple(gil, [made, size(gil, whole.len() - reader.rest().len())?])
}

/// The letters of a format: a string, bytes, or anything that gives strings.
pub fn letters(format: Object<'_>) -> Result<Cow<'_, [u8]>> {
    if let Some(letters) = format.latin1_octets() {
        return Ok(Cow::Borrowed(letters));
    }
    // SAFETY: live objects, with the lock held.
    unsafe {
        if ffi::PyBytes_Check(format.as_ptr()) != 0 {
            return format.content().map(Cow::Borrowed);
        }
        let nothing = Owned::new(ffi::PyUnicode_New(0, 127))?;
        let joined = Owned::new(ffi::PyUnicode_Join(nothing.as_ptr(), format.as_ptr()))?;
        // A letter beyond Latin-1 is as unknown as the one that stands for it.
        Ok(Cow::Owned(Object::of(&joined).latin1_octets().unwrap_or(b"?").to_vec()))
    }
}

/// The bytes of any object that has some; a text is none.
fn octets(buffer: Object<'_>) -> Result<Owned> {
    // SAFETY: a live object, with the lock held.
    unsafe {
        if ffi::PyBytes_Check(buffer.as_ptr()) != 0 {
            return Ok(buffer.owned());
        }
        Owned::new(ffi::PyBytes_FromObject(buffer.as_ptr()))
    }
}

fn argument(gil: Gil<'_>, letter: u8, from: &mut Reader<'_>) -> Result<Owned> {
    match letter {
        b'o' => int(gil, take::<u8>(gil, from)?.into()),
        b'B' => int(gil, take::<u16>(gil, from)?.into()),
        b'l' => int(gil, take::<u32>(gil, from)?.into()),
        b'L' => unsigned(gil, take(gil, from)?),
        b'f' => float_of(gil, take::<f32>(gil, from)?.into()),
        b's' => short_text(gil, short(gil, from)?),
        b'S' => text(gil, take(gil, from)?),
        b'x' => bytes(gil, take(gil, from)?),
        b'F' => table(gil, from, 0),
        b'A' => array(gil, from, 0),
        _ => timestamp(gil, from),
    }
}

/// A value of a table or an array.
fn value(gil: Gil<'_>, from: &mut Reader<'_>, depth: usize) -> Result<Owned> {
    if depth == MAX_DEPTH {
        return shell::malformed(gil, Malformed("tables nested too deeply"));
    }
    match take::<u8>(gil, from)? {
        b'S' => text_or_bytes(gil, take(gil, from)?),
        b'I' => int(gil, take::<i32>(gil, from)?.into()),
        b't' => Ok(Owned::bool(gil, take::<u8>(gil, from)? != 0)),
        b'F' => table(gil, from, depth + 1),
        b'A' => array(gil, from, depth + 1),
        b'V' => Ok(Owned::none(gil)),
        b'l' | b'L' => int(gil, take(gil, from)?),
        b'd' => float_of(gil, take(gil, from)?),
        b'x' => bytes(gil, take(gil, from)?),
        b'b' => int(gil, take::<i8>(gil, from)?.into()),
        b'B' => int(gil, take::<u8>(gil, from)?.into()),
        b's' | b'U' => int(gil, take::<i16>(gil, from)?.into()),
        b'u' => int(gil, take::<u16>(gil, from)?.into()),
        b'i' => int(gil, take::<u32>(gil, from)?.into()),
        b'f' => float_of(gil, take::<f32>(gil, from)?.into()),
        b'D' => {
            let (scale, digits) = (take::<u8>(gil, from)?, take::<i32>(gil, from)?);
            shell::rare(gil, b'D', [int(gil, scale.into())?, int(gil, digits.into())?])
        }
        b'T' => timestamp(gil, from),
        other => unknown(gil, other),
    }
}

#[cold]
fn unknown<T>(gil: Gil<'_>, letter: u8) -> Result<T> {
    shell::syntax(gil, &format!("a value of an unknown type: {:?}", char::from(letter)))
}

/// A table, with its length in front.
pub fn table(gil: Gil<'_>, from: &mut Reader<'_>, depth: usize) -> Result<Owned> {
    let mut inner = Reader::new(take(gil, from)?);
    // SAFETY: the token says that the lock is held.
    let dict = unsafe { Owned::new(ffi::PyDict_New())? };
    while !inner.is_empty() {
        let key = text_or_bytes(gil, short(gil, &mut inner)?)?;
        let value = value(gil, &mut inner, depth)?;
        put(&dict, Object::of(&key), &value)?;
    }
    Ok(dict)
}

fn array(gil: Gil<'_>, from: &mut Reader<'_>, depth: usize) -> Result<Owned> {
    let mut inner = Reader::new(take(gil, from)?);
    let values = list(gil)?;
    while !inner.is_empty() {
        append(&values, value(gil, &mut inner, depth)?)?;
    }
    Ok(values)
}

fn timestamp(gil: Gil<'_>, from: &mut Reader<'_>) -> Result<Owned> {
    shell::rare(gil, b'T', [unsigned(gil, take(gil, from)?)?, Owned::none(gil)])
}

/// A field off the front.
pub fn take<'a, F: Field<'a>>(gil: Gil<'_>, from: &mut Reader<'a>) -> Result<F> {
    F::read(from).or_else(|problem| shell::malformed(gil, problem))
}

/// The octets of a short string.
pub fn short<'a>(gil: Gil<'_>, from: &mut Reader<'a>) -> Result<&'a [u8]> {
    let length = take::<u8>(gil, from)?;
    from.take(length.into()).or_else(|problem| shell::malformed(gil, problem))
}

fn float_of(_: Gil<'_>, number: f64) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(number)) }
}

fn list(_: Gil<'_>) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyList_New(0)) }
}

fn append(list: &Owned, item: Owned) -> Result<()> {
    // SAFETY: a list that was made here, with the lock held.
    if unsafe { ffi::PyList_Append(list.as_ptr(), item.as_ptr()) } < 0 { Err(Raised) } else { Ok(()) }
}
