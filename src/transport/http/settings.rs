//! What the handlers of the JSON API share.

use std::time::{Duration, Instant};

use axum::extract::Request;

use crate::resolver::IdentifyError;
use crate::settings::{IdentifierSettings, LimitSettings};
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;

/// What the handlers of the JSON API share.
#[derive(Clone, Copy, Debug)]
pub(super) struct HttpSettings {
    pub(super) identify: IdentifierSettings,
    pub(super) limits: LimitSettings,
    /// How long a body may take to arrive.
    pub(super) body_timeout: Duration,
}

/// When a call must have its answer. The listener's stack gives every call its deadlines.
pub(super) fn deadline(request: &Request) -> Result<Instant, ApiError> {
    Deadlines::of_call(request.extensions()).ok_or(ApiError::Identify(IdentifyError::Internal))
}
