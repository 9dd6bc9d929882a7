//! A database of its own for each test.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use identity::settings::{self, Settings};
use identity::store::Database;
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryResult, Statement};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
    Mariadb,
    Mysql,
}

impl Backend {
    pub const ALL: [Self; 4] = [Self::Sqlite, Self::Postgres, Self::Mariadb, Self::Mysql];
    pub const SERVERS: [Self; 3] = [Self::Postgres, Self::Mariadb, Self::Mysql];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mariadb => "mariadb",
            Self::Mysql => "mysql",
        }
    }

    /// Whether it speaks MySQL's protocol and quotes names as MySQL does.
    pub fn is_mysql(self) -> bool {
        matches!(self, Self::Mariadb | Self::Mysql)
    }

    /// The URL of a server where an account with all rights can make databases; none for SQLite.
    pub fn server(self) -> Result<String, String> {
        let variable = match self {
            Self::Sqlite => return Ok(String::new()),
            Self::Postgres => "TEST_POSTGRES_URL",
            Self::Mariadb => "TEST_MARIADB_URL",
            Self::Mysql => "TEST_MYSQL_URL",
        };
        std::env::var(variable).map_err(|_| format!("{variable} is not set; scripts/test starts a server"))
    }
}

/// A database that one test has for itself.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    pub backend: Backend,
    pub url: String,
    /// Its name on the server, or its folder.
    name: String,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The sessions of a server that speaks MySQL's protocol: ID, USER, DB, STATE.
///
/// On MySQL, a query of `information_schema.PROCESSLIST` fails (error 3854) while another session runs a statement with
/// bytes that are no UTF-8, such as a hash, whichever columns it asks for.
pub const MYSQL_SESSIONS: &str =
    "/*!80000 performance_schema.processlist */ /*M!100000 information_schema.PROCESSLIST */";

impl TestDatabase {
    pub async fn create(backend: Backend) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("identity_test_{}_{number}", std::process::id());
        if backend == Backend::Sqlite {
            let folder = std::env::temp_dir().join(&name);
            std::fs::create_dir_all(&folder).expect("a folder in the temporary folder");
            let file = folder.join("identity.db");
            return Self { backend, url: format!("sqlite://{}?mode=rwc", file.display()), name };
        }
        let mut url = url::Url::parse(&backend.server().expect("a server")).expect("a URL");
        let admin = sea_orm::Database::connect(url.as_str()).await.expect("the server answers");
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("CREATE DATABASE");
        admin.close().await.expect("close");
        url.set_path(&name);
        Self { backend, url: url.into(), name }
    }

    pub async fn drop(self) {
        if self.backend == Backend::Sqlite {
            let _ = std::fs::remove_dir_all(std::env::temp_dir().join(&self.name));
            return;
        }
        let url = self.backend.server().expect("a server");
        let admin = sea_orm::Database::connect(url).await.expect("the server answers");
        if self.backend.is_mysql() {
            // A session that a test left behind, such as one behind a dead network, can have a transaction that locks
            // a table. DROP DATABASE would wait for it without end. PostgreSQL has FORCE for that.
            let sql = format!("SELECT CAST(ID AS CHAR) FROM {MYSQL_SESSIONS} WHERE DB = '{}'", self.name);
            let sessions = admin.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await.expect("sessions");
            for session in sessions {
                let id: String = session.try_get_by_index(0).expect("a session's id");
                // One that has ended meanwhile is unknown.
                let _ = admin.execute_unprepared(&format!("KILL {id}")).await;
            }
        }
        let force = if self.backend == Backend::Postgres { " WITH (FORCE)" } else { "" };
        admin.execute_unprepared(&format!("DROP DATABASE {}{force}", self.name)).await.expect("DROP DATABASE");
    }

    /// A connection of the test's own, to look at the tables and to change them as an operator would.
    pub async fn raw(&self) -> DatabaseConnection {
        sea_orm::Database::connect(&self.url).await.expect("the database answers")
    }

    /// The store, connected as the service does, and migrated.
    pub async fn store(&self) -> Database {
        let store = self.unmigrated_store().await;
        store.migrate_up().await.expect("migrations");
        store
    }

    pub async fn unmigrated_store(&self) -> Database {
        let settings = database_settings(&self.url, 10, Duration::from_secs(10));
        Database::connect(&settings).await.expect("the database answers")
    }
}

/// The settings of a database at this URL.
pub fn database_settings(url: &str, connections: u32, timeout: Duration) -> settings::DatabaseSettings {
    let settings = Settings::from_flags(["--database-url", url]).expect("valid settings");
    settings::DatabaseSettings { connections, timeout, ..settings.database }
}

/// How many connections a store on a server has, and how many of them wait in the driver's pool. While nothing runs, it
/// keeps the others.
pub fn connections(store: &Database) -> [usize; 2] {
    let connection = store.connection();
    let (size, idle) = if connection.get_database_backend() == sea_orm::DbBackend::Postgres {
        let pool = connection.get_postgres_connection_pool();
        (pool.size(), pool.num_idle())
    } else {
        let pool = connection.get_mysql_connection_pool();
        (pool.size(), pool.num_idle())
    };
    [usize::try_from(size).expect("a few"), idle]
}

/// A query written for PostgreSQL and SQLite; names are quoted as the database wants.
pub async fn query(connection: &impl ConnectionTrait, sql: &str) -> Vec<QueryResult> {
    let backend = connection.get_database_backend();
    let sql = if backend == sea_orm::DbBackend::MySql { sql.replace('"', "`") } else { sql.to_owned() };
    connection.query_all_raw(Statement::from_string(backend, sql)).await.expect("a query")
}

/// Runs a statement that is written in the same way. Returns the number of rows it changed.
pub async fn execute(connection: &impl ConnectionTrait, sql: &str) -> u64 {
    let backend = connection.get_database_backend();
    let sql = if backend == sea_orm::DbBackend::MySql { sql.replace('"', "`") } else { sql.to_owned() };
    connection.execute_raw(Statement::from_string(backend, sql)).await.expect("a statement").rows_affected()
}

/// Locks a contact's row, and no other, until the transaction ends.
pub async fn lock_row(transaction: &DatabaseTransaction, id: i64) {
    let sql = format!(r#"SELECT "id" FROM "Contact" WHERE "id" = {id} FOR UPDATE"#);
    assert_eq!(query(transaction, &sql).await.len(), 1);
}
