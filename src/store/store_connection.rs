//! What the statements of the store run on: connections of the driver to a server, or SeaORM's own to SQLite.

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions, TransactionTrait,
};

use super::clock::Clock;
use super::connector::Connected;
use super::error::StoreError;
use super::held_connection::HeldConnection;

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

    /// Takes a connection for a probe: of the kept ones the one that waits longest, so that probes reach all of them.
    pub(super) async fn take_oldest(&self) -> Result<StoreConnection, DbErr> {
        match self.kept.as_ref().and_then(HeldConnection::take_oldest) {
            Some(held) => Ok(StoreConnection::Held(held)),
            None => self.take().await,
        }
    }

    /// Returns whether the server answers, over a connection that answered a moment ago if there is one.
    pub(super) async fn query_alive(&self) -> Result<ExecResult, DbErr> {
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
