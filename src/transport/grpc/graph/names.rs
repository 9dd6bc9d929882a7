//! Names of resources: `identities/3`, `identities/3/contacts/7`, `evidence/e7`.

use crate::domain::ContactId;
use crate::domain::graph::SetName;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem, InvalidField};

const IDENTITIES: &str = "identities/";

const EVIDENCE: &str = "evidence/";

/// Returns the name of the identity with this primary.
pub(super) fn identity_name(primary: ContactId) -> String {
    format!("{IDENTITIES}{}", primary.0)
}

/// Returns the name of a contact of the identity with this primary.
pub(super) fn contact_name(primary: ContactId, contact: ContactId) -> String {
    format!("{}/contacts/{}", identity_name(primary), contact.0)
}

/// Returns the id in the name of an identity.
///
/// # Errors
/// [`FieldProblem::Name`] for anything else, also for an id that no row can have. A name has one spelling.
pub(super) fn parse_identity_name(name: &str, path: FieldPath) -> Result<ContactId, ApiError> {
    let id = name.strip_prefix(IDENTITIES).and_then(parse_number).map(ContactId);
    id.ok_or_else(|| ApiError::of_field(path, FieldProblem::Name))
}

/// Returns the name of an evidence.
pub(super) fn evidence_name(name: SetName) -> String {
    let (letter, number) = match name {
        SetName::Contact(contact) => ('c', contact.0),
        SetName::Stored(id) => ('e', id),
        SetName::Link(absorbed) => ('l', absorbed.0),
    };
    format!("{EVIDENCE}{letter}{number}")
}

/// Returns the evidence that a text names, at this position of a list.
///
/// # Errors
/// [`FieldProblem::EvidenceName`] for anything else. A name has one spelling.
pub(super) fn parse_evidence_name(name: &str, position: usize) -> Result<SetName, InvalidField> {
    let parse = |name: &str| {
        let letter_and_number = name.strip_prefix(EVIDENCE)?;
        let number = parse_number(letter_and_number.get(1..)?)?;
        match letter_and_number.as_bytes()[0] {
            b'c' => Some(SetName::Contact(ContactId(number))),
            b'e' => Some(SetName::Stored(number)),
            b'l' => Some(SetName::Link(ContactId(number))),
            _ => None,
        }
    };
    let path = FieldPath::EvidenceName(position);
    parse(name).ok_or(InvalidField { path, problem: FieldProblem::EvidenceName })
}

/// Returns a positive number of 64 bits. It has one spelling.
fn parse_number(digits: &str) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number && !digits.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_an_evidence_has_one_spelling() {
        for (set, name) in [
            (SetName::Contact(ContactId(3)), "evidence/c3"),
            (SetName::Stored(i64::MAX), "evidence/e9223372036854775807"),
            (SetName::Link(ContactId(10)), "evidence/l10"),
        ] {
            assert_eq!((&evidence_name(set)[..], parse_evidence_name(name, 0)), (name, Ok(set)));
        }
        for name in [
            "",
            "c3",
            "evidence/",
            "evidence/c",
            "evidence/3",
            "evidence/c0",
            "evidence/c03",
            "evidence/c-3",
            "evidence/c3 ",
            "evidence/C3",
            "evidence/x3",
            "evidence/é3",
            "evidence/cé",
            "evidence/c9223372036854775808",
            "identities/3",
            "evidence/a@b.co",
        ] {
            let error = parse_evidence_name(name, 7).unwrap_err();
            assert_eq!((error.path.name(), error.problem), ("without_evidence[7]".into(), FieldProblem::EvidenceName));
        }
    }

    #[test]
    fn a_name_has_one_spelling() {
        for id in [1, 7, 10, 9_007_199_254_740_993, i64::MAX] {
            let name = identity_name(ContactId(id));
            assert_eq!(parse_identity_name(&name, FieldPath::Name), Ok(ContactId(id)));
        }
        assert_eq!(contact_name(ContactId(3), ContactId(7)), "identities/3/contacts/7");
        for name in [
            "",
            "3",
            "identities/",
            "identities/0",
            "identities/03",
            "identities/-3",
            "identities/+3",
            "identities/3/",
            "identities/3 ",
            " identities/3",
            "Identities/3",
            "identities/3.0",
            "identities/three",
            "identities/3/contacts/7",
            "contacts/3",
            "identities/٣",
            "identities/9223372036854775808",
            "identities/99999999999999999999999999",
            "identities/a@b.co",
        ] {
            let error = parse_identity_name(name, FieldPath::Parent).unwrap_err();
            let expected = InvalidField { path: FieldPath::Parent, problem: FieldProblem::Name };
            assert_eq!(error, ApiError::InvalidFields(vec![expected]), "{name}");
        }
    }
}
