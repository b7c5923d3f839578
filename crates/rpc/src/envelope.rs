//! The wire format: what oslo.messaging writes into a message's body, and reads from it.
//!
//! A message is a JSON object. On the wire it is the text inside another one, the envelope, that names the format's
//! version. A request:
//!
//! ```text
//! {"oslo.version": "2.0", "oslo.message": "{\"method\": \"sync\", \"args\": {\"router\": \"r1\"},
//!   \"version\": \"1.2\", \"_unique_id\": \"6f0c...\", \"_msg_id\": \"91ab...\", \"_reply_q\": \"reply_77e1...\",
//!   \"_context_request_id\": \"req-...\"}"}
//! ```
//!
//! `_msg_id` and `_reply_q` are there if an answer is wanted, and go back in it: `{"result": ..., "failure": null,
//! "ending": true, "_msg_id": "91ab..."}`. A failure is a JSON object as text, once more. `"ending": false` without a
//! result says that the work goes on.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use crate::context::Context;
use crate::failure::Failure;
use crate::id;
use crate::json;
use crate::version::serves;

const VERSION: &str = "2.0";
const CONTEXT: &str = "_context_";

/// What is wrong with a message.
#[derive(Debug)]
pub(crate) enum Malformed {
    Json(serde_json::Error),
    Version(String),
    NotText,
    CutOff,
    NoMethod,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::Json(error) => write!(f, "no message: {error}"),
            Malformed::Version(version) => write!(f, "the envelope is of version {version:?}; {VERSION} is known"),
            Malformed::NoMethod => f.write_str("no message: it names no method"),
            Malformed::CutOff => f.write_str("no message: it is cut off"),
            Malformed::NotText => f.write_str("no message: it is no UTF-8"),
        }
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Malformed {
        Malformed::Json(error)
    }
}

/// Puts a message into an envelope.
pub(crate) fn seal(message: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(message.len() * 5 / 4 + 64);
    sealed.extend_from_slice(b"{\"oslo.version\": \"2.0\", \"oslo.message\": ");
    let text = std::str::from_utf8(message).expect("JSON is text");
    json::put_text(&mut sealed, text);
    sealed.push(b'}');
    sealed
}

/// Takes a message out of its envelope; one that has none is returned as it is, as from before there were envelopes.
pub(crate) fn open(body: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    let bare = std::str::from_utf8(body).map_err(|_| Malformed::NotText)?;
    let (mut version, mut message) = (None, None);
    for (name, value) in json::entries(bare)? {
        match &*name {
            "oslo.version" => version = Some(value),
            "oslo.message" => message = Some(value),
            _ => {}
        }
    }
    let (Some(version), Some(message)) = (version, message) else { return Ok(Cow::Borrowed(bare)) };
    let version = json::text(version)?.unwrap_or_default();
    if serves(VERSION, &version) != Some(true) {
        return Err(Malformed::Version(version.into()));
    }
    Ok(json::text(message)?.unwrap_or_default())
}

/// A request as it is sent.
pub(crate) struct NewRequest<'a> {
    pub method: &'a str,
    /// JSON.
    pub args: &'a str,
    pub namespace: Option<&'a str>,
    pub version: Option<&'a str>,
    pub context: &'a Context,
    pub unique_id: &'a str,
    pub answer: Option<WantsAnswer<'a>>,
}

/// Where an answer goes.
pub(crate) struct WantsAnswer<'a> {
    pub msg_id: &'a str,
    pub reply_q: &'a str,
    /// In seconds: the caller wants to hear twice in this time that the work goes on.
    pub monitor: Option<u64>,
}

