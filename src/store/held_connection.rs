//! A connection that one statement or one transaction holds, over the driver itself: SeaORM's own connections and
//! transactions go back to the pool after each use, and its BEGIN cannot bring the clock along.

use std::sync::Arc;

use futures::lock::Mutex;
use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sea_query::Values;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, TransactionOptions, TransactionTrait,
};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Error};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::clock::Clock;
use super::connector::Connected;
use super::error::StoreError;
use super::kept_connections::{DriverConnection, Kept, KeptConnections};
use super::sql::Engine;

/// What statements run on.
#[derive(Debug)]
pub(super) enum StoreConnection {
    Held(HeldConnection),
    /// SQLite, outside of a transaction.
    Sqlite(DatabaseConnection),
    /// SQLite, in a transaction.
    SqliteTransaction(DatabaseTransaction),
}

impl Connected {
    /// Takes a connection for a statement.
    pub(super) async fn take(&self) -> Result<StoreConnection, DbErr> {
        match &self.kept {
            Some(home) => HeldConnection::take(home).await.map(StoreConnection::Held),
            None => Ok(StoreConnection::Sqlite(self.connection.clone())),
        }
    }

    /// Begins a transaction, and reads the clock with it. `options` are for SQLite.
    pub(super) async fn begin(&self, options: TransactionOptions) -> Result<(StoreConnection, Clock), StoreError> {
        match &self.kept {
            Some(home) => {
                let held = HeldConnection::take(home).await?;
                let clock = held.begin(self.engine).await?;
                Ok((StoreConnection::Held(held), clock))
            }
            None => {
                let transaction = self.connection.begin_with_options(options).await?;
                Ok((StoreConnection::SqliteTransaction(transaction), Clock::of_this_process()))
            }
        }
    }

    /// Asks whether the server answers, over a connection that answered a moment ago if there is one.
    pub(super) async fn ask(&self) -> Result<ExecResult, DbErr> {
        match self.kept.as_ref().and_then(HeldConnection::take_kept) {
            Some(kept) => kept.execute_unprepared("SELECT 1").await,
            None => self.connection.execute_unprepared("SELECT 1").await,
        }
    }
}

impl StoreConnection {
    /// Commits the transaction, if there is one.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        match self {
            Self::Held(held) => held.commit().await,
            Self::Sqlite(_) => Ok(()),
            Self::SqliteTransaction(transaction) => transaction.commit().await,
        }
    }
}

/// A connection to a server, and what is known of it.
///
/// Dropping it keeps it for the next statement or transaction, if its work has succeeded. A transaction that is open is
/// rolled back first. After an error, the pool gets it ([`KeptConnections`]).
#[derive(Debug)]
pub(super) struct HeldConnection {
    home: Arc<KeptConnections>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// `None` once it is dropped.
    kept: Option<Kept>,
    progress: Progress,
    is_in_transaction: bool,
}

/// How the last statement of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Succeeded,
    /// The database refused it. The connection is as it should be.
    Refused,
    /// It has not ended, or the connection broke.
    Unknown,
}

/// Does the same with a connection of each driver.
macro_rules! on_driver {
    ($driver:expr, $connection:ident => $work:expr) => {
        match $driver {
            DriverConnection::Mysql($connection) => $work,
            DriverConnection::Postgres($connection) => $work,
        }
    };
}

impl HeldConnection {
    /// Takes a connection.
    async fn take(home: &Arc<KeptConnections>) -> Result<Self, DbErr> {
        Ok(Self::new(home, home.take().await?))
    }

    /// Takes a connection that answered a moment ago, if there is one.
    fn take_kept(home: &Arc<KeptConnections>) -> Option<Self> {
        Some(Self::new(home, home.pop()?))
    }

    fn new(home: &Arc<KeptConnections>, kept: Kept) -> Self {
        let held = Held { kept: Some(kept), progress: Progress::Succeeded, is_in_transaction: false };
        Self { home: Arc::clone(home), held: Mutex::new(held) }
    }

    /// Begins a transaction and reads the clock, in one round trip.
    async fn begin(&self, engine: Engine) -> Result<Clock, StoreError> {
        let columns = engine.clock_columns().unwrap_or_default().join(", ");
        let mut held = self.held.lock().await;
        held.is_in_transaction = true;
        // Text without parameters: only so do both protocols take several statements at once.
        let begin = sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; SELECT {columns}")));
        let rows = on_driver!(held.driver()?, connection => {
            let rows = begin.fetch_all(&mut **connection).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect::<Vec<_>>())
        });
        let rows = held.end(rows).map_err(DbErr::Query)?;
        Clock::from_rows(engine, &rows)
    }

    async fn commit(self) -> Result<(), DbErr> {
        let mut held = self.held.lock().await;
        let committed = execute_text(held.driver()?, "COMMIT").await;
        held.end(committed).map_err(DbErr::Query)?;
        held.is_in_transaction = false;
        Ok(())
    }
}

