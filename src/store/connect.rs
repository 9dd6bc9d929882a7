use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

use super::Database;

/// Where the database is and how it is used.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// `mysql://`, `postgres://` or `sqlite://`.
    pub url: SecretString,
    /// The most connections at once.
    pub max_connections: u32,
    /// How long one statement may take before the database counts as unreachable.
    pub statement_timeout: Duration,
}

/// Why there is no connection, in one line for the operator. Names no host, no user and no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers there (yet).
    #[error("the database does not answer")]
    Unreachable,
    /// It answers, and wants neither of us. Trying again does not help.
    #[error("{0}")]
    Refused(&'static str),
}

/// How long a transaction waits for a row that another has locked: less than a statement may take, so that
/// a lock that is not had is a lost race and not a database out of reach. Also in the sessions below.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// A connection unused for so long is asked whether it still works before it is used: a database that was
/// restarted leaves a pool full of dead ones.
const PING_IDLE_FOR: Duration = Duration::from_secs(1);

impl Database {
    /// Connects a pool to the database; the first connection proves that it works.
    ///
    /// # Errors
    /// [`ConnectError::Unreachable`] is worth another try.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ConnectError> {
        let url = options.url.expose_secret();
        let mut connect = sea_orm::ConnectOptions::new(url);
        let limit = options.statement_timeout;
        connect
            .max_connections(options.max_connections)
            .connect_timeout(options.statement_timeout)
            .acquire_timeout(options.statement_timeout)
            .test_before_acquire_if_idle_for(PING_IDLE_FOR)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_mysql_pool_opts(move |pool| {
                pool.after_connect(|connection, _| {
                    Box::pin(async { connection.execute(MYSQL_SESSION).await.map(drop) })
                })
                // What a cancelled statement left must be read before the connection is used again; where it
                // never comes, the pool would wait for it for ever, and have a place less.
                .after_release(move |connection, _| {
                    Box::pin(async move {
                        match tokio::time::timeout(limit, connection.flush()).await {
                            Ok(flushed) => flushed.map(|()| true),
                            Err(_) => Err(sqlx::Error::PoolTimedOut),
                        }
                    })
                })
            })
            .map_sqlx_postgres_pool_opts(move |pool| {
                pool.after_connect(|connection, _| {
                    Box::pin(async { connection.execute(POSTGRES_SESSION).await.map(drop) })
                })
                // What a cancelled statement left must be read before the connection is used again; where it
                // never comes, the pool would wait for it for ever, and have a place less.
                .after_release(move |connection, _| {
                    Box::pin(async move {
                        match tokio::time::timeout(limit, connection.flush()).await {
                            Ok(flushed) => flushed.map(|()| true),
                            Err(_) => Err(sqlx::Error::PoolTimedOut),
                        }
                    })
                })
            })
            .map_sqlx_sqlite_opts(|sqlite| {
                // Readers beside the writer, and every commit on disk before it is answered.
                sqlite
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(LOCK_WAIT)
            });
        if url.contains(":memory:") || url.contains("mode=memory") {
            // Each connection would be a database of its own, and gone with it.
            connect.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let connection = sea_orm::Database::connect(connect).await.map_err(|error| why(&error))?;
        Ok(Self { connection, statement_timeout: options.statement_timeout })
    }
}

/// READ COMMITTED: under REPEATABLE READ a look-up of a missing key locks the gap, and first sightings of
/// two customers deadlock.
const MYSQL_SESSION: &str =
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION innodb_lock_wait_timeout = 2";

/// Every statement of this service is a key look-up. A plan made while the tables were small must not
/// stay a scan when they have grown.
const POSTGRES_SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '2s'; \
     SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off";

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
fn why(error: &DbErr) -> ConnectError {
    let DbErr::Conn(RuntimeErr::SqlxError(error)) = error else { return ConnectError::Unreachable };
    match error.as_ref() {
        sqlx::Error::Configuration(_) => ConnectError::Refused("the database URL cannot be understood"),
        sqlx::Error::Tls(_) => ConnectError::Refused(
            "the TLS connection to the database failed; see ssl-mode (MySQL) or sslmode (PostgreSQL) in its URL",
        ),
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                why_mysql(error.number())
            } else {
                why_code(error.code().as_deref().unwrap_or_default())
            }
        }
        _ => ConnectError::Unreachable,
    }
}

fn why_mysql(number: u16) -> ConnectError {
    match number {
        1044 | 1142 | 1227 => ConnectError::Refused("the database user lacks a right that the service needs"),
        1045 | 1698 => ConnectError::Refused(
            "the database refuses the user or the password, or wants TLS of this user (ssl-mode in its URL)",
        ),
        1049 => ConnectError::Refused("the server has no database of that name"),
        3159 => ConnectError::Refused("the database demands TLS: put ?ssl-mode=REQUIRED into its URL"),
        1251 | 2059 => ConnectError::Refused("the database demands an authentication method that is not supported"),
        _ => ConnectError::Unreachable,
    }
}

/// PostgreSQL's SQLSTATE, SQLite's result code.
fn why_code(code: &str) -> ConnectError {
    match code {
        "28000" | "28P01" => ConnectError::Refused("the database refuses the user or the password"),
        "3D000" => ConnectError::Refused("the server has no database of that name"),
        "14" => ConnectError::Refused("the SQLite file cannot be opened or made"),
        "26" => ConnectError::Refused("the file is no SQLite database"),
        _ => ConnectError::Unreachable,
    }
}
