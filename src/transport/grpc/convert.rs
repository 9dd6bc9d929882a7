//! Answers and errors as messages.

use prost::Message;
use prost::encoding::encoded_len_varint;
use tonic_types::pb::Status;

use crate::domain::Outcome;
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::stream_identify_response::Result as OfStream;
use crate::transport::answered::{Answered, LeftOut};
use crate::transport::batch::ItemResult;
use crate::transport::errors::ApiError;
use crate::transport::listing::{ENVELOPE, Listing, Sizes};
use crate::transport::parse::{Field, FieldNames};

/// The sizes of an identity's parts.
pub(super) const SIZES: Sizes = Sizes {
    value: |text| 1 + encoded_len_varint(text.len() as u64) + text.len(),
    id: |id| encoded_len_varint(id as u64),
};

/// The message of an answer that lists this.
pub(super) fn response(answered: &Answered, listing: &Listing<'_>) -> pb::IdentifyResponse {
    pb::IdentifyResponse { contact: Some(identity(listing)), ..response_without_identity(answered) }
}

/// The rest of the message.
pub(super) fn response_without_identity(answered: &Answered) -> pb::IdentifyResponse {
    pb::IdentifyResponse {
        contact: None,
        outcome: outcome_message(answered.answer.outcome).into(),
        ignored: answered.left_out().map(left_out).collect(),
    }
}

/// The result of an item of a stream, in a message of at most `limit` bytes. Its correlation id has so many.
pub(super) fn stream_item(result: &ItemResult, limit: usize, correlation_id: usize) -> OfStream {
    match result {
        Ok(answered) => {
            let room = limit.saturating_sub(ENVELOPE + correlation_id);
            OfStream::Response(response(answered, &Listing::new(&answered.answer.identity, SIZES, room)))
        }
        Err(error) => OfStream::Error(status_message(error)),
    }
}

/// The status with which the error would end a call, as a message.
pub(super) fn status_message(error: &ApiError) -> Status {
    let status = error.status(FieldNames::Proto);
    // The details that travel with a status are just this message.
    Status::decode(status.details()).unwrap_or_else(|_| Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// An identifier that was left out. Its value is not quoted: it is personal data, and the caller has it.
fn left_out((field, reason): (Field, LeftOut)) -> pb::Ignored {
    let identifier = pb::Identifier { kind: field.kind().name().to_owned(), value: String::new() };
    let reason = match reason {
        LeftOut::Malformed => pb::IgnoredReason::Malformed,
        LeftOut::Blocked => pb::IgnoredReason::Blocked,
    };
    pb::Ignored { identifier: Some(identifier), reason: reason.into(), primary_contact_id: 0 }
}

/// An identity. What the answers of `IdentityService` do not have is empty.
pub(super) fn identity(listing: &Listing<'_>) -> pb::Identity {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    pb::Identity {
        primary_contact_id: listing.primary_contact_id,
        emails: owned(&listing.emails),
        phone_numbers: owned(&listing.phone_numbers),
        secondary_contact_ids: listing.secondary_contact_ids.clone(),
        truncated: listing.is_truncated,
        contact_count: contact_count(listing),
        ..pb::Identity::default()
    }
}

/// The number of contacts, as the message has it.
pub(super) fn contact_count(listing: &Listing<'_>) -> i32 {
    i32::try_from(listing.contact_count).unwrap_or(i32::MAX)
}

fn outcome_message(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Created => pb::Outcome::Created,
        Outcome::Matched => pb::Outcome::Matched,
        Outcome::Linked => pb::Outcome::Linked,
        Outcome::Merged => pb::Outcome::Merged,
    }
}
