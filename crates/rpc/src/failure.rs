//! Errors that cross the bus: raised on one side, told on the other.

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json;

/// An error that an endpoint's method returns, on its way to who called.
///
/// Any error converts into one, so `?` works in a method: its kind is then the name of its type. A Python caller meets
/// it as the exception of the same module and class, if it allows the module, and else as a `RemoteError`.
///
/// ```
/// use greenloom_rpc::Failure;
///
/// fn parse(text: &str) -> Result<u32, Failure> {
///     Ok(text.parse()?)
/// }
/// let failure = parse("seven").unwrap_err();
/// assert_eq!((failure.class(), failure.message()), ("ParseIntError", "invalid digit found in string"));
///
/// let failure = Failure::new("neutron_lib.exceptions.RouterNotFound", "no router r1").with("router_id", "r1");
/// assert_eq!((failure.module(), failure.class()), ("neutron_lib.exceptions", "RouterNotFound"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    told: Box<Wire>,
    given_back: bool,
}

/// How deep the arguments of a failure may be nested to be kept.
const DEEPEST_ARGUMENTS: usize = 32;

/// As oslo.messaging writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Wire {
    class: String,
    module: String,
    message: String,
    #[serde(rename = "tb")]
    traceback: Vec<String>,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
}

impl Failure {
    /// A failure of this kind: a class with its module before it, separated by dots. Without a module, one of Python's
    /// own exceptions is meant, such as `ValueError`.
    pub fn new(kind: &str, message: impl Into<String>) -> Failure {
        let (module, class) = kind.rsplit_once('.').unwrap_or(("builtins", kind));
        let message = message.into();
        let args = vec![Value::String(message.clone())];
        let (module, class) = (module.into(), class.into());
        Failure { told: Box::new(Wire { class, module, message, args, ..Wire::default() }), given_back: false }
    }

    /// Adds an argument by name for the exception's constructor on the other side. The message is then no argument of
    /// its own.
    ///
    /// # Panics
    /// If the value cannot be written as JSON: a map whose keys are no strings, a float that is not finite.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Serialize) -> Failure {
        let value = json::to_value(value).unwrap_or_else(|error| panic!("a failure's argument: {error}"));
        self.told.args.clear();
        self.told.kwargs.insert(name.into(), value);
        self
    }

    /// Not a failure at all: the request was not begun, and goes back to the bus for another server. For a service that
    /// is stopping; one that goes on gets it again, until it was [tried](crate::Options::tries) too often.
    pub fn give_back() -> Failure {
        Failure { given_back: true, ..Failure::new("RuntimeError", "the request was given back") }
    }

    pub(crate) fn is_given_back(&self) -> bool {
        self.given_back
    }

    /// Its class, without the module.
    pub fn class(&self) -> &str {
        &self.told.class
    }

    /// The module of its class.
    pub fn module(&self) -> &str {
        &self.told.module
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.told.message
    }

    pub(crate) fn no_such_method(method: &str) -> Failure {
        let message = format!("Endpoint does not support RPC method {method}");
        let mut failure = Failure::new("oslo_messaging.rpc.dispatcher.NoSuchMethod", message);
        failure.told.args = vec![method.into()];
        failure
    }

    pub(crate) fn unsupported_version(version: &str, method: &str) -> Failure {
        let message = format!("Endpoint does not support RPC version {version}. Attempted method: {method}");
        let mut failure = Failure::new("oslo_messaging.rpc.dispatcher.UnsupportedVersion", message);
        failure.told.args = vec![version.into(), method.into()];
        failure
    }

    /// As Python has it when a function is called with other arguments than it takes.
    pub(crate) fn bad_arguments(method: &str, problem: &serde_json::Error) -> Failure {
        Failure::new("TypeError", format!("{method}(): {problem}"))
    }

    pub(crate) fn panicked(method: &str, payload: &(dyn std::any::Any + Send)) -> Failure {
        let said = payload.downcast_ref::<&str>().copied();
        let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Failure::new("RuntimeError", format!("{method} panicked: {}", said.unwrap_or("(no message)")))
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&self.told).expect("strings, lists and maps with strings for keys are JSON")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.class(), self.message())
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        let name = std::any::type_name::<E>();
        // Its parameters say more about the program than about the error.
        let name = name.split_once('<').map_or(name, |(name, _)| name);
        let mut failure = Failure::new(&name.replace("::", "."), error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            failure.told.traceback.push(format!("caused by: {error}"));
            cause = error.source();
        }
        failure
    }
}

/// An error that a method on the other side ended with.
///
/// ```
/// # use greenloom_rpc::{Client, Endpoint, Failure, Fanout, Target, create_connection};
/// # let connection = create_connection("memory://")?;
/// # let fail = |_: &(), _: &_, _: ()| Err::<(), _>(Failure::new("ValueError", "no such router"));
/// # let endpoint = Endpoint::builder().method("f", fail).build();
/// # connection.create_consumer("t", [endpoint], Fanout::Ignore)?;
/// # connection.consume_in_threads();
/// let error = Client::new(&connection, Target::topic("t")).call::<()>("f", &()).unwrap_err();
/// let remote = error.remote().unwrap();
/// assert_eq!((remote.kind(), remote.message()), ("ValueError", "no such router"));
/// # Ok::<(), greenloom_rpc::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteError(Box<Wire>);

impl RemoteError {
    pub(crate) fn from_json(text: &str) -> RemoteError {
        /// What it says, whatever its arguments are.
        #[derive(Deserialize)]
        struct Said {
            class: String,
            module: String,
            message: String,
        }
        // Arguments that are nested deeply are left out: the thread that has the error may not have the stack to drop
        // them.
        let whole = if json::nesting(text) <= DEEPEST_ARGUMENTS { json::from_str(text).ok() } else { None };
        let told = whole.or_else(|| {
            let Said { class, module, message } = json::from_str(text).ok()?;
            Some(Wire { class, module, message, ..Wire::default() })
        });
        // What has another form is told as it is.
        let told = told.unwrap_or_else(|| Wire { message: text.into(), ..Wire::default() });
        RemoteError(Box::new(told))
    }

    /// The name of the exception's class or the error's type, such as `NoSuchMethod`.
    pub fn kind(&self) -> &str {
        &self.0.class
    }

    /// Where that is defined.
    pub fn module(&self) -> &str {
        &self.0.module
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The lines of the other side's traceback, or the causes of its error.
    pub fn traceback(&self) -> &[String] {
        &self.0.traceback
    }

    /// An argument of the exception's by its name.
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.0.kwargs.get(name)
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "remote error: {}: {}", self.kind(), self.message())
    }
}

impl Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_failure_says_is_kept_without_arguments_that_go_too_deep() {
        for depth in [1, 20, 400] {
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            let text = format!(r#"{{"class": "E", "module": "m", "message": "no", "kwargs": {{"x": {nested}}}}}"#);
            let error = RemoteError::from_json(&text);
            assert_eq!((error.kind(), error.module(), error.message()), ("E", "m", "no"));
            assert_eq!(error.argument("x").is_some(), depth < DEEPEST_ARGUMENTS, "{depth}");
        }
    }
}
