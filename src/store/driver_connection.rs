//! A connection of the driver, outside of its pool.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, Error, MySql, MySqlPool, PgPool, Postgres, Row};
use tokio::time::timeout;

use super::sql::postgres;

/// How long a connection may take to close. MySQL over TLS waits for the other end.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// A pool of sqlx.
#[derive(Debug)]
pub(super) enum DriverPool {
    Mysql(MySqlPool),
    Postgres(PgPool),
}

/// A connection of sqlx. Each way out of here has a bound, which dropping it does not have.
#[derive(Debug)]
pub(super) enum DriverConnection {
    Mysql(PoolConnection<MySql>),
    Postgres(PoolConnection<Postgres>),
}

/// Does the same with a connection of each driver.
macro_rules! on_driver {
    ($driver:expr, $connection:ident => $work:expr) => {
        match $driver {
            $crate::store::driver_connection::DriverConnection::Mysql($connection) => $work,
            $crate::store::driver_connection::DriverConnection::Postgres($connection) => $work,
        }
    };
}
pub(super) use on_driver;

impl DriverPool {
    pub(super) async fn acquire(&self) -> Result<DriverConnection, Error> {
        match self {
            Self::Mysql(pool) => pool.acquire().await.map(DriverConnection::Mysql),
            Self::Postgres(pool) => pool.acquire().await.map(DriverConnection::Postgres),
        }
    }
}

impl DriverConnection {
    /// Runs a statement that is not prepared. It reads first what an abandoned one has still to send.
    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        on_driver!(self, connection => sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop))
    }

    /// Rolls back the transaction, if one is open.
    ///
    /// PostgreSQL warns about a ROLLBACK without a transaction, so it is asked first. It refuses the question in a
    /// transaction that has failed.
    pub(super) async fn roll_back_if_open(&mut self) -> Result<(), Error> {
        if let Self::Postgres(connection) = self {
            let is_open = match sqlx::raw_sql(postgres::IS_IN_TRANSACTION).fetch_one(&mut **connection).await {
                Ok(row) => row.try_get(0)?,
                Err(error) if error.as_database_error().is_some() => true,
                Err(error) => return Err(error),
            };
            if !is_open {
                return Ok(());
            }
        }
        self.execute("ROLLBACK").await
    }

    /// Gives the connection back to its pool, which pings it. Without an answer in time it is closed, and its place in
    /// the pool is free.
    pub(super) async fn give_back(self, limit: Duration) {
        let _ = match self {
            Self::Mysql(mut connection) => timeout(limit, connection.return_to_pool()).await,
            Self::Postgres(mut connection) => timeout(limit, connection.return_to_pool()).await,
        };
    }

    /// Closes the connection. Its place in the pool is free at once.
    pub(super) async fn close(self) {
        let _ = match self {
            Self::Mysql(connection) => timeout(CLOSE_WITHIN, connection.detach().close()).await,
            Self::Postgres(connection) => timeout(CLOSE_WITHIN, connection.detach().close()).await,
        };
    }

    /// Closes the connection where no runtime is left, without a word to the server.
    pub(super) fn close_without_runtime(self) {
        match self {
            Self::Mysql(connection) => drop(connection.detach()),
            Self::Postgres(connection) => drop(connection.detach()),
        }
    }
}
