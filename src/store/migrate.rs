//! Creating and changing the tables, also when many replicas start at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::sea_query::{Query, SelectStatement};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, TransactionTrait};

use super::catalogue::Catalogue;
use super::database::Database;
use super::error::{Outage, StoreError};
use super::evidence_copy;
use super::schema::{self, CheckError, ForeignSchema};
use super::sql::Engine;

/// Why the tables could not be created or changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another process migrates the database and does not finish.
    #[error("another process has been migrating the database for {} s", LOCK_WAIT.as_secs())]
    Locked,
    /// Another process makes or drops the tables at this moment.
    #[error("another process makes or drops the tables: try again")]
    Changing,
    /// The tables are not this service's.
    #[error(transparent)]
    Foreign(#[from] ForeignSchema),
    /// Undoing the migrations would delete rows.
    #[error("this deletes the rows of {}: repeat it with --yes if that is what you want", .0.join(", "))]
    RowsWouldBeLost(Vec<&'static str>),
    /// The user may not read the tables.
    #[error("{}", Outage::Rights)]
    Rights,
    /// The database refuses. The text is for operators: it names tables, but no data.
    #[error("the database could not be migrated: {0}")]
    Database(DbErr),
}

/// The text has all of the cause, so the cause is no source: an operator would read it twice.
impl From<DbErr> for MigrateError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<CheckError> for MigrateError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Foreign(foreign) => Self::Foreign(foreign),
            CheckError::Rights => Self::Rights,
            CheckError::Changing => Self::Changing,
            CheckError::Database(error) => Self::Database(error),
        }
    }
}

/// The table in which SeaORM records the migrations.
const MIGRATIONS_TABLE: &str = "seaql_migrations";

/// A migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The migration's name.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// How long to wait for another process that migrates the database.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How often to try to get the lock meanwhile.
const LOCK_EVERY: Duration = Duration::from_millis(100);

impl Database {
    /// Applies every migration that the database does not have. Safe to call from many replicas at once.
    ///
    /// # Errors
    /// [`MigrateError`]. After [`MigrateError::Foreign`] nothing has changed.
    pub async fn migrate_up(&self) -> Result<(), MigrateError> {
        let begun = Instant::now();
        // Whether the database had no migration before. The usual start does not ask.
        let mut was_empty = None;
        loop {
            let is_migrated = self.is_migrated().await.unwrap_or(false);
            if !is_migrated && was_empty.is_none() {
                let applied = applied_migrations(&self.connection(), self.engine()).await;
                was_empty = applied.ok().map(|applied| applied.is_empty());
            }
            // The usual start needs no lock.
            let done = if is_migrated { self.check_schema().await } else { self.migrate_under_lock().await };
            match done {
                Err(error) if begun.elapsed() < LOCK_WAIT && self.is_of_a_race(&error, is_migrated).await => {
                    tokio::time::sleep(LOCK_EVERY.mul_f64(0.5 + fastrand::f64())).await;
                }
                Ok(()) => {
                    // Not before the lock is given back: on Galera, a row would be one more reason to lose a race.
                    if was_empty == Some(true) {
                        drop(evidence_copy::insert_new_state(&self.connection(), self.engine()).await);
                    }
                    // Without its row the evidence counts as incomplete, which is true of any database in doubt.
                    drop(self.evidence_state().await);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether an attempt to migrate failed because another replica migrates too. In a Galera cluster each server has a
    /// lock of its own, so two replicas on two servers can both hold it. The second one then gets such an error.
    async fn is_of_a_race(&self, error: &MigrateError, was_migrated: bool) -> bool {
        match error {
            MigrateError::Database(error) => {
                matches!(StoreError::from(error.clone()), StoreError::LostRace(_) | StoreError::DuplicateKey(_))
            }
            MigrateError::Changing => true,
            // The other one has made the tables meanwhile, and serves: it wrote the rows.
            MigrateError::Foreign(_) => !was_migrated && self.is_migrated().await.unwrap_or(false),
            MigrateError::Locked | MigrateError::RowsWouldBeLost(_) | MigrateError::Rights => false,
        }
    }

    async fn migrate_under_lock(&self) -> Result<(), MigrateError> {
        let lock = self.lock_migrations().await?;
        // On MySQL nothing undoes what a migration does, so the check comes first.
        let done = match check(&lock, self.engine(), &self.ignored_tables.0).await {
            Ok(()) => apply(&lock, self.engine()).await.map_err(MigrateError::from),
            Err(error) => Err(error),
        };
        self.unlock_migrations(lock, done).await
    }

    /// Fails unless the tables are this service's or are still to be made, and fails if another program keeps its
    /// contacts here. Changes nothing.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn check_schema(&self) -> Result<(), MigrateError> {
        check(&self.connection(), self.engine(), &self.ignored_tables.0).await
    }

    /// Fails unless the tables are this service's, whatever their rows say. Changes nothing.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn check_tables(&self) -> Result<(), MigrateError> {
        let (connection, engine) = (self.connection(), self.engine());
        let applied = applied_migrations(&connection, engine).await?;
        schema::check_tables(&connection, engine, &applied).await?;
        Ok(())
    }

    /// Undoes the last `steps` migrations, or all. The data of their tables is lost.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate_down(&self, steps: Option<u32>) -> Result<(), MigrateError> {
        let lock = self.lock_migrations().await?;
        let done = Migrator::down(&lock, steps).await.map_err(MigrateError::from);
        self.unlock_migrations(lock, done).await
    }

    /// The same, but only if no row is lost.
    ///
    /// # Errors
    /// [`MigrateError`]. After [`MigrateError::RowsWouldBeLost`] nothing has changed.
    pub async fn migrate_down_without_loss(&self, steps: Option<u32>) -> Result<(), MigrateError> {
        let lock = self.lock_migrations().await?;
        let done = match refuse_loss(&lock, self.engine(), steps).await {
            Ok(()) => Migrator::down(&lock, steps).await.map_err(MigrateError::from),
            Err(error) => Err(error),
        };
        self.unlock_migrations(lock, done).await
    }

    /// Returns all migrations, the oldest first, and whether the database has them. Changes nothing.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>, MigrateError> {
        let applied = applied_migrations(&self.connection(), self.engine()).await?;
        let status = |name: String| MigrationStatus { applied: applied.contains(&name), name };
        Ok(Migrator::migrations().iter().map(|migration| status(migration.name().to_owned())).collect())
    }

