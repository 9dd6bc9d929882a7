//! `identity.v1.IdentityService`: each RPC over one use case.

use tonic::{Request, Response, Status, Streaming};

use super::identity_api::IdentityApi;
use super::stream::{self, AnswerStream};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::identity_service_server::IdentityService;
use crate::resolver::Identify;
use crate::transport::batch::StreamItemCounts;
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

#[tonic::async_trait]
impl<R: Identify> IdentityService for IdentityApi<R> {
    /// [`IdentifyService`](super::identify::IdentifyService) serves this method. It stands here because the trait has
    /// it.
    async fn identify(&self, _: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        Err(ApiError::UnknownMethod.status(FieldNames::Proto))
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
