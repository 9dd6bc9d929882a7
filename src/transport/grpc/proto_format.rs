//! Answers as encoded messages.

use prost::Message;
use prost::encoding::{self, WireType, encode_key, encode_varint, encoded_len_varint, int32, int64};

use super::convert;
use crate::domain::Encoding;
use crate::proto::identity::v1 as pb;
use crate::proto::identity::v1::batch_identify_result::Result as OfItem;
use crate::transport::answered::Answered;
use crate::transport::batch_answer::BatchFormat;
use crate::transport::errors::ApiError;
use crate::transport::identity_bytes::IdentityFormat;
use crate::transport::listing::{Listing, Sizes};

/// The number of `BatchIdentifyResponse.results`.
const RESULTS: u32 = 1;

/// The number of `BatchIdentifyResult.response`.
const RESPONSE: u32 = 1;

/// The number of `IdentifyResponse.contact`.
const CONTACT: u32 = 1;

/// Writes an `IdentifyResponse` or a `BatchIdentifyResponse`. An identity is written as bytes, so that several answers
/// can have the same.
#[derive(Debug)]
pub(super) struct ProtoFormat;

/// Returns an `IdentifyResponse` with this identity.
pub(super) fn identify_response(answered: &Answered, identity: &[u8]) -> Vec<u8> {
    let rest = convert::response_without_identity(answered);
    let mut response = Vec::with_capacity(delimited_len(identity.len()) + rest.encoded_len());
    delimited(CONTACT, identity.len(), &mut response);
    response.extend_from_slice(identity);
    // A vector grows, so it always has room.
    let _ = rest.encode(&mut response);
    response
}

impl IdentityFormat for ProtoFormat {
    const ENCODING: Encoding = Encoding::Proto;
    const SIZES: Sizes = convert::SIZES;

    fn identity(&self, listing: &Listing<'_>, to: &mut Vec<u8>) {
        // Fields with their default values are left out, as always in proto3.
        if listing.primary_contact_id != 0 {
            int64::encode(1, &listing.primary_contact_id, to);
        }
        for (field, values) in [(2, &listing.emails), (3, &listing.phone_numbers)] {
            for value in values {
                delimited(field, value.len(), to);
                to.extend_from_slice(value.as_bytes());
            }
        }
        int64::encode_packed(4, &listing.secondary_contact_ids, to);
        if listing.is_truncated {
            encoding::bool::encode(9, &true, to);
        }
        int32::encode(10, &convert::contact_count(listing), to);
    }
}

impl BatchFormat for ProtoFormat {
    const BEGIN: &'static [u8] = b"";
    const BETWEEN: &'static [u8] = b"";
    const END: &'static [u8] = b"";

    fn before_identity(&self, answered: &Answered, identity: usize, to: &mut Vec<u8>) {
        let rest = convert::response_without_identity(answered).encoded_len();
        let response = delimited_len(identity) + rest;
        delimited(RESULTS, delimited_len(response), to);
        delimited(RESPONSE, response, to);
        delimited(CONTACT, identity, to);
    }

    fn after_identity(&self, answered: &Answered, to: &mut Vec<u8>) {
        // A vector grows, so it always has room.
        let _ = convert::response_without_identity(answered).encode(to);
    }

    fn error(&self, error: &ApiError, to: &mut Vec<u8>) {
        let result = pb::BatchIdentifyResult { result: Some(OfItem::Error(convert::status_message(error))) };
        encoding::message::encode(RESULTS, &result, to);
    }
}

/// Writes what stands before so many bytes of a field.
fn delimited(field: u32, length: usize, to: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
}

/// The length of a field of so many bytes. Its number is at most 15.
fn delimited_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::domain::{Answer, Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Outcome, Timestamp};
    use crate::transport::batch_answer;
    use crate::transport::parse::{Field, Problem, Violation};

    #[test]
    fn the_bytes_are_those_of_the_message() {
        for contacts in [1, 2, 3, 40, 400] {
            let contact = |id: i64| {
                let email = Identifier::from_stored(IdentifierKind::Email, "x".repeat(id as usize));
                let phone = Identifier::from_stored(IdentifierKind::Phone, (id / 3).to_string());
                Contact::new(ContactId(id * id * id), [email, phone], Timestamp(id), Link::Primary)
            };
            let identity = Identity::new((1..=contacts).map(contact).collect()).unwrap();
            let blocked = Identifier::from_stored(IdentifierKind::Phone, "0000000000");
            let ignored = vec![blocked; contacts as usize % 2];
            let answer = Answer { outcome: Outcome::Linked, identity: identity.into(), ignored };
            let left_out = Violation { field: Field::Email, problem: Problem::NotText };
            let answered = Answered { answer, malformed: vec![left_out; contacts as usize % 3] };
            for room in [0, 300, usize::MAX] {
                let listing = Listing::new(&answered.answer.identity, convert::SIZES, room);
                let response = convert::response(&answered, &listing);
                let (mut identity, mut encoded) = (Vec::new(), Vec::new());
                ProtoFormat.identity(&listing, &mut identity);
                assert_eq!(identify_response(&answered, &identity), response.encode_to_vec());
                let expected = pb::BatchIdentifyResult { result: Some(OfItem::Response(response)) };
                let expected = pb::BatchIdentifyResponse { results: vec![expected] }.encode_to_vec();
                ProtoFormat.before_identity(&answered, identity.len(), &mut encoded);
                encoded.extend(&identity);
                ProtoFormat.after_identity(&answered, &mut encoded);
                assert_eq!(encoded, expected, "{contacts} contacts, {room} bytes");
            }
        }
    }

    #[tokio::test]
    async fn each_error_is_that_of_its_item_also_beside_equal_ones() {
        let invalid = |field| ApiError::Invalid(vec![Violation { field, problem: Problem::NotText }]);
        let (email, phone) = (invalid(Field::Email), invalid(Field::PhoneNumber));
        let errors = [&email, &email, &phone, &phone, &email];
        let result = |error| pb::BatchIdentifyResult { result: Some(OfItem::Error(convert::status_message(error))) };
        let expected = pb::BatchIdentifyResponse { results: errors.map(result).into() }.encode_to_vec();
        let results = errors.map(|error| Err(error.clone()));
        let deadline = Instant::now() + Duration::from_secs(60);
        let (encoded, counts) = batch_answer::encode(&ProtoFormat, &results, 1 << 20, deadline).await.unwrap();
        assert_eq!(encoded, expected);
        assert_eq!((counts.items, counts.errors), (5, 5));
    }
}
