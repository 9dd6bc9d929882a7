use tonic::{Request, Response, Status};

use crate::api::{Deadline, Fault, Naming, parse};
use crate::domain::{Answer, ContactId, IdentifierKind, Identity, Outcome, Region};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::identity_service_server::IdentityService;
use crate::resolver::{Identify, IdentifyError};

/// `identity.v1.IdentityService` over a resolver.
#[derive(Debug)]
pub(super) struct IdentityDoor<R> {
    pub(super) resolver: R,
    pub(super) region: Option<Region>,
}

#[tonic::async_trait]
impl<R: Identify> IdentityService for IdentityDoor<R> {
    async fn identify(&self, request: Request<pb::IdentifyRequest>) -> Result<Response<pb::IdentifyResponse>, Status> {
        let answer = self.answer(request).await.map_err(|fault| fault.status(Naming::Proto))?;
        let mut response = Response::new(response(&answer));
        response.extensions_mut().insert(answer.outcome);
        Ok(response)
    }
}

impl<R: Identify> IdentityDoor<R> {
    async fn answer(&self, request: Request<pb::IdentifyRequest>) -> Result<Answer, Fault> {
        // The server sets a deadline on every call; without one this is a fault of the wiring.
        let Some(&Deadline(deadline)) = request.extensions().get() else { return Err(IdentifyError::Internal.into()) };
        let request = request.into_inner();
        let observation =
            parse(request.email.as_deref(), request.phone_number.as_deref(), self.region).map_err(Fault::Invalid)?;
        Ok(self.resolver.identify(observation, deadline).await?)
    }
}

fn response(answer: &Answer) -> pb::IdentifyResponse {
    let mut response = pb::IdentifyResponse { contact: Some(identity(&answer.identity)), ..Default::default() };
    response.set_outcome(outcome(answer.outcome));
    response
}

fn identity(identity: &Identity) -> pb::Identity {
    let values = |kind| identity.values(kind).into_iter().map(str::to_owned).collect();
    let ContactId(primary_contact_id) = identity.primary().id;
    pb::Identity {
        primary_contact_id,
        emails: values(IdentifierKind::Email),
        phone_numbers: values(IdentifierKind::Phone),
        secondary_contact_ids: identity.secondaries().iter().map(|contact| contact.id.0).collect(),
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Created => pb::Outcome::Created,
        Outcome::Matched => pb::Outcome::Matched,
        Outcome::Linked => pb::Outcome::Linked,
        Outcome::Merged => pb::Outcome::Merged,
    }
}
