//! Connecting to one database server: what is checked before it is used, and how its pool is set up.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlConnection, PgConnection, Row};
use tokio::time::{sleep, timeout};

use super::connect_error::ConnectError;
use super::connection_setup::{ConnectionSetup, ServerFindings, on_release_server, on_release_sqlite};
use super::driver_connection::CLOSE_WITHIN;
use super::kept_connections::{KEPT_IDLE, KeptConnections};
use super::server_role::{ServerRole, query_yes_or_no};
use super::sql::{Engine, LockWait, mariadb, mysql, postgres};
use super::{classify, driver_options};

/// The part of the time of a statement in which it must have its connection. The pool tries again and again while
/// PostgreSQL starts or has no connection left. It must give up before the statement is given up: afterwards nobody
/// knows that it was the connection that was missing.
const CONNECTION_WITHIN: f64 = 0.9;

/// How often to try an SQLite file that is busy.
const BUSY_RETRY_EVERY: Duration = Duration::from_millis(10);

/// A pool of connections to a server.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: DatabaseConnection,
    pub(super) engine: Engine,
    /// The server's role when the pool was made.
    pub(super) role: ServerRole,
    pub(super) findings: Arc<ServerFindings>,
    /// Those that are kept outside of the pool. `None` on SQLite.
    pub(super) kept: Option<Arc<KeptConnections>>,
}

impl Connected {
    /// Connections that wait for a statement.
    pub(super) fn idle(&self) -> usize {
        let connection = &self.connection;
        let kept = self.kept.as_ref().map_or(0, |kept| kept.idle());
        kept + match self.engine {
            Engine::Mysql | Engine::Mariadb => connection.get_mysql_connection_pool().num_idle(),
            Engine::Postgres => connection.get_postgres_connection_pool().num_idle(),
            Engine::Sqlite => connection.get_sqlite_connection_pool().num_idle(),
        }
    }

    /// Connections that are in use.
    pub(super) fn used(&self) -> usize {
        let connection = &self.connection;
        let all = match self.engine {
            Engine::Mysql | Engine::Mariadb => connection.get_mysql_connection_pool().size(),
            Engine::Postgres => connection.get_postgres_connection_pool().size(),
            Engine::Sqlite => connection.get_sqlite_connection_pool().size(),
        };
        usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(self.idle())
    }
}

/// What to do about an SQLite file that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MissingFile {
    /// Creates it.
    Create,
    /// Fails: a command that only reads must not leave a file where the operator mistyped a path. The file that exists
    /// stays as it is too, without another journal mode.
    Refuse,
}

/// Connects to a server that can have the database.
#[derive(Debug)]
pub(super) struct Connector {
    url: SecretString,
    max_connections: u32,
    statement_timeout: Duration,
    lock_wait: LockWait,
    /// Whether no pooler in transaction mode was found here. It is asked once: a failover must be fast.
    is_direct: AtomicBool,
    missing_file: MissingFile,
}

/// What is known of a server before its pool is made.
struct Checked {
    engine: Engine,
    role: ServerRole,
    /// The statements that set each session up.
    session: String,
}

impl Connector {
    pub(super) fn new(
        url: SecretString,
        max_connections: u32,
        statement_timeout: Duration,
        missing_file: MissingFile,
    ) -> Self {
        let lock_wait = LockWait::within(statement_timeout);
        Self { url, max_connections, statement_timeout, lock_wait, missing_file, is_direct: AtomicBool::new(false) }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.url.expose_secret().starts_with("sqlite:")
    }

