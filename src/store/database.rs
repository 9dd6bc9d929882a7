//! [`Store`] and [`Transaction`] on MySQL, MariaDB, PostgreSQL and SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, SqliteTransactionMode, TransactionOptions};
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use super::connect_error::ConnectError;
use super::connector::MissingFile;
use super::error::StoreError;
use super::pool::{Lease, Pool};
use super::rows::check_takes_writes;
use super::sql::{Engine, sqlite};
use super::store_connection::StoreConnection;
use super::traits::{
    Epoch, ExpectedSize, FoundIdentities, HistoryRead, IfNothing, LookupResult, MAX_LOOKUP, RootWindow, Store,
    Transaction,
};
use super::{evidence, history, list, lock, lookup, notes, orphans, stored_sets, versions, write};
use crate::domain::graph::{SetName, SetNotes};
use crate::domain::{
    ContactId, Identifier, Identity, OwnerRow, Plan, RootRow, SetKey, StoredEvidence, StoredSets, Timestamp,
};
use crate::metrics::{DatabaseOperation, Metrics};
use crate::settings::{self, TableNames};

/// MySQL, MariaDB, PostgreSQL or SQLite through SeaORM. Clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Database {
    pub(super) pool: Pool,
    /// Tables of other systems that the operator knows.
    pub(super) ignored_tables: TableNames,
}

/// How long [`Database::close`] may take.
const WRITE_BACK_WITHIN: Duration = Duration::from_secs(2);

/// How long [`Database::wait_and_connect`] waits between two attempts.
const CONNECT_EVERY: Duration = Duration::from_millis(500);

impl Database {
    /// Connects to the first of the servers that takes writes. An SQLite file that does not exist is created.
    ///
    /// # Errors
    /// The error is worth another attempt unless it [is lasting](ConnectError::is_lasting).
    pub async fn connect(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        Ok(Self::new(Pool::connect(settings, MissingFile::Create).await?, settings))
    }

    fn new(pool: Pool, settings: &settings::DatabaseSettings) -> Self {
        Self { pool, ignored_tables: settings.ignore_table.clone() }
    }

    /// Connects, and tries again for up to [`settings::DatabaseSettings::wait`] while no server can be used yet.
    ///
    /// # Errors
    /// The last error.
    pub async fn wait_and_connect(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        Self::wait_and_connect_to(settings, MissingFile::Create).await
    }

    /// The same, but an SQLite file that does not exist is an error, and is not created.
    ///
    /// # Errors
    /// The last error.
    pub async fn wait_and_connect_existing(settings: &settings::DatabaseSettings) -> Result<Self, ConnectError> {
        Self::wait_and_connect_to(settings, MissingFile::Refuse).await
    }

