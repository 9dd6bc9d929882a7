use super::database::Database;
use super::error::StoreError;
use super::history::query_history;
use super::traits::HistoryRead;
use crate::domain::ContactId;
use crate::metrics::DatabaseOperation;

impl Database {
    /// Reads the history of an identity of any size, for commands. The statement takes no locks.
    ///
    /// # Errors
    /// As every read.
    pub async fn whole_history_of(&self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        lease
            .bounded(async { query_history(&lease.connected().take().await?, lease.engine(), contact, None).await })
            .await
    }
}
