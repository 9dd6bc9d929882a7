//! PgBouncer between the service and PostgreSQL. It is not a part of the servers of the tests: `apt install pgbouncer`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use identity::store::old_table::{OldTable, OldTableOptions};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use url::Url;

use crate::failover::connect;
use crate::harness::{Api, Backend, Service, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    let postgres = &[Backend::Postgres];
    register!(suite.on_with(is_installed(), postgres):
        session_mode,
        transaction_mode_is_explained,
        old_table_leaves_no_setting,
    );
}

fn is_installed() -> Result<(), String> {
    let runs = Command::new("pgbouncer").arg("--version").stdout(Stdio::null()).status();
    runs.map(drop).map_err(|_| "pgbouncer is not installed".to_owned())
}

struct Pooler {
    process: Child,
    _folder: TempDir,
    /// The URL of the database through the pooler.
    url: String,
}

impl Pooler {
    /// Starts PgBouncer with its defaults, but for the mode.
    async fn start(database: &TestDatabase, mode: &str) -> Self {
        Self::start_with(database, mode, "").await
    }

    /// The same with more settings.
    async fn start_with(database: &TestDatabase, mode: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut url = Url::parse(&database.url).expect("a URL");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let (user, password) = (url.username(), url.password().expect("a password"));
        let users = folder.path().join("users.txt");
        std::fs::write(&users, format!("\"{user}\" \"{password}\"\n")).expect("written");
        let settings = format!(
            "[databases]\n* = host={} port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {}\npool_mode = {mode}\n{more}\n",
            url.host_str().expect("a host"),
            url.port().expect("a port"),
            users.display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("written");
        let mut command = Command::new("pgbouncer");
        // It does not run as root.
        if std::process::Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n") {
            for path in [folder.path(), &users, &file] {
                std::os::unix::fs::chown(path, Some(65_534), None).expect("root may");
            }
            command.args(["-u", "nobody"]);
        }
        let process = command.arg(file).stderr(Stdio::null()).spawn().expect("it runs");
        url.set_port(Some(port)).expect("a port");
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { process, _folder: folder, url: url.into() }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The old system has its sessions from the same pooler: after an adoption was tried, it can still write.
async fn old_table_leaves_no_setting(database: TestDatabase) {
    let tables = database.raw().await;
    let sql =
        r#"CREATE TABLE "Contact" ("id" integer PRIMARY KEY, "email" text, "linkedId" integer, "createdAt" bigint)"#;
    execute(&tables, sql).await;
    tables.close().await.expect("closed");
    for more in [
        "ignore_startup_parameters = extra_float_digits",
        "default_pool_size = 1\nignore_startup_parameters = options,extra_float_digits",
    ] {
        let pooler = Pooler::start_with(&database, "transaction", more).await;
        let refusal = OldTable::open(&pooler.url, &OldTableOptions::default()).await.expect_err("refused").to_string();
        assert!(refusal.contains("a pooler stands before the database"), "{more}: {refusal}");
        let old_system = sea_orm::Database::connect(&pooler.url).await.expect("it connects");
        for sql in ["INSERT INTO \"Contact\" (\"id\") VALUES (1)", "DELETE FROM \"Contact\""] {
            let done = old_system.execute_unprepared(sql).await.expect("the old system can write");
            assert_eq!(done.rows_affected(), 1);
        }
        old_system.close().await.expect("closed");
    }
}

async fn session_mode(database: TestDatabase) {
    let pooler = Pooler::start(&database, "session").await;
    let service = Service::start_with(&pooler.url, &["--database-connections", "4"]).await;
    let caller = service.caller();
    for outcome in ["created", "matched"] {
        assert_eq!(caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap().outcome, outcome);
    }
    assert_eq!(caller.get("/readyz").await, 200);
    service.stop().await;
}

async fn transaction_mode_is_explained(database: TestDatabase) {
    let pooler = Pooler::start(&database, "transaction").await;
    for _ in 0..3 {
        let refusal = connect(&pooler.url, Duration::from_secs(10)).await.expect_err("refused");
        assert!(refusal.is_lasting() && refusal.to_string().contains("pool_mode = session"), "{refusal}");
    }
}
