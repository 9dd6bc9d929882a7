//! The JSON of an answer.

use serde::Serialize;

use crate::domain::{ContactId, IdentifierKind, Identity};
use crate::settings::Spelling;
use crate::transport::answered::Answered;
use crate::transport::parse::FieldNames;
use crate::transport::routes::outcome_name;

/// The body of an answer: always exactly these fields, with ids as JSON numbers. It is not proto3 JSON, whose ids are
/// strings: the clients of this API expect numbers.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    contact: ContactBody<'a>,
    /// In a batch only. A single answer has it in a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The fields that were left out. In a batch only, and only if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContactBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_contact_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_contatct_id: Option<i64>,
    emails: Vec<&'a str>,
    phone_numbers: Vec<&'a str>,
    secondary_contact_ids: Vec<i64>,
}

impl<'a> ContactBody<'a> {
    fn new(identity: &'a Identity, spelling: Spelling) -> Self {
        let ContactId(primary) = identity.primary().id;
        Self {
            primary_contact_id: (spelling != Spelling::Legacy).then_some(primary),
            primary_contatct_id: (spelling != Spelling::Correct).then_some(primary),
            emails: identity.values(IdentifierKind::Email),
            phone_numbers: identity.values(IdentifierKind::Phone),
            secondary_contact_ids: identity.secondaries().iter().map(|contact| contact.id.0).collect(),
        }
    }
}

/// The identity as JSON.
pub(super) fn json(identity: &Identity, spelling: Spelling) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Body { contact: ContactBody::new(identity, spelling), outcome: None, ignored: Vec::new() })
}

/// The answer to an item of a batch.
pub(super) fn batch_item(Answered { answer, ignored }: &Answered, spelling: Spelling) -> Body<'_> {
    Body {
        contact: ContactBody::new(&answer.identity, spelling),
        outcome: Some(outcome_name(answer.outcome)),
        ignored: ignored.iter().map(|violation| violation.field.name(FieldNames::Json)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Contact, Identifier, Link, Timestamp};

    fn spelled(spelling: Spelling) -> String {
        let contact = |id: i64, link, kind, value: &str| {
            Contact::new(ContactId(id), [Identifier::from_stored(kind, value)], Timestamp(id), link)
        };
        let contacts = vec![
            contact(1, Link::Primary, IdentifierKind::Email, "a@b.co"),
            contact(9_007_199_254_740_993, Link::SecondaryOf(ContactId(1)), IdentifierKind::Email, "\"@b.co"),
        ];
        String::from_utf8(json(&Identity::new(contacts).unwrap(), spelling).unwrap()).unwrap()
    }

    #[test]
    fn the_first_field_is_spelled_as_set_and_every_field_is_there() {
        let rest = r#""emails":["a@b.co","\"@b.co"],"phoneNumbers":[],"secondaryContactIds":[9007199254740993]}}"#;
        for (spelling, first) in [
            (Spelling::Correct, r#""primaryContactId":1"#),
            (Spelling::Legacy, r#""primaryContatctId":1"#),
            (Spelling::Both, r#""primaryContactId":1,"primaryContatctId":1"#),
        ] {
            assert_eq!(spelled(spelling), format!(r#"{{"contact":{{{first},{rest}"#));
        }
    }
}
