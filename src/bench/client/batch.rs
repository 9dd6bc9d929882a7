use tonic::Code;
use tonic::transport::Channel;

use super::{Answer, Client, Target};
use crate::proto::identity::v1::batch_identify_result::Result as Found;
use crate::proto::identity::v1::identity_service_client::IdentityServiceClient;
use crate::proto::identity::v1::{BatchIdentifyRequest, IdentifyRequest};

/// One unary call for all requests that a caller asks at once.
#[derive(Debug)]
pub(in crate::bench) struct Batch(IdentityServiceClient<Channel>);

impl Client for Batch {
    async fn open(target: &Target, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = target.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(IdentityServiceClient::new(channel))).collect())
    }

    async fn ask(&mut self, requests: Vec<IdentifyRequest>) -> Vec<Answer> {
        let count = requests.len();
        match self.0.batch_identify(BatchIdentifyRequest { requests }).await {
            Ok(answer) => {
                let results = answer.into_inner().results.into_iter().map(|result| match result.result {
                    Some(Found::Response(response)) => Ok(response.outcome()),
                    Some(Found::Error(status)) => Err(status.code.into()),
                    None => Err(Code::Unknown),
                });
                // A missing answer is none.
                results.chain(std::iter::repeat(Err(Code::Unknown))).take(count).collect()
            }
            Err(status) => vec![Err(status.code()); count],
        }
    }
}
