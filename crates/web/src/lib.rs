//! HTTP/1.1 for green threads: a [server](Server), whose handlers are plain functions on the types of the crate
//! [`http`], and what [`ureq`](https://docs.rs/ureq)'s agent needs to run on green sockets.
//!
//! ```
//! use greenloom::net;
//! use greenloom_web::{Body, Incoming, Server, http::{Request, Response}};
//! use std::io::{Read, Write};
//! use std::time::Duration;
//!
//! fn hello(request: Request<Incoming>) -> Response<Body> {
//!     Response::new(Body::from(format!("hello, {}", request.uri().path())))
//! }
//!
//! let listener = net::listen("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let server = Server::start(listener, hello)?;
//!
//! let mut client = net::connect(address)?;
//! client.write_all(b"GET /world HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello, /world"));
//! server.shutdown(Duration::from_secs(5));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | feature | what it adds |
//! |---|---|
//! | `client` | `client`: a connector and a resolver for ureq, Unix sockets too |
//! | `inspect` | `metrics`: a handler that serves what the hubs have done, as OpenMetrics |
//! | `tls` | `ServerOptions::tls`: rustls for the server; ureq's rustls for the client |
//! | `websocket` | `websocket`: the server's side of tungstenite's WebSocket |
//!
//! What is read of a request is read by the strict functions of `greenloom-http`: of what two servers could read
//! differently nothing is served. It must not know what is served, nor how clients other than ureq work.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod body;
#[cfg(feature = "client")]
pub mod client;
mod connection;
mod exchange;
mod incoming;
mod input;
#[cfg(feature = "inspect")]
mod metrics;
mod options;
mod respond;
mod server;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod upgraded;
#[cfg(feature = "websocket")]
pub mod websocket;
mod writer;

pub use body::Body;
pub use http;
pub use incoming::Incoming;
#[cfg(feature = "inspect")]
pub use metrics::metrics;
pub use options::ServerOptions;
pub use server::{Server, ServerStats};
pub use socket::Socket;
pub use upgraded::Upgraded;
pub use writer::BodyWriter;

/// The code in the guide compiles and runs.
#[cfg(all(doctest, feature = "client"))]
mod guides {
    #[doc = include_str!("../docs/http.md")]
    mod http {}
}
