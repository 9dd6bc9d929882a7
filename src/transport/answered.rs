//! An answer, with what the service left out of its request.

use super::errors::ApiError;
use super::parse::{Field, Violation};
use crate::domain::Answer;
use crate::resolver::IdentifyError;

/// The answer to a request, with the identifiers that the service left out of it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer of the resolver. It names those that are ignored.
    pub answer: Answer,
    /// Those that are malformed. Empty unless `INVALID_IDENTIFIERS` is `ignore`.
    pub malformed: Vec<Violation>,
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
    /// The answer to a request of which these identifiers are malformed.
    ///
    /// # Errors
    /// That of the resolver. But if all well-formed identifiers are ignored, what the caller can correct are the
    /// malformed ones: then the request fails as it does without a well-formed identifier.
    pub fn new(answer: Result<Answer, IdentifyError>, malformed: Vec<Violation>) -> Result<Self, ApiError> {
        match answer {
            Ok(answer) => Ok(Self { answer, malformed }),
            Err(IdentifyError::OnlyIgnored) if !malformed.is_empty() => Err(ApiError::Invalid(malformed)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the fields that were left out, and why: those that are malformed first.
    pub fn left_out(&self) -> impl Iterator<Item = (Field, LeftOut)> {
        let malformed = self.malformed.iter().map(|violation| (violation.field, LeftOut::Malformed));
        let blocked =
            self.answer.ignored.iter().map(|identifier| (Field::from_kind(identifier.kind()), LeftOut::Blocked));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::parse::Problem;

    #[test]
    fn what_the_caller_can_correct_is_named_if_the_rest_is_ignored() {
        let violation = Violation { field: Field::Email, problem: Problem::NotText };
        let refused = |error, malformed| Answered::new(Err(error), malformed).unwrap_err();
        assert_eq!(refused(IdentifyError::OnlyIgnored, vec![violation]), ApiError::Invalid(vec![violation]));
        assert_eq!(refused(IdentifyError::OnlyIgnored, Vec::new()), ApiError::Identify(IdentifyError::OnlyIgnored));
        assert_eq!(refused(IdentifyError::Internal, vec![violation]), ApiError::Identify(IdentifyError::Internal));
    }
}
