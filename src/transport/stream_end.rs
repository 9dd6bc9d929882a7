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

/// Resolves when a stream of answers with these request extensions must end, with the reason: the time limit that its
/// caller gave, a permission that was withdrawn, a shutdown, or the age of its connection.
pub(crate) fn must_end(
    extensions: &Extensions,
    readiness: Readiness,
) -> impl Future<Output = ApiError> + Send + 'static {
    let requested = extensions.get().and_then(|deadlines: &Deadlines| deadlines.requested);
    let withdrawn = permission_withdrawn(extensions);
    let old = ConnectionStreams::ended(extensions.get().cloned());
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
            () = readiness.closing() => ApiError::ShuttingDown,
            () = old => ApiError::ConnectionTooOld,
        }
    }
}