    /// Makes a pool of connections to the server, if it answers and takes writes.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let url = self.url.expose_secret();
        if self.is_sqlite() {
            match self.missing_file {
                MissingFile::Create => create_private_file(url)?,
                MissingFile::Refuse => require_file(url)?,
            }
            return self.connect_sqlite().await;
        }
        driver_options::check_files(url)?;
        // A connection of its own first: a pool tries again and again, and does not say why.
        let check = async {
            if url.starts_with("mysql:") {
                check_mysql(url, self.lock_wait).await
            } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
                check_postgres(url, self.lock_wait, &self.is_direct).await
            } else {
                Err(ConnectError::Refused("unknown database"))
            }
        };
        let checked = timeout(self.statement_timeout, Box::pin(check)).await;
        self.pool(checked.unwrap_or(Err(ConnectError::Unreachable))?).await
    }

    /// Makes a pool for SQLite. While another process puts the same new file into WAL mode, SQLite does not wait: it
    /// says at once that the file is busy.
    async fn connect_sqlite(&self) -> Result<Connected, ConnectError> {
        let begun = Instant::now();
        loop {
            let checked = Checked { engine: Engine::Sqlite, role: ServerRole::Primary, session: String::new() };
            match self.pool(checked).await {
                Err(ConnectError::Unreachable) if begun.elapsed() < self.lock_wait.exact => {
                    sleep(BUSY_RETRY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    async fn pool(&self, Checked { engine, role, session }: Checked) -> Result<Connected, ConnectError> {
        let limit = self.statement_timeout;
        let findings = Arc::new(ServerFindings::default());
        let setup = ConnectionSetup { session, role, findings: Arc::clone(&findings) };
        let url = self.url.expose_secret();
        let mut options = sea_orm::ConnectOptions::new(url);
        options
            .max_connections(self.max_connections)
            .acquire_timeout(limit.mul_f64(CONNECTION_WITHIN))
            .connect_lazy(!self.is_sqlite())
            .test_before_acquire_if_idle_for(KEPT_IDLE)
            .sqlx_logging(false)
            .record_stmt_in_spans(false);
        match engine {
            Engine::Mysql | Engine::Mariadb => set_mysql_hooks(&mut options, setup, limit),
            Engine::Postgres => set_postgres_hooks(&mut options, setup, limit),
            Engine::Sqlite => set_sqlite_options(&mut options, limit, self.lock_wait.exact, self.missing_file),
        }
        if is_in_memory(url) {
            // Each connection would be a database of its own, and gone with it.
            options.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let connection = sea_orm::Database::connect(options).await.map_err(|error| {
            if let DbErr::Conn(RuntimeErr::SqlxError(error)) = &error {
                classify::connect_error(error)
            } else {
                ConnectError::Unreachable
            }
        })?;
        let kept = KeptConnections::new(&connection, engine, self.max_connections, limit);
        Ok(Connected { connection, engine, role, findings, kept })
    }
}

fn set_mysql_hooks(options: &mut sea_orm::ConnectOptions, setup: ConnectionSetup, limit: Duration) {
    options.map_sqlx_mysql_opts(driver_options::complete_mysql);
    options.map_sqlx_mysql_pool_opts(move |pool| {
        let setup = setup.clone();
        pool.after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move { setup.on_connect_mysql(connection).await })
        })
        .after_release(move |connection, _| Box::pin(on_release_server(connection, limit)))
    });
}

fn set_postgres_hooks(options: &mut sea_orm::ConnectOptions, setup: ConnectionSetup, limit: Duration) {
    options.map_sqlx_postgres_opts(driver_options::complete_postgres);
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let setup = setup.clone();
        pool.after_connect(move |connection, _| {
            let setup = setup.clone();
            Box::pin(async move { setup.on_connect_postgres(connection).await })
        })
        .after_release(move |connection, _| Box::pin(on_release_server(connection, limit)))
    });
}

fn set_sqlite_options(
    options: &mut sea_orm::ConnectOptions,
    limit: Duration,
    lock_wait: Duration,
    missing_file: MissingFile,
) {
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        pool.after_release(move |connection, _| Box::pin(on_release_sqlite(connection, limit)))
    });
    options.map_sqlx_sqlite_opts(move |sqlite| {
        // Every commit is on disk before it is answered.
        let sqlite = sqlite.synchronous(SqliteSynchronous::Full).busy_timeout(lock_wait);
        match missing_file {
            // Readers beside the writer.
            MissingFile::Create => sqlite.create_if_missing(true).journal_mode(SqliteJournalMode::Wal),
            MissingFile::Refuse => sqlite.create_if_missing(false),
        }
    });
}

/// Checks a MySQL or MariaDB server.
async fn check_mysql(url: &str, lock_wait: LockWait) -> Result<Checked, ConnectError> {
    let options: MySqlConnectOptions = url.parse().map_err(|error| classify::connect_error(&error))?;
    let connection = driver_options::complete_mysql(options).disable_statement_logging().connect().await;
    let mut connection = connection.map_err(|error| classify::connect_error(&error))?;
    let checked = prepare_mysql(&mut connection, mysql::session(lock_wait)).await;
    close(connection);
    checked
}

