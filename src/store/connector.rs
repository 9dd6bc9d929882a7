//! One database server: what is asked of it before it is used, and what its connections are told.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbErr, RuntimeErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlConnection, PgConnection, Row};
use tokio::time::{sleep, timeout};

use super::connect::{ConnectError, why};
use super::server_role::{Role, ask_mysql};
use super::session_sql::{self, LockWait, MYSQL_LOG_ROWS, MYSQL_LOGS_STATEMENTS, MYSQL_WAIT_FOR_OTHERS};

/// A connection unused for so long is asked whether it still works before it is used: a database that was
/// restarted leaves a pool full of dead ones.
const PING_IDLE_FOR: Duration = Duration::from_secs(1);

/// How many prepared statements a connection to MySQL keeps: more than this service has, some 140. One that
/// makes room for another costs 40 ms: its end goes out before the new one, which then waits for the
/// acknowledgement (Nagle's algorithm, on in sqlx 0.9.0).
const PREPARED: usize = 200;

/// How long a connection may take to be closed.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// How long it takes at most, on a busy machine, until the connection of a statement that was given up comes back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(5);

/// How often to try an SQLite file that is busy.
const BUSY_EVERY: Duration = Duration::from_millis(10);

/// Connections to a server.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) connection: DatabaseConnection,
    /// What it was when they were made, and is until they are found to be of no use.
    pub(super) role: Role,
    pub(super) findings: Arc<Findings>,
}

/// What connections to a server come upon while they are used.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// See [`Findings::is_unfit`].
    is_unfit: AtomicBool,
    /// When a statement was given up last, as its answer did not come in time.
    given_up: Lock<Option<Instant>>,
}

impl Findings {
    /// Whether a statement, or a connection that was made since, found that the server takes no writes, or has another role
    /// than it had: what any of them reads may be out of date.
    pub(super) fn is_unfit(&self) -> bool {
        self.is_unfit.load(Relaxed)
    }

    pub(super) fn set_unfit(&self) {
        self.is_unfit.store(true, Relaxed);
    }

    /// To be called before the future of a statement that took too long is dropped, which gives its connection back.
    pub(super) fn give_up(&self) {
        *self.given_up() = Some(Instant::now());
    }

    /// Whether a connection that comes back now may be that of a statement that was given up.
    fn may_be_given_up(&self) -> bool {
        self.given_up().is_some_and(|at| at.elapsed() < GIVEN_BACK_WITHIN)
    }

    fn given_up(&self) -> MutexGuard<'_, Option<Instant>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server that can have the database.
#[derive(Debug)]
pub(super) struct Server {
    url: SecretString,
    max_connections: u32,
    statement_timeout: Duration,
    lock_wait: LockWait,
}

impl Server {
    pub(super) fn new(url: SecretString, max_connections: u32, statement_timeout: Duration) -> Self {
        Self { url, max_connections, statement_timeout, lock_wait: LockWait::within(statement_timeout) }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        self.url.expose_secret().starts_with("sqlite:")
    }

    /// A pool of connections to it, if it answers and takes writes.
    pub(super) async fn connect(&self) -> Result<Connected, ConnectError> {
        let url = self.url.expose_secret();
        if self.is_sqlite() {
            make_file(url)?;
            return self.sqlite().await;
        }
        // A connection of its own first: a pool's tries again and again, and does not say why.
        let tried = async {
            if url.starts_with("mysql:") {
                try_mysql(url, session_sql::mysql(self.lock_wait)).await
            } else {
                try_postgres(url, session_sql::postgres(self.lock_wait)).await
            }
        };
        let (role, session) =
            timeout(self.statement_timeout, Box::pin(tried)).await.unwrap_or(Err(ConnectError::Unreachable))?;
        self.pool(role, session).await
    }

    /// SQLite does not wait where another process puts the same new file into WAL mode: it says at once that
    /// the file is busy.
    async fn sqlite(&self) -> Result<Connected, ConnectError> {
        let begun = Instant::now();
        loop {
            match self.pool(Role::Primary, String::new()).await {
                Err(ConnectError::Unreachable) if begun.elapsed() < self.lock_wait.others => {
                    sleep(BUSY_EVERY).await;
                }
                done => return done,
            }
        }
    }

