//! When an open stream of answers must end.

use std::future::pending;

use http::Extensions;
use tokio::time::sleep_until;

use super::access::permission_withdrawn;
use super::connection::ConnectionStreams;
use super::deadline::Deadlines;
use super::errors::ApiError;
use super::readiness::Readiness;
use crate::resolver::IdentifyError;

/// Resolves when a stream with these request extensions must end at once, with the reason: the time limit that its
/// caller gave, or a permission that was withdrawn.
pub(crate) fn time_or_permission_ended(extensions: &Extensions) -> impl Future<Output = ApiError> + Send + 'static {
    let requested = extensions.get().and_then(|deadlines: &Deadlines| deadlines.requested);
    let withdrawn = permission_withdrawn(extensions);
    async move {
        let expired = async {
            match requested {
                Some(at) => sleep_until(at.into()).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = expired => IdentifyError::DeadlineExceeded.into(),
            error = withdrawn => error,
        }
    }
}

/// Resolves at a shutdown, or when the connection of these request extensions is too old, with the reason. The caller
/// decides how its stream ends. Without `readiness`, the stream ends by itself at a shutdown.
pub(crate) fn shutdown_or_age(
    extensions: &Extensions,
    readiness: Option<Readiness>,
) -> impl Future<Output = ApiError> + Send + 'static {
    let old = ConnectionStreams::ended(extensions.get().cloned());
    async move {
        let shutdown = async {
            match readiness {
                Some(readiness) => readiness.closing().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = shutdown => ApiError::ShuttingDown,
            () = old => ApiError::ConnectionTooOld,
        }
    }
}