async fn prepare_mysql(connection: &mut MySqlConnection, session: String) -> Result<Checked, ConnectError> {
    let connect_error = |error: sqlx::Error| classify::connect_error(&error);
    connection.execute(AssertSqlSafe(session.clone())).await.map_err(connect_error)?;
    let [is_mariadb] = query_yes_or_no(connection, mysql::IS_MARIADB).await?;
    let engine = if is_mariadb { Engine::Mariadb } else { Engine::Mysql };
    let role = ServerRole::query_mysql(connection).await?;
    if role == ServerRole::OneOfSeveral {
        let wait_for_others = if is_mariadb { mariadb::WAIT_FOR_OTHERS } else { mysql::WAIT_FOR_OTHERS };
        connection.execute(wait_for_others).await.map_err(connect_error)?;
        return Ok(Checked { engine, role, session: format!("{session}; {wait_for_others}") });
    }
    let [logs_statements] = query_yes_or_no(connection, mysql::LOGS_STATEMENTS).await?;
    if !logs_statements {
        return Ok(Checked { engine, role, session });
    }
    connection.execute(mysql::LOG_ROWS).await.map_err(|_| {
        ConnectError::Refused(
            "the server's binlog_format is STATEMENT, with which the service cannot write: set it to ROW, \
             or give the database user the right to set it for itself (SESSION_VARIABLES_ADMIN)",
        )
    })?;
    Ok(Checked { engine, role, session: format!("{session}; {}", mysql::LOG_ROWS) })
}

/// Checks a PostgreSQL server.
async fn check_postgres(url: &str, lock_wait: LockWait, is_direct: &AtomicBool) -> Result<Checked, ConnectError> {
    let connect_error = |error: sqlx::Error| classify::connect_error(&error);
    let options: PgConnectOptions = url.parse().map_err(connect_error)?;
    let options = driver_options::complete_postgres(options).disable_statement_logging();
    let mut connection = options.connect().await.map_err(connect_error)?;
    let checked = check_database(&mut connection).await;
    close(connection);
    let role = checked?;
    if !is_direct.load(Relaxed) {
        // A pooler in transaction mode gives the session of the connection before.
        let mut next = options.connect().await.map_err(connect_error)?;
        let is_marked = query_bool(&mut next, postgres::IS_MARKED).await;
        close(next);
        if is_marked? {
            return Err(ConnectError::Refused(postgres::POOLER));
        }
        is_direct.store(true, Relaxed);
    }
    Ok(Checked { engine: Engine::Postgres, role, session: postgres::session(lock_wait) })
}

/// Returns the role of a PostgreSQL server whose database can be used, and marks the session.
async fn check_database(connection: &mut PgConnection) -> Result<ServerRole, ConnectError> {
    let role = ServerRole::query_postgres(connection).await.map_err(|error| classify::connect_error(&error))?;
    if role == ServerRole::Replica {
        return Err(ConnectError::ReadOnly);
    }
    if !query_bool(connection, postgres::IS_UTF8).await? {
        return Err(ConnectError::Refused(
            "the encoding of the database is not UTF8, so it cannot store every address: create it with \
             ENCODING 'UTF8' TEMPLATE template0",
        ));
    }
    connection.execute(postgres::MARK_SESSION).await.map_err(|error| classify::connect_error(&error))?;
    Ok(role)
}

async fn query_bool(connection: &mut PgConnection, question: &'static str) -> Result<bool, ConnectError> {
    let row = connection.fetch_one(question).await.map_err(|error| classify::connect_error(&error))?;
    row.try_get(0).map_err(|error| classify::connect_error(&error))
}

/// Closes a connection in the background. Over TLS that waits for the server, which nobody else should do.
fn close(connection: impl Connection) {
    tokio::spawn(timeout(CLOSE_WITHIN, connection.close()));
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Creates an SQLite file that only its owner can read, because it will hold personal data. SQLite gives the files
/// beside it the same rights. An existing file stays as it is.
fn create_private_file(url: &str) -> Result<(), ConnectError> {
    let options: SqliteConnectOptions = url.parse().map_err(|error| classify::connect_error(&error))?;
    if !is_in_memory(url) {
        // If this fails, SQLite fails too and says why.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(options.get_filename());
    }
    Ok(())
}

/// Fails if an SQLite file does not exist.
fn require_file(url: &str) -> Result<(), ConnectError> {
    let options: SqliteConnectOptions = url.parse().map_err(|error| classify::connect_error(&error))?;
    if is_in_memory(url) || options.get_filename().exists() {
        return Ok(());
    }
    Err(ConnectError::NO_FILE)
}
