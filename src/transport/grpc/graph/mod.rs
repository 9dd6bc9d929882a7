//! `identity.v1.GraphService`: a file for each RPC.

mod api;
mod call;
mod evidence_message;
mod explain_identity;
mod get_identity;
mod history_page;
mod identifiers;
mod identity_message;
mod list_contacts;
mod list_evidence;
mod list_identities;
mod list_revisions;
mod look_up_service;
mod lookup_identities;
mod moments;
mod names;
mod notes;
mod page;
mod page_token;

use tonic::{Request, Response, Status};

pub(super) use self::api::GraphApi;
use self::call::Call;
pub(super) use self::look_up_service::LookUpService;
use super::compression::{accepts_compression, compress_if_worthwhile};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::graph_service_server::GraphService;
use crate::resolver::ReadGraph;
use crate::transport::errors::ApiError;
use crate::transport::parse::FieldNames;

#[tonic::async_trait]
impl<R: ReadGraph> GraphService for GraphApi<R> {
    async fn get_identity(
        &self,
        request: Request<pb::GetIdentityRequest>,
    ) -> Result<Response<pb::GetIdentityResponse>, Status> {
        self.carry_out(request, |call, message| async move { get_identity::get_identity(call, &message).await }).await
    }

    /// [`LookUpService`] serves this method. It stands here because the trait has it.
    async fn lookup_identities(
        &self,
        _: Request<pb::LookupIdentitiesRequest>,
    ) -> Result<Response<pb::LookupIdentitiesResponse>, Status> {
        Err(ApiError::UnknownMethod.status(FieldNames::Proto))
    }

    async fn list_identities(
        &self,
        request: Request<pb::ListIdentitiesRequest>,
    ) -> Result<Response<pb::ListIdentitiesResponse>, Status> {
        self.carry_out(request, |call, message| async move { list_identities::list_identities(call, &message).await })
            .await
    }

    async fn list_contacts(
        &self,
        request: Request<pb::ListContactsRequest>,
    ) -> Result<Response<pb::ListContactsResponse>, Status> {
        self.carry_out(request, |call, message| async move { list_contacts::list_contacts(call, &message).await }).await
    }

    async fn list_evidence(
        &self,
        request: Request<pb::ListEvidenceRequest>,
    ) -> Result<Response<pb::ListEvidenceResponse>, Status> {
        self.carry_out(request, |call, message| async move { list_evidence::list_evidence(call, &message).await }).await
    }

    async fn list_revisions(
        &self,
        request: Request<pb::ListRevisionsRequest>,
    ) -> Result<Response<pb::ListRevisionsResponse>, Status> {
        self.carry_out(request, |call, message| async move { list_revisions::list_revisions(call, &message).await })
            .await
    }

    async fn explain_identity(
        &self,
        request: Request<pb::ExplainIdentityRequest>,
    ) -> Result<Response<pb::ExplainIdentityResponse>, Status> {
        self.carry_out(request, |call, message| async move { explain_identity::explain_identity(call, &message).await })
            .await
    }
}

impl<R: ReadGraph> GraphApi<R> {
    async fn carry_out<T, M: prost::Message, F>(
        &self,
        request: Request<T>,
        answer: impl FnOnce(Call<R>, T) -> F,
    ) -> Result<Response<M>, Status>
    where
        F: Future<Output = Result<M, ApiError>>,
    {
        let accepts_compression = accepts_compression(request.metadata());
        let names = FieldNames::from_extensions(request.extensions());
        let error = |error: ApiError| error.status(names);
        let (call, message) = Call::begin(&self.resolver, &self.settings, request).map_err(error)?;
        let mut response = Response::new(answer(call, message).await.map_err(error)?);
        compress_if_worthwhile(&mut response, accepts_compression, M::encoded_len);
        Ok(response)
    }
}
