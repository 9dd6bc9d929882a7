//! What happens on each connection of a pool: when it is made, and when it comes back to the pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};
use tokio::time::timeout;

use super::connect_error::ConnectError;
use super::server_role::ServerRole;
use super::sql::postgres;

/// The longest time, on a busy machine, until the connection of an abandoned statement comes back.
const RETURNED_WITHIN: Duration = Duration::from_secs(5);

/// What statements and new connections find out about a server while its connections are used.
#[derive(Debug, Default)]
pub(super) struct ServerFindings {
    /// See [`ServerFindings::is_unusable`].
    is_unusable: AtomicBool,
    /// When a statement was abandoned last, because its answer did not come in time.
    abandoned: Lock<Option<Instant>>,
    connections_made: AtomicU64,
}

impl ServerFindings {
    /// Whether a statement or a newer connection found that the server takes no writes, or has another role than
    /// before. Reads through these connections may be stale.
    pub(super) fn is_unusable(&self) -> bool {
        self.is_unusable.load(Relaxed)
    }

    pub(super) fn set_unusable(&self) {
        self.is_unusable.store(true, Relaxed);
    }

    /// To be called before the future of a statement that took too long is dropped: dropping it returns the connection.
    pub(super) fn abandon_statement(&self) {
        *self.abandoned() = Some(Instant::now());
    }

    /// How many connections the pool has made so far.
    pub(super) fn connections_made(&self) -> u64 {
        self.connections_made.load(Relaxed)
    }

    /// Whether a connection that comes back now can be that of an abandoned statement.
    pub(super) fn may_be_abandoned(&self) -> bool {
        self.abandoned().is_some_and(|at| at.elapsed() < RETURNED_WITHIN)
    }

    fn abandoned(&self) -> MutexGuard<'_, Option<Instant>> {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How the connections of a pool are set up. The pool makes them when it needs them, and by then the address may lead
/// to another server.
#[derive(Clone)]
pub(super) struct ConnectionSetup {
    /// The statements that set the session up.
    pub(super) session: String,
    /// The role that the server had when the pool was made.
    pub(super) role: ServerRole,
    pub(super) findings: Arc<ServerFindings>,
}

impl ConnectionSetup {
    /// Sets up a new connection to MySQL or MariaDB.
    pub(super) async fn on_connect_mysql(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        self.findings.connections_made.fetch_add(1, Relaxed);
        connection.execute(AssertSqlSafe(self.session)).await?;
        match ServerRole::query_mysql(connection).await {
            Ok(role) if role == self.role => {}
            Err(ConnectError::Unreachable | ConnectError::Full | ConnectError::NotNow(_)) => {
                return Err(sqlx::Error::Io(std::io::Error::other("the role is unknown")));
            }
            Ok(_) | Err(_) => self.findings.set_unusable(),
        }
        Ok(())
    }

    /// Sets up a new connection to PostgreSQL.
    pub(super) async fn on_connect_postgres(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.findings.connections_made.fetch_add(1, Relaxed);
        connection.execute(AssertSqlSafe(self.session)).await?;
        if ServerRole::query_postgres(connection).await? == ServerRole::Replica {
            self.findings.set_unusable();
        }
        Ok(())
    }
}

/// Whether a connection to MySQL or MariaDB can go back to the pool. `limit` is how long a statement may take.
///
/// The BEGIN of an abandoned statement may have taken effect. sqlx 0.9.0 does not know of that transaction, so it is
/// rolled back here: a later read in it need not be up to date under Group Replication's `BEFORE`.
pub(super) async fn on_release_mysql(
    connection: &mut MySqlConnection,
    may_be_abandoned: bool,
    limit: Duration,
) -> Result<bool, sqlx::Error> {
    let rolled_back = async |connection: &mut MySqlConnection| {
        matches!(timeout(limit, connection.execute("ROLLBACK")).await, Ok(Ok(_)))
    };
    Ok(is_drained(connection, limit).await? && (!may_be_abandoned || rolled_back(connection).await))
}

/// Whether a connection to PostgreSQL can go back to the pool. A transaction that stays open keeps PostgreSQL from
/// removing old rows. It warns about a ROLLBACK without a transaction, so it is asked first.
pub(super) async fn on_release_postgres(
    connection: &mut PgConnection,
    may_be_abandoned: bool,
    limit: Duration,
) -> Result<bool, sqlx::Error> {
    let rolled_back = async |connection: &mut PgConnection| {
        let roll_back = async {
            let is_open: bool = connection.fetch_one(postgres::IS_IN_TRANSACTION).await?.try_get(0)?;
            if is_open { connection.execute("ROLLBACK").await.map(drop) } else { Ok(()) }
        };
        matches!(timeout(limit, roll_back).await, Ok(Ok(())))
    };
    Ok(is_drained(connection, limit).await? && (!may_be_abandoned || rolled_back(connection).await))
}

/// Whether an SQLite connection can go back to the pool.
///
/// SQLite rolls a transaction back by itself when the disk is full. The ROLLBACK that follows fails, and the driver
/// believes from then on that the connection is in a transaction. A ping comes after that ROLLBACK.
pub(super) async fn on_release_sqlite(connection: &mut SqliteConnection, limit: Duration) -> Result<bool, sqlx::Error> {
    let is_there = matches!(timeout(limit, connection.ping()).await, Ok(Ok(())));
    Ok(is_there && !connection.is_in_transaction())
}

/// Reads what an abandoned statement has still to send. Returns false if it does not come: then the connection must be
/// closed, as the pool alone would wait without end.
async fn is_drained(connection: &mut impl Connection, limit: Duration) -> Result<bool, sqlx::Error> {
    Ok(matches!(timeout(limit, connection.flush()).await, Ok(Ok(()))))
}
