//! The binary: start, signals, sub-commands, and what its log says.

use std::time::{Duration, Instant};

use tonic::Code;

use crate::harness::{Api, Backend, Process, Suite, TestDatabase, binary, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Sqlite]): drains_on_sigterm_and_sigint);
    register!(suite.on_all(): migrate_and_healthcheck);
    register!(suite.on(&[Backend::Sqlite]): the_log_has_no_personal_data);
    register!(suite.on(&[Backend::Sqlite]): the_log_has_the_names_of_callers_and_not_their_tokens);
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
    let all = pending.1.lines().count();
    assert!(all > 0 && pending.0 == Some(0), "{pending:?}");
    assert_eq!(pending.1.matches("pending").count(), all, "{pending:?}");
    let refused = run(&["serve", "--migrate", "false"], anywhere);
    assert_eq!(refused.0, Some(3));
    assert!(refused.2.lines().count() == 1 && refused.2.contains("identity migrate up"), "{refused:?}");
    assert_eq!(run(&["migrate", "up"], anywhere).0, Some(0));
    let applied = run(&["migrate", "status"], anywhere);
    assert_eq!((applied.0, applied.1.matches("applied").count()), (Some(0), all), "{applied:?}");

    let mut process = Process::start(&[("DATABASE_URL", &database.url), ("MIGRATE", "false")]).await;
    let address = process.grpc.to_string();
    assert_eq!(run(&["healthcheck"], &address), (Some(0), String::new(), String::new()));
    process.signal("-TERM");
    process.end().await;
    let unhealthy = run(&["healthcheck"], &address);
    assert_eq!((unhealthy.0, unhealthy.2.lines().count()), (Some(1), 1), "{unhealthy:?}");

    assert_eq!(run(&["migrate", "down", "--all"], anywhere).0, Some(0));
    assert_eq!(run(&["migrate", "status"], anywhere).1.matches("pending").count(), all);
}

async fn the_log_has_the_names_of_callers_and_not_their_tokens(database: TestDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callers.toml").to_str().unwrap().to_owned();
    let new_token = |name: &str, scope: &str| {
        let done = binary().args(["token", "new", name, "--scope", scope, "--tokens-file", &file]).output();
        let done = done.expect("the binary runs");
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    };
    let checkout = new_token("checkout", "identify");
    let variables =
        [("DATABASE_URL", database.url.as_str()), ("TOKENS_FILE", &file), ("RUST_LOG", "trace,h2=off,hyper=off")];
    let mut process = Process::start(&variables).await;
    let client = reqwest::Client::new();
    let post = async |token: Option<&str>| {
        let post = client.post(format!("http://{}/identify", process.http)).body(r#"{"phoneNumber":"1"}"#);
        let post = match token {
            Some(token) => post.bearer_auth(token),
            None => post,
        };
        post.send().await.unwrap().status().as_u16()
    };
    assert_eq!([post(None).await, post(Some("idt_0")).await, post(Some(&checkout)).await], [401, 401, 200]);
    // A token that is made while the service runs.
    let reports = new_token("reports", "read");
    let begun = Instant::now();
    while post(Some(&reports)).await == 401 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the file is not read again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!([post(Some(&reports)).await, post(Some(&checkout)).await], [403, 200]);
    process.signal("-TERM");
    assert!(process.end().await.success());
    let log = process.log_at_its_end();
    for name in ["\"caller\":\"checkout\"", "\"caller\":\"reports\""] {
        assert!(log.contains(name), "{name}: {log}");
    }
    for token in [&checkout, &reports] {
        assert!(!log.contains(&token["idt_".len()..]), "{log}");
    }
}

async fn the_log_has_no_personal_data(database: TestDatabase) {
    let variables = [("DATABASE_URL", database.url.as_str()), ("RUST_LOG", "trace,h2=off,hyper=off,tower=off")];
    let mut process = Process::start(&variables).await;
    let caller = process.caller();
    for api in Api::BOTH {
        caller.identify(api, Some("secret-a@x.de"), Some("5550001")).await.unwrap();
        caller.identify(api, Some("secret-b@x.de"), Some("5550001")).await.unwrap();
        let bad = caller.identify(api, Some("secret-c"), Some("5550002x")).await.unwrap_err();
        assert_eq!(bad.code, Code::InvalidArgument);
    }
    process.signal("-TERM");
    process.end().await;
    let log = process.log_at_its_end();
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
