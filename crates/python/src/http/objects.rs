//! From bytes to objects and back. All of this runs with the interpreter's lock, as the functions of a module do.

use std::ptr;

use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::{self, Args, Owned, Raised, Result, assumed, type_error};

/// Takes over what a call of the interpreter returned.
pub fn own(object: *mut PyObject) -> Result<Owned> {
    // SAFETY: see the top of this file.
    unsafe { Owned::new(object) }
}

/// One more reference to a live object.
pub fn borrow(object: *mut PyObject) -> Owned {
    // SAFETY: see the top of this file.
    unsafe { Owned::borrow(object) }
}

/// A string of Latin-1 octets.
pub fn latin1(text: &[u8]) -> Result<Owned> {
    // SAFETY: the text is copied.
    own(unsafe { ffi::PyUnicode_DecodeLatin1(text.as_ptr().cast(), text.len() as Py_ssize_t, ptr::null()) })
}

/// A bytes object.
pub fn bytes(data: &[u8]) -> Result<Owned> {
    // SAFETY: the data is copied.
    own(unsafe { ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as Py_ssize_t) })
}

/// A number.
pub fn int(number: i64) -> Result<Owned> {
    // SAFETY: no arguments to get wrong.
    own(unsafe { ffi::PyLong_FromLongLong(number) })
}

/// A number of octets.
pub fn size(number: usize) -> Result<Owned> {
    // SAFETY: no arguments to get wrong.
    own(unsafe { ffi::PyLong_FromSize_t(number) })
}

/// A number that may need all 64 bits.
pub fn unsigned(number: u64) -> Result<Owned> {
    // SAFETY: no arguments to get wrong.
    own(unsafe { ffi::PyLong_FromUnsignedLongLong(number) })
}

/// A tuple.
pub fn tuple<const N: usize>(items: [Owned; N]) -> Result<Owned> {
    // SAFETY: as many items as places; each is given away.
    unsafe {
        let tuple = own(ffi::PyTuple_New(N as Py_ssize_t))?;
        for (place, item) in items.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), place as Py_ssize_t, item.into_raw());
        }
        Ok(tuple)
    }
}

/// Raises a ValueError.
#[cold]
pub fn value_error<T>(message: &str) -> Result<T> {
    // SAFETY: see the top of this file.
    unsafe { py::error(ffi::PyExc_ValueError, message) }
}

/// The arguments of a call that takes exactly `N`, none by name.
pub fn arguments<const N: usize>(args: Args<'_>) -> Result<[*mut PyObject; N]> {
    match args.positional.try_into() {
        Ok(arguments) if !args.has_keywords() => Ok(arguments),
        _ => type_error(assumed(), &format!("{N} arguments are needed, and none by name")),
    }
}

/// The content of a bytes object, for as long as the caller's arguments live.
pub fn content<'a>(object: *mut PyObject) -> Result<&'a [u8]> {
    // SAFETY: checked to be bytes, which do not change.
    unsafe {
        if ffi::PyBytes_Check(object) == 0 {
            return type_error(assumed(), "bytes are needed");
        }
        let (data, size) = (ffi::PyBytes_AS_STRING(object), ffi::PyBytes_Size(object));
        Ok(std::slice::from_raw_parts(data.cast(), size as usize))
    }
}

/// Whether it is a string.
pub fn is_str(object: *mut PyObject) -> bool {
    // SAFETY: reads the type.
    unsafe { ffi::PyUnicode_Check(object) != 0 }
}

/// The Latin-1 octets of a string; none if it has other characters.
pub fn latin1_octets<'a>(text: *mut PyObject) -> Option<&'a [u8]> {
    // SAFETY: a string, made ready where that is still done; one octet a character is what the kind says.
    unsafe {
        #[cfg(not(Py_3_12))]
        if ffi::PyUnicode_READY(text) < 0 {
            ffi::PyErr_Clear();
            return None;
        }
        if ffi::PyUnicode_KIND(text) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        Some(std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text), ffi::PyUnicode_GET_LENGTH(text) as usize))
    }
}

/// The number in an object that is one.
pub fn number_of(object: *mut PyObject) -> Result<i64> {
    // SAFETY: a live object.
    unsafe { py::integer(object) }
}

/// The number in an object that is one, and not negative.
pub fn size_of(object: *mut PyObject) -> Result<usize> {
    usize::try_from(number_of(object)?).or_else(|_| value_error("a size must not be negative"))
}

/// Whether an object counts as true.
pub fn truth(object: *mut PyObject) -> Result<bool> {
    // SAFETY: a live object.
    unsafe { py::truth(object) }
}

/// Puts an item into a dict.
pub fn put(dict: &Owned, key: *mut PyObject, value: &Owned) -> Result<()> {
    // SAFETY: live objects.
    if unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key, value.as_ptr()) } < 0 { Err(Raised) } else { Ok(()) }
}

/// Calls `then` with each name and value of a sequence of pairs, both strings; other values become strings first.
pub fn for_each_pair(
    headers: *mut PyObject,
    mut then: impl FnMut(*mut PyObject, *mut PyObject) -> Result<()>,
) -> Result<()> {
    // SAFETY: the sequence is held, and so is each pair while code may run; the length is read anew each time.
    unsafe {
        let list = own(ffi::PySequence_Fast(headers, c"headers must be a list of pairs".as_ptr()))?;
        let mut at = 0;
        while at < ffi::PySequence_Fast_GET_SIZE(list.as_ptr()) {
            let item = borrow(*ffi::PySequence_Fast_ITEMS(list.as_ptr()).offset(at));
            let pair = own(ffi::PySequence_Fast(item.as_ptr(), c"a header must be a pair".as_ptr()))?;
            if ffi::PySequence_Fast_GET_SIZE(pair.as_ptr()) != 2 {
                return value_error("a header must be a pair");
            }
            let items = ffi::PySequence_Fast_ITEMS(pair.as_ptr());
            let (name, value) = (borrow(*items), borrow(*items.offset(1)));
            if !is_str(name.as_ptr()) {
                return type_error(assumed(), "a header's name must be a string");
            }
            let value = if is_str(value.as_ptr()) { value } else { own(ffi::PyObject_Str(value.as_ptr()))? };
            then(name.as_ptr(), value.as_ptr())?;
            at += 1;
        }
        Ok(())
    }
}
