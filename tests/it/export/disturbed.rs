//! Exports that something disturbs: time limits of the server, a signal, a proxy. And what their log says.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, TransactionTrait};
use url::Url;

use super::{export, export_from, export_that_waits, fill, many, names, printed};
use crate::adopt::Tables;
use crate::harness::{Backend, MYSQL_SESSIONS, Proxy, Server, Service, Suite, TestDatabase, execute, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_signal_leaves_a_private_part_that_the_next_run_removes,
        the_log_shows_no_values,
    );
    register!(suite.on(&Backend::SERVERS): statements_that_a_proxy_takes_apart_are_noticed);
    register!(suite.on_own_server(&Backend::SERVERS): time_limits_of_the_server_do_not_end_it);
}

fn terminate(process: u32) {
    let signal = Command::new("kill").args(["-TERM", &process.to_string()]).status();
    assert!(signal.expect("kill runs").success());
}

async fn a_signal_leaves_a_private_part_that_the_next_run_removes(database: TestDatabase) {
    let service = Service::start(&database).await;
    many(&service.caller()).await;
    service.stop().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (path, part) = (folder.path().join("all.ndjson"), folder.path().join("all.ndjson.part"));
    let path_text = path.display().to_string();
    let has_begun = |part: &Path| part.metadata().is_ok_and(|metadata| metadata.len() > 0);
    let mut was_in_the_middle = false;
    for _ in 0..50 {
        let mut child = export(&database, &["--output", &path_text, "--force"]).spawn().expect("the binary runs");
        while !has_begun(&part) && child.try_wait().expect("a state").is_none() {}
        terminate(child.id());
        // It may have been at its end.
        was_in_the_middle = child.wait().expect("it ends").code() == Some(143) && !path.exists();
        if was_in_the_middle {
            break;
        }
        let _ = std::fs::remove_file(&path);
    }
    assert!(was_in_the_middle, "it always ended before the signal");
    assert_eq!(names(folder.path()), ["all.ndjson.part"], "half a file has no name");
    assert_eq!(part.metadata().expect("a file").mode() & 0o777, 0o600);
    let written = std::fs::read_to_string(&part).expect("text");
    assert!(written.starts_with(r#"{"type":"export""#) && !written.contains(r#"{"type":"end""#));
    printed(&mut export(&database, &["--output", &path_text]));
    assert_eq!(names(folder.path()), ["all.ndjson"]);
    assert_eq!(std::fs::read_to_string(&path).expect("text"), printed(&mut export(&database, &[])));
}

async fn the_log_shows_no_values(database: TestDatabase) {
    fill(&database).await;
    let values = Tables::of(&database).await.identifiers;
    let values: Vec<String> = values.into_iter().map(|one| String::from_utf8(one.value).expect("UTF-8")).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tables").display().to_string();
    let run = |flags: &[&str]| {
        let Output { status, stderr, .. } = export(&database, flags).env("RUST_LOG", "info").output().expect("it runs");
        (status.code(), String::from_utf8(stderr).expect("text"))
    };
    let (status, mut log) = run(&["--format", "csv", "--output", &path]);
    assert!(status == Some(0) && log.contains("exported") && log.contains("4 evidence"), "{log}");
    // A row that cannot be exported is named by its id.
    let tables = database.raw().await;
    let bytes = if database.backend == Backend::Postgres { r"'\xff'::bytea" } else { "x'ff'" };
    let owner = format!(r#"INSERT INTO "Identifier" VALUES ('email', {bytes}, 1)"#);
    execute(&tables, &owner).await;
    tables.close().await.expect("closed");
    let (status, failed) = run(&["--output", "-"]);
    assert!(status == Some(3) && failed.contains("an identifier of contact 1 is not UTF-8"), "{failed}");
    log.push_str(&failed);
    // Short numbers are in dates and counts too.
    for value in values.iter().filter(|value| value.len() > 3) {
        assert!(!log.contains(value.as_str()), "{log}");
    }
}

/// A proxy of statements can send each to another server. Here it lets each statement see what others have written
/// meanwhile. No number of rows changes.
async fn statements_that_a_proxy_takes_apart_are_noticed(database: TestDatabase) {
    let service = Service::start(&database).await;
    many(&service.caller()).await;
    service.stop().await;
    let proxy = Proxy::start(&database.url).await;
    proxy.replace(b"REPEATABLE READ", b"READ COMMITTED ");
    // TLS would hide the statements.
    let mut url = Url::parse(&proxy.url).expect("a URL");
    url.set_query(Some(if database.backend.is_mysql() { "ssl-mode=DISABLED" } else { "sslmode=disable" }));
    let (mut child, mut reader) = export_that_waits(url.as_str());
    let tables = database.raw().await;
    let change = r#"UPDATE "Contact" SET "updatedAt" = '2099-01-01 00:00:00' WHERE "id" = 2500"#;
    assert_eq!(execute(&tables, change).await, 1);
    tables.close().await.expect("closed");
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("text");
    let mut line = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut line).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(3), "{line}");
    assert!(line.contains("the table contacts changed while it was read") && line.lines().count() == 1, "{line}");
    assert!(!rest.contains(r#"{"type":"end""#));
}

/// The limit of the server. A statement waits for a lock for 2 s.
const LIMIT: Duration = Duration::from_secs(1);

/// How often it is tried: on a slow machine a statement can reach its limit before the export has turned it off.
const ATTEMPTS: usize = 10;

async fn time_limits_of_the_server_do_not_end_it(server: Server) {
    let service = Service::start_with(&server.url, &[]).await;
    many(&service.caller()).await;
    service.stop().await;
    let admin = sea_orm::Database::connect(&server.url).await.expect("the server answers");
    let limits: &[&str] = match server.backend {
        Backend::Mysql => &["SET GLOBAL max_execution_time = 1000, wait_timeout = 1"],
        Backend::Mariadb => &[
            "SET GLOBAL max_statement_time = 1, wait_timeout = 1",
            "SET GLOBAL idle_transaction_timeout = 1, idle_readonly_transaction_timeout = 1",
        ],
        Backend::Postgres => &[
            "ALTER DATABASE identity SET statement_timeout = '1s'",
            "ALTER DATABASE identity SET idle_in_transaction_session_timeout = '1s'",
        ],
        Backend::Sqlite => unreachable!("no server"),
    };
    for limit in limits {
        admin.execute_unprepared(limit).await.expect(limit);
    }
    a_reader_that_stands_still(&server.url).await;
    let mut said = Vec::new();
    while let Err(reason) = a_statement_that_takes_long(&server, &admin).await {
        said.push(reason);
        assert!(said.len() < ATTEMPTS, "{said:?}");
    }
    admin.close().await.expect("closed");
}

/// The transaction is idle for longer than the server lets others.
async fn a_reader_that_stands_still(url: &str) {
    let (mut child, mut reader) = export_that_waits(url);
    tokio::time::sleep(LIMIT * 4).await;
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("text");
    let mut complaint = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut complaint).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), complaint.as_str()), (Some(0), ""));
    assert!(rest.contains(r#"{"type":"end""#));
}

/// A statement of the export waits for a table, for longer than the server lets others.
async fn a_statement_that_takes_long(server: &Server, admin: &DatabaseConnection) -> Result<(), String> {
    let is_mysql = server.backend.is_mysql();
    let lock = if is_mysql {
        "LOCK TABLES `ContactMerge` WRITE"
    } else {
        r#"LOCK TABLE "ContactMerge" IN ACCESS EXCLUSIVE MODE"#
    };
    let holder = admin.begin().await.expect("a transaction");
    let is_patient =
        if is_mysql { "SET SESSION wait_timeout = 600" } else { "SET LOCAL idle_in_transaction_session_timeout = 0" };
    holder.execute_unprepared(is_patient).await.expect("a statement");
    holder.execute_unprepared(lock).await.expect("a lock");
    // The limit is in force: another reader of the table is cut.
    let other = sea_orm::Database::connect(&server.url).await.expect("the server answers");
    let backend = other.get_database_backend();
    let sql = if is_mysql { "SELECT COUNT(*) FROM `ContactMerge`" } else { r#"SELECT COUNT(*) FROM "ContactMerge""# };
    let cut = other.query_one_raw(Statement::from_string(backend, sql)).await;
    let error = cut.expect_err("the server has a limit").to_string();
    assert!(["time", "interrupted"].iter().any(|word| error.contains(word)), "{error}");
    let mut export = export_from(&server.url, &[]);
    let mut child = export.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdout = child.stdout.take().expect("piped");
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).expect("text");
        text
    });
    let waiting = if is_mysql {
        &format!("SELECT ID FROM {MYSQL_SESSIONS} WHERE STATE LIKE 'Waiting for table%'")
    } else {
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    };
    while query(admin, waiting).await.is_empty() && child.try_wait().expect("a state").is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(LIMIT + LIMIT / 4).await;
    let is_waiting = child.try_wait().expect("a state").is_none();
    if is_mysql {
        holder.execute_unprepared("UNLOCK TABLES").await.expect("a statement");
    }
    holder.rollback().await.expect("the lock ends");
    let text = read.await.expect("it ends");
    let Output { status, stderr, .. } = child.wait_with_output().expect("it ends");
    if is_waiting && status.success() && text.contains(r#"{"type":"end""#) {
        return Ok(());
    }
    Err(format!("{status}, waiting: {is_waiting}, {}", String::from_utf8_lossy(&stderr)))
}
