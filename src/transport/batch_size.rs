//! The size of a batch, in items and in bytes.

/// Maximum items of a batch. At some ten microseconds each in the database, it takes about as long as a caller likes to
/// wait; larger batches gain nothing.
pub const MAX_BATCH_ITEMS: usize = 1_000;

/// How many times as large as a single request a batch may be. With the default limit of 64 KiB, each of 1,000 items
/// has 1 KiB: several times the size of the longest identifiers.
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
}
