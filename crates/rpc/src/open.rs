//! From a URL to the transport that it names.

use std::rc::Rc;

use crate::transport::{Transport, TransportError};

/// Connects to the bus that a URL names.
///
/// # Errors
/// [`TransportError::Url`], and those of the transport.
pub fn open_transport(url: &str) -> Result<Rc<dyn Transport>, TransportError> {
    match url.split_once("://") {
        Some(("memory", rest)) => crate::memory::open(rest),
        Some(("amqp" | "amqps" | "rabbit", _)) => crate::amqp::open(url),
        Some((other, _)) => Err(TransportError::Url(format!("{other:?} is no transport"))),
        None => Err(TransportError::Url(format!("{url:?} does not begin with a transport, such as memory://"))),
    }
}
