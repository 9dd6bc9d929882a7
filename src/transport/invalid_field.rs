//! What is wrong with a field of a request that reads the graph.

use tonic_types::FieldViolation;

use crate::domain::{InvalidEmail, InvalidPhoneNumber};

/// Maximum identifiers of one list of a request, and maximum names of evidence.
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
    /// `read_time`.
    ReadTime,
    /// A list of identifiers.
    List(IdentifierList),
    /// The identifier at this position of a list.
    Entry(IdentifierList, usize),
    /// Its kind.
    Kind(IdentifierList, usize),
    /// Its value.
    Value(IdentifierList, usize),
    /// `without_evidence`.
    WithoutEvidence,
    /// The name at this position of it.
    EvidenceName(usize),
}

/// A field that is a list of identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierList {
    /// `identifiers`.
    Identifiers,
    /// `between`.
    Between,
    /// `without_identifiers`.
    WithoutIdentifiers,
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// It is no name of an identity.
    #[error("must be identities/ and the id of a contact: a positive whole number of 64 bits, without leading zeros")]
    Name,
    /// It is no name of an evidence.
    #[error("must be evidence/, one of the letters c, e and l, and a positive whole number without leading zeros")]
    EvidenceName,
    /// It is no moment.
    #[error("must be a moment of the years 1 to 9999")]
    ReadTime,
    /// It is later than the clock of the database.
    #[error("must not be later than the clock of the database")]
    ReadTimeLater,
    /// They are not two.
    #[error("must have no identifier, or two different ones")]
    BetweenCount,
    /// Something is to be left out, too.
    #[error("must not be given together with without_evidence or without_identifiers")]
    BetweenWithout,
    /// The identity does not have the identifier.
    #[error("must be an identifier of the identity that nobody ignores")]
    UnknownIdentifier,
    /// The identity does not have the evidence.
    #[error("must be the name of an evidence of the identity")]
    UnknownEvidence,
    /// There are too many names.
    #[error("must have at most {MAX_IDENTIFIERS} names")]
    TooMuchEvidence,
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
            Self::ReadTime => "read_time".to_owned(),
            Self::List(list) => list.name().to_owned(),
            Self::Entry(list, position) => format!("{}[{position}]", list.name()),
            Self::Kind(list, position) => format!("{}[{position}].kind", list.name()),
            Self::Value(list, position) => format!("{}[{position}].value", list.name()),
            Self::WithoutEvidence => "without_evidence".to_owned(),
            Self::EvidenceName(position) => format!("without_evidence[{position}]"),
        }
    }
}

impl IdentifierList {
    fn name(self) -> &'static str {
        match self {
            Self::Identifiers => "identifiers",
            Self::Between => "between",
            Self::WithoutIdentifiers => "without_identifiers",
        }
    }
}

impl FieldProblem {
    /// Returns whether a list has more entries than [`MAX_IDENTIFIERS`].
    pub fn is_too_many(self) -> bool {
        matches!(self, Self::TooManyIdentifiers | Self::TooMuchEvidence)
    }

    /// Returns the reason of the error, in UPPER_SNAKE case.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Name | Self::EvidenceName => "NAME_INVALID",
            Self::ReadTime | Self::ReadTimeLater => "READ_TIME_INVALID",
            Self::BetweenCount | Self::BetweenWithout => "BETWEEN_INVALID",
            Self::UnknownIdentifier => "IDENTIFIER_UNKNOWN",
            Self::UnknownEvidence => "EVIDENCE_UNKNOWN",
            Self::TooMuchEvidence => "EVIDENCE_TOO_MANY",
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
