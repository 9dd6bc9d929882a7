use tonic::Code;

use super::api_client::{ApiClient, CallResult};
use super::authorized_channel::AuthorizedChannel;
use super::service_address::ServiceAddress;
use crate::domain::IdentifierKind;
use crate::proto::identity::v1::Identifier;
use crate::proto::identity::v1::graph_service_client::GraphServiceClient;
use crate::proto::identity::v1::{IdentifyRequest, LookupIdentitiesRequest, Outcome};

/// Looks the identifiers of each request up, in a unary call of LookupIdentities. An answer counts as a match if one
/// identity owns them all.
#[derive(Debug)]
pub(in crate::bench) struct LookUpClient(GraphServiceClient<AuthorizedChannel>);

impl ApiClient for LookUpClient {
    async fn open(address: &ServiceAddress, callers: u32) -> anyhow::Result<Vec<Self>> {
        let channels = address.channels(callers).await?;
        Ok(channels.into_iter().map(|channel| Self(GraphServiceClient::new(channel))).collect())
    }

    async fn send(&mut self, requests: Vec<IdentifyRequest>) -> Vec<CallResult> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(match self.0.lookup_identities(look_up(request)).await.map(tonic::Response::into_inner) {
                Ok(answer) if answer.identities.len() == 1 && answer.unknown.is_empty() => Ok(Outcome::Matched),
                Ok(_) => Err(Code::NotFound),
                Err(status) => Err(status.code()),
            });
        }
        answers
    }
}

fn look_up(request: IdentifyRequest) -> LookupIdentitiesRequest {
    let given = [(IdentifierKind::Email, request.email), (IdentifierKind::Phone, request.phone_number)];
    let one = |(kind, value): (IdentifierKind, Option<String>)| {
        Some(Identifier { kind: kind.name().to_owned(), value: value? })
    };
    LookupIdentitiesRequest { identifiers: given.into_iter().filter_map(one).collect(), read_time: None }
}
