use super::api_client::{ApiClient, CallResult};
use super::authorized_channel::AuthorizedChannel;
use super::service_address::ServiceAddress;
use crate::proto::identity::v1::IdentifyRequest;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;

/// Sends each request in a unary call.
#[derive(Debug)]
pub(in crate::bench) struct GrpcClient(IdentityServiceClient<AuthorizedChannel>);

impl ApiClient for GrpcClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = address.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(IdentityServiceClient::new(channel))).collect())
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = self.0.identify(request).await;
            answers.push(answer.map(|answer| answer.get_ref().outcome()).map_err(|status| status.code()));
        }
        answers
    }
}
