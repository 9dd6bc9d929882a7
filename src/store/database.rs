use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::dialect::Clock;
use super::pool::{Lease, Pool};
use super::{LookupResult, MAX_LOOKUP, Store, StoreError, Transaction, find, write};
use crate::domain::{ContactId, Identifier, Identity, Plan, Timestamp};

/// MySQL, MariaDB, PostgreSQL or SQLite through SeaORM. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) pool: Pool,
}

impl Database {
    /// The connections as they are now, for what is not on the hot path.
    pub fn connection(&self) -> DatabaseConnection {
        self.pool.any().connection().clone()
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.pool.any().connection().get_database_backend() == DbBackend::Sqlite
    }

    /// How transactions begin. The other databases' isolation level is a setting of the session, see `session`.
    pub(super) fn begin_options(&self) -> TransactionOptions {
        TransactionOptions {
            sqlite_transaction_mode: self.is_sqlite().then_some(SqliteTransactionMode::Immediate),
            ..Default::default()
        }
    }
}

/// A transaction at READ COMMITTED, or on SQLite one that holds the write lock from the start.
#[derive(Debug)]
pub struct DatabaseTransaction {
    pub(super) transaction: sea_orm::DatabaseTransaction,
    pub(super) lease: Lease,
    /// As some statement has told it.
    clock: Option<Clock>,
}

/// Writing transactions at once, but on SQLite, which has one writer: while one waits for the disk, or for a row
/// that somebody has locked, another works.
const WRITERS: usize = 2;

impl Store for Database {
    type Transaction = DatabaseTransaction;

    async fn find_identities(&self, identifiers: &[Identifier]) -> Result<LookupResult, StoreError> {
        debug_assert!(identifiers.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let lease = self.pool.lease().await?;
        let identities = lease.bounded(find::find(lease.connection(), identifiers)).await?;
        Ok(LookupResult { identities, is_latest: !lease.is_one_of_several() })
    }

    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let lease = self.pool.lease().await?;
        let transaction = lease.bounded(lease.connection().begin_with_options(self.begin_options())).await?;
        Ok(DatabaseTransaction { transaction, lease, clock: None })
    }

    async fn locked_by_others(&self, contacts: &BTreeSet<ContactId>) -> Result<BTreeSet<ContactId>, StoreError> {
        if self.is_sqlite() {
            return Ok(BTreeSet::new());
        }
        let DatabaseTransaction { transaction, lease, .. } = self.begin().await?;
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        lease.bounded(write::locked(&transaction, &ids)).await
    }

    fn writers(&self) -> usize {
        if self.is_sqlite() { 1 } else { WRITERS }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.pool.ask().await
    }
}

impl Transaction for DatabaseTransaction {
    fn is_exclusive(&self) -> bool {
        self.transaction.get_database_backend() == DbBackend::Sqlite
    }

    fn must_write_what_it_locks(&self) -> bool {
        self.lease.is_one_of_several()
    }

    async fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError> {
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        let locked = self.lease.bounded_with_lock(write::lock(&self.transaction, &ids)).await?;
        self.clock = locked.clock;
        Ok(locked.written)
    }

    async fn find_identities(&mut self, identifiers: &[Identifier]) -> Result<Vec<Identity>, StoreError> {
        self.lease.bounded(find::find(&self.transaction, identifiers)).await
    }

    async fn release_orphans(&mut self, identifiers: &[Identifier], at: Timestamp) -> Result<(), StoreError> {
        let release = async {
            let orphans = find::orphans(&self.transaction, identifiers).await?;
            write::release(&self.transaction, &orphans, at).await
        };
        self.lease.bounded_with_lock(release).await
    }

    async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let clock = match self.clock {
            Some(clock) => clock,
            None => self.lease.bounded(Clock::ask(&self.transaction)).await?,
        };
        self.clock = Some(clock);
        Ok(clock.now)
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let id_step = self.clock.map_or(1, |clock| clock.id_step);
        self.lease.bounded_with_lock(write::apply(&self.transaction, plan, id_step)).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.lease.committed(self.transaction.commit()).await
    }
}
