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
use crate::transport::batch::{ItemCounts, ItemResult, StreamItemCounts, identify_batch};
use crate::transport::batch_size::BatchSize;
use crate::transport::errors::ApiError;
use crate::transport::parse::{FieldNames, Parsed};
use crate::transport::peer::caller;

#[tonic::async_trait]
impl<R: Identify> IdentityService for IdentityApi<R> {
    async fn identify(&self, request: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        let accepts_compression = accepts_compression(request.metadata());
        let answered = self.answer(request).await.map_err(|error| error.status(FieldNames::Proto))?;
        let mut response = Response::new(convert::response(&answered));
        response.extensions_mut().insert(answered.answer.outcome);
        compress_if_worthwhile(&mut response, accepts_compression);
        Ok(response)
    }

    async fn batch_identify(
        &self,
        request: Request<pb::BatchIdentifyRequest>,
    ) -> Result<Response<pb::BatchIdentifyResponse>, Status> {
        let accepts_compression = accepts_compression(request.metadata());
        let results = self.answer_batch(request).await.map_err(|error| error.status(FieldNames::Proto))?;
        let counts = ItemCounts::from_results(&results);
        let results =
            results.iter().map(|result| pb::BatchIdentifyResult { result: Some(convert::batch_item(result)) });
        let mut response = Response::new(pb::BatchIdentifyResponse { results: results.collect() });
        response.extensions_mut().insert(counts);
        compress_if_worthwhile(&mut response, accepts_compression);
        Ok(response)
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
    async fn answer(&self, request: Request<pb::IdentifyRequest>) -> Result<Answered, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = self.resolver.for_caller(caller(request.extensions()));
        // The request and its headers are dropped before the wait.
        let Parsed { observation, ignored } = parsed(&request.into_inner(), &self.settings)?;
        Ok(Answered { answer: resolver.identify(observation, deadline).await?, ignored })
    }

    async fn answer_batch(&self, request: Request<pb::BatchIdentifyRequest>) -> Result<Vec<ItemResult>, ApiError> {
        let deadline = deadline(&request)?;
        let resolver = self.resolver.for_caller(caller(request.extensions()));
        let requests = request.into_inner().requests;
        BatchSize::check(requests.len())?; // Before the work of reading them.
        let items = requests.iter().map(|request| parsed(request, &self.settings)).collect();
        identify_batch(&resolver, items, deadline).await
    }
}
