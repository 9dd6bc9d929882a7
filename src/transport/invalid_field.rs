//! What is wrong with a field of a request that reads the graph.

use tonic_types::FieldViolation;

use crate::domain::{InvalidEmail, InvalidPhoneNumber};

/// Maximum identifiers of one look-up.
pub const MAX_IDENTIFIERS: usize = 1_000;

/// A field, and what is wrong with it. It never holds a value of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField {
    /// The field.
    pub path: FieldPath,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// A field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldPath {
    /// `name`.
    Name,
    /// `parent`.
    Parent,
    /// `page_size`.
    PageSize,
    /// `page_token`.
    PageToken,
    /// `identifiers`.
    Identifiers,
    /// The kind of the identifier at this position.
    Kind(usize),
    /// The value of the identifier at this position.
    Value(usize),
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It is no name of an identity.
    #[error("must be identities/ and the id of a contact: a positive whole number of 64 bits, without leading zeros")]
    Name,
    /// It is negative.
    #[error("must not be negative")]
    PageSize,
    /// It is no token, or one of another list.
    #[error("must be the next_page_token of the page before, of the same list and the same parent")]
    PageToken,
    /// There are none.
    #[error("must have at least one identifier")]
    NoIdentifiers,
    /// There are too many.
    #[error("must have at most {MAX_IDENTIFIERS} identifiers")]
    TooManyIdentifiers,
    /// It is no kind that the service knows.
    #[error("must be email or phone")]
    Kind,
    /// It is empty or blank.
    #[error("must be given")]
    Missing,
    /// It is not an e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// It is not a phone number.
    #[error(transparent)]
    PhoneNumber(#[from] InvalidPhoneNumber),
}

impl FieldPath {
    /// Returns the name of the field.
    pub fn name(self) -> String {
        match self {
            Self::Name => "name".to_owned(),
            Self::Parent => "parent".to_owned(),
            Self::PageSize => "page_size".to_owned(),
            Self::PageToken => "page_token".to_owned(),
            Self::Identifiers => "identifiers".to_owned(),
            Self::Kind(position) => format!("identifiers[{position}].kind"),
            Self::Value(position) => format!("identifiers[{position}].value"),
        }
    }
}

impl FieldProblem {
    /// Returns the reason of the error, in UPPER_SNAKE case.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Name => "NAME_INVALID",
            Self::PageSize => "PAGE_SIZE_INVALID",
            Self::PageToken => "PAGE_TOKEN_INVALID",
            Self::NoIdentifiers | Self::Missing => "IDENTIFIER_MISSING",
            Self::TooManyIdentifiers => "IDENTIFIERS_TOO_MANY",
            Self::Kind | Self::Email(_) | Self::PhoneNumber(_) => "IDENTIFIER_INVALID",
        }
    }
}

impl InvalidField {
    /// Returns the field as a message for a developer.
    pub fn message(self) -> String {
        format!("{} {}", self.path.name(), self.problem)
    }

    /// Returns the field as a detail of an error.
    pub fn violation(self) -> FieldViolation {
        FieldViolation::new(self.path.name(), self.problem.to_string())
    }
}
