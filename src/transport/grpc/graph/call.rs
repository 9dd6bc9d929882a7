use std::time::Instant;

use tonic::Request;

use crate::resolver::{ReadGraph, Reserved};
use crate::settings::IdentifierSettings;
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::grpc::identity_api::deadline;
use crate::transport::grpc::settings::GrpcSettings;
use crate::transport::listing::ENVELOPE;
use crate::transport::peer::resolver_for;

/// A call of any method.
pub(super) struct Call<R> {
    /// For the caller, and in the trace of the call.
    pub(super) resolver: R,
    place: CallPlace,
    /// When the call must have its answer.
    pub(super) deadline: Instant,
    /// What identifiers mean.
    pub(super) identify: IdentifierSettings,
    /// Maximum size of an answer, in bytes.
    pub(super) answer_limit: usize,
}

impl<R: ReadGraph> Call<R> {
    /// Returns the call of a request, and its message.
    ///
    /// # Errors
    /// If the request has no deadline: a bug.
    pub(super) fn begin<T>(resolver: &R, settings: &GrpcSettings, request: Request<T>) -> Result<(Self, T), ApiError> {
        let call = Self {
            resolver: resolver_for(resolver, request.extensions()),
            place: CallPlace::from_extensions(request.extensions()),
            deadline: deadline(&request)?,
            identify: settings.identify,
            answer_limit: settings.limits.answer_limit,
        };
        Ok((call, request.into_inner()))
    }

    /// Takes the place in the queue that the call has.
    pub(super) fn place(&self) -> Reserved {
        self.place.take()
    }

    /// Returns how many bytes of an answer are for what it lists.
    pub(super) fn room(&self) -> usize {
        self.answer_limit.saturating_sub(ENVELOPE)
    }
}
