//! Short texts that come again and again: keys of headers, names of exchanges and consumers, media types. The last
//! ones are kept, so that one that repeats is not made anew. The interpreter's own interning would keep them for ever
//! on some versions, whatever a peer sends.

use crate::py::ffi::{self, Py_ssize_t};
use crate::py::object::{Object, bytes};
use crate::py::{Gil, Global, Owned, Raised, Result};

/// Longer ones repeat less.
const LONGEST: usize = 48;
const PLACES: usize = 512;

static KEPT: Global<[Option<Owned>; PLACES]> = Global::new([const { None }; PLACES]);

/// A string; a UnicodeDecodeError if the octets are not UTF-8.
pub fn short_text(gil: Gil<'_>, octets: &[u8]) -> Result<Owned> {
    if octets.len() > LONGEST || octets.is_empty() || !octets.is_ascii() {
        return text(gil, octets);
    }
    let place = place_of(octets);
    // SAFETY: under the lock, which the token stands for; the reference ends before anything else runs.
    let kept = unsafe { &(*KEPT.get())[place] };
    if let Some(kept) = kept
        && Object::of(kept).latin1_octets() == Some(octets)
    {
        return Ok(kept.clone());
    }
    let made = text(gil, octets)?;
    // SAFETY: as above. A string's end runs no code, so nobody looks meanwhile.
    unsafe { (*KEPT.get())[place] = Some(made.clone()) };
    Ok(made)
}

/// A string, or a UnicodeDecodeError.
pub fn text(_: Gil<'_>, octets: &[u8]) -> Result<Owned> {
    // SAFETY: the text is copied, and the token says that the lock is held; the error handler's name is a literal.
    unsafe {
        let (data, length) = (octets.as_ptr().cast(), octets.len() as Py_ssize_t);
        Owned::new(ffi::PyUnicode_DecodeUTF8(data, length, c"surrogatepass".as_ptr()))
    }
}

/// A string, or bytes if it is not UTF-8.
pub fn text_or_bytes(gil: Gil<'_>, octets: &[u8]) -> Result<Owned> {
    short_text(gil, octets).or_else(|Raised| {
        // SAFETY: the token says that the lock is held; the only exception is that of the text.
        unsafe { ffi::PyErr_Clear() };
        bytes(gil, octets)
    })
}

/// FNV-1a, folded. A peer that makes its texts collide gains that they are made anew.
fn place_of(octets: &[u8]) -> usize {
    let hash = octets.iter().fold(0x811c_9dc5u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 16) as usize % PLACES
}
