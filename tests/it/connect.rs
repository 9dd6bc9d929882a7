//! Connecting to a database, and saying in one line what is wrong when it does not work.

use std::time::Duration;

use identity::domain::ContactId;
use identity::store::{ConnectError, Database, Store};
use sea_orm::ConnectionTrait;
use url::Url;

use crate::harness::{Api, Backend, Server, Service, Suite, TestDatabase, database_settings, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Mysql]):
        caching_sha2_password_without_tls,
        caching_sha2_password_with_tls,
        a_server_that_demands_tls_is_explained,
    );
    register!(suite.on(&Backend::SERVERS):
        a_wrong_password_is_explained,
        a_missing_database_is_explained,
        a_server_that_is_not_there_is_explained,
        a_new_connection_begins_an_epoch,
    );
    register!(suite.on(&[Backend::Sqlite]):
        a_file_that_cannot_be_made_is_explained,
        in_memory,
        files_are_their_owners_alone,
    );
    register!(suite.on_own_server(&[Backend::Mysql, Backend::Mariadb]): a_server_that_commits_nothing_by_itself);
    register!(suite.on_own_server(&[Backend::Mysql]): a_server_that_logs_statements);
    register!(suite.on_own_server(&Backend::SERVERS): a_read_only_server_is_explained);
}

async fn connect(url: &Url) -> Result<Database, ConnectError> {
    Database::connect(&database_settings(url.as_str(), 2, Duration::from_secs(3))).await
}

/// A user who has never logged in: the server has no hash of the password yet, and asks for all of it.
async fn new_user(database: &TestDatabase, requirement: &str) -> Url {
    let mut url = Url::parse(&database.url).unwrap();
    let name = url.path().trim_start_matches("/identity_").to_owned();
    let admin = database.raw().await;
    let sql = [
        format!("CREATE USER {name}@'%' IDENTIFIED WITH caching_sha2_password BY 'pass#word/?:@' {requirement}"),
        format!("GRANT ALL ON *.* TO {name}@'%'"),
    ];
    for statement in sql {
        admin.execute_unprepared(&statement).await.unwrap();
    }
    url.set_username(&name).unwrap();
    url.set_password(Some("pass%23word%2F%3F%3A%40")).unwrap();
    url
}

async fn drop_user(database: &TestDatabase, url: &Url) {
    database.raw().await.execute_unprepared(&format!("DROP USER {}@'%'", url.username())).await.unwrap();
}

async fn cipher(database: &Database) -> String {
    let rows = query(&database.connection(), "SHOW SESSION STATUS LIKE 'Ssl_cipher'").await;
    rows[0].try_get_by_index(1).unwrap()
}

async fn caching_sha2_password_without_tls(database: TestDatabase) {
    let mut url = new_user(&database, "").await;
    url.set_query(Some("ssl-mode=DISABLED"));
    for _ in 0..2 {
        let connected = connect(&url).await.unwrap(); // The second time the server knows the hash.
        assert_eq!(cipher(&connected).await, "");
    }
    let service = Service::start_with(url.as_str(), &[]).await;
    assert_eq!(service.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap().outcome, "created");
    service.stop().await;
    drop_user(&database, &url).await;
}

async fn caching_sha2_password_with_tls(database: TestDatabase) {
    let mut url = new_user(&database, "REQUIRE SSL").await;
    for query in [None, Some("ssl-mode=REQUIRED")] {
        url.set_query(query); // TLS is taken where it is offered.
        let connected = connect(&url).await.unwrap();
        assert_ne!(cipher(&connected).await, "");
    }
    drop_user(&database, &url).await;
}

async fn a_server_that_demands_tls_is_explained(database: TestDatabase) {
    let mut url = new_user(&database, "REQUIRE SSL").await;
    url.set_query(Some("ssl-mode=DISABLED"));
    let refusal = connect(&url).await.err().unwrap().to_string();
    assert!(refusal.contains("refuses the user or the password"), "{refusal}"); // The server says no more.
    assert!(refusal.contains("TLS"), "{refusal}");
    drop_user(&database, &url).await;
}

async fn a_wrong_password_is_explained(database: TestDatabase) {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_password(Some("secret-wrong")).unwrap();
    let refusal = connect(&url).await.err().unwrap();
    assert!(matches!(refusal, ConnectError::Refused(_)));
    let line = refusal.to_string();
    assert!(line.contains("refuses the user or the password") && !line.contains("secret"), "{line}");
}

async fn a_missing_database_is_explained(database: TestDatabase) {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_path("no_such_database");
    let refusal = connect(&url).await.err().unwrap();
    assert!(matches!(refusal, ConnectError::Refused(why) if why.contains("no database of that name")), "{refusal}");
}

