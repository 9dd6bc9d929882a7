//! A connection to the database of an old system, on which no statement can write.
//!
//! PostgreSQL gets the settings of a session as start-up parameters. A pooler that shares sessions with the old system
//! refuses these, or they have no effect, which is checked. So no setting is left on a session of the old system.
//! A pooler before MySQL (ProxySQL) must give each client a session of its own: that is not checked.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr, Statement};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySqlConnection, Row};
use tokio::time::timeout;

use super::error::OldTableError;
use super::unused_file::{UnusedFile, is_left_by_a_crash};
use crate::settings::OldDatabaseUrl;
use crate::store::connect_error::ConnectError;
use crate::store::server_role::query_yes_or_no;
use crate::store::sql::{Engine, mysql};
use crate::store::{classify, driver_options};

/// How long a server may take until it has accepted a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a read of SQLite waits for a writer.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at the same time: a page can be read ahead.
const CONNECTIONS: u32 = 2;

/// What an operator does about a pooler that shares sessions.
const POOLER: ConnectError = ConnectError::Refused(
    "a pooler stands before the database and shares its sessions with the old system, whose writes could then fail: \
     give the URL of the database server itself",
);

/// The old database. Clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct OldConnection {
    current: Arc<RwLock<Source>>,
    pub(super) engine: Engine,
    /// Whether the server repeats the writes of another one.
    pub(super) is_replica: bool,
}

/// The connections through which one read goes. What was read through them is right only if
/// [`OldConnection::is_valid`] returns true afterwards.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) connection: DatabaseConnection,
    /// The file of SQLite that is read as one that never changes, and its URL.
    unused: Option<(Arc<UnusedFile>, SecretString)>,
}

/// A server that can be used.
struct Probed {
    engine: Engine,
    is_replica: bool,
}

impl OldConnection {
    fn new(source: Source, Probed { engine, is_replica }: Probed) -> Self {
        Self { current: Arc::new(RwLock::new(source)), engine, is_replica }
    }

    /// Connects to the first server that answers. It may be a replica. `schema` is one of PostgreSQL, or a database of
    /// MySQL, in place of that of the URL.
    pub(super) async fn open(url: &OldDatabaseUrl, schema: Option<&str>) -> Result<Self, OldTableError> {
        let mut errors = Vec::new();
        for server in &url.servers {
            match connect(server, schema).await {
                Ok(connected) => return Ok(connected),
                Err(error) => errors.push(error),
            }
        }
        let error = <[ConnectError; 1]>::try_from(errors).map_or_else(ConnectError::NoneOf, |[only]| only);
        Err(OldTableError::Connect(error))
    }

    /// The connections for the next read.
    pub(super) fn source(&self) -> Source {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether what was read from this source before the call is right. If not, the old system has begun to use
    /// its SQLite file. From now on that is read as a file that others write, and the read is to be repeated.
    pub(super) async fn is_valid(&self, source: Source) -> Result<bool, OldTableError> {
        let Some((file, url)) = source.unused else { return Ok(true) };
        if file.is_still_unused() {
            return Ok(true);
        }
        let connection = connect_sqlite(url.expose_secret(), false).await.map_err(OldTableError::Connect)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Source { connection, unused: None };
        Ok(false)
    }

    pub(super) async fn close(self) {
        // Nothing was written, so nothing is lost.
        let _ = timeout(CONNECT_WITHIN, self.source().connection.close()).await;
    }
}

async fn connect(url: &SecretString, schema: Option<&str>) -> Result<OldConnection, ConnectError> {
    let text = url.expose_secret();
    if text.starts_with("sqlite:") {
        let options: SqliteConnectOptions = text.parse().map_err(|error| classify::connect_error(&error))?;
        let path = options.get_filename();
        if !path.exists() {
            return Err(ConnectError::Refused("there is no SQLite file at the path in --from"));
        }
        if is_left_by_a_crash(path).await {
            return Err(ConnectError::Refused(
                "beside the SQLite file is one with the ending -wal, which a crash has left, and reading it would make \
                 another file: open the database once with the old system",
            ));
        }
        let unused = UnusedFile::at(path).map(|file| (Arc::new(file), url.clone()));
        let connection = connect_sqlite(text, unused.is_some()).await?;
        let probed = Probed { engine: Engine::Sqlite, is_replica: false };
        return Ok(OldConnection::new(Source { connection, unused }, probed));
    }
    driver_options::check_files(text)?;
    let mut options = pool_options(text);
    let probed = if text.starts_with("mysql:") {
        let session = session_of_mysql(schema);
        let probed = within_limit(probe_mysql(text, &session)).await?;
        options.map_sqlx_mysql_opts(driver_options::complete_mysql);
        options.map_sqlx_mysql_pool_opts(move |pool| {
            let session = session.clone();
            pool.after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move { connection.execute(AssertSqlSafe(session)).await.map(drop) })
            })
        });
        probed
    } else {
        let schema = schema.map(str::to_owned);
        let probed = within_limit(probe_postgres(text, schema.as_deref())).await?;
        options.map_sqlx_postgres_opts(move |options| postgres_options(options, schema.as_deref()));
        probed
    };
    Ok(OldConnection::new(Source { connection: pool(options).await?, unused: None }, probed))
}

