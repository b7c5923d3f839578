//! The context of a request: who asks, and under which number it is known in the logs.

use serde::Serialize;
use serde_json::Value;

use crate::id;
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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    values: Vec<(String, Value)>,
}

impl Context {
    /// A context with a request id of its own.
    pub fn new() -> Context {
        Context { values: vec![("request_id".into(), Value::String(id::request_id()))] }
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
        match self.values.iter_mut().find(|(known, _)| *known == name) {
            Some((_, place)) => *place = value,
            None => self.values.push((name, value)),
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The request's id; `-` if it has none.
    pub fn request_id(&self) -> &str {
        self.get("request_id").and_then(Value::as_str).unwrap_or("-")
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }
}
