//! From a URL to the transport that it names.

use std::rc::Rc;

use crate::reason::UrlError;
use crate::transport::{Transport, TransportError};

/// Connects to the bus that a URL names.
///
/// # Errors
/// [`TransportError::Url`], and those of the transport.
///
/// ```
/// use greenloom_rpc::{open_transport, transport::{State, TransportError}};
///
/// assert_eq!(open_transport("memory://")?.state(), State::Connected);
/// assert!(matches!(open_transport("pigeon://"), Err(TransportError::Url(_))));
/// # Ok::<(), TransportError>(())
/// ```
pub fn open_transport(url: &str) -> Result<Rc<dyn Transport>, TransportError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(TransportError::Url(UrlError::NoScheme(url.to_owned())));
    };
    // In a URL they are the same in upper case.
    match scheme.to_ascii_lowercase().as_str() {
        "memory" => crate::memory::open(rest),
        "amqp" | "amqps" | "rabbit" => crate::amqp::open(url),
        other => Err(TransportError::Url(UrlError::UnknownScheme(other.to_owned()))),
    }
}
