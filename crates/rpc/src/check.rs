//! What holds of any message's body: for tests, and for the fuzz target `envelope`. serde_json's reading is the
//! measure.

use serde_json::{Map, Value};

use crate::context::Context;
use crate::envelope::{Answered, NewRequest, Request, WantsAnswer, open, seal};
use crate::json;
use crate::version::serves;

/// Reads a body as a consumer does and as a caller does.
///
/// # Panics
/// If they make of it something else than what it says.
pub fn check_envelope(body: &[u8]) {
    let opened = open(body);
    if let Some(envelope) = std::str::from_utf8(body).ok().and_then(object) {
        match (envelope.get("oslo.version"), envelope.get("oslo.message")) {
            (Some(Value::String(version)), Some(Value::String(message))) => match &opened {
                Ok(opened) => assert_eq!(opened, message),
                Err(error) => assert!(serves("2.0", version) != Some(true), "{error}"),
            },
            (Some(_), Some(_)) => {}
            _ => assert_eq!(opened.as_deref().expect("it has no envelope").as_bytes(), body),
        }
    }
    let Ok(message) = opened else { return };
    let request = Request::decode(&message);
    let answered = Answered::decode(&message);
    if let Some(standard) = object(&message) {
        check_request(&request, &standard);
        check_answer(&answered, &standard);
    }
    if let Ok(request) = request {
        check_that_it_comes_again(&request);
    }
}

/// A standard object that has no name twice: nobody writes one, and which value counts is nowhere said.
fn object(text: &str) -> Option<Map<String, Value>> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return None };
    let entries = json::entries(text).expect("it is an object");
    Some(object).filter(|object| object.len() == entries.len())
}

fn text<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    of.get(name).and_then(Value::as_str)
}

/// Whether all that has to be text is that, or not there.
fn has_texts(of: &Map<String, Value>, names: &[&str]) -> bool {
    names.iter().all(|name| matches!(of.get(*name), None | Some(Value::Null | Value::String(_))))
}

fn check_request<E: std::fmt::Debug>(request: &Result<Request<'_>, E>, standard: &Map<String, Value>) {
    let texts = ["method", "namespace", "version", "_unique_id", "_msg_id", "_reply_q"];
    let Some(method) = text(standard, "method").filter(|_| has_texts(standard, &texts)) else { return };
    let request = request.as_ref().expect("it is a request");
    let of = |name| text(standard, name);
    assert_eq!(&*request.method, method);
    assert_eq!(request.namespace.as_deref(), of("namespace"));
    assert_eq!(request.version.as_deref(), of("version"));
    assert_eq!(request.unique_id.as_deref(), of("_unique_id"));
    assert_eq!((request.msg_id.as_deref(), request.reply_q.as_deref()), (of("_msg_id"), of("_reply_q")));
    let args = request.args.map(|args| serde_json::from_str::<Value>(args).expect("it was read before"));
    assert_eq!(args.as_ref(), standard.get("args").filter(|args| !args.is_null()));
    let context = standard.iter().filter_map(|(name, value)| Some((name.strip_prefix("_context_")?, value)));
    for (name, value) in context {
        assert_eq!(request.context.get(name), Some(value), "{name}: {:?}", request.problem);
    }
}

fn check_answer<E: std::fmt::Debug>(answered: &Result<Answered<'_>, E>, standard: &Map<String, Value>) {
    if !has_texts(standard, &["_msg_id", "failure"]) {
        return;
    }
    let answered = answered.as_ref().expect("it is an answer");
    assert_eq!(&*answered.msg_id, text(standard, "_msg_id").unwrap_or_default());
    assert_eq!(answered.failure.as_deref(), text(standard, "failure"));
    assert_eq!(answered.ending, standard.get("ending") == Some(&Value::Bool(true)));
    let result = answered.result.map(|result| serde_json::from_str::<Value>(result).expect("it was read before"));
    assert_eq!(result.as_ref(), standard.get("result").filter(|result| !result.is_null()));
}

/// What was read is sent, and read again.
fn check_that_it_comes_again(request: &Request<'_>) {
    let answer = request.msg_id.as_deref().zip(request.reply_q.as_deref());
    let context: &Context = &request.context;
    let new = NewRequest {
        method: &request.method,
        args: request.args.unwrap_or("null"),
        namespace: request.namespace.as_deref(),
        version: request.version.as_deref(),
        context,
        unique_id: request.unique_id.as_deref().unwrap_or_default(),
        answer: answer.map(|(msg_id, reply_q)| WantsAnswer { msg_id, reply_q, monitor: None }),
    };
    let sealed = seal(&new.encode());
    let message = open(&sealed).expect("it was sealed here");
    let again = Request::decode(&message).expect("it was encoded here");
    assert_eq!((&again.method, again.args), (&request.method, request.args));
    assert_eq!((&again.namespace, &again.version), (&request.namespace, &request.version));
    assert_eq!(again.unique_id.as_deref().unwrap_or_default(), request.unique_id.as_deref().unwrap_or_default());
    assert_eq!(again.msg_id.as_deref().zip(again.reply_q.as_deref()), answer);
    assert_eq!(again.context, request.context);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const NAMES: &[&str] = &[
        "method",
        "args",
        "namespace",
        "version",
        "_unique_id",
        "_msg_id",
        "_reply_q",
        "_timeout",
        "result",
        "failure",
        "ending",
        "_context_user",
        "_context_",
        "_context_\\u00e9",
        "oslo.version",
        "oslo.message",
        "me\\u0074hod",
    ];
    const VALUES: &[&str] = &[
        "null",
        "true",
        "{}",
        "[]",
        "\"f\"",
        "\"2.0\"",
        "\"3.1\"",
        "\"\"",
        "\"a \\\"b\\\" \\\\\"",
        "\"\\u00e9\\n\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"",
        "NaN",
        "-Infinity",
        "1180591620717411303424",
        "1e400",
        "-0.5e-7",
        "{\"a\": [1, {\"b\": \"]}\"}]}",
        "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]",
        "\"\u{e9}\"",
        "tru",
        "[}",
    ];

    /// Objects as a sender may write them, and as none would.
    fn message() -> impl Strategy<Value = String> {
        let space = select(vec!["", " ", "\n\t"]);
        let entry = (select(NAMES.to_vec()), space, select(VALUES.to_vec()))
            .prop_map(|(name, space, value)| format!("{space}\"{name}\"{space}:{space}{value}{space}"));
        vec(entry, 0..8).prop_map(|entries| format!("{{{}}}", entries.join(",")))
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read_as_they_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/envelope");
        let mut count = 0;
        for seed in std::fs::read_dir(folder).unwrap() {
            check_envelope(&std::fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0);
    }

    proptest! {
        #[test]
        fn whatever_a_message_says_is_read_as_the_standard_has_it(
            message in message(), sealed in any::<bool>(), at in any::<usize>(), byte in any::<Option<u8>>(),
        ) {
            let mut body = if sealed { seal(message.as_bytes()) } else { message.into_bytes() };
            check_envelope(&body);
            // One byte of it damaged.
            let at = at % body.len();
            body[at] = byte.unwrap_or(b'"');
            check_envelope(&body);
            body.truncate(at);
            check_envelope(&body);
        }
    }
}