    async fn pool(&self, role: Role, session: String) -> Result<Connected, ConnectError> {
        let findings = Arc::new(Findings::default());
        let mysql = Start { session, role, findings: Arc::clone(&findings) };
        let postgres = mysql.clone();
        let url = self.url.expose_secret();
        let limit = self.statement_timeout;
        let lock_wait = self.lock_wait.others;
        let mut options = sea_orm::ConnectOptions::new(url);
        options
            .max_connections(self.max_connections)
            .connect_timeout(limit)
            .acquire_timeout(limit)
            .connect_lazy(!self.is_sqlite())
            .test_before_acquire_if_idle_for(PING_IDLE_FOR)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_mysql_opts(|mysql| mysql.statement_cache_capacity(PREPARED))
            .map_sqlx_mysql_pool_opts(move |pool| {
                let (start, findings) = (mysql.clone(), Arc::clone(&mysql.findings));
                pool.after_connect(move |connection, _| {
                    let start = start.clone();
                    Box::pin(async move { start.mysql(connection).await })
                })
                .after_release(move |connection, _| {
                    let may_be_open = findings.may_be_given_up();
                    Box::pin(async move {
                        Ok(is_at_rest(connection, limit).await?
                            && (!may_be_open || is_ended_mysql(connection, limit).await))
                    })
                })
            })
            .map_sqlx_postgres_pool_opts(move |pool| {
                let (start, findings) = (postgres.clone(), Arc::clone(&postgres.findings));
                pool.after_connect(move |connection, _| {
                    let start = start.clone();
                    Box::pin(async move { start.postgres(connection).await })
                })
                .after_release(move |connection, _| {
                    let may_be_open = findings.may_be_given_up();
                    Box::pin(async move {
                        Ok(is_at_rest(connection, limit).await?
                            && (!may_be_open || is_ended_postgres(connection, limit).await))
                    })
                })
            })
            .map_sqlx_sqlite_pool_opts(move |pool| {
                pool.after_release(move |connection, _| {
                    Box::pin(async move {
                        // SQLite rolls a transaction back by itself where the disk is full. The ROLLBACK that follows
                        // fails, and to the driver the connection is in a transaction for good. A ping comes after it.
                        let is_there = matches!(timeout(limit, connection.ping()).await, Ok(Ok(())));
                        Ok(is_there && !connection.is_in_transaction())
                    })
                })
            })
            .map_sqlx_sqlite_opts(move |sqlite| {
                // Readers beside the writer, and every commit on disk before it is answered.
                sqlite
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Full)
                    .busy_timeout(lock_wait)
            });
        if is_in_memory(url) {
            // Each connection would be a database of its own, and gone with it.
            options.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
        }
        let connection = sea_orm::Database::connect(options).await.map_err(|error| {
            if let DbErr::Conn(RuntimeErr::SqlxError(error)) = &error { why(error) } else { ConnectError::Unreachable }
        })?;
        Ok(Connected { connection, role, findings })
    }
}

/// What comes first on each connection that a pool makes. It makes them when it needs them, and by then the address may
/// be another server's.
#[derive(Clone)]
struct Start {
    /// What its session is told.
    session: String,
    /// What the server was then.
    role: Role,
    findings: Arc<Findings>,
}

impl Start {
    async fn mysql(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        connection.execute(AssertSqlSafe(self.session)).await?;
        match Role::of_mysql(connection).await {
            Ok(role) if role == self.role => {}
            Err(ConnectError::Unreachable) => return Err(sqlx::Error::Io(std::io::Error::other("no role was told"))),
            Ok(_) | Err(_) => self.findings.set_unfit(),
        }
        Ok(())
    }

    async fn postgres(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        connection.execute(AssertSqlSafe(self.session)).await?;
        if Role::of_postgres(connection).await? == Role::Replica {
            self.findings.set_unfit();
        }
        Ok(())
    }
}