async fn within_limit<T>(probe: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    timeout(CONNECT_WITHIN, probe).await.unwrap_or(Err(ConnectError::Unreachable))
}

fn pool_options(url: &str) -> sea_orm::ConnectOptions {
    let mut options = sea_orm::ConnectOptions::new(url);
    options
        .max_connections(CONNECTIONS)
        .acquire_timeout(CONNECT_WITHIN)
        .connect_lazy(false)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    options
}

async fn pool(options: sea_orm::ConnectOptions) -> Result<DatabaseConnection, ConnectError> {
    sea_orm::Database::connect(options).await.map_err(|error| connect_error(&error))
}

/// Connects to a file of SQLite.
async fn connect_sqlite(url: &str, is_unused: bool) -> Result<DatabaseConnection, ConnectError> {
    let mut options = pool_options(url);
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite.read_only(true).create_if_missing(false).immutable(is_unused).busy_timeout(BUSY_TIMEOUT)
    });
    let connection = pool(options).await?;
    let encoding = Statement::from_string(DbBackend::Sqlite, "PRAGMA encoding");
    let encoding = connection.query_one_raw(encoding).await.map_err(|error| connect_error(&error))?;
    let encoding = encoding.and_then(|row| row.try_get_by_index::<String>(0).ok());
    if encoding.as_deref() != Some("UTF-8") {
        let _ = connection.close().await;
        return Err(ConnectError::Refused(
            "the SQLite file has its texts in UTF-16: make a copy in UTF-8 (sqlite3 OLD .dump | sqlite3 NEW)",
        ));
    }
    Ok(connection)
}

/// The question whether a server of MySQL is a replica.
pub(super) const IS_REPLICA_OF_MYSQL: &str = "SELECT @@GLOBAL.read_only";

/// A connection of its own first: a pool tries again and again, does not say why, and logs each attempt.
async fn probe_mysql(url: &str, session: &str) -> Result<Probed, ConnectError> {
    let connect_error = |error: sqlx::Error| classify::connect_error(&error);
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().map_err(connect_error)?;
    let options = driver_options::complete_mysql(options).disable_statement_logging();
    let mut connection: MySqlConnection = options.connect().await.map_err(connect_error)?;
    let session = connection.execute(AssertSqlSafe(session.to_owned())).await;
    let answers = match session {
        Ok(_) => query_yes_or_no(&mut connection, mysql::IS_MARIADB).await,
        Err(error) => Err(session_error(&error)),
    };
    let is_replica = query_yes_or_no(&mut connection, IS_REPLICA_OF_MYSQL).await;
    let _ = connection.close().await;
    let ([is_mariadb], [is_replica]) = (answers?, is_replica?);
    Ok(Probed { engine: if is_mariadb { Engine::Mariadb } else { Engine::Mysql }, is_replica })
}

