use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::connect::locking_timeout;
use super::{MAX_FIND, Store, StoreError, Transaction, dialect, find, write};
use crate::domain::{ContactId, Identifier, Identity, Plan, Timestamp};

/// MySQL, MariaDB, PostgreSQL or SQLite through SeaORM. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) connection: DatabaseConnection,
    pub(super) statement_timeout: Duration,
}

impl Database {
    /// The connection, for what is not on the hot path.
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }
}

/// A transaction at READ COMMITTED, or on SQLite one that holds the write lock from the start.
#[derive(Debug)]
pub struct DatabaseTransaction {
    transaction: sea_orm::DatabaseTransaction,
    statement_timeout: Duration,
    /// That of a statement which may have to wait for a lock.
    locking_timeout: Duration,
    /// From one automatic id to the next; known with the clock.
    id_step: i64,
}

/// A database that hangs must not hang its callers.
async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, impl Into<StoreError>>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(StoreError::TimedOut(limit)),
    }
}

impl Store for Database {
    type Transaction = DatabaseTransaction;

    async fn find(&self, identifiers: &[Identifier]) -> Result<Vec<Identity>, StoreError> {
        debug_assert!(identifiers.len() <= MAX_FIND, "more than one statement is no consistent read");
        bounded(self.statement_timeout, find::find(&self.connection, identifiers)).await
    }

    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let sqlite = self.connection.get_database_backend() == DbBackend::Sqlite;
        let options = TransactionOptions {
            // The other databases' isolation level is a setting of the session, see `connect`.
            sqlite_transaction_mode: sqlite.then_some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let transaction = bounded(self.statement_timeout, self.connection.begin_with_options(options)).await?;
        Ok(DatabaseTransaction {
            transaction,
            statement_timeout: self.statement_timeout,
            locking_timeout: locking_timeout(self.connection.get_database_backend(), self.statement_timeout),
            id_step: 1,
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        bounded(self.statement_timeout, self.connection.execute_unprepared("SELECT 1")).await.map(drop)
    }
}

impl Transaction for DatabaseTransaction {
    fn is_exclusive(&self) -> bool {
        self.transaction.get_database_backend() == DbBackend::Sqlite
    }

    async fn lock(&mut self, contacts: &BTreeSet<ContactId>) -> Result<(), StoreError> {
        if self.is_exclusive() {
            return Ok(());
        }
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        bounded(self.locking_timeout, write::lock(&self.transaction, &ids)).await
    }

    async fn find(&mut self, identifiers: &[Identifier]) -> Result<Vec<Identity>, StoreError> {
        bounded(self.statement_timeout, find::find(&self.transaction, identifiers)).await
    }

    async fn release_orphans(&mut self, identifiers: &[Identifier]) -> Result<(), StoreError> {
        let release = async {
            let orphans = find::orphans(&self.transaction, identifiers).await?;
            write::release(&self.transaction, &orphans).await
        };
        bounded(self.locking_timeout, release).await
    }

    async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let (now, id_step) = bounded(self.statement_timeout, dialect::clock(&self.transaction)).await?;
        self.id_step = id_step;
        Ok(now)
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        bounded(self.locking_timeout, write::apply(&self.transaction, plan, self.id_step)).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        bounded(self.statement_timeout, self.transaction.commit()).await
    }
}
