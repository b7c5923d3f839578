//! From bytes to objects and back.
//!
//! An [`Object`] is known to be alive and to be used with the interpreter's lock, so reading one is safe; to make one
//! of nothing takes a [`Gil`].

use std::marker::PhantomData;
use std::ptr;

use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::{self, Args, Gil, GlobalObject, Owned, Raised, Result, type_error};

/// A live object, borrowed for `'a` from whatever keeps it, with the lock held.
#[derive(Clone, Copy)]
pub struct Object<'a>(*mut PyObject, PhantomData<&'a Owned>);

impl<'a> Object<'a> {
    /// # Safety
    /// A live object, which something keeps for `'a`; the lock is held as [`Gil::assume`] asks for.
    pub unsafe fn new(object: *mut PyObject) -> Object<'a> {
        Object(object, PhantomData)
    }

    /// What an owned reference keeps.
    pub fn of(owned: &'a Owned) -> Object<'a> {
        Object(owned.as_ptr(), PhantomData)
    }

    /// What was made at import and lives for ever.
    pub fn word(global: &'a GlobalObject) -> Object<'a> {
        Object(global.object(), PhantomData)
    }

    pub fn as_ptr(self) -> *mut PyObject {
        self.0
    }

    /// The lock is held while there is one.
    pub fn gil(self) -> Gil<'a> {
        // SAFETY: the maker of this had the lock for `'a`: see `new`, `Owned::gil`; words are set and read under it.
        unsafe { Gil::assume() }
    }

    /// One more reference.
    pub fn owned(self) -> Owned {
        // SAFETY: alive, with the lock held.
        unsafe { Owned::borrow(self.0) }
    }

    pub fn is_none(self) -> bool {
        // SAFETY: compares addresses.
        self.0 == unsafe { ffi::Py_None() }
    }

    /// Whether it is a string.
    pub fn is_str(self) -> bool {
        // SAFETY: reads the type of a live object.
        unsafe { ffi::PyUnicode_Check(self.0) != 0 }
    }

    /// `str(object)`
    pub fn to_str(self) -> Result<Owned> {
        // SAFETY: alive, with the lock held.
        unsafe { Owned::new(ffi::PyObject_Str(self.0)) }
    }

    /// The content of a bytes object.
    pub fn content(self) -> Result<&'a [u8]> {
        // SAFETY: alive for `'a`, and checked to be bytes, which do not change.
        unsafe {
            if ffi::PyBytes_Check(self.0) == 0 {
                return type_error(self.gil(), "bytes are needed");
            }
            let (data, size) = (ffi::PyBytes_AS_STRING(self.0), ffi::PyBytes_Size(self.0));
            Ok(std::slice::from_raw_parts(data.cast(), size as usize))
        }
    }

    /// The Latin-1 octets of a string; none if it has other characters or is no string.
    pub fn latin1_octets(self) -> Option<&'a [u8]> {
        if !self.is_str() {
            return None;
        }
        // SAFETY: a string that is alive for `'a`, made ready where that is still done; strings do not change, and one
        // octet a character is what the kind says.
        unsafe {
            #[cfg(not(Py_3_12))]
            if ffi::PyUnicode_READY(self.0) < 0 {
                ffi::PyErr_Clear();
                return None;
            }
            if ffi::PyUnicode_KIND(self.0) != ffi::PyUnicode_1BYTE_KIND {
                return None;
            }
            let (data, length) = (ffi::PyUnicode_1BYTE_DATA(self.0), ffi::PyUnicode_GET_LENGTH(self.0));
            Some(std::slice::from_raw_parts(data, length as usize))
        }
    }

    /// The number in an object that is one.
    pub fn number(self) -> Result<i64> {
        // SAFETY: alive, with the lock held.
        unsafe { py::integer(self.0) }
    }

    /// The number in an object that is one, and not negative.
    pub fn size(self) -> Result<usize> {
        usize::try_from(self.number()?).or_else(|_| value_error(self.gil(), "a size must not be negative"))
    }

    /// Whether it counts as true.
    pub fn truth(self) -> Result<bool> {
        // SAFETY: alive, with the lock held.
        unsafe { py::truth(self.0) }
    }

    /// The items of a tuple that has `N` of them, kept by it.
    pub fn tuple_items<const N: usize>(self) -> Option<[Object<'a>; N]> {
        // SAFETY: alive for `'a`, and checked to be a tuple with so many items; it does not change, and keeps them.
        unsafe {
            if ffi::PyTuple_Check(self.0) == 0 || ffi::PyTuple_Size(self.0) != N as Py_ssize_t {
                return None;
            }
            Some(std::array::from_fn(|place| Object::new(ffi::PyTuple_GET_ITEM(self.0, place as Py_ssize_t))))
        }
    }
}

