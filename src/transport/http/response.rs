//! The JSON of an answer.

use std::time::Instant;

use serde::Serialize;

use super::errors::ErrorBody;
use crate::domain::{Encoding, IdentityState};
use crate::resolver::IdentifyError;
use crate::settings::Spelling;
use crate::transport::answered::Answered;
use crate::transport::batch_answer::BatchFormat;
use crate::transport::call_outcome::outcome_name;
use crate::transport::errors::ApiError;
use crate::transport::identity_bytes::{IdentityFormat, write_identity};
use crate::transport::listing::{ENVELOPE, Listing, Sizes};
use crate::transport::parse::FieldNames;
use crate::transport::slices::Slices;

/// The sizes of an identity's parts, each with a comma.
pub(super) const SIZES: Sizes = Sizes { value: |text| text.bytes().map(escaped_len).sum::<usize>() + 3, id: |_| 21 };

/// The length of a byte of a string, at most.
fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    }
}

/// What stands before the identity in the body of an answer, and behind it.
const BODY: (&[u8], &[u8]) = (br#"{"contact":"#, b"}");

/// The identity in an answer: always exactly these fields, with ids as JSON numbers. It is not proto3 JSON, whose ids
/// are strings: the clients of this API expect numbers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContactBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_contact_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_contatct_id: Option<i64>,
    emails: &'a [&'a str],
    phone_numbers: &'a [&'a str],
    secondary_contact_ids: &'a [i64],
}

impl<'a> ContactBody<'a> {
    fn new(listing: &'a Listing<'_>, spelling: Spelling) -> Self {
        let primary = listing.primary_contact_id;
        Self {
            primary_contact_id: (spelling != Spelling::Legacy).then_some(primary),
            primary_contatct_id: (spelling != Spelling::Correct).then_some(primary),
            emails: &listing.emails,
            phone_numbers: &listing.phone_numbers,
            secondary_contact_ids: &listing.secondary_contact_ids,
        }
    }
}

/// Returns the body of an answer, of at most `limit` bytes, and whether the identity has more contacts than it lists.
///
/// # Errors
/// [`IdentifyError::DeadlineExceeded`].
pub(super) async fn encode_body(
    identity: &IdentityState,
    spelling: Spelling,
    limit: usize,
    deadline: Instant,
) -> Result<(Vec<u8>, bool), IdentifyError> {
    let mut body = Vec::with_capacity(256);
    body.extend_from_slice(BODY.0);
    let slices = &mut Slices::of_answer(deadline);
    let room = limit.saturating_sub(ENVELOPE);
    let is_truncated = write_identity(&JsonFormat { spelling }, identity, room, slices, &mut body).await?;
    body.extend_from_slice(BODY.1);
    Ok((body, is_truncated))
}

/// Writes answers: an identity, and the answer to a batch, `{"results": [...]}`.
#[derive(Debug)]
pub(super) struct JsonFormat {
    pub(super) spelling: Spelling,
}

/// What became of an item that failed.
#[derive(Serialize)]
struct ErrorResult {
    error: ErrorBody,
}

impl IdentityFormat for JsonFormat {
    const ENCODING: Encoding = Encoding::Json;
    const SIZES: Sizes = SIZES;

    fn identity(&self, listing: &Listing<'_>, to: &mut Vec<u8>) {
        write(&ContactBody::new(listing, self.spelling), to);
    }
}

impl BatchFormat for JsonFormat {
    const BEGIN: &'static [u8] = br#"{"results":["#;
    const BETWEEN: &'static [u8] = b",";
    const END: &'static [u8] = b"]}";

    fn before_identity(&self, _: &Answered, _: usize, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"response":{"contact":"#);
    }

    fn after_identity(&self, answered: &Answered, to: &mut Vec<u8>) {
        to.extend_from_slice(br#","outcome":""#);
        to.extend_from_slice(outcome_name(answered.answer.outcome).as_bytes());
        to.push(b'"');
        let fields = answered.left_out_in_json();
        if !fields.is_empty() {
            to.extend_from_slice(br#","ignored":"#);
            write(&fields, to);
        }
        to.extend_from_slice(b"}}");
    }

    fn error(&self, error: &ApiError, to: &mut Vec<u8>) {
        write(&ErrorResult { error: ErrorBody::from_status(&error.status(FieldNames::Json)) }, to);
    }
}

fn write(body: &impl Serialize, to: &mut Vec<u8>) {
    // Strings and numbers can always be serialised, and a vector grows.
    let _ = serde_json::to_writer(to, body);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Contact, ContactId, Identifier, IdentifierKind, Identity, Link, Timestamp};

    async fn spelled(spelling: Spelling) -> String {
        let contact = |id: i64, link, kind, value: &str| {
            Contact::new(ContactId(id), [Identifier::from_stored(kind, value)], Timestamp(id), link)
        };
        let contacts = vec![
            contact(1, Link::Primary, IdentifierKind::Email, "a@b.co"),
            contact(9_007_199_254_740_993, Link::SecondaryOf(ContactId(1)), IdentifierKind::Email, "\"@b.co"),
        ];
        let identity = IdentityState::from(Identity::new(contacts).unwrap());
        let deadline = Instant::now() + Duration::from_secs(60);
        let (body, is_truncated) = encode_body(&identity, spelling, 1 << 20, deadline).await.unwrap();
        assert!(!is_truncated);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn a_value_is_never_longer_than_estimated() {
        for text in ["", "doc@b.co", "\"\\\"@b.co", "\u{0}\n\u{1f}\u{7f}", "日本@例え.jp"] {
            assert!(serde_json::to_vec(text).unwrap().len() < (SIZES.value)(text), "{text:?}");
        }
        assert!(i64::MIN.to_string().len() < (SIZES.id)(i64::MIN));
    }

    #[tokio::test]
    async fn the_first_field_is_spelled_as_set_and_every_field_is_there() {
        let rest = r#""emails":["a@b.co","\"@b.co"],"phoneNumbers":[],"secondaryContactIds":[9007199254740993]}}"#;
        for (spelling, first) in [
            (Spelling::Correct, r#""primaryContactId":1"#),
            (Spelling::Legacy, r#""primaryContatctId":1"#),
            (Spelling::Both, r#""primaryContactId":1,"primaryContatctId":1"#),
        ] {
            assert_eq!(spelled(spelling).await, format!(r#"{{"contact":{{{first},{rest}"#));
        }
    }
}
