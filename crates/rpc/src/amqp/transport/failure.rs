//! What an error of the broker's is for those above.

use std::fmt;

use super::super::error::Error;
use crate::transport::TransportError;

pub(super) fn failed(error: impl fmt::Display) -> TransportError {
    TransportError::Failed(error.to_string())
}

pub(super) fn disconnected(error: Error) -> TransportError {
    match error {
        Error::Closed => TransportError::Closed,
        // It was never connected, and will not be.
        Error::Connection { code: 403 | 530, .. } | Error::Unsupported(_) => failed(error),
        _ => TransportError::Disconnected(error.to_string()),
    }
}

pub(super) fn lost_or_failed(error: Error) -> TransportError {
    if error.is_loss() { disconnected(error) } else { failed(error) }
}
