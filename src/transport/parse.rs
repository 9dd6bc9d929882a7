//! From the fields of a request to an observation.

use crate::domain::{
    Email, Identifier, IdentifierKind, InvalidEmail, InvalidPhoneNumber, NoIdentifier, Observation, PhoneNumber,
};
use crate::resolver::IdentifyRequest;
use crate::settings::{IdentifierSettings, InvalidIdentifiers};

/// A field of a request, one for each kind of identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The e-mail address.
    Email,
    /// The phone number.
    PhoneNumber,
}

/// The spelling of field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldNames {
    /// That of the proto: `phone_number`.
    Proto,
    /// That of proto3 JSON: `phoneNumber`.
    Json,
}

impl FieldNames {
    /// The spelling for a call of the gRPC API with these request extensions. The JSON API calls it with its own.
    pub(crate) fn from_extensions(extensions: &http::Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Proto)
    }
}

impl Field {
    /// Every field that carries an identifier.
    pub const ALL: [Self; 2] = [Self::Email, Self::PhoneNumber];

    /// The kind of identifier that the field carries.
    pub fn kind(self) -> IdentifierKind {
        match self {
            Self::Email => IdentifierKind::Email,
            Self::PhoneNumber => IdentifierKind::Phone,
        }
    }

    /// The field that carries identifiers of this kind.
    pub fn from_kind(kind: IdentifierKind) -> Self {
        match kind {
            IdentifierKind::Email => Self::Email,
            IdentifierKind::Phone => Self::PhoneNumber,
        }
    }

    /// The field's name at an API.
    pub fn name(self, names: FieldNames) -> &'static str {
        match (self, names) {
            (Self::Email, _) => "email",
            (Self::PhoneNumber, FieldNames::Proto) => "phone_number",
            (Self::PhoneNumber, FieldNames::Json) => "phoneNumber",
        }
    }
}

/// What is wrong with a field. Never holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No identifier was given.
    #[error("must be given, unless another identifier is")]
    Missing,
    /// It is not an e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// It is not a phone number.
    #[error(transparent)]
    PhoneNumber(#[from] InvalidPhoneNumber),
    /// It is not a JSON string, or not Unicode.
    #[error("must be a string")]
    NotText,
    /// It is neither a JSON string nor a JSON number of digits alone.
    #[error("must be a string or a whole number without sign, fraction or exponent")]
    NotTextOrInteger,
    /// The field was given under both of its names.
    #[error("must be given once, not as phone_number too")]
    GivenTwice,
}

/// A field and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The field.
    pub field: Field,
    /// What is wrong with it.
    pub problem: Problem,
}

/// The text of a field, `None` if it is absent, or what is wrong with it already.
pub type FieldText<'a> = Result<Option<&'a str>, Problem>;

/// What a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Its well-formed identifiers, and what to do with them.
    pub request: IdentifyRequest,
    /// The malformed ones beside them, which the service leaves out; see [`InvalidIdentifiers::Ignore`].
    pub malformed: Vec<Violation>,
}

/// Returns what a request says that is carried out. Absent, empty and blank all mean "not given".
///
/// # Errors
/// At most one [`Violation`] for each field, and at least one in all.
pub fn parse(
    email: FieldText<'_>,
    phone_number: FieldText<'_>,
    settings: &IdentifierSettings,
) -> Result<Parsed, Vec<Violation>> {
    let email = email.and_then(|text| Ok(text.map_or(Ok(None), Email::parse)?));
    let phone_number = phone_number
        .and_then(|text| Ok(text.map_or(Ok(None), |text| PhoneNumber::parse(text, settings.phone_region))?));
    let mut violations = Vec::new();
    let mut well_formed = |field, parsed: Result<Option<Identifier>, Problem>| {
        parsed.unwrap_or_else(|problem| {
            violations.push(Violation { field, problem });
            None
        })
    };
    let email = well_formed(Field::Email, email.map(|email| email.map(Into::into)));
    let phone_number = well_formed(Field::PhoneNumber, phone_number.map(|number| number.map(Into::into)));
    if !violations.is_empty() && settings.invalid_identifiers == InvalidIdentifiers::Refuse {
        return Err(violations);
    }
    match Observation::new(email.into_iter().chain(phone_number)) {
        Ok(observation) => Ok(Parsed { request: observation.into(), malformed: violations }),
        Err(NoIdentifier) if violations.is_empty() => {
            Err(Field::ALL.map(|field| Violation { field, problem: Problem::Missing }).into())
        }
        Err(NoIdentifier) => Err(violations),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn settings(rule: &str) -> IdentifierSettings {
        Settings::from_flags(["--invalid-identifiers", rule]).unwrap().identify
    }

    fn refused(email: Option<&str>, phone_number: Option<&str>) -> Vec<Violation> {
        parse(Ok(email), Ok(phone_number), &settings("refuse")).unwrap_err()
    }

    fn fields(violations: &[Violation]) -> Vec<Field> {
        violations.iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn either_identifier_is_enough() {
        let number_of = |email, phone| {
            let parsed = parse(Ok(email), Ok(phone), &settings("refuse")).unwrap();
            assert_eq!(parsed.malformed, []);
            parsed.request.observation.identifiers().len()
        };
        for (email, phone) in
            [(Some("a@b.co"), None), (None, Some("1")), (Some("a@b.co"), Some(" ")), (Some(""), Some("1"))]
        {
            assert_eq!(number_of(email, phone), 1);
        }
        assert_eq!(number_of(Some("a@b.co"), Some("1")), 2);
    }

    #[test]
    fn neither_names_both_fields() {
        for (email, phone) in [(None, None), (Some(" "), None), (Some(""), Some("\t"))] {
            for rule in ["refuse", "ignore"] {
                let violations = parse(Ok(email), Ok(phone), &settings(rule)).unwrap_err();
                assert_eq!(violations, Field::ALL.map(|field| Violation { field, problem: Problem::Missing }));
            }
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        assert_eq!(fields(&refused(Some("nobody"), Some("call me"))), Field::ALL);
        assert_eq!(fields(&refused(Some("nobody"), None)), [Field::Email]);
        assert_eq!(fields(&refused(Some("a@b.co"), Some("call me"))), [Field::PhoneNumber]);
        let violations = parse(Err(Problem::NotText), Ok(Some("call me")), &settings("refuse")).unwrap_err();
        assert_eq!(fields(&violations), Field::ALL);
    }

    #[test]
    fn a_malformed_one_beside_a_good_one_can_be_left_out() {
        let ignore = settings("ignore");
        for (email, phone, left_out) in [
            (Ok(Some("a@b.co")), Ok(Some("N/A")), Field::PhoneNumber),
            (Ok(Some("a@b.co")), Err(Problem::NotTextOrInteger), Field::PhoneNumber),
            (Ok(Some("nobody")), Ok(Some("1")), Field::Email),
        ] {
            let parsed = parse(email, phone, &ignore).unwrap();
            assert_eq!(parsed.request.observation.identifiers().len(), 1);
            assert_eq!(fields(&parsed.malformed), [left_out]);
        }
        for (email, phone, wrong) in [
            (Some("nobody"), Some("N/A"), &Field::ALL[..]),
            (Some("nobody"), Some(" "), &[Field::Email]),
            (None, Some("N/A"), &[Field::PhoneNumber]),
        ] {
            assert_eq!(fields(&parse(Ok(email), Ok(phone), &ignore).unwrap_err()), wrong);
        }
    }
}
