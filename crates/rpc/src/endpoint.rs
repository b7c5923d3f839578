//! Endpoints: methods that can be called from the other side of the bus.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::envelope::Request;
use crate::failure::Failure;
use crate::json;
use crate::version::serves;

/// What a method makes of a context and arguments, as JSON.
type Method = Box<dyn Fn(&Context, &str) -> Result<String, Failure>>;

/// The version of what names none.
const VERSION: &str = "1.0";

/// Methods under a namespace and a version.
///
/// A request reaches the first endpoint of its consumer that has its namespace, a version that serves the one it asks
/// for (the same major number, and a minor one that is as high), and its method.
///
/// ```
/// use greenloom_rpc::{Context, Endpoint, Failure};
/// use std::{cell::Cell, rc::Rc};
///
/// #[derive(Default)]
/// struct Counter {
///     total: Cell<i64>,
/// }
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Add {
///     by: i64,
/// }
///
/// impl Counter {
///     fn add(&self, _: &Context, Add { by }: Add) -> Result<i64, Failure> {
///         self.total.set(self.total.get() + by);
///         Ok(self.total.get())
///     }
/// }
///
/// let counter = Rc::new(Counter::default());
/// let endpoint = Endpoint::of(&counter).version("1.2").method("add", Counter::add).build();
/// # let _ = endpoint;
/// ```
pub struct Endpoint {
    /// The empty one stands for none.
    namespaces: Vec<Option<String>>,
    version: String,
    methods: BTreeMap<&'static str, Method>,
}

/// An [`Endpoint`] in the making, whose methods get a `&T` first.
#[must_use = "it does nothing before `build`"]
pub struct EndpointBuilder<T> {
    state: Rc<T>,
    endpoint: Endpoint,
}

impl Endpoint {
    /// An endpoint of functions that share nothing; they get `&()`.
    pub fn builder() -> EndpointBuilder<()> {
        Endpoint::of(&Rc::new(()))
    }

    /// An endpoint of methods of `state`.
    pub fn of<T: 'static>(state: &Rc<T>) -> EndpointBuilder<T> {
        let endpoint = Endpoint { namespaces: vec![None], version: VERSION.into(), methods: BTreeMap::new() };
        EndpointBuilder { state: Rc::clone(state), endpoint }
    }

    /// The names of its methods.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.methods.keys().copied()
    }

    fn serves(&self, namespace: Option<&str>, version: &str) -> bool {
        self.namespaces.iter().any(|known| known.as_deref() == namespace)
            && serves(&self.version, version) == Some(true)
    }
}

impl<T: 'static> EndpointBuilder<T> {
    /// Its namespace; by default none.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.endpoint.namespaces[0] = Some(namespace.into());
        self
    }

    /// A further namespace that it answers to, while callers move from one to the other; `None` stands for those who
    /// name none.
    pub fn legacy_namespace(mut self, namespace: Option<&str>) -> Self {
        self.endpoint.namespaces.push(namespace.map(String::from));
        self
    }

    /// Its version; by default `1.0`.
    ///
    /// # Panics
    /// For what is no version.
    pub fn version(mut self, version: &str) -> Self {
        assert!(serves(version, version).is_some(), "{version:?} is no version: it takes two numbers, such as 1.4");
        self.endpoint.version = version.into();
        self
    }

    /// Adds a method. Its arguments come as one value that serde makes of the request's names and values: a struct with
    /// a field for each, or `()` for none; unknown names are an error for the caller if the struct [says
    /// so](https://serde.rs/container-attrs.html#deny_unknown_fields). It runs in a green thread of its own and may
    /// park.
    ///
    /// An error goes to the caller, and for a cast into the log. A panic in a call is an error for the caller, too; in
    /// a cast it lets the request come again, until it was tried [so many times](crate::Options::tries) and is put
    /// aside.
    pub fn method<A, R>(
        mut self,
        name: &'static str,
        method: impl Fn(&T, &Context, A) -> Result<R, Failure> + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        let state = Rc::clone(&self.state);
        let call = move |context: &Context, args: &str| {
            let args = arguments(args).map_err(|problem| Failure::bad_arguments(name, &problem))?;
            let result = method(&state, context, args)?;
            json::to_string(&result)
                .map_err(|error| Failure::new("ValueError", format!("{name}() returns no JSON: {error}")))
        };
        self.endpoint.methods.insert(name, Box::new(call));
        self
    }

    /// The endpoint.
    pub fn build(self) -> Endpoint {
        self.endpoint
    }
}

/// No arguments are an empty object on the wire, which is no `()` for serde.
fn arguments<A: DeserializeOwned>(text: &str) -> serde_json::Result<A> {
    match json::from_str(text) {
        Err(_) if text == "{}" => json::from_str("null").or_else(|_| json::from_str(text)),
        parsed => parsed,
    }
}

/// A method that was found.
pub(crate) struct Found<'a> {
    pub name: &'static str,
    method: &'a Method,
}

impl Found<'_> {
    pub fn call(&self, request: &Request<'_>) -> Result<String, Failure> {
        if let Some(problem) = &request.problem {
            return Err(Failure::new("ValueError", problem.clone()));
        }
        (self.method)(&request.context, request.args.unwrap_or("{}"))
    }
}

/// Finds the method that a request asks for.
pub(crate) fn find<'a>(endpoints: &'a [Endpoint], request: &Request<'_>) -> Result<Found<'a>, Failure> {
    let version = request.version.as_deref().unwrap_or(VERSION);
    let mut has_version = false;
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.serves(request.namespace.as_deref(), version)) {
        has_version = true;
        if let Some((name, method)) = endpoint.methods.get_key_value(&*request.method) {
            return Ok(Found { name, method });
        }
    }
    Err(match has_version {
        true => Failure::no_such_method(&request.method),
        false => Failure::unsupported_version(version, &request.method),
    })
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("namespaces", &self.namespaces)
            .field("version", &self.version)
            .field("methods", &self.methods.keys())
            .finish()
    }
}

impl<T> fmt::Debug for EndpointBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}
