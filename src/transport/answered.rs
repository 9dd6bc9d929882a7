//! An answer, with what the service left out of its request.

use super::parse::Violation;
use crate::domain::Answer;

/// The answer to a request, with the malformed identifiers that the service left out of it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The answer of the resolver.
    pub answer: Answer,
    /// Empty unless `INVALID_IDENTIFIERS` is `ignore`.
    pub ignored: Vec<Violation>,
}
