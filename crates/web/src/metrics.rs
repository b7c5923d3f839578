//! A handler that serves what the hubs of the process have done.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};

use crate::{Body, Incoming};

/// Answers with [`greenloom::inspect::metrics`], for Prometheus and others that read OpenMetrics, whatever the request
/// is: a handler of your own calls it for a path such as `/metrics`.
///
/// ```
/// use greenloom_web::{Body, Incoming, Server, http::{Request, Response}, metrics};
/// use std::io::{Read, Write};
///
/// fn handler(request: Request<Incoming>) -> Response<Body> {
///     match request.uri().path() {
///         "/metrics" => metrics(request),
///         _ => Response::new(Body::from("hello")),
///     }
/// }
///
/// let listener = greenloom::net::listen("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let _server = Server::start(listener, handler)?;
/// let mut client = greenloom::net::connect(address)?;
/// client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"));
/// assert!(answer.contains("greenloom_switches_total{hub=") && answer.ends_with("# EOF\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn metrics(_: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(Body::from(greenloom::inspect::metrics()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(greenloom::inspect::METRICS_TYPE));
    response
}
