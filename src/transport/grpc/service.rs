use std::sync::Arc;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::stream::{self, AnswerStream};
use super::{GrpcSettings, convert};
use crate::domain::{Answer, Observation, Region};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::identity_service_server::IdentityService;
use crate::resolver::{Identify, IdentifyError};
use crate::transport::{
    ApiError, BatchSize, Deadlines, ItemResult, Naming, OpenTally, Readiness, Tally, identify_batch, parse,
};

/// `identity.v1.IdentityService` over a resolver.
#[derive(Debug)]
pub(super) struct IdentityApi<R> {
    pub(super) resolver: R,
    pub(super) settings: GrpcSettings,
    pub(super) readiness: Readiness,
    /// One permit an item under way, of all streams together.
    pub(super) stream_places: Arc<Semaphore>,
}

#[tonic::async_trait]
impl<R: Identify> IdentityService for IdentityApi<R> {
    async fn identify(&self, request: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        let answer = self.answer(request).await.map_err(|fault| fault.status(Naming::Proto))?;
        let mut response = Response::new(convert::response(&answer));
        response.extensions_mut().insert(answer.outcome);
        Ok(response)
    }

    async fn batch_identify(
        &self,
        request: Request<pb::BatchIdentifyRequest>,
    ) -> Result<Response<pb::BatchIdentifyResponse>, Status> {
        let results = self.answer_batch(request).await.map_err(|fault| fault.status(Naming::Proto))?;
        let tally = Tally::of(&results);
        let results = results.iter().map(|result| pb::BatchIdentifyResult { result: Some(convert::of_batch(result)) });
        let mut response = Response::new(pb::BatchIdentifyResponse { results: results.collect() });
        response.extensions_mut().insert(tally);
        Ok(response)
    }

    type StreamIdentifyStream = AnswerStream;

    async fn stream_identify(
        &self,
        request: Request<Streaming<pb::StreamIdentifyRequest>>,
    ) -> Result<Response<AnswerStream>, Status> {
        let tally = OpenTally::default();
        let answers = stream::answer(self, request, tally.clone());
        let mut response = Response::new(answers);
        response.extensions_mut().insert(tally);
        Ok(response)
    }
}

impl<R: Identify> IdentityApi<R> {
    async fn answer(&self, request: Request<pb::IdentifyRequest>) -> Result<Answer, ApiError> {
        // The server sets a deadline on every call; without one this is a fault of the wiring.
        let Some(&Deadlines { call: deadline, .. }) = request.extensions().get() else {
            return Err(IdentifyError::Internal.into());
        };
        Ok(self.resolver.identify(self.observation(&request.into_inner())?, deadline).await?)
    }

    async fn answer_batch(&self, request: Request<pb::BatchIdentifyRequest>) -> Result<Vec<ItemResult>, ApiError> {
        let Some(&Deadlines { call: deadline, .. }) = request.extensions().get() else {
            return Err(IdentifyError::Internal.into());
        };
        let requests = request.into_inner().requests;
        BatchSize::check(requests.len())?; // Before the work of reading them.
        let items = requests.iter().map(|request| self.observation(request)).collect();
        identify_batch(&self.resolver, items, deadline).await
    }

    fn observation(&self, request: &pb::IdentifyRequest) -> Result<Observation, ApiError> {
        observation(request, self.settings.identify.phone_region)
    }
}

/// What a request says.
pub(super) fn observation(request: &pb::IdentifyRequest, region: Option<Region>) -> Result<Observation, ApiError> {
    parse(request.email.as_deref(), request.phone_number.as_deref(), region).map_err(ApiError::Invalid)
}
