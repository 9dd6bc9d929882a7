//! Names of resources: `identities/3`, `identities/3/contacts/7`.

use crate::domain::ContactId;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem, InvalidField};

const IDENTITIES: &str = "identities/";

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
    let id = name.strip_prefix(IDENTITIES).filter(|digits| !digits.starts_with('0') && is_number(digits));
    let id = id.and_then(|digits| digits.parse().ok()).map(ContactId);
    id.ok_or_else(|| ApiError::InvalidFields(vec![InvalidField { path, problem: FieldProblem::Name }]))
}

fn is_number(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

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
