//! How a server treats its clients: limits and times.

use std::time::Duration;

use strict::Limits;

/// Limits of a [`Server`](crate::Server). The defaults suit a service that faces the internet.
///
/// ```
/// use greenloom::net;
/// use greenloom_web::{Body, ServerOptions, http::Response};
/// use std::time::Duration;
///
/// let server = ServerOptions::new()
///     .max_connections(1_000)
///     .keep_alive(Duration::from_secs(5))
///     .start(net::listen("127.0.0.1:0")?, |_request| Response::new(Body::from("hello")))?;
/// server.shutdown(Duration::ZERO);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "they do nothing until a server starts"]
pub struct ServerOptions {
    pub(crate) max_connections: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) keep_alive: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) max_body: u64,
    pub(crate) limits: Limits,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ServerConfig>>,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            max_connections: 10_000,
            head_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            max_body: u64::MAX,
            limits: Limits { require_host: true, ..Limits::default() },
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ServerOptions {
    /// The defaults.
    pub fn new() -> ServerOptions {
        ServerOptions::default()
    }

    /// How many connections are served at a time; further ones wait in the listener's backlog. 10,000 by default.
    pub fn max_connections(mut self, count: usize) -> ServerOptions {
        self.max_connections = count;
        self
    }

    /// How long a request's head may take from its first octet to its last, and a TLS handshake, before the connection
    /// is closed, with a response 408 where it can be told. 30 seconds by default.
    pub fn head_timeout(mut self, limit: Duration) -> ServerOptions {
        self.head_timeout = at_least_a_tick(limit);
        self
    }

    /// How long a connection may be silent before its first request and between two. 60 seconds by default.
    pub fn keep_alive(mut self, limit: Duration) -> ServerOptions {
        self.keep_alive = at_least_a_tick(limit);
        self
    }

    /// How long one read of a request's body waits for the client. 30 seconds by default.
    pub fn body_timeout(mut self, limit: Duration) -> ServerOptions {
        self.body_timeout = at_least_a_tick(limit);
        self
    }

    /// How long one write waits for the client to take something. 30 seconds by default.
    pub fn write_timeout(mut self, limit: Duration) -> ServerOptions {
        self.write_timeout = at_least_a_tick(limit);
        self
    }

    /// How many octets a request's body may have. One that says it has more is answered with 413; reading one that has
    /// more without saying so is an error. Unlimited by default: a handler reads as much as it wants, and no more is
    /// read.
    pub fn max_body(mut self, octets: u64) -> ServerOptions {
        self.max_body = octets;
        self
    }

    /// How long a request's head may be, all lines together, in octets. 64 KiB by default; lines have 8 KiB at most.
    pub fn max_head(mut self, octets: usize) -> ServerOptions {
        self.limits.headers = octets;
        self.limits.request_line = self.limits.request_line.min(octets);
        self
    }

    /// How many fields a request's head may have. 100 by default.
    pub fn max_fields(mut self, count: usize) -> ServerOptions {
        self.limits.fields = count;
        self
    }

    /// Serves over TLS. Its handshake is made in the connection's green thread. Let the configuration offer `http/1.1`
    /// by ALPN, or nothing.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: std::sync::Arc<rustls::ServerConfig>) -> ServerOptions {
        self.tls = Some(config);
        self
    }
}

/// A limit of nothing would be no limit at the socket.
fn at_least_a_tick(limit: Duration) -> Duration {
    limit.max(Duration::from_millis(1))
}
