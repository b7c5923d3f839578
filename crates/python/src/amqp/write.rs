//! Objects to fields.
//!
//! A value of a type that no letter stands for is a FrameSyntaxError; one that does not fit its field is a
//! `struct.error`, as with py-amqp.

use greenloom_amqp::wire::Field;

use super::read::letters;
use super::shell;
use crate::py::ffi::{self, PyObject};
use crate::py::object::{Object, bytes};
use crate::py::{Args, Gil, Owned, Result, float, type_error};

/// Deeper nesting is refused, so that a table that holds itself does not overflow the stack.
const MAX_DEPTH: usize = 64;

/// `amqp_dumps(format, values)`
pub fn dumps(args: Args<'_>) -> Result<Owned> {
    let ([format, values], []) = args.parse("dumps", ["format", "values"], [])?;
    let gil = args.gil();
    let mut out = Vec::with_capacity(128);
    let mut fields = Fields { out: &mut out, bits: 0 };
    let format = letters(format)?;
    let values = Sequence::of(values)?;
    let mut at = 0;
    while let Some(value) = values.item(at) {
        let Some(letter) = format.get(at) else {
            return type_error(gil, "there are more values than letters in the format");
        };
        fields.put(*letter, Object::of(&value))?;
        at += 1;
    }
    bytes(gil, &out)
}

/// Where fields go, and how many bits the last octet has.
pub struct Fields<'a> {
    pub out: &'a mut Vec<u8>,
    pub bits: u8,
}

impl Fields<'_> {
    /// Appends an argument.
    pub fn put(&mut self, letter: u8, value: Object<'_>) -> Result<()> {
        if letter == b'b' {
            return self.bit(value.truth()?);
        }
        self.bits = 0;
        let out = &mut *self.out;
        match letter {
            b'o' => (number(value, u8::MAX.into())? as u8).put(out),
            b'B' => (number(Object::of(&whole(value)?), u16::MAX.into())? as u16).put(out),
            b'l' => (number(value, u32::MAX.into())? as u32).put(out),
            b'L' => number(value, u64::MAX)?.put(out),
            // SAFETY: a live object, with the lock held.
            b'f' => (unsafe { float(value.as_ptr())? } as f32).put(out),
            b's' if value.truth()? => with_octets(value, |octets| put_short(value.gil(), octets, out))?,
            b's' => out.push(0),
            b'S' | b'x' if value.truth()? => with_octets(value, |octets| put_long(value.gil(), octets, out))?,
            b'F' if value.truth()? => put_table(value, out, 0)?,
            b'A' if value.truth()? => put_array(value, out, 0)?,
            b'S' | b'x' | b'F' | b'A' => 0u32.put(out),
            b'T' => {
                // The rare types' bytes begin with a letter.
                let item = shell::rare_bytes(value)?;
                let item = Object::of(&item);
                if item.is_none() {
                    return type_error(value.gil(), "a timestamp is a datetime");
                }
                out.extend_from_slice(item.content()?.get(1..).unwrap_or_default());
            }
            // py-amqp skips letters that it does not know.
            _ => {}
        }
        Ok(())
    }

    fn bit(&mut self, value: bool) -> Result<()> {
        if self.bits == 0 {
            self.out.push(0);
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(value) << self.bits;
        }
        self.bits = (self.bits + 1) % 8;
        Ok(())
    }
}

/// `int(value)`: what is like a number will do here, as it does with py-amqp.
fn whole(value: Object<'_>) -> Result<Owned> {
    // SAFETY: a live object, with the lock held.
    unsafe { Owned::new(ffi::PyNumber_Long(value.as_ptr())) }
}

fn number(value: Object<'_>, max: u64) -> Result<u64> {
    // SAFETY: a live object, with the lock held; the exception is looked at where the number could mean one.
    unsafe {
        if ffi::PyLong_Check(value.as_ptr()) == 0 {
            return shell::misfit(value.gil(), "required argument is not an integer");
        }
        let number = ffi::PyLong_AsUnsignedLongLong(value.as_ptr());
        let failed = number == u64::MAX && !ffi::PyErr_Occurred().is_null();
        if failed {
            ffi::PyErr_Clear();
        }
        if failed || number > max {
            return shell::misfit(value.gil(), &format!("a number between 0 and {max} is needed"));
        }
        Ok(number)
    }
}

/// Calls `then` with the octets of a string, which become UTF-8, or of an object that has some.
fn with_octets<T>(value: Object<'_>, then: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    if !value.is_str() {
        // SAFETY: a live object, with the lock held.
        let octets = unsafe { Owned::new(ffi::PyBytes_FromObject(value.as_ptr()))? };
        return then(Object::of(&octets).content()?);
    }
    // SAFETY: a live string, with the lock held.
    if let Ok(text) = unsafe { crate::py::text(value.as_ptr()) } {
        return then(text.as_bytes());
    }
    // It has surrogates.
    // SAFETY: as above; the names are literals, and the only exception is that of the text.
    let octets = unsafe {
        ffi::PyErr_Clear();
        Owned::new(ffi::PyUnicode_AsEncodedString(value.as_ptr(), c"utf-8".as_ptr(), c"surrogatepass".as_ptr()))?
    };
    then(Object::of(&octets).content()?)
}

fn put_short(gil: Gil<'_>, octets: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Ok(length) = u8::try_from(octets.len()) else {
        return shell::misfit(gil, &format!("a short string has at most 255 bytes, not {}", octets.len()));
    };
    length.put(out);
    out.extend_from_slice(octets);
    Ok(())
}

