//! `identity.v1.IdentityService`: each RPC over one use case.

use tonic::{Request, Response, Status, Streaming};

use super::compression::{accepts_compression, compress_if_worthwhile};
use super::convert;
use super::identity_api::{IdentityApi, deadline, parsed};
use super::stream::{self, AnswerStream};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::identity_service_server::IdentityService;
use crate::resolver::Identify;
use crate::transport::answered::Answered;
use crate::transport::batch::StreamItemCounts;
use crate::transport::call_place::CallPlace;
use crate::transport::errors::ApiError;
use crate::transport::listing::{ENVELOPE, Listing};
use crate::transport::parse::{FieldNames, Parsed};
use crate::transport::peer::resolver_for;
use crate::transport::routes::CallOutcome;
use crate::transport::slices::Slices;

#[tonic::async_trait]
impl<R: Identify> IdentityService for IdentityApi<R> {
    async fn identify(&self, request: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        let accepts_compression = accepts_compression(request.metadata());
        let (message, outcome) = self.answer(request).await.map_err(|error| error.status(FieldNames::Proto))?;
        let mut response = Response::new(message);
        response.extensions_mut().insert(outcome);
        compress_if_worthwhile(&mut response, accepts_compression, prost::Message::encoded_len);
        Ok(response)
    }

    /// [`BatchService`](super::batch::BatchService) serves this method. It stands here because the trait has it.
    async fn batch_identify(
        &self,
        _: Request<pb::BatchIdentifyRequest>,
    ) -> Result<Response<pb::BatchIdentifyResponse>, Status> {
        Err(ApiError::UnknownMethod.status(FieldNames::Proto))
    }

    type StreamIdentifyStream = AnswerStream;

    async fn stream_identify(
        &self,
        request: Request<Streaming<pb::StreamIdentifyRequest>>,
    ) -> Result<Response<AnswerStream>, Status> {
        let counts = StreamItemCounts::default();
        let mut response = Response::new(stream::answer_stream(self, request, counts.clone()));
        response.extensions_mut().insert(counts);
        Ok(response)
    }
}

impl<R: Identify> IdentityApi<R> {
    async fn answer(
        &self,
        request: Request<pb::IdentifyRequest>,
    ) -> Result<(pb::IdentifyResponse, CallOutcome), ApiError> {
        let deadline = deadline(&request)?;
        let resolver = resolver_for(&self.resolver, request.extensions());
        let place = CallPlace::of(request.extensions());
        // The request and its headers are dropped before the wait.
        let Parsed { request, malformed } = parsed(&request.into_inner(), &self.settings)?;
        let validate_only = request.validate_only;
        let answer = resolver.identify_reserved(place.take(), request, deadline).await;
        let answered = Answered::new(answer, malformed)?;
        let room = self.settings.limits.answer_limit.saturating_sub(ENVELOPE);
        let slices = &mut Slices::of_answer(deadline);
        let listing = Listing::in_slices(&answered.answer.identity, convert::SIZES, room, slices).await?;
        Ok((convert::response(&answered, &listing), CallOutcome::new(answered.answer.outcome, validate_only)))
    }
}