impl Held {
    /// The connection, for a statement. [`Self::end`] follows, or the connection counts as broken.
    fn driver(&mut self) -> Result<&mut DriverConnection, DbErr> {
        self.progress = Progress::Unknown;
        let kept = self.kept.as_mut();
        Ok(&mut kept.ok_or_else(|| DbErr::Custom("the connection is gone".to_owned()))?.connection)
    }

    /// Notes how a statement ended.
    fn end<T>(&mut self, result: Result<T, Error>) -> Result<T, RuntimeErr> {
        self.progress = match &result {
            Ok(_) => Progress::Succeeded,
            Err(error) if error.as_database_error().is_some() => Progress::Refused,
            Err(_) => Progress::Unknown,
        };
        result.map_err(|error| RuntimeErr::SqlxError(error.into()))
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        let Held { kept, progress, is_in_transaction } = self.held.get_mut();
        let Some(kept) = kept.take() else { return };
        if Handle::try_current().is_err() {
            kept.close();
            return;
        }
        match (*progress, *is_in_transaction) {
            (Progress::Succeeded, false) => self.home.put(kept),
            (Progress::Refused, false) => drop(kept),
            (Progress::Succeeded, true) => drop(tokio::spawn(roll_back(Arc::clone(&self.home), kept, true))),
            (Progress::Refused, true) => drop(tokio::spawn(roll_back(Arc::clone(&self.home), kept, false))),
            (Progress::Unknown, _) => self.home.abandon(kept),
        }
    }
}

/// Rolls back the transaction of a connection, and keeps the connection if it may be kept.
async fn roll_back(home: Arc<KeptConnections>, mut kept: Kept, may_be_kept: bool) {
    match timeout(home.statement_timeout, execute_text(&mut kept.connection, "ROLLBACK")).await {
        Ok(Ok(())) if may_be_kept => home.put(kept),
        Ok(Ok(())) => drop(kept),
        Ok(Err(_)) | Err(_) => home.abandon(kept),
    }
}

/// Runs a statement that is not prepared.
async fn execute_text(driver: &mut DriverConnection, sql: &'static str) -> Result<(), Error> {
    on_driver!(driver, connection => sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop))
}

/// The values of a statement, as the driver takes them.
fn values(values: Option<Values>) -> SqlxValues {
    SqlxValues(values.unwrap_or_else(|| Values(Vec::new())))
}

#[async_trait]
impl ConnectionTrait for HeldConnection {
    fn get_database_backend(&self) -> DbBackend {
        self.home.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut held = self.held.lock().await;
        let query = (AssertSqlSafe(statement.sql), values(statement.values));
        let done = on_driver!(held.driver()?, connection => {
            sqlx::query_with(query.0, query.1).execute(&mut **connection).await.map(ExecResult::from)
        });
        held.end(done).map_err(DbErr::Exec)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let mut held = self.held.lock().await;
        let query = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let done = on_driver!(held.driver()?, connection => {
            query.execute(&mut **connection).await.map(ExecResult::from)
        });
        held.end(done).map_err(DbErr::Exec)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut held = self.held.lock().await;
        let query = (AssertSqlSafe(statement.sql), values(statement.values));
        let rows = on_driver!(held.driver()?, connection => {
            let rows = sqlx::query_with(query.0, query.1).fetch_all(&mut **connection).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        });
        held.end(rows).map_err(DbErr::Query)
    }
}

#[async_trait]
impl ConnectionTrait for StoreConnection {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Held(held) => held.get_database_backend(),
            Self::Sqlite(_) | Self::SqliteTransaction(_) => DbBackend::Sqlite,
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Held(held) => held.execute_raw(statement).await,
            Self::Sqlite(connection) => connection.execute_raw(statement).await,
            Self::SqliteTransaction(transaction) => transaction.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Held(held) => held.execute_unprepared(sql).await,
            Self::Sqlite(connection) => connection.execute_unprepared(sql).await,
            Self::SqliteTransaction(transaction) => transaction.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Held(held) => held.query_one_raw(statement).await,
            Self::Sqlite(connection) => connection.query_one_raw(statement).await,
            Self::SqliteTransaction(transaction) => transaction.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Held(held) => held.query_all_raw(statement).await,
            Self::Sqlite(connection) => connection.query_all_raw(statement).await,
            Self::SqliteTransaction(transaction) => transaction.query_all_raw(statement).await,
        }
    }
}
