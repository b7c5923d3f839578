//! A message that does not leave the process: its fields one after another, each with its name and length. The same
//! message as in an [envelope](crate::envelope), without the JSON around what is JSON already.
//!
//! What somebody else has put on a bus in memory may still be JSON, and begins with `{`.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use crate::context::Context;
use crate::envelope::{Answer, Answered, Malformed, NewRequest, Request, WantsAnswer};
use crate::json;

/// What it begins with. No JSON does.
const MARK: u8 = 0;

/// The names of fields.
mod field {
    pub const METHOD: u8 = 1;
    pub const ARGS: u8 = 2;
    pub const NAMESPACE: u8 = 3;
    pub const VERSION: u8 = 4;
    pub const UNIQUE_ID: u8 = 5;
    pub const MSG_ID: u8 = 6;
    pub const REPLY_Q: u8 = 7;
    pub const MONITOR: u8 = 8;
    /// The name of a value that follows.
    pub const CONTEXT: u8 = 9;
    pub const VALUE: u8 = 10;
    pub const RESULT: u8 = 11;
    pub const FAILURE: u8 = 12;
    pub const GOES_ON: u8 = 13;
    /// The context's request id, if it is a plain one.
    pub const REQUEST_ID: u8 = 14;
}

/// Whether a body is of this form.
pub(crate) fn is_packed(body: &[u8]) -> bool {
    body.first() == Some(&MARK)
}

/// Seven bits at a time: where lengths are text, too, all of it is looked at once when it is read.
fn seven_bits<const BYTES: usize>(number: usize) -> [u8; BYTES] {
    std::array::from_fn(|at| (number >> (7 * at)) as u8 & 0x7F)
}

fn from_seven_bits(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 7 | usize::from(*byte))
}

fn put(out: &mut Vec<u8>, name: u8, value: &str) {
    let [a, b, c, d, e] = seven_bits(value.len());
    out.extend_from_slice(&[name, a, b, c, d, e]);
    out.extend_from_slice(value.as_bytes());
}

/// What comes before the fields: the mark, and how deep the values are nested.
const HEAD: usize = 3;

/// A message whose fields `put_fields` puts. Its memory is used again, but for what is larger than most.
fn message(nesting: usize, put_fields: impl FnOnce(&mut Vec<u8>)) -> Arc<[u8]> {
    thread_local! {
        static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    const KEPT: usize = 64 * 1024;

    let mut out = SCRATCH.take();
    let [low, high] = seven_bits(nesting.min(0x3FFF));
    out.extend_from_slice(&[MARK, low, high]);
    put_fields(&mut out);
    let message = Arc::from(&*out);
    if out.capacity() <= KEPT {
        out.clear();
        SCRATCH.set(out);
    }
    message
}

fn fields(body: &[u8]) -> Result<impl Iterator<Item = Result<(u8, &str), Malformed>>, Malformed> {
    let mut rest = std::str::from_utf8(body).map_err(|_| Malformed::NotText)?.get(HEAD..).unwrap_or_default();
    Ok(std::iter::from_fn(move || {
        let (&[name, ref length @ ..], _) = rest.as_bytes().split_first_chunk::<6>()?;
        let end = 6 + from_seven_bits(length);
        let value = rest.get(6..end);
        rest = rest.get(end..).unwrap_or_default();
        Some(value.map(|value| (name, value)).ok_or(Malformed::CutOff))
    }))
}

/// How deep its values are nested.
pub(crate) fn nesting(body: &[u8]) -> usize {
    body.get(1..HEAD).map_or(0, from_seven_bits)
}

/// Writes a request.
pub(crate) fn request(new: &NewRequest<'_>) -> Arc<[u8]> {
    let context: Vec<(&str, String)> = new.context.others().map(|(name, value)| (name, value.to_string())).collect();
    let of_context = context.iter().map(|(_, value)| json::nesting(value)).max().unwrap_or_default();
    message(json::nesting(new.args).max(of_context), |out| {
        put(out, field::METHOD, new.method);
        put(out, field::ARGS, new.args);
        let answer = new.answer.as_ref();
        for (name, value) in [
            (field::NAMESPACE, new.namespace),
            (field::VERSION, new.version),
            (field::UNIQUE_ID, Some(new.unique_id)),
            (field::MSG_ID, answer.map(|answer| answer.msg_id)),
            (field::REPLY_Q, answer.map(|answer| answer.reply_q)),
            (field::REQUEST_ID, new.context.plain_id()),
        ] {
            if let Some(value) = value {
                put(out, name, value);
            }
        }
        if let Some(seconds) = answer.and_then(|answer| answer.monitor) {
            put(out, field::MONITOR, &seconds.to_string());
        }
        for (name, value) in &context {
            put(out, field::CONTEXT, name);
            put(out, field::VALUE, value);
        }
    })
}

/// Reads a request.
pub(crate) fn read_request(body: &[u8]) -> Result<Request<'_>, Malformed> {
    let (mut request, mut named, mut of_context) = (Request { packed: true, ..Request::default() }, false, "");
    for field in fields(body)? {
        let (name, value) = field?;
        match name {
            field::METHOD => (request.method, named) = (Cow::Borrowed(value), true),
            field::ARGS => request.args = Some(value),
            field::NAMESPACE => request.namespace = Some(Cow::Borrowed(value)),
            field::VERSION => request.version = Some(Cow::Borrowed(value)),
            field::UNIQUE_ID => request.unique_id = Some(Cow::Borrowed(value)),
            field::MSG_ID => request.msg_id = Some(Cow::Borrowed(value)),
            field::REPLY_Q => request.reply_q = Some(Cow::Borrowed(value)),
            field::MONITOR => request.monitor = value.parse().ok(),
            field::CONTEXT => of_context = value,
            field::VALUE => request.set_context(of_context, value),
            // Only ours are sent as plain ones, and those fit.
            field::REQUEST_ID => request.context = value.try_into().map(Context::of_request).unwrap_or_default(),
            _ => {}
        }
    }
    if named { Ok(request) } else { Err(Malformed::NoMethod) }
}

