//! Making and changing the tables, when several replicas start at once.

use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, TransactionTrait};

use super::Database;

/// Why the tables could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another process migrates, and does not finish.
    #[error("another process has been migrating the database for {} s", LOCK_WAIT.as_secs())]
    Locked,
    /// The database refuses. For operators: names tables, but no data.
    #[error("the database could not be migrated: {0}")]
    Database(#[from] DbErr),
}

/// A migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// The migration's name.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// How long to wait for another process that migrates.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// How often to try meanwhile.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// The advisory lock's name on MySQL, which has one name space a server and 64 characters a name, and its number on PostgreSQL.
const LOCK_NAME: &str = "CONCAT('identity', SHA2(DATABASE(), 224))";
const LOCK_NUMBER: i64 = 0x6964_656e_7469_7479; // "identity"

impl Database {
    /// Applies every migration that the database does not have. Safe to call from many replicas at once.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate_up(&self) -> Result<(), MigrateError> {
        if self.is_migrated().await.unwrap_or(false) {
            return Ok(()); // The usual start takes no lock.
        }
        let lock = self.lock_migrations().await?;
        let done = Migrator::up(&lock, None).await;
        self.unlock_migrations(lock, done).await
    }

    /// Takes back the last `steps` migrations, or all; the data of their tables is lost.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate_down(&self, steps: Option<u32>) -> Result<(), MigrateError> {
        let lock = self.lock_migrations().await?;
        let done = Migrator::down(&lock, steps).await;
        self.unlock_migrations(lock, done).await
    }

    /// All migrations, the oldest first, and whether the database has them. Changes nothing.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>, MigrateError> {
        let applied = self.applied_migrations().await?;
        let status = |name: String| MigrationStatus { applied: applied.contains(&name), name };
        Ok(Migrator::migrations().iter().map(|migration| status(migration.name().to_owned())).collect())
    }

    /// Whether the database has every migration.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn is_migrated(&self) -> Result<bool, MigrateError> {
        Ok(self.migration_status().await?.iter().all(|migration| migration.applied))
    }

    async fn applied_migrations(&self) -> Result<Vec<String>, DbErr> {
        let connection = self.connection();
        let manager = migration::SchemaManager::new(&connection);
        if !manager.has_table("seaql_migrations").await? {
            return Ok(Vec::new());
        }
        let mut select = sea_orm::sea_query::Query::select();
        select.column("version").from("seaql_migrations");
        let rows = connection.query_all(&select).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// SeaORM's migrator takes no lock of its own. A transaction, because it stays on one connection, and so
    /// the lock is gone with the process whatever happens to it. The migrations run in it too: the pool may
    /// have no other connection, and the write lock of an SQLite file keeps every other one out. (On MySQL each
    /// of their statements ends the transaction, but not the lock.)
    async fn lock_migrations(&self) -> Result<DatabaseTransaction, MigrateError> {
        let begun = Instant::now();
        while begun.elapsed() < LOCK_WAIT {
            match self.connection().begin_with_options(self.begin_options()).await {
                Ok(lock) if self.is_sqlite() => return Ok(lock),
                Ok(lock) if try_lock(&lock).await? => return Ok(lock),
                Ok(_) => {}
                // It waited for the write lock already, for as long as a connection does.
                Err(_) if self.is_sqlite() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(LOCK_EVERY).await;
        }
        Err(MigrateError::Locked)
    }

    async fn unlock_migrations(&self, lock: DatabaseTransaction, done: Result<(), DbErr>) -> Result<(), MigrateError> {
        if lock.get_database_backend() == DbBackend::MySql {
            // Held by the connection, not by the transaction.
            lock.execute_unprepared(&format!("DO RELEASE_LOCK({LOCK_NAME})")).await?;
        }
        match done {
            Ok(()) => lock.commit().await?,
            Err(error) => {
                lock.rollback().await?;
                return Err(error.into());
            }
        }
        Ok(())
    }
}

async fn try_lock(lock: &DatabaseTransaction) -> Result<bool, DbErr> {
    let backend = lock.get_database_backend();
    let attempt = if backend == DbBackend::MySql {
        format!("SELECT CASE GET_LOCK({LOCK_NAME}, 0) WHEN 1 THEN TRUE ELSE FALSE END")
    } else {
        format!("SELECT pg_try_advisory_xact_lock({LOCK_NUMBER})")
    };
    let row = lock.query_one_raw(Statement::from_string(backend, attempt)).await?;
    match row {
        Some(row) if backend == DbBackend::MySql => Ok(row.try_get_by_index::<i64>(0)? == 1),
        Some(row) => row.try_get_by_index(0),
        None => Ok(false),
    }
}
