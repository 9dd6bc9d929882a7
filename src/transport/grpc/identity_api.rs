//! What the methods of `identity.v1.IdentityService` share.

use std::sync::Arc;
use std::time::Instant;

use prost_reflect::prost_types::Timestamp;
use tokio::sync::Semaphore;
use tonic::Request;

use super::settings::GrpcSettings;
use crate::domain;
use crate::proto::identity::v1 as pb;
use crate::resolver::{IdentifyError, IdentifyRequest};
use crate::transport::deadline::Deadlines;
use crate::transport::errors::ApiError;
use crate::transport::note::NoteFields;
use crate::transport::parse::{Parsed, parse};
use crate::transport::readiness::Readiness;

/// What the methods of `identity.v1.IdentityService` share.
#[derive(Debug)]
pub(super) struct IdentityApi<R> {
    pub(super) resolver: R,
    pub(super) settings: GrpcSettings,
    pub(super) readiness: Readiness,
    /// One permit for each item under way, of all streams together.
    pub(super) stream_places: Arc<Semaphore>,
}

/// What a request says.
pub(super) fn parsed(request: &pb::IdentifyRequest, settings: &GrpcSettings) -> Result<Parsed, ApiError> {
    let (email, phone_number) = (request.email.as_deref(), request.phone_number.as_deref());
    let mut parsed = parse(Ok(email), Ok(phone_number), &settings.identify).map_err(ApiError::Invalid)?;
    let moment = |time: &Timestamp| domain::Timestamp::from_seconds(time.seconds, time.nanos);
    let note = NoteFields {
        source: Ok(Some(&request.source)),
        external_ref: Ok(Some(&request.external_ref)),
        occurred_time: request.occurred_time.as_ref().map(moment).transpose().map_err(Into::into),
    };
    let IdentifyRequest { observation, .. } = parsed.request;
    let observation = observation.with_note(note.parse().map_err(ApiError::InvalidNote)?);
    parsed.request = IdentifyRequest { observation, validate_only: request.validate_only };
    Ok(parsed)
}

/// When a call must have its answer. The listener's stack gives every call its deadlines.
pub(super) fn deadline<T>(request: &Request<T>) -> Result<Instant, ApiError> {
    Deadlines::call_deadline(request.extensions()).ok_or(ApiError::Identify(IdentifyError::Internal))
}
