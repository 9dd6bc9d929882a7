use tonic::Code;

use super::api_client::{ApiClient, CallResult};
use super::authorized_channel::AuthorizedChannel;
use super::service_address::ServiceAddress;
use crate::proto::identity::v1::batch_identify_result::Result as Found;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;
use crate::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest};

/// Sends all requests of a caller in one unary call of BatchIdentify.
#[derive(Debug)]
pub(in crate::bench) struct BatchClient(IdentityServiceClient<AuthorizedChannel>);

impl ApiClient for BatchClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = address.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(IdentityServiceClient::new(channel))).collect())
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let count = requests.len();
        match self.0.batch_identify(BatchIdentifyRequest { requests }).await {
            Ok(answer) => {
                let results = answer.into_inner().results.into_iter().map(|result| match result.result {
                    Some(Found::Response(response)) => Ok(response.outcome()),
                    Some(Found::Error(status)) => Err(status.code.into()),
                    None => Err(Code::Unknown),
                });
                // A missing answer counts as an error.
                results.chain(std::iter::repeat(Err(Code::Unknown))).take(count).collect()
            }
            Err(status) => vec![Err(status.code()); count],
        }
    }
}
