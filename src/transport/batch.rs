//! Batches: their items, and what the log counts of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::answered::Answered;
use super::batch_size::BatchSize;
use super::errors::ApiError;
use super::parse::Parsed;
use super::slices::Slices;
use crate::domain::Answer;
use crate::resolver::{Identify, IdentifyError, Reserved};

/// What an item says, or what is wrong with it.
pub type ParsedItem = Result<Parsed, ApiError>;

/// The result of an item.
pub type ItemResult = Result<Answered, ApiError>;

/// How many items a call had, for the log. It is an extension of the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemCounts {
    /// Items that were answered.
    pub items: u64,
    /// Items that were answered with an error.
    pub errors: u64,
    /// Of these, items that failed although there is nothing wrong with them.
    pub failed: u64,
}

impl ItemCounts {
    /// Counts an item.
    pub fn count(&mut self, error: Option<&ApiError>) {
        self.items += 1;
        self.errors += u64::from(error.is_some());
        self.failed += u64::from(error.is_some_and(ApiError::is_of_service));
    }
}

/// The item counts of a stream that is open. It is an extension of the response, which tells the listener that the call
/// does not end with the response's head.
#[derive(Clone, Debug, Default)]
pub struct StreamItemCounts(Arc<Mutex<ItemCounts>>);

impl StreamItemCounts {
    /// Counts an item.
    pub fn count(&self, error: Option<&ApiError>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(error);
    }

    /// The counts so far.
    pub fn snapshot(&self) -> ItemCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles a batch of `count` items. Items that are no request keep their error; all others are identified, in
/// order. The items are parsed one by one, in slices, once the resolver has room for all of them. `reserved` is the
/// place that the call has already.
///
/// # Errors
/// [`BatchSize`], [`IdentifyError::Overloaded`], an error of `items`, or the error that every request met. A batch
/// of which nothing could be done is one failed call, so that a caller's retry logic sees it.
pub async fn identify_batch<R: Identify>(
    resolver: &R,
    reserved: Reserved,
    count: usize,
    items: impl Iterator<Item = Result<ParsedItem, ApiError>> + Send,
    deadline: Instant,
) -> Result<Vec<ItemResult>, ApiError> {
    BatchSize::check(count)?;
    let admitted = resolver.admit(reserved, count, deadline).await?;
    let mut slices = Slices::until(deadline);
    let (mut parsed, mut requests) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for item in items {
        let item = item?;
        parsed.push(item.map(|Parsed { request, malformed }| {
            requests.push(request);
            malformed
        }));
        slices.pause().await?;
    }
    let answers =
        if requests.is_empty() { Vec::new() } else { resolver.identify_admitted(admitted, requests, deadline).await };
    if let Some(error) = common_error(&answers) {
        return Err(error.into());
    }
    let mut answers = answers.into_iter();
    // There is one for each request. A missing one would be a bug.
    let mut answered = |malformed| Answered::new(answers.next().unwrap_or(Err(IdentifyError::Internal)), malformed);
    Ok(parsed.into_iter().map(|item| item.and_then(&mut answered)).collect())
}

/// The error, if all answers are the same error of the service. That an identity is too large, or that all identifiers
/// are ignored, is the item's own error.
fn common_error(answers: &[Result<Answer, IdentifyError>]) -> Option<IdentifyError> {
    let first = *answers.first()?.as_ref().err()?;
    let is_of_item = matches!(first, IdentifyError::IdentityTooLarge(_) | IdentifyError::OnlyIgnored);
    (!is_of_item && answers.iter().all(|answer| answer.as_ref().err() == Some(&first))).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::IdentityTooLarge;
    use crate::resolver::{Admitted, IdentifyRequest};
    use crate::transport::slices::turns_of_others;

    /// It has room for every batch, and handles no request.
    #[derive(Clone)]
    struct Idle;

    impl Identify for Idle {
        async fn identify(&self, _: IdentifyRequest, _: Instant) -> Result<Answer, IdentifyError> {
            Err(IdentifyError::Internal)
        }

        async fn identify_admitted(
            &self,
            _: Admitted,
            _: Vec<IdentifyRequest>,
            _: Instant,
        ) -> Vec<Result<Answer, IdentifyError>> {
            Vec::new()
        }
    }

    /// Each item takes longer than a slice. This thread has no other turns than those that the batch gives away.
    #[tokio::test]
    async fn others_have_their_turns_while_a_batch_is_parsed() {
        let items = (0..20).map(|_| {
            std::thread::sleep(Duration::from_millis(1));
            Ok(Err(ApiError::Malformed("no request".to_owned())))
        });
        let deadline = Instant::now() + Duration::from_secs(60);
        let batch = identify_batch(&Idle, Reserved::default(), 20, items, deadline);
        let (results, turns) = turns_of_others(batch).await;
        assert_eq!(results.map(|results| results.len()), Ok(20));
        assert!(turns >= 20, "{turns} turns");
    }

    /// The deadline is looked at between two items.
    #[tokio::test]
    async fn a_batch_is_parsed_no_longer_than_its_deadline() {
        let deadline = Instant::now() + Duration::from_millis(5);
        let mut parsed = 0;
        let items = (0..1_000).map(|_| {
            parsed += 1;
            std::thread::sleep(Duration::from_millis(1));
            Ok(Err(ApiError::Malformed("no request".to_owned())))
        });
        let ended = identify_batch(&Idle, Reserved::default(), 1_000, items, deadline).await;
        assert_eq!(ended.err(), Some(IdentifyError::DeadlineExceeded.into()));
        assert!(parsed <= 5, "{parsed} items");
    }

    #[test]
    fn an_error_is_common_only_if_nothing_else_happened() {
        use IdentifyError::{Internal, Unavailable};
        assert_eq!(common_error(&[Err(Unavailable), Err(Unavailable)]), Some(Unavailable));
        assert_eq!(common_error(&[Err(Unavailable), Err(Internal)]), None);
        assert_eq!(common_error(&[]), None);
        let too_large = IdentifyError::IdentityTooLarge(IdentityTooLarge { limit: 1 });
        assert_eq!(common_error(&[Err(too_large)]), None, "an item's own error");
        assert_eq!(common_error(&[Err(IdentifyError::OnlyIgnored)]), None, "the same");
    }
}
