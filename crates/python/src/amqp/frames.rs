//! A method and its content to frames.

use greenloom_amqp::frame::{BODY, HEADER, METHOD, OVERHEAD, put_frame};
use greenloom_amqp::wire::Field;

use crate::py::ffi;
use crate::py::object::{Object, arguments, bytes};
use crate::py::{Args, Gil, Owned, Raised, Result, type_error, value_error};

/// `amqp_frames(kind, channel, method, arguments, properties, body, limit)`
pub fn frames(args: Args<'_>) -> Result<Owned> {
    let [kind, channel, method, arguments, properties, body, limit] = arguments(args)?;
    let gil = args.gil();
    let limit = limit.size()?;
    if limit <= OVERHEAD {
        return value_error(gil, "a frame of so few bytes has no room for anything");
    }
    let (kind, channel) = (within(kind)?, within(channel)?);
    let mut class = 0u16;
    let mut out = Vec::with_capacity(256);
    let mut ends = Vec::new();
    if kind == METHOD {
        let Some([first, second]) = method.tuple_items() else {
            return type_error(gil, "a method is a pair of numbers");
        };
        class = within(first)?;
        let (number, arguments) = (within::<u16>(second)?, arguments.content()?);
        put_frame(&mut out, METHOD, channel, |out| {
            class.put(out);
            number.put(out);
            out.extend_from_slice(arguments);
        });
    } else {
        if let Some([first, _]) = method.tuple_items() {
            class = within(first)?;
        }
        put_frame(&mut out, kind, channel, |_| {});
    }
    if properties.is_none() {
        return bytes(gil, &out);
    }
    ends.push(out.len());
    let (properties, body) = (properties.content()?, body.content()?);
    put_frame(&mut out, HEADER, channel, |out| {
        class.put(out);
        0u16.put(out);
        (body.len() as u64).put(out);
        out.extend_from_slice(properties);
    });
    ends.push(out.len());
    // What is larger than one frame goes out in pieces: it is not worth a copy of all of it.
    let whole = out.len() + OVERHEAD + body.len() <= limit;
    if whole {
        if !body.is_empty() {
            put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(body));
        }
        return bytes(gil, &out);
    }
    let pieces = body.chunks(limit - OVERHEAD).map(|piece| {
        let mut out = Vec::with_capacity(piece.len() + OVERHEAD);
        put_frame(&mut out, BODY, channel, |out| out.extend_from_slice(piece));
        bytes(gil, &out)
    });
    let heads = [&out[..ends[0]], &out[ends[0]..ends[1]]].map(|head| bytes(gil, head));
    list(gil, heads.into_iter().chain(pieces))
}

fn within<T: TryFrom<usize>>(number: Object<'_>) -> Result<T> {
    T::try_from(number.size()?).or_else(|_| value_error(number.gil(), "a number does not fit a frame's head"))
}

fn list(_: Gil<'_>, items: impl Iterator<Item = Result<Owned>>) -> Result<Owned> {
    // SAFETY: the token says that the lock is held; the list is seen by nobody until it is returned.
    unsafe {
        let list = Owned::new(ffi::PyList_New(0))?;
        for item in items {
            if ffi::PyList_Append(list.as_ptr(), item?.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}