async fn a_server_that_is_not_there_is_explained(database: TestDatabase) {
    let mut url = Url::parse(&database.url).unwrap();
    url.set_port(Some(1)).unwrap();
    assert_eq!(connect(&url).await.err(), Some(ConnectError::Unreachable));
}

async fn a_file_that_cannot_be_made_is_explained(_: TestDatabase) {
    let url = Url::parse("sqlite:///no/such/folder/identity.db?mode=rwc").unwrap();
    let refusal = connect(&url).await.err().unwrap();
    assert!(matches!(refusal, ConnectError::Refused(why) if why.contains("cannot be opened")), "{refusal}");
}

async fn in_memory(_: TestDatabase) {
    let service = Service::start_with("sqlite::memory:", &[]).await;
    let caller = service.caller();
    assert_eq!(caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap().outcome, "created");
    assert_eq!(caller.identify(Api::Http, None, Some("1")).await.unwrap().outcome, "matched");
    service.stop().await;
}

async fn files_are_their_owners_alone(database: TestDatabase) {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::start(&database).await;
    service.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    let path = database.url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc").to_owned();
    for suffix in ["", "-wal", "-shm"] {
        let mode = std::fs::metadata(format!("{path}{suffix}")).expect(suffix).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix}");
    }
    service.stop().await;
}

async fn administer(server: &Server, statements: &[&str]) {
    let admin = sea_orm::Database::connect(&server.url).await.unwrap();
    for statement in statements {
        admin.execute_unprepared(statement).await.unwrap();
    }
    admin.close().await.unwrap();
}

async fn a_server_that_commits_nothing_by_itself(server: Server) {
    administer(&server, &["SET GLOBAL autocommit = 0"]).await;
    for outcome in ["created", "matched"] {
        let service = Service::start_with(&server.url, &[]).await;
        let caller = service.caller();
        assert_eq!(caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap().outcome, outcome);
        assert_eq!(caller.identify(Api::Grpc, None, Some("1")).await.unwrap().outcome, "matched");
        // No look-up has left a transaction open, which would keep the table from being altered.
        let alter = format!("SET SESSION lock_wait_timeout = 5; ALTER TABLE Contact ADD COLUMN {outcome} int");
        administer(&server, &[&alter]).await;
        service.stop().await;
    }
}

/// READ COMMITTED and such a log exclude each other.
async fn a_server_that_logs_statements(server: Server) {
    administer(
        &server,
        &[
            "SET GLOBAL binlog_format = 'STATEMENT'",
            "CREATE USER shop@'%' IDENTIFIED BY 'shop'",
            "GRANT ALL ON identity.* TO shop@'%'",
        ],
    )
    .await;
    let mut url = Url::parse(&server.url).unwrap();
    url.set_username("shop").unwrap();
    url.set_password(Some("shop")).unwrap();
    let refusal = connect(&url).await.err().unwrap();
    assert!(matches!(refusal, ConnectError::Refused(why) if why.contains("binlog_format")), "{refusal}");
    administer(&server, &["GRANT SESSION_VARIABLES_ADMIN ON *.* TO shop@'%'"]).await;
    let service = Service::start_with(url.as_str(), &[]).await;
    assert_eq!(service.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap().outcome, "created");
    service.stop().await;
}

async fn a_read_only_server_is_explained(server: Server) {
    let read_only: &[&str] = if server.backend == Backend::Postgres {
        &["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]
    } else {
        &["SET GLOBAL read_only = ON"]
    };
    administer(&server, read_only).await;
    let mut url = Url::parse(&server.url).unwrap();
    assert_eq!(connect(&url).await.err(), Some(ConnectError::ReadOnly));
    let up = format!("127.0.0.1:{}", url.port().unwrap());
    url.set_password(Some("secret")).unwrap();
    let urls = [server.url.as_str(), url.as_str(), &server.url.replace(&up, "127.0.0.1:1")];
    let mut settings = database_settings(&server.url, 2, Duration::from_secs(3));
    settings.servers = urls.map(Into::into).to_vec();
    let line = Database::connect(&settings).await.err().unwrap().to_string();
    let parts =
        ["is read-only (server 1); ", "refuses the user or the password", " (server 2); ", "not answer (server 3)"];
    assert!(parts.iter().all(|part| line.contains(part)) && !line.contains("127.0.0.1"), "{line}");
}

/// A new connection may lead to another server, so it ends what is known from the others.
async fn a_new_connection_begins_an_epoch(database: TestDatabase) {
    let store = database.store().await;
    store.root_rows(&[ContactId(1)]).await.unwrap();
    let first = store.epoch().unwrap();
    // Each of these keeps a connection, so the pool makes another one.
    let mut transactions = Vec::new();
    for _ in 0..8 {
        transactions.push(store.begin().await.unwrap());
    }
    let second = store.epoch().unwrap();
    assert!(second > first && second.generation == first.generation, "{first:?}, then {second:?}");
}
