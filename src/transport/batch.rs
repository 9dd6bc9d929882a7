//! Batches: their size, their items, and what the log counts of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::errors::ApiError;
use crate::domain::{Answer, Observation};
use crate::resolver::{Identify, IdentifyError};

/// Maximum items of a batch. At some ten microseconds each in the database, it takes about as long as a caller likes to
/// wait; larger batches gain nothing.
pub const MAX_BATCH_ITEMS: usize = 1_000;

/// How many times as large as a single request a batch may be. With the default limit of 64 KiB, each of 1,000 items has
/// 1 KiB: several times the size of the longest identifiers.
const BATCH_BODY: usize = 16;

/// Returns the maximum size of a batch in bytes, if a single request may have `body_limit`.
pub fn batch_body_limit(body_limit: usize) -> usize {
    body_limit.saturating_mul(BATCH_BODY)
}

/// A batch with too few or too many items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchSize {
    /// No items: a mistake of the caller.
    #[error("requests must have at least one item")]
    Empty,
    /// More than [`MAX_BATCH_ITEMS`].
    #[error("requests must have at most {MAX_BATCH_ITEMS} items")]
    TooLong,
}

impl BatchSize {
    /// Checks the number of items.
    ///
    /// # Errors
    /// [`BatchSize`] says what is wrong.
    pub fn check(items: usize) -> Result<(), Self> {
        match items {
            0 => Err(Self::Empty),
            1..=MAX_BATCH_ITEMS => Ok(()),
            _ => Err(Self::TooLong),
        }
    }
}

/// The result of an item.
pub type ItemResult = Result<Answer, ApiError>;

/// How many items a call had, for the log. It is an extension of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// Items that were answered.
    pub items: u64,
    /// Items that were answered with an error.
    pub errors: u64,
}

impl ItemCounts {
    /// Counts the items of a batch.
    pub fn from_results(results: &[ItemResult]) -> Self {
        let mut counts = Self::default();
        results.iter().for_each(|result| counts.count(result.is_ok()));
        counts
    }

    /// Counts an item.
    pub fn count(&mut self, is_ok: bool) {
        self.items += 1;
        self.errors += u64::from(!is_ok);
    }
}

/// The item counts of a stream that is open. It is an extension of the response, which tells the listener that the call
/// does not end with the response's head.
#[derive(Clone, Debug, Default)]
pub struct StreamItemCounts(Arc<Mutex<ItemCounts>>);

impl StreamItemCounts {
    /// Counts an item.
    pub fn count(&self, is_ok: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(is_ok);
    }

    /// The counts so far.
    pub fn get(&self) -> ItemCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles a batch. Items that are no observation keep their error; all others are identified, in order.
///
/// # Errors
/// [`BatchSize`], [`IdentifyError::Overloaded`], or the error that every observation met. A batch of which nothing could
/// be done is one failed call, so that a caller's retry logic sees it.
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
    // There is one for each observation. A missing one would be a bug.
    let mut next = || answers.next().unwrap_or(Err(IdentifyError::Internal)).map_err(ApiError::from);
    Ok(items.into_iter().map(|item| item.and_then(|_| next())).collect())
}

/// The error, if all answers are the same error.
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
