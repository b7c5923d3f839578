//! From bytes to objects and back.
//!
//! An [`Object`] is known to be alive and to be used with the interpreter's lock, so reading one is safe; to make one
//! of nothing takes a [`Gil`].

use std::marker::PhantomData;
use std::ptr;

use super::call::{float, integer, text, truth};
use super::error::{Raised, Result, type_error, value_error};
use super::ffi::{self, Py_ssize_t, PyObject};
use super::lock::Gil;
use super::owned::{GlobalObject, Owned};

/// A live object, borrowed for `'a` from whatever keeps it, with the lock held.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Object<'a>(ptr::NonNull<PyObject>, PhantomData<&'a Owned>);

impl<'a> Object<'a> {
    /// # Safety
    /// A live object, which something keeps for `'a`; the lock is held as [`Gil::assume`] asks for.
    #[inline(always)]
    pub unsafe fn new(object: *mut PyObject) -> Object<'a> {
        // SAFETY: a live object, which is not null.
        Object(unsafe { ptr::NonNull::new_unchecked(object) }, PhantomData)
    }

    /// The same, or none for null.
    ///
    /// # Safety
    /// As of [`new`](Self::new), but that it may be null.
    #[inline(always)]
    pub unsafe fn new_or_none(object: *mut PyObject) -> Option<Object<'a>> {
        ptr::NonNull::new(object).map(|object| Object(object, PhantomData))
    }

    /// What an owned reference keeps.
    pub fn of(owned: &'a Owned) -> Object<'a> {
        // SAFETY: the reference keeps it for as long as it is borrowed, and exists only under the lock.
        unsafe { Object::new(owned.as_ptr()) }
    }

    /// What was made at import and lives for ever.
    ///
    /// # Panics
    /// If it was not made.
    pub fn word(global: &'a GlobalObject) -> Object<'a> {
        Object(ptr::NonNull::new(global.object()).expect("words are made at import"), PhantomData)
    }

    #[inline(always)]
    pub fn as_ptr(self) -> *mut PyObject {
        self.0.as_ptr()
    }

    /// The lock is held while there is one.
    pub fn gil(self) -> Gil<'a> {
        // SAFETY: the maker of this had the lock for `'a`: see `new`, `Owned::gil`; words are set and read under it.
        unsafe { Gil::assume() }
    }

    /// One more reference.
    pub fn owned(self) -> Owned {
        // SAFETY: alive, with the lock held.
        unsafe { Owned::borrow(self.as_ptr()) }
    }

    pub fn is_none(self) -> bool {
        // SAFETY: compares addresses.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// The object, unless it is None.
    pub fn unless_none(self) -> Option<Object<'a>> {
        (!self.is_none()).then_some(self)
    }

    /// Whether it is a string.
    pub fn is_str(self) -> bool {
        // SAFETY: reads the type of a live object.
        unsafe { ffi::PyUnicode_Check(self.as_ptr()) != 0 }
    }

    /// Whether it is a tuple.
    pub fn is_tuple(self) -> bool {
        // SAFETY: reads the type of a live object.
        unsafe { ffi::PyTuple_Check(self.as_ptr()) != 0 }
    }

    /// Its attribute of this name.
    pub fn attribute(self, name: Object<'_>) -> Result<Owned> {
        // SAFETY: live objects, with the lock held.
        unsafe { Owned::new(ffi::PyObject_GetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// Its attribute of this name, as `object.__getattribute__` finds it.
    #[inline]
    pub fn own_attribute(self, name: Object<'_>) -> Result<Owned> {
        // SAFETY: live objects, with the lock held.
        unsafe { Owned::new(ffi::PyObject_GenericGetAttr(self.as_ptr(), name.as_ptr())) }
    }

    /// Sets its attribute of this name, or deletes it, as `object.__setattr__` does.
    #[inline]
    pub fn set_own_attribute(self, name: Object<'_>, value: Option<Object<'_>>) -> Result<()> {
        let value = value.map_or(ptr::null_mut(), Object::as_ptr);
        // SAFETY: live objects, or null to delete it, with the lock held.
        match unsafe { ffi::PyObject_GenericSetAttr(self.as_ptr(), name.as_ptr(), value) } {
            0 => Ok(()),
            _ => Err(Raised),
        }
    }

    /// `str(object)`
    pub fn to_str(self) -> Result<Owned> {
        // SAFETY: alive, with the lock held.
        unsafe { Owned::new(ffi::PyObject_Str(self.as_ptr())) }
    }

    /// The content of a bytes object.
    pub fn content(self) -> Result<&'a [u8]> {
        // SAFETY: alive for `'a`, and checked to be bytes, which do not change.
        unsafe {
            if ffi::PyBytes_Check(self.as_ptr()) == 0 {
                return type_error(self.gil(), "bytes are needed");
            }
            let (data, size) = (ffi::PyBytes_AS_STRING(self.as_ptr()), ffi::PyBytes_Size(self.as_ptr()));
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
            if ffi::PyUnicode_READY(self.as_ptr()) < 0 {
                ffi::PyErr_Clear();
                return None;
            }
            if ffi::PyUnicode_KIND(self.as_ptr()) != ffi::PyUnicode_1BYTE_KIND {
                return None;
            }
            let (data, length) = (ffi::PyUnicode_1BYTE_DATA(self.as_ptr()), ffi::PyUnicode_GET_LENGTH(self.as_ptr()));
            Some(std::slice::from_raw_parts(data, length as usize))
        }
    }

    /// The text of a string.
    ///
    /// # Errors
    /// A TypeError for what is no string.
    pub fn text(self) -> Result<&'a str> {
        // SAFETY: alive for `'a`.
        unsafe { text(self.as_ptr()) }
    }

    /// The number in an object that is one, whole or not.
    pub fn float(self) -> Result<f64> {
        // SAFETY: alive, with the lock held.
        unsafe { float(self.as_ptr()) }
    }

    /// The number in an object that is one.
    pub fn number(self) -> Result<i64> {
        // SAFETY: alive, with the lock held.
        unsafe { integer(self.as_ptr()) }
    }

    /// The number in an object that is one, and not negative.
    pub fn size(self) -> Result<usize> {
        usize::try_from(self.number()?).or_else(|_| value_error(self.gil(), "a size must not be negative"))
    }

    /// Whether it counts as true.
    pub fn truth(self) -> Result<bool> {
        // SAFETY: alive, with the lock held.
        unsafe { truth(self.as_ptr()) }
    }

    /// The items of a tuple that has `N` of them, kept by it.
    pub fn tuple_items<const N: usize>(self) -> Option<[Object<'a>; N]> {
        // SAFETY: alive for `'a`, and checked to be a tuple with so many items; it does not change, and keeps them.
        unsafe {
            if ffi::PyTuple_Check(self.as_ptr()) == 0 || ffi::PyTuple_Size(self.as_ptr()) != N as Py_ssize_t {
                return None;
            }
            Some(std::array::from_fn(|place| Object::new(ffi::PyTuple_GET_ITEM(self.as_ptr(), place as Py_ssize_t))))
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

/// A list of objects, which are handed over.
pub fn list(_: Gil<'_>, items: Vec<Owned>) -> Result<Owned> {
    // SAFETY: a list of this size, whose items are put in before anybody sees it; the token says that the lock is held.
    unsafe {
        let list = Owned::new(ffi::PyList_New(items.len() as ffi::Py_ssize_t))?;
        for (index, item) in items.into_iter().enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), index as ffi::Py_ssize_t, item.into_raw());
        }
        Ok(list)
    }
}

/// A string that lives for ever, for `name`, a literal.
pub fn intern(_: Gil<'_>, place: &GlobalObject, name: &'static std::ffi::CStr) -> Result<()> {
    // SAFETY: the name ends in a zero, and the token says that the lock is held.
    place.set(unsafe { Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr())) }?);
    Ok(())
}

/// Puts an item into a dict.
pub fn put(dict: &Owned, key: Object<'_>, value: &Owned) -> Result<()> {
    // SAFETY: live objects, with the lock held.
    match unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Raised),
    }
}
