//! What the handlers of the JSON API share.

use std::time::{Duration, Instant};

use axum::extract::Request;

use crate::resolver::IdentifyError;
use crate::settings::{IdentifierSettings, LimitSettings};
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;

/// What the handlers of the JSON API share.
#[derive(Clone, Copy, Debug)]
pub struct HttpSettings {
    /// What identifiers mean.
    pub identify: IdentifierSettings,
    /// Bounds on callers.
    pub limits: LimitSettings,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
}

/// When a call must have its answer. The listener's stack gives every call its deadlines.
pub(super) fn deadline(request: &Request) -> Result<Instant, ApiError> {
    Deadlines::call_deadline(request.extensions()).ok_or(ApiError::Identify(IdentifyError::Internal))
}
