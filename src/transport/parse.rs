use crate::domain::{Email, InvalidEmail, InvalidPhoneNumber, Observation, PhoneNumber, Region};

/// A field of a request, one for each kind of identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The e-mail address.
    Email,
    /// The phone number.
    PhoneNumber,
}

/// How a API spells its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As the proto does: `phone_number`.
    Proto,
    /// As proto3 JSON does: `phoneNumber`.
    Json,
}

impl Field {
    /// Every field that carries an identifier.
    pub const ALL: [Self; 2] = [Self::Email, Self::PhoneNumber];

    /// The field's name at a API.
    pub fn name(self, naming: Naming) -> &'static str {
        match (self, naming) {
            (Self::Email, _) => "email",
            (Self::PhoneNumber, Naming::Proto) => "phone_number",
            (Self::PhoneNumber, Naming::Json) => "phoneNumber",
        }
    }
}

/// What is wrong with a field. Never holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No identifier at all was given.
    #[error("must be given, unless another identifier is")]
    Missing,
    /// No e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// No phone number.
    #[error(transparent)]
    PhoneNumber(#[from] InvalidPhoneNumber),
    /// JSON of another type than text, or text that is not Unicode.
    #[error("must be a string")]
    NotText,
    /// JSON that is neither text nor a plain run of digits.
    #[error("must be a string or a whole number without sign, fraction or exponent")]
    NotTextOrInteger,
    /// The field came under both of its spellings.
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

/// Reads what a request says. Absent, empty and blank all mean "not given"; `region` is the one whose
/// dialling rules complete a phone number.
///
/// # Errors
/// All that is wrong, at most one [`Violation`] for each field; never an empty list.
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
