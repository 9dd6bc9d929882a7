use tonic::transport::Channel;

use super::{Answer, Client, Target};
use crate::proto::identity::v1::IdentifyRequest;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;

/// A unary call for each request.
#[derive(Debug)]
pub(in crate::bench) struct Grpc(IdentityServiceClient<Channel>);

impl Client for Grpc {
    async fn open(target: &Target, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = target.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(IdentityServiceClient::new(channel))).collect())
    }

    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = self.0.identify(request).await;
            answers.push(answer.map(|answer| answer.get_ref().outcome()).map_err(|status| status.code()));
        }
        answers
    }
}