/// Why a session of MySQL cannot be used.
fn session_error(error: &sqlx::Error) -> ConnectError {
    let number =
        error.as_database_error().and_then(|error| error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>());
    match number.map(sqlx::mysql::MySqlDatabaseError::number) {
        Some(1044 | 1049) => ConnectError::Refused(
            "the server has no database of the name before the dot in --table, or the user of --from has no right in \
             it",
        ),
        Some(1193 | 1231 | 1227 | 1064) => {
            ConnectError::Refused("the server, or a proxy before it, refuses the settings of a session that only reads")
        }
        _ => classify::connect_error(error),
    }
}

/// The question whether a session of PostgreSQL has the settings of [`postgres_options`], and whether the server is a
/// replica.
pub(super) const PROBE_OF_POSTGRES: &str = "SELECT current_setting('default_transaction_read_only') = 'on' \
     AND current_setting('row_security') = 'off', pg_is_in_recovery()";

/// The columns of [`PROBE_OF_POSTGRES`], in order.
#[derive(Clone, Copy)]
enum ProbeColumn {
    HasSettings,
    IsReplica,
}

/// The same for PostgreSQL.
async fn probe_postgres(url: &str, schema: Option<&str>) -> Result<Probed, ConnectError> {
    let connect_error = |error: sqlx::Error| {
        let refused = error.as_database_error().filter(|error| error.code().as_deref() == Some("08P01"));
        let is_pooler = refused.is_some_and(|error| error.message().contains("startup parameter"));
        if is_pooler { POOLER } else { classify::connect_error(&error) }
    };
    let options: PgConnectOptions = url.parse().map_err(connect_error)?;
    let mut connection =
        postgres_options(options, schema).disable_statement_logging().connect().await.map_err(connect_error)?;
    let row = connection.fetch_one(PROBE_OF_POSTGRES).await;
    let is_yes = |row: &PgRow, column: ProbeColumn| row.try_get::<bool, _>(column as usize);
    let answers =
        row.and_then(|row| Ok((is_yes(&row, ProbeColumn::HasSettings)?, is_yes(&row, ProbeColumn::IsReplica)?)));
    let _ = connection.close().await;
    let (has_settings, is_replica) = answers.map_err(connect_error)?;
    if has_settings { Ok(Probed { engine: Engine::Postgres, is_replica }) } else { Err(POOLER) }
}

/// The settings of a session of MySQL or MariaDB. `TIMESTAMP` columns are read in UTC. READ COMMITTED returns no row
/// that is rolled back later. No limit of the server ends a read of a large table.
pub(super) fn session_of_mysql(database: Option<&str>) -> String {
    let use_database = database.map(|name| format!("USE {}; ", Engine::Mysql.quoted(name))).unwrap_or_default();
    format!(
        "{use_database}SET SESSION sql_mode = '', time_zone = '+00:00', autocommit = 1, sql_auto_is_null = 0, \
         /*!80000 max_execution_time = 0, */ /*M! max_statement_time = 0, */ sql_big_selects = 1, \
         sql_select_limit = 18446744073709551615; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION TRANSACTION READ ONLY"
    )
}

/// The settings of a session of PostgreSQL, as parameters of its start. READ COMMITTED: a serializable read could end
/// transactions of the old system. Without `row_security`, a read that a policy would shorten fails.
fn postgres_options(options: PgConnectOptions, schema: Option<&str>) -> PgConnectOptions {
    let settings = [
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "read committed"),
        ("row_security", "off"),
        ("statement_timeout", "0"),
        ("jit", "off"),
    ];
    let search_path = schema.map(|name| ("search_path", Engine::Postgres.quoted(name)));
    driver_options::complete_postgres(options).options(settings).options(search_path)
}

/// Why SeaORM has no connection.
fn connect_error(error: &DbErr) -> ConnectError {
    if let DbErr::Conn(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) = error {
        classify::connect_error(error)
    } else {
        ConnectError::Unreachable
    }
}
