//! Bodies in chunks, and websocket frames.

use std::ptr;

use greenloom_http::{Chunks, Step, websocket};

use crate::py::ffi::{self, Py_ssize_t};
use crate::py::object::{Object, bytes, int, size, tuple, unsigned};
use crate::py::{Args, Gil, Owned, Result, value_error};

/// `http_chunks(buffer, state, limit)`
pub fn chunks(args: Args<'_>) -> Result<Owned> {
    let [buffer, state, limit] = args.exactly()?;
    let gil = args.gil();
    let whole = buffer.content()?;
    let limit = limit.size()?;
    let (mut decoder, mut input, mut data) = (Chunks::from_number(state.number()?), whole, Vec::new());
    while data.len() < limit {
        match decoder.step(&mut input, limit - data.len()) {
            Ok(Step::Data(piece)) => data.extend_from_slice(piece),
            Ok(_) => break,
            Err(error) => return value_error(gil, &error.to_string()),
        }
    }
    tuple(gil, [bytes(gil, &data)?, size(gil, whole.len() - input.len())?, int(gil, decoder.to_number())?])
}

/// `websocket_frame(buffer)`
pub fn frame(args: Args<'_>) -> Result<Owned> {
    let [buffer] = args.exactly()?;
    let gil = args.gil();
    let Some(frame) = websocket::frame(buffer.content()?) else {
        return Ok(Owned::none(gil));
    };
    let mask = match frame.mask {
        Some(mask) => bytes(gil, &mask)?,
        None => Owned::none(gil),
    };
    tuple(gil, [int(gil, frame.first.into())?, mask, unsigned(gil, frame.payload)?, size(gil, frame.length)?])
}

fn mask_of(object: Object<'_>) -> Result<[u8; 4]> {
    object.content()?.try_into().or_else(|_| value_error(object.gil(), "a mask has four octets"))
}

/// A bytes object of `head` and `payload`, the latter masked.
fn masked(_: Gil<'_>, head: &[u8], payload: &[u8], mask: Option<[u8; 4]>, offset: usize) -> Result<Owned> {
    let size = head.len() + payload.len();
    // SAFETY: a fresh object with room for both, which nobody else sees while it is written; the token says that the
    // lock is held.
    unsafe {
        let object = Owned::new(ffi::PyBytes_FromStringAndSize(ptr::null(), size as Py_ssize_t))?;
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
    let [data, mask, offset] = args.exactly()?;
    masked(args.gil(), b"", data.content()?, Some(mask_of(mask)?), offset.size()?)
}

/// `websocket_pack(first, payload, mask)`
pub fn pack(args: Args<'_>) -> Result<Owned> {
    let [first, payload, mask] = args.exactly()?;
    let Ok(first) = u8::try_from(first.size()?) else {
        return value_error(args.gil(), "the first octet of a frame is one octet");
    };
    let mask = if mask.is_none() { None } else { Some(mask_of(mask)?) };
    let payload = payload.content()?;
    let mut head = Vec::with_capacity(14);
    websocket::write_header(first, mask, payload.len(), &mut head);
    masked(args.gil(), &head, payload, mask, 0)
}
