//! Sequences of pairs: the headers that an application gives.

use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{Owned, Result, type_error, value_error};

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
    // SAFETY: reads the type of a live object.
    let is_tuple = unsafe { ffi::PyTuple_CheckExact(item.as_ptr()) != 0 };
    // As most are.
    if is_tuple
        && let Some([name, value]) = Object::of(item).tuple_items()
        && name.is_str()
        && value.is_str()
    {
        return Ok((name.owned(), value.owned()));
    }
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