/// A string of Latin-1 octets.
pub fn latin1(_: Gil<'_>, text: &[u8]) -> Result<Owned> {
    // SAFETY: the text is copied, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyUnicode_DecodeLatin1(text.as_ptr().cast(), text.len() as Py_ssize_t, ptr::null())) }
}

/// A bytes object.
pub fn bytes(_: Gil<'_>, data: &[u8]) -> Result<Owned> {
    // SAFETY: the data is copied, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), data.len() as Py_ssize_t)) }
}

/// A number.
pub fn int(_: Gil<'_>, number: i64) -> Result<Owned> {
    // SAFETY: any number will do, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyLong_FromLongLong(number)) }
}

/// A number of octets.
pub fn size(_: Gil<'_>, number: usize) -> Result<Owned> {
    // SAFETY: any number will do, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyLong_FromSize_t(number)) }
}

/// A number that may need all 64 bits.
pub fn unsigned(_: Gil<'_>, number: u64) -> Result<Owned> {
    // SAFETY: any number will do, and the token says that the lock is held.
    unsafe { Owned::new(ffi::PyLong_FromUnsignedLongLong(number)) }
}

/// A tuple.
pub fn tuple<const N: usize>(_: Gil<'_>, items: [Owned; N]) -> Result<Owned> {
    // SAFETY: as many items as places; each is given away. The token says that the lock is held.
    unsafe {
        let tuple = Owned::new(ffi::PyTuple_New(N as Py_ssize_t))?;
        for (place, item) in items.into_iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), place as Py_ssize_t, item.into_raw());
        }
        Ok(tuple)
    }
}

/// A string that lives for ever, for `name`, a literal.
pub fn intern(_: Gil<'_>, place: &GlobalObject, name: &'static std::ffi::CStr) -> Result<()> {
    // SAFETY: the name ends in a zero, and the token says that the lock is held.
    place.set(unsafe { Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr())) }?.into_raw());
    Ok(())
}

/// Raises a ValueError.
#[cold]
pub fn value_error<T>(_: Gil<'_>, message: &str) -> Result<T> {
    // SAFETY: the class lives for ever, and the token says that the lock is held.
    unsafe { py::error(ffi::PyExc_ValueError, message) }
}

/// The arguments of a call that takes exactly `N`, none by name.
pub fn arguments<const N: usize>(args: Args<'_>) -> Result<[Object<'_>; N]> {
    match <[*mut PyObject; N]>::try_from(args.positional) {
        // SAFETY: arguments outlive their call, for which the lock is held.
        Ok(arguments) if !args.has_keywords() => Ok(arguments.map(|argument| unsafe { Object::new(argument) })),
        _ => type_error(args.gil(), &format!("{N} arguments are needed, and none by name")),
    }
}

/// Puts an item into a dict.
pub fn put(dict: &Owned, key: Object<'_>, value: &Owned) -> Result<()> {
    // SAFETY: live objects, with the lock held.
    match unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}

/// Calls `then` with each name and value of a sequence of pairs, both strings; other values become strings first.
pub fn for_each_pair(headers: Object<'_>, mut then: impl FnMut(Object<'_>, Object<'_>) -> Result<()>) -> Result<()> {
    // SAFETY: a live object, with the lock held; the message ends in a zero.
    let list =
        unsafe { Owned::new(ffi::PySequence_Fast(headers.as_ptr(), c"headers must be a list of pairs".as_ptr()))? };
    let mut at = 0;
    while let Some(item) = item_of(&list, at) {
        let (name, value) = pair_in(&item)?;
        then(Object::of(&name), Object::of(&value))?;
        at += 1;
    }
    Ok(())
}

/// One more reference to an item of a list or tuple. `then` above may change a list: its length is read each time.
fn item_of(list: &Owned, at: usize) -> Option<Owned> {
    // SAFETY: a list or tuple, and a place within it; it keeps the item until this has a reference to it.
    unsafe {
        let there = at < ffi::PySequence_Fast_GET_SIZE(list.as_ptr()) as usize;
        there.then(|| Owned::borrow(*ffi::PySequence_Fast_ITEMS(list.as_ptr()).add(at)))
    }
}

fn pair_in(item: &Owned) -> Result<(Owned, Owned)> {
    // SAFETY: a live object, with the lock held; the message ends in a zero.
    let pair = unsafe { Owned::new(ffi::PySequence_Fast(item.as_ptr(), c"a header must be a pair".as_ptr()))? };
    let (Some(name), Some(value), None) = (item_of(&pair, 0), item_of(&pair, 1), item_of(&pair, 2)) else {
        return value_error(item.gil(), "a header must be a pair");
    };
    if !Object::of(&name).is_str() {
        return type_error(item.gil(), "a header's name must be a string");
    }
    let value = if Object::of(&value).is_str() { value } else { Object::of(&value).to_str()? };
    Ok((name, value))
}
