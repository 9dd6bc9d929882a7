//! An answer, with what the service left out of its request.

use super::parse::{Field, Violation};
use crate::domain::Answer;

/// The answer to a request, with the identifiers that the service left out of it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer of the resolver. It names those that are ignored.
    pub answer: Answer,
    /// Those that are malformed. Empty unless `INVALID_IDENTIFIERS` is `ignore`.
    pub ignored: Vec<Violation>,
}

/// Why an identifier of a request was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It is malformed.
    Malformed,
    /// An operator ignores it.
    Blocked,
}

impl Answered {
    /// Returns the fields that were left out, and why: those that are malformed first.
    pub fn left_out(&self) -> impl Iterator<Item = (Field, LeftOut)> {
        let malformed = self.ignored.iter().map(|violation| (violation.field, LeftOut::Malformed));
        let blocked = self.answer.ignored.iter().map(|identifier| (Field::of(identifier.kind()), LeftOut::Blocked));
        malformed.chain(blocked)
    }

    /// Returns the fields that were left out, as the JSON API has them: the name, and a reason unless it is that the
    /// value is malformed.
    pub fn left_out_in_json(&self) -> Vec<&'static str> {
        let name = |(field, reason)| match (field, reason) {
            (Field::Email, LeftOut::Malformed) => "email",
            (Field::Email, LeftOut::Blocked) => "email;reason=blocked",
            (Field::PhoneNumber, LeftOut::Malformed) => "phoneNumber",
            (Field::PhoneNumber, LeftOut::Blocked) => "phoneNumber;reason=blocked",
        };
        self.left_out().map(name).collect()
    }
}
