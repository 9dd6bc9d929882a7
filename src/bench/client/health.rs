use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Answer, Client, Target};
use crate::proto::identity::v1::{IdentifyRequest, Outcome};

/// Asks for the health of the service instead: a unary call that does nothing, which is what every other
/// one costs too.
#[derive(Debug)]
pub(in crate::bench) struct Health(HealthClient<Channel>);

impl Client for Health {
    async fn open(target: &Target, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = target.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(HealthClient::new(channel))).collect())
    }

    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        for _ in requests {
            let answer = self.0.check(HealthCheckRequest::default()).await;
            answers.push(answer.map(|_| Outcome::Unspecified).map_err(|status| status.code()));
        }
        answers
    }
}
