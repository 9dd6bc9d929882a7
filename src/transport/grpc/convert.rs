//! Answers and errors as messages.

use prost::Message;
use tonic_types::pb::Status;

use crate::domain::{ContactId, IdentifierKind, Identity, Outcome};
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::batch_identify_result::Result as OfBatch;
use crate::proto::identity::v1::stream_identify_response::Result as OfStream;
use crate::transport::answered::Answered;
use crate::transport::batch::ItemResult;
use crate::transport::errors::ApiError;
use crate::transport::parse::{FieldNames, Violation};

/// The message of an answer.
pub(super) fn response(Answered { answer, ignored }: &Answered) -> pb::IdentifyResponse {
    pb::IdentifyResponse {
        contact: Some(identity(&answer.identity)),
        outcome: outcome(answer.outcome).into(),
        ignored: ignored.iter().map(malformed).collect(),
    }
}

/// The result of an item of a batch.
pub(super) fn batch_item(result: &ItemResult) -> OfBatch {
    match result {
        Ok(answer) => OfBatch::Response(response(answer)),
        Err(error) => OfBatch::Error(status_message(error)),
    }
}

/// The result of an item of a stream.
pub(super) fn stream_item(result: &ItemResult) -> OfStream {
    match result {
        Ok(answer) => OfStream::Response(response(answer)),
        Err(error) => OfStream::Error(status_message(error)),
    }
}

/// The status with which the error would end a call, as a message.
fn status_message(error: &ApiError) -> Status {
    let status = error.status(FieldNames::Proto);
    // The details that travel with a status are just this message.
    Status::decode(status.details()).unwrap_or_else(|_| Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// An identifier that was left out. Its value is not quoted: it is personal data, and the caller has it.
fn malformed(violation: &Violation) -> pb::Ignored {
    let identifier = pb::Identifier { kind: violation.field.kind().name().to_owned(), value: String::new() };
    let reason = pb::IgnoredReason::Malformed.into();
    pb::Ignored { identifier: Some(identifier), reason, primary_contact_id: 0 }
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
