//! The context of a request: who asks, and under which number it is known in the logs.

use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value;

use crate::id::{self, RequestId};
use crate::json;

/// What travels with a request besides its arguments. oslo.messaging's `ctxt`: names and values, among them the
/// `request_id` by which all log records of one request can be found.
///
/// ```
/// use greenloom_rpc::Context;
///
/// let context = Context::new().with("project_id", "demo");
/// assert!(context.request_id().starts_with("req-"));
/// assert_eq!(context.get("project_id").and_then(|value| value.as_str()), Some("demo"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// A request id of our own, which most contexts have and nothing else.
    id: Option<RequestId>,
    /// The same for who asks for it by its name.
    id_value: OnceLock<Value>,
    values: Vec<(String, Value)>,
}

/// The name of the request's id.
const REQUEST_ID: &str = "request_id";

impl Context {
    /// A context with a request id of its own.
    pub fn new() -> Context {
        Context::of_request(id::request_id())
    }

    /// A context with this request id.
    pub(crate) fn of_request(id: RequestId) -> Context {
        Context { id: Some(id), ..Context::default() }
    }

    /// Without anything in it, not even a request id.
    pub fn empty() -> Context {
        Context::default()
    }

    /// Sets a value, in the place of one of the same name.
    ///
    /// # Panics
    /// If the value cannot be written as JSON: a map whose keys are no strings, a float that is not finite.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Context {
        let value = json::to_value(value).unwrap_or_else(|error| panic!("a context's value: {error}"));
        self.set(name.into(), value);
        self
    }

    pub(crate) fn set(&mut self, name: String, value: Value) {
        if name == REQUEST_ID && self.id.take().is_some() {
            self.values.insert(0, (name, value));
            return;
        }
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, place)) => *place = value,
            None => self.values.push((name, value)),
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self.id_value() {
            Some(id) if name == REQUEST_ID => Some(id),
            _ => self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value),
        }
    }

    fn id_value(&self) -> Option<&Value> {
        let id = self.id.as_deref()?;
        Some(self.id_value.get_or_init(|| Value::String(id.into())))
    }

    /// The request's id; `-` if it has none.
    pub fn request_id(&self) -> &str {
        self.plain_id().or_else(|| self.get(REQUEST_ID)?.as_str()).unwrap_or("-")
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.id_value().map(|id| (REQUEST_ID, id)).into_iter().chain(self.others())
    }

    /// A request id that is kept apart from the others.
    pub(crate) fn plain_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// All names and values but for the [plain id](Context::plain_id).
    pub(crate) fn others(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_value_like_the_others() {
        let context = Context::new().with("user", "me");
        let id = context.request_id();
        assert_eq!(context.get("request_id").and_then(Value::as_str), Some(id));
        assert_eq!(context.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["request_id", "user"]);
        let same = Context::empty().with("request_id", id).with("user", "me");
        assert_eq!((&context, same.request_id()), (&same, id));
        let other = context.clone().with("request_id", 7);
        assert_eq!((other.request_id(), other.iter().next()), ("-", Some(("request_id", &Value::from(7)))));
        assert_ne!(other, context);
    }
}
