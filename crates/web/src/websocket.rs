//! WebSocket, by [`tungstenite`]: the server's side. A client's side needs nothing of this crate:
//! `tungstenite::client` takes a green stream.

use http::{Request, Response, StatusCode};
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::{Role, WebSocketConfig};
pub use tungstenite::{Message, WebSocket};

use crate::body::Body;
use crate::incoming::Incoming;
use crate::upgraded::Upgraded;

/// The response to a request for a WebSocket: `then` has it, in the connection's green thread, after the handshake. A
/// request for something else is answered with 400.
///
/// ```
/// use greenloom_web::{Body, Incoming, http::{Request, Response}, websocket};
///
/// fn echo(request: Request<Incoming>) -> Response<Body> {
///     websocket::accept(&request, |mut socket| {
///         while let Ok(message) = socket.read() {
///             if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
///                 return;
///             }
///         }
///     })
/// }
/// ```
pub fn accept(request: &Request<Incoming>, then: impl FnOnce(WebSocket<Upgraded>) + 'static) -> Response<Body> {
    accept_with(request, WebSocketConfig::default(), then)
}

/// The same with limits of your own.
pub fn accept_with(
    request: &Request<Incoming>,
    config: WebSocketConfig,
    then: impl FnOnce(WebSocket<Upgraded>) + 'static,
) -> Response<Body> {
    let body = || Body::upgrade(move |stream| then(WebSocket::from_raw_socket(stream, Role::Server, Some(config))));
    create_response_with_body(request, body).unwrap_or_else(|error| {
        let mut response = Response::new(Body::from(format!("{error}\n")));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
}