    async fn wait_and_connect_to(
        settings: &settings::DatabaseSettings,
        missing_file: MissingFile,
    ) -> Result<Self, ConnectError> {
        let begun = Instant::now();
        let mut is_logged = false;
        loop {
            match Pool::connect(settings, missing_file).await {
                Ok(pool) => return Ok(Self::new(pool, settings)),
                Err(error) if !error.is_lasting() && begun.elapsed() < settings.wait => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::warn!(wait_s = settings.wait.as_secs(), reason = %error, "waiting for the database");
                    }
                    sleep(CONNECT_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Measures its operations from now on, and counts its connections and failovers.
    pub fn measure_by(&self, metrics: &Metrics) {
        self.pool.measure_by(metrics);
    }

    /// Ends the work with the database: nothing may use it any more. It takes two seconds at most, and cannot fail.
    ///
    /// On SQLite it writes everything into the database file, and removes the files beside it, unless another process
    /// uses them. Without that, the next start does it.
    pub async fn close(&self) {
        let lease = self.pool.current();
        if !lease.engine().is_one_file() {
            return;
        }
        let close = async {
            sqlite::write_back(lease.connection()).await?;
            // The last connection that is closed removes the files.
            lease.connection().close_by_ref().await?;
            Ok::<(), StoreError>(())
        };
        let reason = match timeout(WRITE_BACK_WITHIN, close).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(reason, "the database file is not complete without the files beside it (-wal, -shm)");
    }

    /// Opens a second connection, for work that runs one statement at a time. If a statement takes too long, an answer
    /// over another connection shows that the server is not lost, and that connection must be there before.
    ///
    /// # Errors
    /// As every read.
    pub async fn open_second_connection(&self) -> Result<(), StoreError> {
        let lease = self.pool.lease().await?;
        let open = async {
            let (first, second) = (lease.connected().take().await?, lease.connected().take().await?);
            first.execute_unprepared("SELECT 1").await?;
            second.execute_unprepared("SELECT 1").await.map(drop)
        };
        lease.bounded_question(open).await
    }

    /// The current connections, for work that is not on the hot path.
    pub fn connection(&self) -> DatabaseConnection {
        self.pool.current().connection().clone()
    }

    pub(super) fn engine(&self) -> Engine {
        self.pool.current().engine()
    }

    /// How transactions begin. Elsewhere than on SQLite the isolation level is a setting of the session.
    pub(super) fn begin_options(&self) -> TransactionOptions {
        let sqlite_transaction_mode = match self.engine() {
            Engine::Sqlite => Some(SqliteTransactionMode::Immediate),
            Engine::Mysql | Engine::Mariadb | Engine::Postgres => None,
        };
        TransactionOptions { sqlite_transaction_mode, ..Default::default() }
    }
}

/// A transaction at READ COMMITTED. On SQLite it holds the write lock from the start.
#[derive(Debug)]
pub struct DatabaseTransaction {
    pub(super) transaction: StoreConnection,
    pub(super) lease: Lease,
    /// The clock as the last statement has read it that did: the first, or the one that took locks.
    pub(super) clock: Clock,
}

/// Transactions that write at once, except on SQLite, which has one writer. While one waits for the disk or for a lock,
/// another works.
const WRITERS: usize = 2;

impl Store for Database {
    type Transaction = DatabaseTransaction;

    async fn find_identities(
        &self,
        identifiers: &[Identifier],
        size: ExpectedSize,
        if_nothing: IfNothing,
    ) -> Result<LookupResult, StoreError> {
        debug_assert!(identifiers.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        let engine = lease.engine();
        let read = async {
            let connection = lease.connected().take().await?;
            let found = lookup::query_identities(&connection, engine, identifiers, size).await?;
            let is_nothing = found.identities.is_empty() && found.ignored.is_empty();
            if is_nothing && if_nothing == IfNothing::CheckServer {
                check_takes_writes(&connection, engine).await?;
            }
            let is_checked = !is_nothing || if_nothing == IfNothing::CheckServer || engine.read_only_column().is_none();
            Ok::<_, StoreError>(LookupResult { found, is_latest: is_checked && !lease.is_one_of_several() })
        };
        lease.bounded(read).await
    }

    fn epoch(&self) -> Option<Epoch> {
        let lease = self.pool.current();
        (!lease.is_one_of_several()).then(|| lease.epoch())
    }

    async fn root_rows(&self, roots: &[ContactId]) -> Result<Vec<RootRow>, StoreError> {
        debug_assert!(roots.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let _timer = self.pool.timer(DatabaseOperation::CompareVersions);
        let lease = self.pool.lease().await?;
        lease
            .bounded(async { versions::query_root_rows(&lease.connected().take().await?, lease.engine(), roots).await })
            .await
    }

    async fn owner_rows(&self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        debug_assert!(identifiers.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        let read =
            async { versions::query_owner_rows(&lease.connected().take().await?, lease.engine(), identifiers).await };
        lease.bounded(read).await
    }

    async fn identities_of(&self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        debug_assert!(roots.len() <= MAX_LOOKUP, "more than one statement is no consistent read");
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        let read =
            async { lookup::query_identities_of(&lease.connected().take().await?, lease.engine(), roots, size).await };
        lease.bounded(read).await
    }

    async fn roots_after(&self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::List);
        let lease = self.pool.lease().await?;
        let read =
            async { list::query_roots_after(&lease.connected().take().await?, lease.engine(), after, limit).await };
        lease.bounded(read).await
    }

    async fn history_of(&self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        lease
            .bounded(async {
                let connection = lease.connected().take().await?;
                history::query_history(&connection, lease.engine(), contact, Some(history::LIMIT)).await
            })
            .await
    }

    async fn stored_sets(&self, sets: &[SetKey]) -> Result<StoredSets, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        lease
            .bounded(async {
                stored_sets::query_stored_sets(&lease.connected().take().await?, lease.engine(), sets).await
            })
            .await
    }

    async fn notes_of(&self, sets: &[SetName]) -> Result<SetNotes, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::LookUp);
        let lease = self.pool.lease().await?;
        let read = async { notes::query_notes(&lease.connected().take().await?, lease.engine(), sets).await };
        lease.bounded(read).await
    }

    async fn begin(&self) -> Result<DatabaseTransaction, StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::Begin);
        let lease = self.pool.lease().await?;
        let (transaction, clock) = lease.bounded_question(lease.connected().begin(self.begin_options())).await?;
        Ok(DatabaseTransaction { transaction, lease, clock })
    }

    async fn locked_by_others(&self, contacts: &BTreeSet<ContactId>) -> Result<BTreeSet<ContactId>, StoreError> {
        if self.engine().has_one_writer() {
            return Ok(BTreeSet::new());
        }
        let DatabaseTransaction { transaction, lease, .. } = self.begin().await?;
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        let _timer = lease.timer(DatabaseOperation::LockedByOthers);
        lease.bounded(lock::locked_by_others(&transaction, lease.engine(), &ids)).await
    }

