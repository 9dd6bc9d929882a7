//! The identifiers in a request.

use std::collections::HashSet;

use crate::domain::{Email, Identifier, IdentifierKind, PhoneNumber};
use crate::proto::identity::v1 as pb;
use crate::settings::IdentifierSettings;
use crate::transport::errors::ApiError;
use crate::transport::invalid_field::{FieldPath, FieldProblem, IdentifierList, InvalidField, MAX_IDENTIFIERS};

/// An error names so many fields at most: it travels in headers.
const MAX_NAMED: usize = 10;

/// Returns the identifiers of a list that must have some, each once, in order.
///
/// # Errors
/// As [`parse_all`], or if there is none.
pub(super) fn parse_some(
    list: IdentifierList,
    identifiers: &[pb::Identifier],
    settings: &IdentifierSettings,
) -> Result<Vec<Identifier>, ApiError> {
    if identifiers.is_empty() {
        return Err(ApiError::of_field(FieldPath::List(list), FieldProblem::NoIdentifiers));
    }
    let mut seen = HashSet::new();
    let mut parsed = parse_all(list, identifiers, settings)?;
    parsed.retain(|identifier| seen.insert(identifier.clone()));
    Ok(parsed)
}

/// Returns the identifiers of a list, in order.
///
/// # Errors
/// If there are too many, or if one is malformed.
pub(super) fn parse_all(
    list: IdentifierList,
    identifiers: &[pb::Identifier],
    settings: &IdentifierSettings,
) -> Result<Vec<Identifier>, ApiError> {
    if identifiers.len() > MAX_IDENTIFIERS {
        return Err(ApiError::of_field(FieldPath::List(list), FieldProblem::TooManyIdentifiers));
    }
    let (mut parsed, mut wrong) = (Vec::with_capacity(identifiers.len()), Vec::new());
    for (position, identifier) in identifiers.iter().enumerate() {
        match parse_one(list, identifier, position, settings) {
            Ok(identifier) => parsed.push(identifier),
            Err(field) => wrong.push(field),
        }
    }
    named(wrong).map(|()| parsed)
}

/// Fails if fields are wrong. The error names the first of them.
///
/// # Errors
/// [`ApiError::InvalidFields`].
pub(super) fn named(mut wrong: Vec<InvalidField>) -> Result<(), ApiError> {
    wrong.truncate(MAX_NAMED);
    if wrong.is_empty() { Ok(()) } else { Err(ApiError::InvalidFields(wrong)) }
}

fn parse_one(
    list: IdentifierList,
    identifier: &pb::Identifier,
    position: usize,
    settings: &IdentifierSettings,
) -> Result<Identifier, InvalidField> {
    let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == identifier.kind);
    let kind = kind.ok_or(InvalidField { path: FieldPath::Kind(list, position), problem: FieldProblem::Kind })?;
    let invalid = |problem| InvalidField { path: FieldPath::Value(list, position), problem };
    let text = &identifier.value;
    let value = match kind {
        IdentifierKind::Email => Email::parse(text).map_err(|error| invalid(error.into()))?.map(Identifier::from),
        IdentifierKind::Phone => {
            let number = PhoneNumber::parse(text, settings.phone_region).map_err(|error| invalid(error.into()))?;
            number.map(Identifier::from)
        }
    };
    value.ok_or_else(|| invalid(FieldProblem::Missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn given(identifiers: &[(&str, &str)]) -> Result<Vec<Identifier>, ApiError> {
        let message = |(kind, value): &(&str, &str)| pb::Identifier { kind: (*kind).into(), value: (*value).into() };
        let settings = Settings::from_flags(["--invalid-identifiers", "ignore"]).unwrap().identify;
        parse_some(IdentifierList::Identifiers, &identifiers.iter().map(message).collect::<Vec<_>>(), &settings)
    }

    fn refused(identifiers: &[(&str, &str)]) -> (String, Vec<String>) {
        let error = given(identifiers).unwrap_err();
        let ApiError::InvalidFields(fields) = &error else { panic!("{error}") };
        (error.reason().0.into_owned(), fields.iter().map(|field| field.path.name()).collect())
    }

    #[test]
    fn identifiers_are_canonical_and_each_comes_once() {
        let all = [("phone", "12-34"), ("email", " A@B.co"), ("email", "a@b.co"), ("phone", "1234"), ("phone", "5")];
        let values: Vec<_> = given(&all).unwrap().iter().map(|one| one.value().to_owned()).collect();
        assert_eq!(values, ["1234", "a@b.co", "5"]);
    }

    #[test]
    fn each_wrong_field_is_named_and_no_value_is_shown() {
        assert_eq!(refused(&[]), ("IDENTIFIER_MISSING".to_owned(), vec!["identifiers".to_owned()]));
        let one = [("email", "a@b.co")];
        assert_eq!(refused(&one.repeat(1_001)), ("IDENTIFIERS_TOO_MANY".to_owned(), vec!["identifiers".to_owned()]));
        assert_eq!(given(&one.repeat(1_000)).unwrap().len(), 1);
        for (kind, value, reason, field) in [
            ("", "a@b.co", "IDENTIFIER_INVALID", "identifiers[1].kind"),
            ("Email", "a@b.co", "IDENTIFIER_INVALID", "identifiers[1].kind"),
            ("device", "7", "IDENTIFIER_INVALID", "identifiers[1].kind"),
            ("email", "", "IDENTIFIER_MISSING", "identifiers[1].value"),
            ("phone", " \t", "IDENTIFIER_MISSING", "identifiers[1].value"),
            ("email", "secret", "IDENTIFIER_INVALID", "identifiers[1].value"),
            ("phone", "secret", "IDENTIFIER_INVALID", "identifiers[1].value"),
            ("phone", "a@b.co", "IDENTIFIER_INVALID", "identifiers[1].value"),
        ] {
            let all = [("phone", "1"), (kind, value), ("phone", "2")];
            assert_eq!(refused(&all), (reason.to_owned(), vec![field.to_owned()]), "{kind} {value}");
            let status = given(&all).unwrap_err().status(crate::transport::parse::FieldNames::Proto);
            assert!(!status.message().contains("secret"));
        }
        let many = refused(&[("email", "x"); 50]);
        assert_eq!(many.1.len(), MAX_NAMED);
    }
}
