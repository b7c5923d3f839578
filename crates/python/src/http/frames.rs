//! Bodies in chunks, and websocket frames.

use std::ptr;

use ::http::{Chunks, Step, websocket};

use super::objects::{arguments, bytes, content, int, number_of, own, size, size_of, tuple, unsigned, value_error};
use crate::py::ffi::{self, Py_ssize_t, PyObject};
use crate::py::{Args, Owned, Result, assumed};

/// `http_chunks(buffer, state, limit)`
pub fn chunks(args: Args<'_>) -> Result<Owned> {
    let [buffer, state, limit] = arguments(args)?;
    let whole = content(buffer)?;
    let limit = size_of(limit)?;
    let (mut decoder, mut input, mut data) = (Chunks::from_number(number_of(state)?), whole, Vec::new());
    while data.len() < limit {
        match decoder.step(&mut input, limit - data.len()) {
            Ok(Step::Data(piece)) => data.extend_from_slice(piece),
            Ok(_) => break,
            Err(error) => return value_error(&error.to_string()),
        }
    }
    tuple([bytes(&data)?, size(whole.len() - input.len())?, int(decoder.to_number())?])
}

/// `websocket_frame(buffer)`
pub fn frame(args: Args<'_>) -> Result<Owned> {
    let [buffer] = arguments(args)?;
    let Some(frame) = websocket::frame(content(buffer)?) else {
        return Ok(Owned::none(assumed()));
    };
    let mask = match frame.mask {
        Some(mask) => bytes(&mask)?,
        None => Owned::none(assumed()),
    };
    tuple([int(frame.first.into())?, mask, unsigned(frame.payload)?, size(frame.length)?])
}

fn mask_of(object: *mut PyObject) -> Result<[u8; 4]> {
    content(object)?.try_into().or_else(|_| value_error("a mask has four octets"))
}

/// A bytes object of `head` and `payload`, the latter masked.
fn masked(head: &[u8], payload: &[u8], mask: Option<[u8; 4]>, offset: usize) -> Result<Owned> {
    let size = head.len() + payload.len();
    // SAFETY: a fresh object, which nobody else sees while it is written.
    unsafe {
        let object = own(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
        let data = ffi::PyBytes_AS_STRING(object.as_ptr()).cast_mut().cast::<u8>();
        ptr::copy_nonoverlapping(head.as_ptr(), data, head.len());
        ptr::copy_nonoverlapping(payload.as_ptr(), data.add(head.len()), payload.len());
        if let Some(mask) = mask {
            websocket::mask(std::slice::from_raw_parts_mut(data.add(head.len()), payload.len()), mask, offset);
        }
        Ok(object)
    }
}

/// `websocket_mask(data, mask, offset)`
pub fn mask(args: Args<'_>) -> Result<Owned> {
    let [data, mask, offset] = arguments(args)?;
    masked(b"", content(data)?, Some(mask_of(mask)?), size_of(offset)?)
}

/// `websocket_pack(first, payload, mask)`
pub fn pack(args: Args<'_>) -> Result<Owned> {
    let [first, payload, mask] = arguments(args)?;
    let Ok(first) = u8::try_from(size_of(first)?) else {
        return value_error("the first octet of a frame is one octet");
    };
    // SAFETY: None is always there.
    let mask = if mask == unsafe { ffi::Py_None() } { None } else { Some(mask_of(mask)?) };
    let payload = content(payload)?;
    let mut head = Vec::with_capacity(14);
    websocket::write_header(first, mask, payload.len(), &mut head);
    masked(&head, payload, mask, 0)
}