    fn writers(&self) -> usize {
        if self.engine().has_one_writer() { 1 } else { WRITERS }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let _timer = self.pool.timer(DatabaseOperation::Ping);
        self.pool.check().await
    }
}

impl Transaction for DatabaseTransaction {
    fn is_exclusive(&self) -> bool {
        self.lease.engine().has_one_writer()
    }

    fn must_write_what_it_locks(&self) -> bool {
        self.lease.is_one_of_several()
    }

    async fn lock_contacts(
        &mut self,
        contacts: &BTreeSet<ContactId>,
    ) -> Result<BTreeMap<ContactId, Option<Timestamp>>, StoreError> {
        let ids: Vec<i64> = contacts.iter().map(|id| id.0).collect();
        let _timer = self.lease.timer(DatabaseOperation::Lock);
        let locked =
            self.lease.bounded_with_lock(lock::lock_contact_rows(&self.transaction, self.lease.engine(), &ids)).await?;
        self.clock = locked.clock.unwrap_or(self.clock);
        Ok(locked.updated_at)
    }

    async fn find_identities(
        &mut self,
        identifiers: &[Identifier],
        size: ExpectedSize,
    ) -> Result<FoundIdentities, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::LookUpLocked);
        self.lease.bounded(lookup::query_identities(&self.transaction, self.lease.engine(), identifiers, size)).await
    }

    async fn check_takes_writes(&mut self) -> Result<(), StoreError> {
        self.lease.bounded(check_takes_writes(&self.transaction, self.lease.engine())).await
    }

    async fn stored_evidence(
        &mut self,
        sets: &[SetKey],
        roots: &BTreeSet<ContactId>,
    ) -> Result<StoredEvidence, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::LookUpLocked);
        let (transaction, engine) = (&self.transaction, self.lease.engine());
        let read = async {
            let stored = stored_sets::query_stored_sets(transaction, engine, sets).await?;
            let counts = match stored.values().flatten().count() < sets.len() {
                true => evidence::count_sets(transaction, engine, roots).await?,
                false => BTreeMap::new(),
            };
            Ok::<_, StoreError>(StoredEvidence { sets: stored, counts })
        };
        self.lease.bounded(read).await
    }

    async fn lock_identifiers(&mut self, identifiers: &[Identifier]) -> Result<(), StoreError> {
        if !self.lease.is_one_of_several() {
            return Ok(());
        }
        let _timer = self.lease.timer(DatabaseOperation::Lock);
        self.lease.bounded_with_lock(lock::lock_identifiers(&self.transaction, self.lease.engine(), identifiers)).await
    }

    async fn identities_of(&mut self, roots: &[ContactId], size: ExpectedSize) -> Result<Vec<Identity>, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::LookUpLocked);
        self.lease.bounded(lookup::query_identities_of(&self.transaction, self.lease.engine(), roots, size)).await
    }

    async fn owner_rows(&mut self, identifiers: &[Identifier]) -> Result<Vec<OwnerRow>, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::LookUpLocked);
        self.lease.bounded(versions::query_owner_rows(&self.transaction, self.lease.engine(), identifiers)).await
    }

    async fn history_of(&mut self, contact: ContactId) -> Result<HistoryRead, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::LookUpLocked);
        let (transaction, engine) = (&self.transaction, self.lease.engine());
        self.lease.bounded(history::query_history(transaction, engine, contact, Some(history::LIMIT))).await
    }

    async fn roots_after(&mut self, after: Option<ContactId>, limit: usize) -> Result<RootWindow, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::List);
        let (engine, is_one_of_several) = (self.lease.engine(), self.lease.is_one_of_several());
        if !is_one_of_several {
            return self.lease.bounded(list::query_roots_after(&self.transaction, engine, after, limit)).await;
        }
        self.lease.bounded_with_lock(lock::lock_roots_after(&self.transaction, engine, after, limit)).await
    }

    async fn release_orphans(&mut self, identifiers: &[Identifier], at: Timestamp) -> Result<(), StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::Release);
        let release = async {
            let orphans = orphans::query_orphans(&self.transaction, self.lease.engine(), identifiers).await?;
            orphans::delete_orphans(&self.transaction, self.lease.engine(), &orphans, at).await
        };
        self.lease.bounded_with_lock(release).await
    }

    fn now(&self) -> Timestamp {
        self.clock.now
    }

    async fn apply(&mut self, plan: &Plan) -> Result<Vec<ContactId>, StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::Write);
        let (engine, id_step) = (self.lease.engine(), self.clock.id_step);
        self.lease.bounded_with_lock(write::apply(&self.transaction, engine, plan, id_step)).await
    }

    async fn commit(self) -> Result<(), StoreError> {
        let _timer = self.lease.timer(DatabaseOperation::Commit);
        self.lease.bounded_commit(self.transaction.commit()).await
    }
}
