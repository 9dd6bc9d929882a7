use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::api_client::{ApiClient, CallResult};
use super::authorized_channel::AuthorizedChannel;
use super::service_address::ServiceAddress;
use crate::proto::identity::v1::{IdentifyRequest, Outcome};

/// Calls the health service instead of Identify. That call does no work, so it measures the cost of any call.
#[derive(Debug)]
pub(in crate::bench) struct HealthCheckClient(HealthClient<AuthorizedChannel>);

impl ApiClient for HealthCheckClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = address.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(HealthClient::new(channel))).collect())
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let mut answers = Vec::with_capacity(requests.len());
        for _ in requests {
            let answer = self.0.check(HealthCheckRequest::default()).await;
            answers.push(answer.map(|_| Outcome::Unspecified).map_err(|status| status.code()));
        }
        answers
    }
}
