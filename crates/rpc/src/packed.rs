//! A message that does not leave the process: its fields one after another, each with its name and length. The same
//! message as in an [envelope](crate::envelope), without the JSON around what is JSON already.
//!
//! What somebody else has put on a bus in memory may still be JSON, and begins with `{`.

use std::borrow::Cow;

use crate::envelope::{Answer, Answered, Malformed, NewRequest, Request, Sent, WantsAnswer};
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
}

/// Whether a body is of this form.
pub(crate) fn is_packed(body: &[u8]) -> bool {
    body.first() == Some(&MARK)
}

fn put(out: &mut Vec<u8>, name: u8, value: &[u8]) {
    out.push(name);
    // Seven bits at a time: with lengths that are text, too, all of it is looked at once when it is read.
    out.extend([0, 7, 14, 21, 28].map(|shift| (value.len() >> shift) as u8 & 0x7F));
    out.extend_from_slice(value);
}

fn fields(body: &[u8]) -> Result<impl Iterator<Item = Result<(u8, &str), Malformed>>, Malformed> {
    let mut rest = std::str::from_utf8(body).map_err(|_| Malformed::NotText)?.get(1..).unwrap_or_default();
    Ok(std::iter::from_fn(move || {
        let (&[name, ref length @ ..], _) = rest.as_bytes().split_first_chunk::<6>()?;
        let length = length.iter().rev().fold(0, |length, byte| length << 7 | usize::from(*byte));
        let value = rest.get(6..6 + length);
        rest = rest.get(6 + length..).unwrap_or_default();
        Some(value.map(|value| (name, value)).ok_or(Malformed::CutOff))
    }))
}

/// How deep its values are nested.
pub(crate) fn nesting(body: &[u8]) -> usize {
    let Ok(fields) = fields(body) else { return 0 };
    let values = fields.filter_map(Result::ok).filter(|(name, _)| matches!(*name, field::ARGS | field::VALUE));
    values.map(|(_, value)| json::nesting(value)).max().unwrap_or_default()
}

/// Writes a request.
pub(crate) fn request(new: &NewRequest<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(new.args.len() + 256);
    out.push(MARK);
    put(&mut out, field::METHOD, new.method.as_bytes());
    put(&mut out, field::ARGS, new.args);
    let answer = new.answer.as_ref();
    for (name, value) in [
        (field::NAMESPACE, new.namespace),
        (field::VERSION, new.version),
        (field::UNIQUE_ID, Some(new.unique_id)),
        (field::MSG_ID, answer.map(|answer| answer.msg_id)),
        (field::REPLY_Q, answer.map(|answer| answer.reply_q)),
    ] {
        if let Some(value) = value {
            put(&mut out, name, value.as_bytes());
        }
    }
    if let Some(seconds) = answer.and_then(|answer| answer.monitor) {
        put(&mut out, field::MONITOR, seconds.to_string().as_bytes());
    }
    let mut context = |name: &str, value: &[u8]| {
        put(&mut out, field::CONTEXT, name.as_bytes());
        put(&mut out, field::VALUE, value);
    };
    match new.context {
        Sent::Given(given) => given.iter().for_each(|(name, value)| context(name, value.to_string().as_bytes())),
        Sent::Fresh(request_id) => context("request_id", format!("\"{request_id}\"").as_bytes()),
    }
    out
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
        args: request.args.unwrap_or("{}").as_bytes(),
        namespace: request.namespace.as_deref(),
        version: request.version.as_deref(),
        context: Sent::Given(&request.context),
        unique_id: request.unique_id.as_deref().unwrap_or_default(),
        answer: answer.map(|(msg_id, reply_q)| WantsAnswer { msg_id, reply_q, monitor }),
    };
    Some(new.encode())
}

/// Writes an answer.
pub(crate) fn answer(msg_id: &str, answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.push(MARK);
    put(&mut out, field::MSG_ID, msg_id.as_bytes());
    match answer {
        Answer::Result(result) => put(&mut out, field::RESULT, result),
        Answer::Failure(failure) => put(&mut out, field::FAILURE, failure.to_json().as_bytes()),
        Answer::StillWorking => put(&mut out, field::GOES_ON, b""),
    }
    out
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
            (Answer::Result(b"[1]"), Some("[1]"), None, true),
            (Answer::Result(b"null"), None, None, true),
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
            let args = serde_json::to_vec(&serde_json::json!({ &name: [[&value]] })).unwrap();
            let context = Context::empty().with(name.clone(), &value);
            let new = NewRequest {
                method: &method,
                args: &args,
                namespace: Some(&value),
                version: None,
                context: Sent::Given(&context),
                unique_id: &value,
                answer: Some(WantsAnswer { msg_id: &name, reply_q: &value, monitor: monitor.map(u64::from) }),
            };
            let body = request(&new);
            prop_assert!(is_packed(&body));
            let read = read_request(&body).unwrap();
            prop_assert_eq!((&*read.method, read.args.unwrap().as_bytes()), (&*method, &*args));
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
