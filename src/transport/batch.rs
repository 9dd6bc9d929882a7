use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::ApiError;
use crate::domain::{Answer, Observation};
use crate::resolver::{Identify, IdentifyError};

/// The most items of a batch: at some ten microseconds each in the database, about as long as a caller
/// likes to wait, and more at once gains nothing.
pub const MAX_BATCH_ITEMS: usize = 1_000;

/// How many times as large as a single request a batch may be. With the default limit of 64 KiB that
/// leaves 1 KiB for each of 1,000 items, several times what the longest identifiers take.
const BATCH_BODY: usize = 16;

/// The most bytes of a batch where a request may have `body_limit`.
pub fn batch_body_limit(body_limit: usize) -> usize {
    body_limit.saturating_mul(BATCH_BODY)
}

/// A batch of a size that is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchSize {
    /// Nothing to do is a slip of the caller's.
    #[error("requests must have at least one item")]
    Empty,
    /// More than [`MAX_BATCH_ITEMS`].
    #[error("requests must have at most {MAX_BATCH_ITEMS} items")]
    TooLong,
}

impl BatchSize {
    /// Whether so many items are a batch.
    ///
    /// # Errors
    /// The reason why not.
    pub fn check(items: usize) -> Result<(), Self> {
        match items {
            0 => Err(Self::Empty),
            1..=MAX_BATCH_ITEMS => Ok(()),
            _ => Err(Self::TooLong),
        }
    }
}

/// What became of an item.
pub type ItemResult = Result<Answer, ApiError>;

/// How many items a call had, for the log: an extension of its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Items that were answered.
    pub items: u64,
    /// Those of them that were answered with an error.
    pub errors: u64,
}

impl Tally {
    /// The tally of a batch.
    pub fn of(results: &[ItemResult]) -> Self {
        let mut tally = Self::default();
        results.iter().for_each(|result| tally.count(result.is_ok()));
        tally
    }

    /// One more item.
    pub fn count(&mut self, is_ok: bool) {
        self.items += 1;
        self.errors += u64::from(!is_ok);
    }
}

/// The tally of a stream, while it grows: an extension of the answer, by which the server knows that the
/// call is not over with the answer's head.
#[derive(Clone, Debug, Default)]
pub struct OpenTally(Arc<Mutex<Tally>>);

impl OpenTally {
    /// One more item.
    pub fn count(&self, is_ok: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(is_ok);
    }

    /// The tally so far.
    pub fn get(&self) -> Tally {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles a batch: what is no observation keeps its fault, all others are identified, in order.
///
/// # Errors
/// [`BatchSize`], [`IdentifyError::Overloaded`], or the error that every observation met alike: a batch of
/// which nothing could be done is one failed call, so that whatever retries calls retries it.
pub async fn identify_batch<R: Identify>(
    resolver: &R,
    items: Vec<Result<Observation, ApiError>>,
    deadline: Instant,
) -> Result<Vec<ItemResult>, ApiError> {
    BatchSize::check(items.len())?;
    let observations: Vec<Observation> = items.iter().filter_map(|item| item.as_ref().ok().cloned()).collect();
    let answers =
        if observations.is_empty() { Vec::new() } else { resolver.identify_all(observations, deadline).await? };
    if let Some(error) = common_error(&answers) {
        return Err(error.into());
    }
    let mut answers = answers.into_iter();
    // One for each observation; if one were missing, it would be a fault of ours.
    let mut next = || answers.next().unwrap_or(Err(IdentifyError::Internal)).map_err(ApiError::from);
    Ok(items.into_iter().map(|item| item.and_then(|_| next())).collect())
}

/// The error that all answers are, if they are.
fn common_error(answers: &[Result<Answer, IdentifyError>]) -> Option<IdentifyError> {
    let first = *answers.first()?.as_ref().err()?;
    answers.iter().all(|answer| answer.as_ref().err() == Some(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_one_item_to_a_thousand() {
        assert_eq!(BatchSize::check(0), Err(BatchSize::Empty));
        assert_eq!(BatchSize::check(1), Ok(()));
        assert_eq!(BatchSize::check(1_000), Ok(()));
        assert_eq!(BatchSize::check(1_001), Err(BatchSize::TooLong));
    }

    #[test]
    fn an_error_is_common_only_if_nothing_else_happened() {
        use IdentifyError::{Internal, Unavailable};
        assert_eq!(common_error(&[Err(Unavailable), Err(Unavailable)]), Some(Unavailable));
        assert_eq!(common_error(&[Err(Unavailable), Err(Internal)]), None);
        assert_eq!(common_error(&[]), None);
    }
}
