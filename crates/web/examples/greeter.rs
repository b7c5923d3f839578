//! An HTTP service with metrics for Prometheus, until Ctrl-C; then what runs has ten seconds to end.
//!
//!     cargo run -p greenloom-web --example greeter -- 127.0.0.1:8080
//!
//! | request | answer |
//! |---|---|
//! | `GET /greet/NAME` | a greeting |
//! | `GET /metrics` | how many requests there were, and how long they took |

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use greenloom::hub::now;
use greenloom::net;
use greenloom::signal::{Signal, Signals};
use greenloom_web::http::{Method, Request, Response, StatusCode, header};
use greenloom_web::{Body, Incoming, Server};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let signals = Signals::new([Signal::INT, Signal::TERM])?;
    let (server, address) = start(&address)?;
    println!("listening on {address}");
    let signal = signals.wait()?;
    let drained = server.shutdown(Duration::from_secs(10));
    println!("{signal}: {} connections ended, {} were cut", drained.finished, drained.killed);
    Ok(())
}

/// Begins to serve; returns where.
pub fn start(address: &str) -> io::Result<(Server, SocketAddr)> {
    let listener = net::listen(address)?;
    let address = listener.local_addr()?;
    let metrics = Metrics::new();
    Ok((Server::start(listener, move |request| metrics.watched(&request))?, address))
}

struct Metrics {
    registry: Registry,
    requests: Family<Vec<(String, String)>, Counter>,
    seconds: Histogram,
}

impl Metrics {
    fn new() -> Metrics {
        let (mut registry, requests) = (Registry::default(), Family::default());
        let seconds = Histogram::new([0.001, 0.01, 0.1, 1.0]);
        registry.register("http_requests", "Requests that were answered", Family::clone(&requests));
        registry.register("http_request_seconds", "How long handlers ran", seconds.clone());
        Metrics { registry, requests, seconds }
    }

    /// Answers a request, and counts it.
    fn watched(&self, request: &Request<Incoming>) -> Response<Body> {
        let began = now();
        let response = self.answer(request).unwrap_or_else(refused);
        let labels = vec![("status".to_owned(), response.status().as_str().to_owned())];
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe((now() - began).as_secs_f64());
        response
    }

    fn answer(&self, request: &Request<Incoming>) -> Result<Response<Body>, StatusCode> {
        if request.method() != Method::GET {
            return Err(StatusCode::METHOD_NOT_ALLOWED);
        }
        if request.uri().path() == "/metrics" {
            let mut text = String::new();
            encode(&mut text, &self.registry).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let response = Response::builder().header(header::CONTENT_TYPE, kind).body(Body::from(text));
            return response.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR);
        }
        let name = request.uri().path().strip_prefix("/greet/").ok_or(StatusCode::NOT_FOUND)?;
        Ok(Response::new(Body::from(format!("hello, {name}\n"))))
    }
}

fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{status}\n")));
    *response.status_mut() = status;
    response
}