impl NewRequest<'_> {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.args.len() + 320);
        out.extend_from_slice(b"{\"method\":");
        json::put_text(&mut out, self.method);
        out.extend_from_slice(b",\"args\":");
        out.extend_from_slice(self.args.as_bytes());
        let mut text = |name: &str, value: &str| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            json::put_text(&mut out, value);
        };
        if let Some(namespace) = self.namespace {
            text("namespace", namespace);
        }
        if let Some(version) = self.version {
            text("version", version);
        }
        text("_unique_id", self.unique_id);
        if let Some(id) = self.context.plain_id() {
            text("_context_request_id", id);
        }
        if let Some(answer) = &self.answer {
            text("_msg_id", answer.msg_id);
            text("_reply_q", answer.reply_q);
            if let Some(seconds) = answer.monitor {
                // A vector takes all.
                let _ = write!(out, ",\"_timeout\":{seconds}");
            }
        }
        for (name, value) in self.context.others() {
            out.push(b',');
            json::put_text(&mut out, &format!("{CONTEXT}{name}"));
            out.push(b':');
            serde_json::to_writer(&mut out, value).expect("a value is JSON, and a vector takes all");
        }
        out.push(b'}');
        out
    }
}

/// A request as it comes in.
#[derive(Debug, Default)]
pub(crate) struct Request<'a> {
    pub method: Cow<'a, str>,
    /// JSON; nothing if there are none.
    pub args: Option<&'a str>,
    pub namespace: Option<Cow<'a, str>>,
    pub version: Option<Cow<'a, str>>,
    pub context: Context,
    /// What in its context Rust cannot hold.
    pub problem: Option<String>,
    pub unique_id: Option<Cow<'a, str>>,
    pub msg_id: Option<Cow<'a, str>>,
    pub reply_q: Option<Cow<'a, str>>,
    pub monitor: Option<f64>,
    /// Whether it came without JSON around it; see [`packed`](crate::packed).
    pub packed: bool,
}

