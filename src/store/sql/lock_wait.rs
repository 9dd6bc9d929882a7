//! How long transactions wait for locks.

use std::time::Duration;

/// The longest that a transaction waits for a row that another has locked.
const LONGEST: Duration = Duration::from_secs(2);

/// How long a transaction waits for a lock. It is less than a statement may take: a lock that is not free in time is a
/// lost race, not a database out of reach.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockWait {
    /// In whole seconds, at least one, as MySQL counts.
    pub(crate) whole_seconds: Duration,
    /// For databases that count milliseconds.
    pub(crate) exact: Duration,
}

impl LockWait {
    /// Two thirds of the statement timeout, at most 2 s.
    pub(crate) fn within(statement_timeout: Duration) -> Self {
        let exact = LONGEST.min(statement_timeout / 3 * 2);
        Self { whole_seconds: Duration::from_secs(exact.as_secs().max(1)), exact }
    }
}
