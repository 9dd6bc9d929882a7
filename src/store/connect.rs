use std::time::Duration;

use sea_orm::{DbBackend, DbErr, RuntimeErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Executor};

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

/// The longest that a transaction waits for a row that another has locked.
const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(2);

/// How long transactions wait for locks: less than a statement may take, so that a lock that is not had is
/// a lost race and not a database out of reach.
#[derive(Clone, Copy, Debug)]
struct LockWait {
    /// MySQL counts in whole seconds.
    mysql: Duration,
    others: Duration,
}

impl LockWait {
    fn within(statement_timeout: Duration) -> Self {
        let others = LONGEST_LOCK_WAIT.min(statement_timeout / 3 * 2);
        Self { mysql: Duration::from_secs(others.as_secs().max(1)), others }
    }
}

/// How long a statement that may have to wait for a lock may take.
pub(super) fn locking_timeout(backend: DbBackend, statement_timeout: Duration) -> Duration {
    if backend == DbBackend::MySql {
        statement_timeout.max(LockWait::within(statement_timeout).mysql / 2 * 3)
    } else {
        statement_timeout
    }
}

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
        let lock_wait = LockWait::within(options.statement_timeout);
        let (mysql, postgres) = (mysql_session(lock_wait), postgres_session(lock_wait));
        let mut connect = sea_orm::ConnectOptions::new(url);
        connect
            .max_connections(options.max_connections)
            .connect_timeout(options.statement_timeout)
            .acquire_timeout(options.statement_timeout)
            .test_before_acquire_if_idle_for(PING_IDLE_FOR)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_mysql_pool_opts(move |pool| {
                let session = mysql.clone();
                pool.after_connect(move |connection, _| {
                    let session = AssertSqlSafe(session.clone());
                    Box::pin(async { connection.execute(session).await.map(drop) })
                })
            })
            .map_sqlx_postgres_pool_opts(move |pool| {
                let session = postgres.clone();
                pool.after_connect(move |connection, _| {
                    let session = AssertSqlSafe(session.clone());
                    Box::pin(async { connection.execute(session).await.map(drop) })
                })
            })
            .map_sqlx_sqlite_opts(move |sqlite| {
                // Readers beside the writer, and every commit on disk before it is answered.
                sqlite
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(lock_wait.others)
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
fn mysql_session(lock_wait: LockWait) -> String {
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION innodb_lock_wait_timeout = {}",
        lock_wait.mysql.as_secs()
    )
}

/// Every statement of this service is a key look-up. A plan made while the tables were small must not
/// stay a scan when they have grown.
fn postgres_session(lock_wait: LockWait) -> String {
    format!(
        "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '{}ms'; \
         SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off",
        lock_wait.others.as_millis().max(1) // 0 is no limit.
    )
}

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
