//! Answers and faults as messages.

use prost::Message;
use tonic_types::pb::Status;

use crate::domain::{Answer, ContactId, IdentifierKind, Identity, Outcome};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::batch_identify_result::Result as OfBatch;
use crate::proto::identity::v1::stream_identify_response::Result as OfStream;
use crate::transport::{ApiError, ItemResult, Naming};

/// The message of an answer.
pub(super) fn response(answer: &Answer) -> pb::IdentifyResponse {
    let mut response = pb::IdentifyResponse { contact: Some(identity(&answer.identity)), ..Default::default() };
    response.set_outcome(outcome(answer.outcome));
    response
}

/// What became of an item of a batch.
pub(super) fn of_batch(result: &ItemResult) -> OfBatch {
    match result {
        Ok(answer) => OfBatch::Response(response(answer)),
        Err(fault) => OfBatch::Error(error(fault)),
    }
}

/// What became of an item of a stream.
pub(super) fn of_stream(result: &ItemResult) -> OfStream {
    match result {
        Ok(answer) => OfStream::Response(response(answer)),
        Err(fault) => OfStream::Error(error(fault)),
    }
}

/// The status that the fault would end a call with, as a message.
fn error(fault: &ApiError) -> Status {
    let status = fault.status(Naming::Proto);
    // The details that travel with a status are just this message.
    Status::decode(status.details()).unwrap_or_else(|_| Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
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
