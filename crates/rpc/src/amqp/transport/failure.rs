//! What an error of the broker's is for those above.

use std::error;
use std::sync::Arc;

use super::super::error::Error;
use crate::transport::TransportError;

pub(super) fn failed(error: impl error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::Failed(Arc::new(error))
}

pub(super) fn disconnected(error: Error) -> TransportError {
    match error {
        Error::Closed => TransportError::Closed,
        // It was never connected, and will not be.
        Error::Connection { code: 403 | 530, .. } | Error::Unsupported(_) => failed(error),
        _ => TransportError::Disconnected(Arc::new(error)),
    }
}

pub(super) fn lost_or_failed(error: Error) -> TransportError {
    if error.is_loss() { disconnected(error) } else { failed(error) }
}
