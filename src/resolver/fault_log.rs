//! The log of faults of the database.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreError;

/// A fault is logged again after this time, if it is still there.
const PERIOD: Duration = Duration::from_secs(60);

/// Logs each fault of the database once in a [`PERIOD`], however many requests it hits.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultLog(Arc<Mutex<HashMap<String, Instant>>>);

impl FaultLog {
    /// Logs the fault, unless it was logged a moment ago.
    pub(super) fn record(&self, error: &StoreError) {
        if self.is_due(error, Instant::now()) {
            tracing::error!(
                error.message = %error,
                "the database has a fault: look at its tables, triggers, indexes and settings"
            );
        }
    }

    /// Returns whether the fault gets a line now. The text of a fault is a code, so there are few.
    fn is_due(&self, error: &StoreError, now: Instant) -> bool {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        let is_due = logged.get(&text).is_none_or(|last| now.duration_since(*last) >= PERIOD);
        if is_due {
            logged.insert(text, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;

    #[test]
    fn each_fault_is_logged_once_in_a_period() {
        let (log, begin) = (FaultLog::default(), Instant::now());
        let is_due = |code: &str, after: Duration| log.is_due(&StoreError::Faulty(Cause::new(code)), begin + after);
        assert!(is_due("1442", Duration::ZERO));
        assert!(!is_due("1442", PERIOD / 2), "the same");
        assert!(is_due("1356", PERIOD / 2), "another");
        assert!(is_due("1442", PERIOD), "it is still there");
        assert!(!is_due("1442", PERIOD + PERIOD / 2));
    }
}
