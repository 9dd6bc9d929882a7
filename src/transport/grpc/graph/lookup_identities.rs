use std::collections::HashSet;

use bytes::Bytes;

use super::call::Call;
use super::identity_message::{identifier_message, identity_message, size_in_list};
use crate::domain::{Email, Identifier, IdentifierKind, PhoneNumber};
use crate::proto::identity::v1 as pb;
use crate::resolver::ReadGraph;
use crate::settings::IdentifierSettings;
use crate::transport::batch_size::MAX_BATCH_ITEMS;
use crate::transport::errors::ApiError;
use crate::transport::grpc::batch_request::{self, EncodedItems};
use crate::transport::invalid_field::{FieldPath, FieldProblem, InvalidField, MAX_IDENTIFIERS};
use crate::transport::slices::Slices;

/// An error names so many fields at most: it travels in headers.
const MAX_NAMED: usize = 10;

/// Decodes a request, unless it has too many identifiers. Those are not decoded.
///
/// # Errors
/// As the proto says.
pub(super) fn decode(message: Bytes) -> Result<pb::LookupIdentitiesRequest, ApiError> {
    const { assert!(MAX_IDENTIFIERS <= MAX_BATCH_ITEMS, "counting stops above that") };
    if EncodedItems::new(message.clone()).count_up_to_limit()? > MAX_IDENTIFIERS {
        return Err(too_many());
    }
    batch_request::decode(message)
}

fn too_many() -> ApiError {
    let problem = FieldProblem::TooManyIdentifiers;
    ApiError::InvalidFields(vec![InvalidField { path: FieldPath::Identifiers, problem }])
}

/// Answers `LookupIdentities`.
///
/// # Errors
/// As the proto says.
pub(super) async fn answer<R: ReadGraph>(
    call: Call<R>,
    request: &pb::LookupIdentitiesRequest,
) -> Result<pb::LookupIdentitiesResponse, ApiError> {
    let identifiers = parse(&request.identifiers, &call.identify)?;
    let found = call.resolver.look_up(call.place(), identifiers, call.deadline).await?;

    let too_large = || ApiError::LookUpTooLarge { limit: call.answer_limit };
    let slices = &mut Slices::of_answer(call.deadline);
    let unknown: Vec<pb::Identifier> = found.unknown.iter().map(identifier_message).collect();
    let taken: usize = unknown.iter().map(size_in_list).sum();
    let mut room = call.room().checked_sub(taken).ok_or_else(too_large)?;
    let mut response = pb::LookupIdentitiesResponse { identities: Vec::new(), unknown };
    for identity in &found.identities {
        let message = identity_message(identity, room, slices).await?;
        let size = size_in_list(&message);
        let is_alone = found.identities.len() == 1;
        if !is_alone && (message.truncated || size > room) {
            return Err(too_large());
        }
        room = room.saturating_sub(size);
        response.identities.push(message);
    }
    Ok(response)
}

/// Returns the identifiers of a request, each once, in order.
fn parse(identifiers: &[pb::Identifier], settings: &IdentifierSettings) -> Result<Vec<Identifier>, ApiError> {
    let invalid = |path, problem| InvalidField { path, problem };
    match identifiers.len() {
        0 => return Err(ApiError::InvalidFields(vec![invalid(FieldPath::Identifiers, FieldProblem::NoIdentifiers)])),
        1..=MAX_IDENTIFIERS => {}
        _ => return Err(too_many()),
    }
    let (mut parsed, mut seen, mut wrong) = (Vec::with_capacity(identifiers.len()), HashSet::new(), Vec::new());
    for (position, identifier) in identifiers.iter().enumerate() {
        match parse_one(identifier, position, settings) {
            Ok(identifier) if seen.insert(identifier.clone()) => parsed.push(identifier),
            Ok(_) => {}
            Err(field) => wrong.push(field),
        }
    }
    wrong.truncate(MAX_NAMED);
    if wrong.is_empty() { Ok(parsed) } else { Err(ApiError::InvalidFields(wrong)) }
}

fn parse_one(
    identifier: &pb::Identifier,
    position: usize,
    settings: &IdentifierSettings,
) -> Result<Identifier, InvalidField> {
    let kind = IdentifierKind::ALL.into_iter().find(|kind| kind.name() == identifier.kind);
    let kind = kind.ok_or(InvalidField { path: FieldPath::Kind(position), problem: FieldProblem::Kind })?;
    let invalid = |problem| InvalidField { path: FieldPath::Value(position), problem };
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
        parse(&identifiers.iter().map(message).collect::<Vec<_>>(), &settings)
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