/// Whether a connection can go back to the pool: what a statement that was given up has still to come is
/// read first. Where it does not come, the connection is closed; the pool alone would wait for ever.
async fn is_at_rest(connection: &mut impl Connection, limit: Duration) -> Result<bool, sqlx::Error> {
    Ok(matches!(timeout(limit, connection.flush()).await, Ok(Ok(()))))
}

/// Ends the transaction whose BEGIN was given up and took effect all the same. sqlx 0.9.0 does not know of it, and
/// what is read in it later is no transaction of its own: under Group Replication with `BEFORE` it need not be up to date.
async fn is_ended_mysql(connection: &mut MySqlConnection, limit: Duration) -> bool {
    matches!(timeout(limit, connection.execute("ROLLBACK")).await, Ok(Ok(_)))
}

/// The same. A transaction that stays open keeps PostgreSQL from removing old rows. It warns where a ROLLBACK finds none,
/// and so is asked first: outside a transaction, each statement begins one, at its own time.
async fn is_ended_postgres(connection: &mut PgConnection, limit: Duration) -> bool {
    let end = async {
        let is_open: bool = connection.fetch_one("SELECT now() <> statement_timestamp()").await?.try_get(0)?;
        if is_open { connection.execute("ROLLBACK").await.map(drop) } else { Ok(()) }
    };
    matches!(timeout(limit, end).await, Ok(Ok(())))
}

/// Tries a MySQL or MariaDB server; what it is, and what its sessions are to begin with: this, and what that server
/// needs besides.
async fn try_mysql(url: &str, session: String) -> Result<(Role, String), ConnectError> {
    let options: MySqlConnectOptions = url.parse().map_err(|error| why(&error))?;
    let mut connection = options.disable_statement_logging().connect().await.map_err(|error| why(&error))?;
    let prepared = prepare_mysql(&mut connection, session).await;
    close(connection);
    prepared
}

async fn prepare_mysql(connection: &mut MySqlConnection, session: String) -> Result<(Role, String), ConnectError> {
    connection.execute(AssertSqlSafe(session.clone())).await.map_err(|error| why(&error))?;
    let role = Role::of_mysql(connection).await?;
    if role == Role::OneOfSeveral {
        connection.execute(MYSQL_WAIT_FOR_OTHERS).await.map_err(|error| why(&error))?;
        return Ok((role, format!("{session}; {MYSQL_WAIT_FOR_OTHERS}")));
    }
    let [logs_statements] = ask_mysql(connection, MYSQL_LOGS_STATEMENTS).await?;
    if !logs_statements {
        return Ok((role, session));
    }
    connection.execute(MYSQL_LOG_ROWS).await.map_err(|_| {
        ConnectError::Refused(
            "the server's binlog_format is STATEMENT, with which the service cannot write: set it to ROW, \
             or give the database user the right to set it for itself (SESSION_VARIABLES_ADMIN)",
        )
    })?;
    Ok((role, format!("{session}; {MYSQL_LOG_ROWS}")))
}

/// Tries a PostgreSQL server, likewise.
async fn try_postgres(url: &str, session: String) -> Result<(Role, String), ConnectError> {
    let options: PgConnectOptions = url.parse().map_err(|error| why(&error))?;
    let mut connection = options.disable_statement_logging().connect().await.map_err(|error| why(&error))?;
    let role = Role::of_postgres(&mut connection).await;
    close(connection);
    let role = role.map_err(|error| why(&error))?;
    if role == Role::Replica { Err(ConnectError::ReadOnly) } else { Ok((role, session)) }
}

/// Takes leave of a server. Over TLS it waits for the server to do the same, which nobody else should.
fn close(connection: impl Connection) {
    tokio::spawn(timeout(CLOSE_WITHIN, connection.close()));
}

fn is_in_memory(url: &str) -> bool {
    url.contains(":memory:") || url.contains("mode=memory")
}

/// Makes an SQLite file that only its owner may read, as personal data goes into it. SQLite gives the files
/// beside it the same rights, and leaves a file that is there as it is.
fn make_file(url: &str) -> Result<(), ConnectError> {
    let options: SqliteConnectOptions = url.parse().map_err(|error| why(&error))?;
    if !is_in_memory(url) {
        // Whatever is wrong, SQLite will say it.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(options.get_filename());
    }
    Ok(())
}
