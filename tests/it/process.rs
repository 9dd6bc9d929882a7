//! The binary: start, signals, sub-commands, and what its log says.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::{Api, Backend, Process, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]): drains_on_sigterm_and_sigint);
    register!(suite.on_all(): migrate_and_healthcheck);
    register!(suite.on(&[Backend::Sqlite]): the_log_has_no_personal_data);
    register!(suite.on(&[Backend::Postgres]): the_log_does_without_the_databases_remarks);
    register!(suite.plain(): a_database_that_is_not_there_is_one_line, a_taken_port_is_one_line);
}

async fn drains_on_sigterm_and_sigint(database: TestDatabase) {
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(&[("DATABASE_URL", &database.url)]).await;
        process.caller().identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
        let begun = Instant::now();
        process.signal(signal);
        let status = process.end().await;
        assert!(status.success(), "{signal}: {status}: {}", process.log());
        assert!(begun.elapsed() < Duration::from_secs(3), "nothing was in flight");
    }
}

async fn migrate_and_healthcheck(database: TestDatabase) {
    let run = |arguments: &[&str], address: &str| {
        let variables = [("DATABASE_URL", database.url.as_str()), ("GRPC_ADDR", address), ("RUST_LOG", "warn")];
        let done = binary().args(arguments).envs(variables).output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (done.status.code(), text(&done.stdout), text(&done.stderr))
    };
    let anywhere = "127.0.0.1:0";
    database.raw().await.close().await.unwrap(); // An empty database, also where it is a file.
    let pending = run(&["migrate", "status"], anywhere);
    assert_eq!((pending.0, pending.1.matches("pending").count()), (Some(0), 3), "{pending:?}");
    let refused = run(&["serve", "--migrate", "false"], anywhere);
    assert_eq!(refused.0, Some(3));
    assert!(refused.2.lines().count() == 1 && refused.2.contains("identity migrate up"), "{refused:?}");
    assert_eq!(run(&["migrate", "up"], anywhere).0, Some(0));
    let applied = run(&["migrate", "status"], anywhere);
    assert_eq!((applied.0, applied.1.matches("applied").count()), (Some(0), 3), "{applied:?}");

    let mut process = Process::start(&[("DATABASE_URL", &database.url), ("MIGRATE", "false")]).await;
    let address = process.grpc.to_string();
    assert_eq!(run(&["healthcheck"], &address), (Some(0), String::new(), String::new()));
    process.signal("-TERM");
    process.end().await;
    let unhealthy = run(&["healthcheck"], &address);
    assert_eq!((unhealthy.0, unhealthy.2.lines().count()), (Some(1), 1), "{unhealthy:?}");

    assert_eq!(run(&["migrate", "down", "--all"], anywhere).0, Some(0));
    assert_eq!(run(&["migrate", "status"], anywhere).1.matches("pending").count(), 3);
}

async fn the_log_has_no_personal_data(database: TestDatabase) {
    let variables = [("DATABASE_URL", database.url.as_str()), ("RUST_LOG", "trace,h2=off,hyper=off,tower=off")];
    let process = Process::start(&variables).await;
    let caller = process.caller();
    for api in Api::BOTH {
        caller.identify(api, Some("secret-a@x.de"), Some("5550001")).await.unwrap();
        caller.identify(api, Some("secret-b@x.de"), Some("5550001")).await.unwrap();
        let bad = caller.identify(api, Some("secret-c"), Some("5550002x")).await.unwrap_err();
        assert_eq!(bad.code, Code::InvalidArgument);
    }
    let log = process.log();
    for personal in ["secret", "555000", "INSERT", "SELECT"] {
        assert!(!log.contains(personal), "{personal} in the log:\n{log}");
    }
    for field in ["request.id", "created", "linked", "matched", "duration_ms", "INVALID_ARGUMENT"] {
        assert!(log.contains(field), "no {field} in the log:\n{log}");
    }
}

async fn the_log_does_without_the_databases_remarks(database: TestDatabase) {
    let log = |arguments: &[&str], filter: &str| {
        let variables = [("DATABASE_URL", database.url.as_str()), ("RUST_LOG", filter), ("LOG_FORMAT", "json")];
        let done = binary().args(arguments).envs(variables).output().expect("the binary runs");
        assert!(done.status.success());
        String::from_utf8(done.stderr).expect("UTF-8")
    };
    // PostgreSQL remarks that the table of migrations exists when it is to be made once more.
    assert!(!log(&["migrate", "up"], "info").contains("postgres::notice"));
    log(&["migrate", "down", "--all"], "info");
    assert!(log(&["migrate", "up"], "debug").contains("postgres::notice"));
}

async fn a_database_that_is_not_there_is_one_line() {
    for url in ["mysql://root:secret@127.0.0.1:1/identity", "postgres://root:secret@127.0.0.1:1/identity"] {
        let variables = [("DATABASE_URL", url), ("DATABASE_WAIT", "0s"), ("DATABASE_TIMEOUT", "500ms")];
        let done = binary().envs(variables).env("RUST_LOG", "off").output().expect("the binary runs");
        let said = String::from_utf8(done.stderr).expect("UTF-8");
        assert_eq!(done.status.code(), Some(3));
        assert!(said.lines().count() == 1 && said.contains("database does not answer"), "{said}");
        assert!(!said.contains("secret") && !said.contains("127.0.0.1"), "{said}");
    }
}

async fn a_taken_port_is_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let done =
        binary().env("GRPC_ADDR", address).env("DATABASE_URL", "sqlite::memory:").env("RUST_LOG", "off").output();
    let done = done.expect("the binary runs");
    let said = String::from_utf8(done.stderr).expect("UTF-8");
    assert_eq!(done.status.code(), Some(3));
    assert!(said.lines().count() == 1 && said.contains("GRPC_ADDR"), "{said}");
}
