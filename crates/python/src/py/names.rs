//! Strings that name attributes and methods, made once at import.

use std::ffi::CStr;

use super::error::Result;
use super::ffi::{self, PyObject};
use super::owned::{GlobalObject, Owned};

/// A name as an interned string.
pub struct Name {
    text: &'static CStr,
    object: GlobalObject,
}

impl Name {
    /// Not made yet; see [`intern`].
    pub const fn new(text: &'static CStr) -> Name {
        Name { text, object: GlobalObject::null() }
    }

    /// The string, borrowed.
    #[inline]
    pub fn object(&self) -> *mut PyObject {
        self.object.object()
    }
}

/// Makes the names.
///
/// # Safety
/// Called at import.
pub unsafe fn intern(names: &[&Name]) -> Result<()> {
    for name in names {
        // SAFETY: the text is a literal; the interpreter's lock is held at import.
        name.object.set(unsafe { Owned::new(ffi::PyUnicode_InternFromString(name.text.as_ptr()))? });
    }
    Ok(())
}