    /// Returns whether the database has every migration.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn is_migrated(&self) -> Result<bool, MigrateError> {
        Ok(self.migration_status().await?.iter().all(|migration| migration.applied))
    }

    /// Begins a transaction that holds the migration lock: SeaORM's migrator takes none.
    ///
    /// A transaction stays on one connection, so the lock is gone with the process, whatever happens to it. The
    /// migrations run in it too: the pool may have no other connection, and the write lock of an SQLite file keeps
    /// every other one out. (On MySQL each of their statements ends the transaction, but not the lock.)
    async fn lock_migrations(&self) -> Result<DatabaseTransaction, MigrateError> {
        let engine = self.engine();
        let begun = Instant::now();
        while begun.elapsed() < LOCK_WAIT {
            match self.connection().begin_with_options(self.begin_options()).await {
                Ok(lock) => {
                    if try_lock(&lock, engine).await? {
                        return Ok(lock);
                    }
                }
                // It waited for the write lock already, for as long as a connection does.
                Err(_) if engine.has_one_writer() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(LOCK_EVERY).await;
        }
        Err(MigrateError::Locked)
    }

    async fn unlock_migrations(
        &self,
        lock: DatabaseTransaction,
        done: Result<(), MigrateError>,
    ) -> Result<(), MigrateError> {
        if let Some(release) = self.engine().release_migration_lock() {
            // The first statement after a lost race only says that the transaction is over.
            if lock.execute_unprepared(&release).await.is_err() {
                lock.execute_unprepared(&release).await?;
            }
        }
        match done {
            Ok(()) => lock.commit().await?,
            Err(error) => {
                lock.rollback().await?;
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Returns the names of the migrations that the database has.
async fn applied_migrations(connection: &impl ConnectionTrait, engine: Engine) -> Result<BTreeSet<String>, DbErr> {
    if Catalogue::read(connection, engine).await?.table_named(MIGRATIONS_TABLE).is_none() {
        return Ok(BTreeSet::new());
    }
    let rows = connection.query_all(&applied_versions()).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The statement of [`applied_migrations`].
pub(super) fn applied_versions() -> SelectStatement {
    Query::select().column("version").from(MIGRATIONS_TABLE).take()
}

async fn check(
    connection: &impl ConnectionTrait,
    engine: Engine,
    ignored_tables: &[String],
) -> Result<(), MigrateError> {
    let applied = applied_migrations(connection, engine).await?;
    Ok(schema::check(connection, engine, &applied, ignored_tables).await?)
}

/// Fails if a table of the migrations to undo has rows.
async fn refuse_loss(lock: &DatabaseTransaction, engine: Engine, steps: Option<u32>) -> Result<(), MigrateError> {
    let applied = applied_migrations(lock, engine).await?;
    let steps = steps.and_then(|steps| usize::try_from(steps).ok()).unwrap_or(usize::MAX);
    let undone: Vec<String> = applied.into_iter().rev().take(steps).collect();
    let lost = schema::tables_with_rows(lock, engine, &undone).await?;
    if lost.is_empty() { Ok(()) } else { Err(MigrateError::RowsWouldBeLost(lost)) }
}

/// Applies every missing migration.
async fn apply(lock: &DatabaseTransaction, engine: Engine) -> Result<(), DbErr> {
    if let Some(create) = engine.create_migrations_table() {
        lock.execute_unprepared(create).await?;
    }
    Migrator::up(lock, None).await
}

/// Tries to take the migration lock, without waiting. Returns whether it was free.
async fn try_lock(lock: &DatabaseTransaction, engine: Engine) -> Result<bool, DbErr> {
    let Some(attempt) = engine.try_migration_lock() else { return Ok(true) };
    let Some(row) = lock.query_one_raw(engine.statement(attempt, Vec::new())).await? else { return Ok(false) };
    match engine {
        Engine::Mysql | Engine::Mariadb => Ok(row.try_get_by_index::<i64>(0)? == 1),
        Engine::Postgres | Engine::Sqlite => row.try_get_by_index(0),
    }
}