impl<'a> Request<'a> {
    pub fn decode(message: &'a str) -> Result<Request<'a>, Malformed> {
        let mut method = None;
        let mut request = Request::default();
        for (key, value) in json::entries(message)? {
            match &*key {
                "method" => method = json::text(value)?,
                "args" => request.args = Some(value).filter(|value| *value != "null"),
                "namespace" => request.namespace = json::text(value)?,
                "version" => request.version = json::text(value)?,
                "_unique_id" => request.unique_id = json::text(value)?,
                "_msg_id" => request.msg_id = json::text(value)?,
                "_reply_q" => request.reply_q = json::text(value)?,
                "_timeout" => request.monitor = value.parse().ok(),
                other => {
                    let Some(name) = other.strip_prefix(CONTEXT) else { continue };
                    request.set_context(name, value);
                }
            }
        }
        request.method = method.ok_or(Malformed::NoMethod)?;
        Ok(request)
    }

    /// Takes a value of its context, as JSON.
    pub fn set_context(&mut self, name: &str, value: &str) {
        match json::from_str(value) {
            Ok(value) => self.context.set(name.into(), value),
            Err(error) => self.problem = Some(format!("the context's {name}: {error}")),
        }
    }
}

/// The answer to a request: the result as JSON, or a failure. Neither says that the work goes on.
pub(crate) enum Answer<'a> {
    Result(&'a str),
    Failure(&'a Failure),
    StillWorking,
}

pub(crate) fn encode_answer(msg_id: &str, answer: &Answer<'_>) -> Vec<u8> {
    let result = if let Answer::Result(json) = answer { json } else { "null" };
    let mut out = Vec::with_capacity(result.len() + 160);
    out.extend_from_slice(b"{\"result\":");
    out.extend_from_slice(result.as_bytes());
    out.extend_from_slice(b",\"failure\":");
    match answer {
        Answer::Failure(failure) => json::put_text(&mut out, &failure.to_json()),
        _ => out.extend_from_slice(b"null"),
    }
    let ending = if let Answer::StillWorking = answer { &b"false"[..] } else { b"true" };
    out.extend_from_slice(b",\"ending\":");
    out.extend_from_slice(ending);
    out.extend_from_slice(b",\"_msg_id\":");
    json::put_text(&mut out, msg_id);
    out.extend_from_slice(b",\"_unique_id\":\"");
    out.extend_from_slice(id::unique().as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

/// An answer as it comes in.
#[derive(Debug, Default)]
pub(crate) struct Answered<'a> {
    pub msg_id: Cow<'a, str>,
    /// JSON.
    pub result: Option<&'a str>,
    pub failure: Option<Cow<'a, str>>,
    pub ending: bool,
}

impl<'a> Answered<'a> {
    pub fn decode(message: &'a str) -> Result<Answered<'a>, Malformed> {
        let mut answered = Answered::default();
        for (key, value) in json::entries(message)? {
            match &*key {
                "_msg_id" => answered.msg_id = json::text(value)?.unwrap_or_default(),
                "result" => answered.result = Some(value).filter(|value| *value != "null"),
                // One that is no text for Rust is told as it is written.
                "failure" => answered.failure = json::text(value).unwrap_or(Some(Cow::Borrowed(value))),
                "ending" => answered.ending = value == "true",
                _ => {}
            }
        }
        Ok(answered)
    }
}

/// A message for a program that reads JSON itself: what concerns the bus is taken out, the rest put in order.
#[cfg(feature = "bridge")]
#[derive(Debug, Default)]
pub(crate) struct Parted<'a> {
    /// A list of two objects: the context, and the message without it.
    pub json: String,
    pub unique_id: Cow<'a, str>,
    pub msg_id: Cow<'a, str>,
    pub reply_q: Cow<'a, str>,
    /// In seconds: the caller wants to hear twice in this time that the work goes on.
    pub timeout: Option<f64>,
}

/// Takes a message apart. What it says is left as it is written, for its reader may hold what Rust cannot.
#[cfg(feature = "bridge")]
pub(crate) fn part(message: &str) -> Result<Parted<'_>, Malformed> {
    let mut parted = Parted::default();
    let (mut context, mut rest) = (b"[{".to_vec(), Vec::with_capacity(message.len()));
    let put = |out: &mut Vec<u8>, name: &str, value: &str| {
        if !matches!(out.last(), None | Some(b'{')) {
            out.push(b',');
        }
        json::put_text(out, name);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    };
    for (key, value) in json::entries(message)? {
        match &*key {
            "_unique_id" => parted.unique_id = json::text(value)?.unwrap_or_default(),
            "_msg_id" => parted.msg_id = json::text(value)?.unwrap_or_default(),
            "_reply_q" => parted.reply_q = json::text(value)?.unwrap_or_default(),
            "_timeout" => parted.timeout = value.parse().ok(),
            other => match other.strip_prefix(CONTEXT) {
                Some(name) => put(&mut context, name, value),
                None => put(&mut rest, other, value),
            },
        }
    }
    context.extend_from_slice(b"},{");
    context.extend_from_slice(&rest);
    context.extend_from_slice(b"}]");
    parted.json = String::from_utf8(context).expect("it is made of text");
    Ok(parted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request<'a>(context: &'a Context, args: &'a str) -> NewRequest<'a> {
        NewRequest {
            method: "sync",
            args,
            namespace: Some("l3"),
            version: Some("1.2"),
            context,
            unique_id: "u1",
            answer: Some(WantsAnswer { msg_id: "m1", reply_q: "reply_1", monitor: Some(4) }),
        }
    }

    #[test]
    fn a_request_is_the_json_that_oslo_messaging_writes() {
        let context = Context::empty().with("user", "me").with("roles", ["a", "b"]);
        let sealed = seal(&request(&context, r#"{"router":"r \"1\""}"#).encode());
        let envelope: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        assert_eq!(envelope["oslo.version"], "2.0");
        let message: serde_json::Value = serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap();
        let expected = serde_json::json!({
            "method": "sync", "args": {"router": "r \"1\""}, "namespace": "l3", "version": "1.2", "_unique_id": "u1",
            "_msg_id": "m1", "_reply_q": "reply_1", "_timeout": 4, "_context_user": "me", "_context_roles": ["a", "b"],
        });
        assert_eq!(message, expected);
    }

    #[test]
    fn what_is_written_is_read() {
        let context = Context::new().with("user", "\u{e9}\n");
        let sealed = seal(&request(&context, r#"{"n":[1,2]}"#).encode());
        let message = open(&sealed).unwrap();
        let read = Request::decode(&message).unwrap();
        assert_eq!((&*read.method, read.args.unwrap()), ("sync", r#"{"n":[1,2]}"#));
        assert_eq!((read.namespace.as_deref(), read.version.as_deref()), (Some("l3"), Some("1.2")));
        assert_eq!((read.unique_id.as_deref(), read.msg_id.as_deref()), (Some("u1"), Some("m1")));
        assert_eq!((read.reply_q.as_deref(), read.monitor), (Some("reply_1"), Some(4.0)));
        assert_eq!(read.context, context);

        let failure = Failure::new("ValueError", "no");
        for (answer, result, failed, ends) in [
            (Answer::Result("[1]"), Some("[1]"), None, true),
            (Answer::Result("null"), None, None, true),
            (Answer::Failure(&failure), None, Some(failure.to_json()), true),
            (Answer::StillWorking, None, None, false),
        ] {
            let sealed = seal(&encode_answer("m1", &answer));
            let message = open(&sealed).unwrap();
            let read = Answered::decode(&message).unwrap();
            let failure = read.failure.map(Cow::into_owned);
            assert_eq!((&*read.msg_id, read.result, failure, read.ending), ("m1", result, failed, ends));
        }
    }

    #[test]
    fn what_python_writes_is_read() {
        // As oslo.messaging 18 sends a cast with an empty context and an unset namespace.
        let body = concat!(
            r#"{"oslo.version": "2.0", "oslo.message": "{\"method\": \"f\", \"args\": {\"x\": \"\\u00e9\"}, "#,
            r#"\"version\": \"1.0\", \"_unique_id\": \"ab\", \"_timeout\": null, \"_msg_id\": null}"}"#,
        );
        let message = open(body.as_bytes()).unwrap();
        let read = Request::decode(&message).unwrap();
        assert_eq!((&*read.method, read.args.unwrap()), ("f", r#"{"x": "\u00e9"}"#));
        assert!(read.msg_id.is_none() && read.monitor.is_none() && read.namespace.is_none());
    }

    #[test]
    fn messages_from_before_there_were_envelopes_are_read_and_later_ones_refused() {
        let bare = br#"{"method": "f", "args": {}}"#;
        assert_eq!(&*Request::decode(&open(bare).unwrap()).unwrap().method, "f");
        let later = br#"{"oslo.version": "3.0", "oslo.message": "{}"}"#;
        assert!(matches!(open(later), Err(Malformed::Version(version)) if version == "3.0"));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for body in [
            &b""[..],
            b"hello",
            b"\xff",
            b"[]",
            b"{\"oslo.version\": 2}",
            b"{}",
            b"{\"method\": null}",
            b"{\"method\": \"f\"",
        ] {
            let read = open(body).and_then(|message| Request::decode(&message).map(drop));
            assert!(read.is_err(), "{:?}", String::from_utf8_lossy(body));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&bytes).and_then(|message| Request::decode(&message).map(drop));
            let _ = open(&bytes).and_then(|message| Answered::decode(&message).map(drop));
        }

        #[test]
        fn any_names_and_values_come_through(
            method in ".{1,20}", key in ".{1,20}", value in ".{0,40}", id in ".{0,40}", number in any::<i64>(),
        ) {
            let args = serde_json::to_string(&serde_json::json!({ &key: [&value], "n": number })).unwrap();
            let context = Context::empty().with(key.clone(), &value);
            let new = NewRequest {
                method: &method,
                args: &args,
                namespace: Some(&value),
                version: None,
                context: &context,
                unique_id: &id,
                answer: None,
            };
            let sealed = seal(&new.encode());
            let message = open(&sealed).unwrap();
            let read = Request::decode(&message).unwrap();
            prop_assert_eq!(&*read.method, method);
            prop_assert_eq!(read.args.unwrap(), args);
            prop_assert_eq!(read.namespace.as_deref(), Some(&*value));
            prop_assert_eq!(read.unique_id.as_deref(), Some(&*id));
            prop_assert_eq!(read.context, context);
            // Cut off anywhere, it is an error.
            let cut = sealed.len() * (number.unsigned_abs() % 100) as usize / 100;
            let half = open(&sealed[..cut]).and_then(|message| Request::decode(&message).map(drop));
            prop_assert!(half.is_err());
        }
    }
}
