use tokio::time::sleep;

use super::backoff::{MAX_UNAVAILABLE_ATTEMPTS, jittered_pause};
use super::database_health::DatabaseHealth;
use crate::metrics::{RetryCause, WorkMetrics};
use crate::store::StoreError;

/// The attempts of one read outside a transaction.
#[derive(Default)]
pub(super) struct Attempts {
    lost_races: u32,
    unavailable: u32,
}

impl Attempts {
    /// Waits for the next attempt after one that failed.
    ///
    /// # Errors
    /// The same error, if another attempt does not help.
    pub(super) async fn next(
        &mut self,
        error: StoreError,
        database: &DatabaseHealth,
        work: &WorkMetrics,
    ) -> Result<(), StoreError> {
        if let StoreError::LostRace(_) = error {
            work.count_retry(RetryCause::LostRace);
            sleep(jittered_pause(self.lost_races)).await;
            self.lost_races += 1;
            return Ok(());
        }
        if !error.is_unavailable() {
            return Err(error);
        }
        self.unavailable += 1;
        if self.unavailable == MAX_UNAVAILABLE_ATTEMPTS || !database.is_reachable() {
            database.record_unreachable(&error);
            return Err(error);
        }
        work.count_retry(RetryCause::Unavailable);
        Ok(())
    }
}
