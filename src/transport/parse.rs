//! From the fields of a request to an observation.

use crate::domain::{Email, InvalidEmail, InvalidPhoneNumber, Observation, PhoneNumber, Region};

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

impl Field {
    /// Every field that carries an identifier.
    pub const ALL: [Self; 2] = [Self::Email, Self::PhoneNumber];

    /// The field's name at a API.
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

/// Returns the observation in a request. Absent, empty and blank all mean "not given". `region` is the one whose
/// dialling rules complete a phone number.
///
/// # Errors
/// At most one [`Violation`] for each field, and at least one in all.
pub fn parse(
    email: Option<&str>,
    phone_number: Option<&str>,
    region: Option<Region>,
) -> Result<Observation, Vec<Violation>> {
    let email = email.map_or(Ok(None), Email::parse);
    let phone_number = phone_number.map_or(Ok(None), |text| PhoneNumber::parse(text, region));
    match (email, phone_number) {
        (Ok(email), Ok(phone_number)) => {
            let identifiers = email.map(Into::into).into_iter().chain(phone_number.map(Into::into));
            Observation::new(identifiers)
                .map_err(|_| Field::ALL.map(|field| Violation { field, problem: Problem::Missing }).into())
        }
        (email, phone_number) => {
            let email = email.err().map(|error| Violation { field: Field::Email, problem: error.into() });
            let phone_number =
                phone_number.err().map(|error| Violation { field: Field::PhoneNumber, problem: error.into() });
            Err(email.into_iter().chain(phone_number).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(email: Option<&str>, phone_number: Option<&str>) -> Vec<Field> {
        parse(email, phone_number, None).unwrap_err().into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn either_identifier_is_enough() {
        for (email, phone) in
            [(Some("a@b.co"), None), (None, Some("1")), (Some("a@b.co"), Some(" ")), (Some(""), Some("1"))]
        {
            assert_eq!(parse(email, phone, None).unwrap().identifiers().len(), 1);
        }
        assert_eq!(parse(Some("a@b.co"), Some("1"), None).unwrap().identifiers().len(), 2);
    }

    #[test]
    fn neither_names_both_fields() {
        for (email, phone) in [(None, None), (Some(" "), None), (Some(""), Some("\t"))] {
            let violations = parse(email, phone, None).unwrap_err();
            assert_eq!(violations, Field::ALL.map(|field| Violation { field, problem: Problem::Missing }));
        }
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        assert_eq!(fields(Some("nobody"), Some("call me")), Field::ALL);
        assert_eq!(fields(Some("nobody"), None), [Field::Email]);
        assert_eq!(fields(Some("a@b.co"), Some("call me")), [Field::PhoneNumber]);
    }
}