fn put_long(gil: Gil<'_>, octets: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if octets.len() > u32::MAX as usize {
        return shell::misfit(gil, "a long string has at most 4 GiB");
    }
    octets.put(out);
    Ok(())
}

/// Appends a table, with its length in front.
fn put_table(table: Object<'_>, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    with_length(out, |out| {
        for_each_item(table, |key, value| {
            with_octets(key, |octets| put_short(key.gil(), octets, out))?;
            put_value(Some(key), value, out, depth)
        })
    })
}

fn put_array(array: Object<'_>, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let items = Sequence::of(array)?;
    with_length(out, |out| {
        let mut at = 0;
        while let Some(item) = items.item(at) {
            put_value(None, Object::of(&item), out, depth)?;
            at += 1;
        }
        Ok(())
    })
}

/// Appends a table's or an array's value, with its letter.
fn put_value(key: Option<Object<'_>>, value: Object<'_>, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    let gil = value.gil();
    if depth == MAX_DEPTH {
        return shell::syntax(gil, "tables nested too deeply");
    }
    let object = value.as_ptr();
    // SAFETY: each reads the type of a live object, with the lock held.
    unsafe {
        if ffi::PyUnicode_Check(object) != 0 || ffi::PyBytes_Check(object) != 0 {
            out.push(b'S');
            return with_octets(value, |octets| put_long(gil, octets, out));
        }
        if ffi::PyBool_Check(object) != 0 {
            out.extend_from_slice(&[b't', u8::from(value.truth()?)]);
        } else if ffi::PyFloat_Check(object) != 0 {
            out.push(b'd');
            float(object)?.put(out);
        } else if ffi::PyLong_Check(object) != 0 {
            put_integer(value, out)?;
        } else if value.is_none() {
            out.push(b'V');
        } else if ffi::PyDict_Check(object) != 0 {
            out.push(b'F');
            put_table(value, out, depth + 1)?;
        } else if ffi::PyList_Check(object) != 0 || ffi::PyTuple_Check(object) != 0 {
            out.push(b'A');
            put_array(value, out, depth + 1)?;
        } else {
            put_rare(key, value, out)?;
        }
    }
    Ok(())
}

fn put_integer(value: Object<'_>, out: &mut Vec<u8>) -> Result<()> {
    let Ok(number) = value.number() else {
        // SAFETY: the lock is held; the only exception is that of the number.
        unsafe { ffi::PyErr_Clear() };
        return shell::misfit(value.gil(), "a whole number in a table has at most 64 bits");
    };
    // py-amqp's bounds leave one number out.
    match i32::try_from(number) {
        Ok(number) if number != i32::MIN => {
            out.push(b'I');
            number.put(out);
        }
        _ => {
            out.push(b'L');
            number.put(out);
        }
    }
    Ok(())
}

#[cold]
fn put_rare(key: Option<Object<'_>>, value: Object<'_>, out: &mut Vec<u8>) -> Result<()> {
    let item = shell::rare_bytes(value)?;
    let item = Object::of(&item);
    if item.is_none() {
        return shell::illegal(key, value);
    }
    out.extend_from_slice(item.content()?);
    Ok(())
}

/// Appends what `body` appends, with its length in front.
fn with_length(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out)?;
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A list or tuple, made of any object that can be iterated over.
struct Sequence(Owned);

impl Sequence {
    fn of(object: Object<'_>) -> Result<Sequence> {
        // SAFETY: a live object, with the lock held; the message ends in a zero.
        let made = unsafe { ffi::PySequence_Fast(object.as_ptr(), c"a list or tuple is needed".as_ptr()) };
        // SAFETY: a fresh reference or null.
        Ok(Sequence(unsafe { Owned::new(made)? }))
    }

    /// One more reference to an item. What is made of the items may change a list: its length is read each time.
    fn item(&self, at: usize) -> Option<Owned> {
        // SAFETY: a list or tuple, and a place within it; it keeps the item until this has a reference to it.
        unsafe {
            let there = at < ffi::PySequence_Fast_GET_SIZE(self.0.as_ptr()) as usize;
            there.then(|| Owned::borrow(*ffi::PySequence_Fast_ITEMS(self.0.as_ptr()).add(at)))
        }
    }
}

/// Calls `then` with each key and value of a mapping.
fn for_each_item(mapping: Object<'_>, mut then: impl FnMut(Object<'_>, Object<'_>) -> Result<()>) -> Result<()> {
    // SAFETY: a live object, with the lock held. `PyDict_Next` looks at what is there at each call, and the references
    // outlive what `then` may do to the dict.
    unsafe {
        if ffi::PyDict_CheckExact(mapping.as_ptr()) != 0 {
            let (mut at, mut key, mut value) = (0, std::ptr::null_mut::<PyObject>(), std::ptr::null_mut::<PyObject>());
            while ffi::PyDict_Next(mapping.as_ptr(), &mut at, &mut key, &mut value) != 0 {
                let (key, value) = (Owned::borrow(key), Owned::borrow(value));
                then(Object::of(&key), Object::of(&value))?;
            }
            return Ok(());
        }
    }
    // SAFETY: a live object, with the lock held.
    let items = Sequence(unsafe { Owned::new(ffi::PyMapping_Items(mapping.as_ptr()))? });
    let mut at = 0;
    while let Some(pair) = items.item(at) {
        let Some([key, value]) = Object::of(&pair).tuple_items() else {
            return type_error(mapping.gil(), "the items of a table must be pairs");
        };
        then(key, value)?;
        at += 1;
    }
    Ok(())
}
