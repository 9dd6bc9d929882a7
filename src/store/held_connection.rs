//! A connection that one statement or one transaction holds, over the driver itself: SeaORM's own connections and
//! transactions go back to the pool after each use, and its BEGIN cannot bring the clock along.

use std::sync::Arc;

use futures::lock::Mutex;
use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sea_query::Values;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Error};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::clock::Clock;
use super::driver_connection::{DriverConnection, on_driver};
use super::error::StoreError;
use super::kept_connections::{Kept, KeptConnections};
use super::sql::Engine;

/// Begins a transaction, and fails if there is none then.
const BEGIN: &str = "BEGIN; SAVEPOINT begun; RELEASE SAVEPOINT begun";

/// A connection to a server, and what is known of it.
///
/// Dropping it keeps it for the next statement or transaction, if its work has succeeded. After an error, the pool gets
/// it ([`KeptConnections`]). A transaction that may be open is rolled back first. If that does not succeed, the
/// connection is closed.
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

impl HeldConnection {
    /// Takes a connection.
    pub(super) async fn take(home: &Arc<KeptConnections>) -> Result<Self, DbErr> {
        Ok(Self::new(home, home.take().await?))
    }

    /// Takes a connection that answered a moment ago, if there is one.
    pub(super) fn take_kept(home: &Arc<KeptConnections>) -> Option<Self> {
        Some(Self::new(home, home.pop()?))
    }

    /// Takes the kept connection that waits longest, if there is one.
    pub(super) fn take_oldest(home: &Arc<KeptConnections>) -> Option<Self> {
        Some(Self::new(home, home.pop_oldest()?))
    }

    fn new(home: &Arc<KeptConnections>, kept: Kept) -> Self {
        let held = Held { kept: Some(kept), progress: Progress::Succeeded, is_in_transaction: false };
        Self { home: Arc::clone(home), held: Mutex::new(held) }
    }

    /// Begins a transaction and reads the clock, in one round trip.
    ///
    /// Without a transaction, no savepoint can be released: MySQL and MariaDB forget it at the end of its statement,
    /// and PostgreSQL refuses to set it. So a proxy that swallows BEGIN, or sends it elsewhere, is noticed here.
    pub(super) async fn begin(&self, engine: Engine) -> Result<Clock, StoreError> {
        let columns = engine.clock_columns().unwrap_or_default().join(", ");
        let mut held = self.held.lock().await;
        held.is_in_transaction = true;
        // Text without parameters: only so do both protocols take several statements at once.
        let begin = sqlx::raw_sql(AssertSqlSafe(format!("{BEGIN}; SELECT {columns}")));
        let rows = on_driver!(held.driver()?, connection => {
            let rows = begin.fetch_all(&mut **connection).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect::<Vec<_>>())
        });
        let rows = held.end(rows).map_err(DbErr::Query)?;
        Clock::from_rows(engine, &rows)
    }

    pub(super) async fn commit(self) -> Result<(), DbErr> {
        let mut held = self.held.lock().await;
        let committed = held.driver()?.execute("COMMIT").await;
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
            kept.connection.close_without_runtime();
            return;
        }
        match (*progress, *is_in_transaction) {
            (Progress::Succeeded, false) => self.home.put(kept),
            (Progress::Refused | Progress::Unknown, false) => self.home.give_back(kept),
            (progress, true) => drop(tokio::spawn(roll_back(Arc::clone(&self.home), kept, progress))),
        }
    }
}

/// Rolls back the transaction of a connection. Nothing else gets the connection before that has succeeded.
async fn roll_back(home: Arc<KeptConnections>, mut kept: Kept, progress: Progress) {
    let roll_back = async {
        match progress {
            Progress::Succeeded | Progress::Refused => kept.connection.execute("ROLLBACK").await,
            Progress::Unknown => kept.connection.roll_back_if_open().await,
        }
    };
    match timeout(home.statement_timeout, roll_back).await {
        Ok(Ok(())) if progress == Progress::Succeeded => home.put(kept),
        Ok(Ok(())) => home.give_back(kept),
        Ok(Err(_)) | Err(_) => kept.connection.close().await,
    }
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