/// The same message as JSON, for people and for other programs; nothing if it is none.
pub(crate) fn request_as_json(body: &[u8]) -> Option<Vec<u8>> {
    let request = read_request(body).ok()?;
    let answer = request.msg_id.as_deref().zip(request.reply_q.as_deref());
    let monitor = request.monitor.map(|seconds| seconds as u64);
    let new = NewRequest {
        method: &request.method,
        args: request.args.unwrap_or("{}"),
        namespace: request.namespace.as_deref(),
        version: request.version.as_deref(),
        context: &request.context,
        unique_id: request.unique_id.as_deref().unwrap_or_default(),
        answer: answer.map(|(msg_id, reply_q)| WantsAnswer { msg_id, reply_q, monitor }),
    };
    Some(new.encode())
}

/// Writes an answer.
pub(crate) fn answer(msg_id: &str, answer: &Answer<'_>) -> Arc<[u8]> {
    message(0, |out| {
        put(out, field::MSG_ID, msg_id);
        match answer {
            Answer::Result(result) => put(out, field::RESULT, result),
            Answer::Failure(failure) => put(out, field::FAILURE, &failure.to_json()),
            Answer::StillWorking => put(out, field::GOES_ON, ""),
        }
    })
}

/// Reads an answer.
pub(crate) fn read_answer(body: &[u8]) -> Result<Answered<'_>, Malformed> {
    let mut answered = Answered { ending: true, ..Answered::default() };
    for field in fields(body)? {
        let (name, value) = field?;
        match name {
            field::MSG_ID => answered.msg_id = Cow::Borrowed(value),
            field::RESULT => answered.result = Some(value).filter(|value| *value != "null"),
            field::FAILURE => answered.failure = Some(Cow::Borrowed(value)),
            field::GOES_ON => answered.ending = false,
            _ => {}
        }
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::context::Context;
    use crate::failure::Failure;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let failure = Failure::new("ValueError", "no");
        for (written, result, failed, ends) in [
            (Answer::Result("[1]"), Some("[1]"), None, true),
            (Answer::Result("null"), None, None, true),
            (Answer::Failure(&failure), None, Some(failure.to_json()), true),
            (Answer::StillWorking, None, None, false),
        ] {
            let body = answer("m1", &written);
            let read = read_answer(&body).unwrap();
            let failure = read.failure.map(Cow::into_owned);
            assert_eq!((&*read.msg_id, read.result, failure, read.ending), ("m1", result, failed, ends));
        }
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written_and_never_in_part(
            method in ".{0,20}", name in ".{0,20}", value in ".{0,40}", monitor in any::<Option<u32>>(), cut: usize,
        ) {
            let args = serde_json::to_string(&serde_json::json!({ &name: [[&value]] })).unwrap();
            let context = Context::empty().with(name.clone(), &value);
            let new = NewRequest {
                method: &method,
                args: &args,
                namespace: Some(&value),
                version: None,
                context: &context,
                unique_id: &value,
                answer: Some(WantsAnswer { msg_id: &name, reply_q: &value, monitor: monitor.map(u64::from) }),
            };
            let body = request(&new);
            prop_assert!(is_packed(&body));
            let read = read_request(&body).unwrap();
            prop_assert_eq!((&*read.method, read.args.unwrap()), (&*method, &*args));
            prop_assert_eq!((read.namespace.as_deref(), read.version.as_deref()), (Some(&*value), None));
            prop_assert_eq!(read.unique_id.as_deref(), Some(&*value));
            prop_assert_eq!((read.msg_id.as_deref(), read.reply_q.as_deref()), (Some(&*name), Some(&*value)));
            prop_assert_eq!(read.monitor, monitor.map(f64::from));
            prop_assert_eq!(&read.context, &context);
            prop_assert!(nesting(&body) >= 3);
            let json = String::from_utf8(request_as_json(&body).unwrap()).unwrap();
            prop_assert_eq!(json.as_bytes(), new.encode());
            // Cut off, it has less, or is an error.
            let _ = read_request(&body[..cut % body.len()]);
        }
    }
}
