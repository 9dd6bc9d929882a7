//! Creating and changing the tables, also when many replicas start at once.

use std::time::{Duration, Instant};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, TransactionTrait};

use super::database::Database;
use super::sql::Engine;

/// Why the tables could not be created or changed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another process migrates the database and does not finish.
    #[error("another process has been migrating the database for {} s", LOCK_WAIT.as_secs())]
    Locked,
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
    /// [`MigrateError`].
    pub async fn migrate_up(&self) -> Result<(), MigrateError> {
        if self.is_migrated().await.unwrap_or(false) {
            return Ok(()); // The usual start needs no lock.
        }
        let lock = self.lock_migrations().await?;
        let done = async {
            if let Some(create) = self.engine().create_migrations_table() {
                lock.execute_unprepared(create).await?;
            }
            Migrator::up(&lock, None).await
        };
        let done = done.await;
        self.unlock_migrations(lock, done).await
    }

    /// Undoes the last `steps` migrations, or all. The data of their tables is lost.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migrate_down(&self, steps: Option<u32>) -> Result<(), MigrateError> {
        let lock = self.lock_migrations().await?;
        let done = Migrator::down(&lock, steps).await;
        self.unlock_migrations(lock, done).await
    }

    /// Returns all migrations, the oldest first, and whether the database has them. Changes nothing.
    ///
    /// # Errors
    /// [`MigrateError`].
    pub async fn migration_status(&self) -> Result<Vec<MigrationStatus>, MigrateError> {
        let applied = self.applied_migrations().await?;
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

    async fn unlock_migrations(&self, lock: DatabaseTransaction, done: Result<(), DbErr>) -> Result<(), MigrateError> {
        if let Some(release) = self.engine().release_migration_lock() {
            lock.execute_unprepared(&release).await?;
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

/// Tries to take the migration lock, without waiting. Returns whether it was free.
async fn try_lock(lock: &DatabaseTransaction, engine: Engine) -> Result<bool, DbErr> {
    let Some(attempt) = engine.try_migration_lock() else { return Ok(true) };
    let Some(row) = lock.query_one_raw(engine.statement(attempt, Vec::new())).await? else { return Ok(false) };
    match engine {
        Engine::Mysql | Engine::Mariadb => Ok(row.try_get_by_index::<i64>(0)? == 1),
        Engine::Postgres | Engine::Sqlite => row.try_get_by_index(0),
    }
}
