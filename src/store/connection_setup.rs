//! What happens on each connection of a pool: when it is made, and when it comes back to the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, SqliteConnection};
use tokio::time::timeout;

use super::connect_error::ConnectError;
use super::server_role::ServerRole;

/// What statements and new connections find out about a server while its connections are used.
#[derive(Debug, Default)]
pub(super) struct ServerFindings {
    /// See [`ServerFindings::is_unusable`].
    is_unusable: AtomicBool,
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

    /// How many connections the pool has made so far.
    pub(super) fn connections_made(&self) -> u64 {
        self.connections_made.load(Relaxed)
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

/// Whether an SQLite connection can go back to the pool.
///
/// SQLite rolls a transaction back by itself when the disk is full. The ROLLBACK that follows fails, and the driver
/// believes from then on that the connection is in a transaction. A ping comes after that ROLLBACK.
pub(super) async fn on_release_sqlite(connection: &mut SqliteConnection, limit: Duration) -> Result<bool, sqlx::Error> {
    let is_there = matches!(timeout(limit, connection.ping()).await, Ok(Ok(())));
    Ok(is_there && !connection.is_in_transaction())
}

/// Whether a connection to a server can go back to the pool: what an abandoned statement has still to send has come. If
/// not, the connection must be closed, as the pool alone would wait without end. `limit` is how long a statement may
/// take.
///
/// No transaction is open on it: [`HeldConnection`](super::held_connection::HeldConnection) has rolled it back. SeaORM
/// rolls those of migrations back.
pub(super) async fn on_release_server(connection: &mut impl Connection, limit: Duration) -> Result<bool, sqlx::Error> {
    Ok(matches!(timeout(limit, connection.flush()).await, Ok(Ok(()))))
}
