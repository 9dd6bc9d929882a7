//! Rows that cannot be read, ids that are taken, tables and rows that somebody locked: who is not concerned
//! is served, and who is gets an answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{
    Api, Backend, Caller, Event, Process, Refusal, Reply, Server, Service, Suite, TestDatabase, execute, lock_row,
    query, register,
};

pub fn register(suite: &mut Suite) {
    register!(suite.on_own_server(&[Backend::Mysql, Backend::Mariadb]): automatic_ids_that_jump);
    register!(suite.on_all(): a_row_that_cannot_be_read);
    register!(suite.on(&[Backend::Sqlite]): a_fault_of_the_tables_floods_no_log);
    register!(suite.on(&[Backend::Postgres, Backend::Mysql]): an_id_that_is_taken, an_id_of_a_set_that_is_taken);
    register!(suite.on(&[Backend::Postgres]): a_locked_table_is_waited_for);
    register!(suite.on_all(): a_locked_row_is_no_lost_database);
    register!(suite.on(&Backend::SERVERS): a_locked_row_holds_up_nobody_else);
}

/// Gives the contact with this e-mail a moment that no calendar has, and a version that no copy of it has.
async fn spoil(database: &TestDatabase, email: &str, moment: &str) {
    static VERSION: AtomicU64 = AtomicU64::new(0);
    let tables = database.raw().await;
    let version = format!("2100-01-01 00:00:00.{:06}", VERSION.fetch_add(1, Ordering::Relaxed));
    let set = format!(r#"SET "createdAt" = '{moment}', "updatedAt" = '{version}'"#);
    let update = format!(r#"UPDATE "Contact" {set} WHERE "email" = '{email}'"#);
    if database.backend.is_mysql() {
        // In one go, so that both run on one connection.
        let update = format!("SET sql_mode = ''; {}", update.replace('"', "`"));
        tables.execute_unprepared(&update).await.unwrap();
    } else {
        assert_eq!(execute(&tables, &update).await, 1);
    }
    tables.close().await.unwrap();
}

type Answers = Vec<(bool, Result<Reply, Refusal>)>;

/// 60 calls at once, every tenth about the bad row.
async fn beside_each_other(caller: &Caller, phone: bool) -> Answers {
    let mut calls = JoinSet::new();
    for n in 0..60 {
        let caller = caller.clone();
        calls.spawn(async move {
            let is_bad = n % 10 == 0;
            let email = if is_bad { "bad@x.de" } else { "good@x.de" };
            let phone = phone.then(|| format!("99{n}"));
            let deadline = Duration::from_secs(20);
            (is_bad, caller.identify_within(deadline, Api::BOTH[n % 2], Some(email), phone.as_deref()).await)
        });
    }
    calls.join_all().await
}

/// The database refuses each item of a batch, because of a trigger that somebody has added. The group falls apart into
/// single requests. That is a line for each request, and it was a recursion that ended the process.
async fn a_fault_of_the_tables_floods_no_log(database: TestDatabase) {
    let process = Process::start(&[("DATABASE_URL", &database.url)]).await;
    let tables = database.raw().await;
    let trigger = r#"CREATE TRIGGER t BEFORE INSERT ON "Contact" BEGIN SELECT RAISE(ABORT, 'no'); END"#;
    tables.execute_unprepared(trigger).await.unwrap();
    let events: Vec<Event> = (0..1_000).map(|number| Event::of(&format!("{number}@x.de"), "")).collect();
    // No item could be carried out, so the call fails.
    let refusal = process.caller().batch(Api::Grpc, &events).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::Internal, "INTERNAL"));
    assert_eq!(process.caller().get("/readyz").await, 200);
    let log = process.log();
    let lines = log.lines().filter(|line| line.contains("the database rejected a transaction")).count();
    assert!((1..500).contains(&lines), "{lines} lines");
    tables.close().await.unwrap();
}

async fn a_row_that_cannot_be_read(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("bad@x.de"), None).await.unwrap();
    caller.identify(Api::Grpc, Some("good@x.de"), None).await.unwrap();
    let moments: &[&str] = match database.backend {
        Backend::Postgres => &["-infinity", "infinity"],
        Backend::Mariadb | Backend::Mysql => &["0000-00-00"],
        Backend::Sqlite => &["soon"],
    };
    for moment in moments {
        spoil(&database, "bad@x.de", moment).await;
        for brings_phone in [false, true] {
            for (is_bad, answer) in beside_each_other(&caller, brings_phone).await {
                match answer {
                    Ok(_) => assert!(!is_bad, "{moment} was read"),
                    Err(refusal) => assert!(is_bad && refusal.code == Code::Internal, "{moment}: {refusal:?}"),
                }
            }
        }
    }
    spoil(&database, "bad@x.de", "2026-01-01 00:00:00").await;
    caller.identify(Api::Grpc, Some("bad@x.de"), Some("1")).await.expect("it can be read again");
    service.stop().await;
}

/// Automatic ids that fall behind: a restored table, on PostgreSQL; the last id there is, on MySQL.
async fn an_id_that_is_taken(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    for n in 0..3 {
        caller.identify(Api::Grpc, Some(&format!("a{n}@x.de")), None).await.unwrap();
    }
    let tables = database.raw().await;
    let reset = if database.backend == Backend::Postgres {
        r#"SELECT setval(pg_get_serial_sequence('"Contact"', 'id'), 1, FALSE)"#
    } else {
        r#"UPDATE "Contact" SET "id" = 9223372036854775807 WHERE "id" = 3"#
    };
    execute(&tables, reset).await;
    if database.backend != Backend::Postgres {
        execute(&tables, r#"ALTER TABLE "Contact" AUTO_INCREMENT = 9223372036854775807"#).await;
    }
    for api in Api::BOTH {
        let refusal = caller.identify_within(Duration::from_secs(9), api, Some("new@x.de"), None).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry), (Code::Internal, false), "{refusal:?}");
        assert!(refusal.message.contains("automatic ids"), "{refusal:?}");
        if database.backend == Backend::Postgres {
            execute(&tables, reset).await;
        }
    }
    assert_eq!(caller.identify(Api::Http, Some("a1@x.de"), None).await.unwrap().outcome, "matched");
    if database.backend == Backend::Postgres {
        execute(&tables, r#"SELECT setval(pg_get_serial_sequence('"Contact"', 'id'), 100)"#).await;
        assert_eq!(caller.identify(Api::Grpc, Some("new@x.de"), None).await.unwrap().primary, 101);
    }
    tables.close().await.unwrap();
    service.stop().await;
}

/// The same with an id of `Evidence`, which has another unique key.
async fn an_id_of_a_set_that_is_taken(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let identify = async |email: &str, phone: &str| {
        caller.identify_within(Duration::from_secs(9), Api::Grpc, Some(email), Some(phone)).await
    };
    for (email, phone) in [("a@x.de", "111111"), ("b@x.de", "111111"), ("b@x.de", "222222"), ("c@x.de", "222222")] {
        identify(email, phone).await.unwrap();
    }
    assert_eq!(identify("a@x.de", "222222").await.unwrap().outcome, "matched");
    let tables = database.raw().await;
    if database.backend == Backend::Postgres {
        execute(&tables, r#"SELECT setval(pg_get_serial_sequence('"Evidence"', 'id'), 1, FALSE)"#).await;
    } else {
        execute(&tables, r#"UPDATE "Evidence" SET "id" = 9223372036854775807"#).await;
        execute(&tables, r#"ALTER TABLE "Evidence" AUTO_INCREMENT = 9223372036854775807"#).await;
    }
    let refusal = identify("c@x.de", "111111").await.unwrap_err();
    assert_eq!((refusal.code, refusal.retry), (Code::Internal, false), "{refusal:?}");
    assert!(refusal.message.contains("automatic ids"), "{refusal:?}");
    assert_eq!(identify("a@x.de", "222222").await.unwrap().outcome, "matched", "its set is stored");
    tables.close().await.unwrap();
    service.stop().await;
}

/// As long as three tries of a read take.
const LONG: Duration = Duration::from_millis(6500);

async fn a_locked_table_is_waited_for(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    let tables = database.raw().await;
    let lock = tables.begin().await.unwrap();
    lock.execute_unprepared(r#"LOCK TABLE "Contact" IN ACCESS EXCLUSIVE MODE"#).await.unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(LONG).await;
        lock.rollback().await.unwrap();
    });
    let answer = caller.identify_within(Duration::from_secs(30), Api::Grpc, Some("a@x.de"), None).await;
    release.await.unwrap();
    assert_eq!(answer.unwrap().outcome, "matched");
    tables.close().await.unwrap();
    service.stop().await;
}

/// Those who share a transaction with one that needs a locked row go on without it, and no lane waits with it.
async fn a_locked_row_holds_up_nobody_else(database: TestDatabase) {
    let flags = ["--database-timeout", "2s", "--request-timeout", "15s"];
    let service = Service::start_with(&database.url, &flags).await;
    let locked = ["one@x.de", "two@x.de", "three@x.de"];
    for email in locked {
        service.caller().identify(Api::Grpc, Some(email), None).await.unwrap();
    }
    let tables = database.raw().await;
    let lock = tables.begin().await.unwrap();
    for id in 1..=3 {
        lock_row(&lock, id).await;
    }
    // The first keeps a lane busy. The rest arrives at once, and is gathered for the other lane.
    let deadline = Duration::from_secs(14);
    let identify = |email: String, phone: &'static str| {
        let caller = service.caller();
        async move { (email.clone(), caller.identify_within(deadline, Api::Grpc, Some(&email), Some(phone)).await) }
    };
    let mut calls = JoinSet::new();
    calls.spawn(identify("one@x.de".to_owned(), "1"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    calls.spawn(identify("two@x.de".to_owned(), "2"));
    calls.spawn(identify("three@x.de".to_owned(), "3"));
    let phones = ["30", "31", "32", "33", "34", "35", "36", "37"];
    phones.into_iter().for_each(|phone| drop(calls.spawn(identify(format!("new{phone}@x.de"), phone))));
    for (email, answer) in calls.join_all().await {
        match answer {
            Ok(reply) => assert!(email.starts_with("new") && reply.outcome == "created", "{email}: {reply:?}"),
            Err(refusal) => assert!(!email.starts_with("new"), "{email}: {refusal:?}"),
        }
    }
    // Who waits with a row goes on when it is free.
    calls = JoinSet::new();
    for email in locked {
        calls.spawn(identify(email.to_owned(), "4"));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    lock.rollback().await.unwrap();
    for (email, answer) in calls.join_all().await {
        assert!(answer.is_ok(), "{email}: {answer:?}");
    }
    tables.close().await.unwrap();
    service.stop().await;
}

/// However short the time-out of a statement is.
async fn a_locked_row_is_no_lost_database(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--database-timeout", "1s"]).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    let tables = database.raw().await;
    let lock = tables.begin().await.unwrap();
    let touch = r#"UPDATE "Contact" SET "updatedAt" = "createdAt""#;
    let quoted = if database.backend.is_mysql() { touch.replace('"', "`") } else { touch.to_owned() };
    lock.execute_unprepared(&quoted).await.unwrap();
    let release = tokio::spawn(async move {
        tokio::time::sleep(LONG).await;
        lock.rollback().await.unwrap();
    });
    let answer = caller.identify_within(Duration::from_secs(30), Api::Grpc, Some("a@x.de"), Some("1")).await;
    release.await.unwrap();
    assert_eq!(answer.unwrap().outcome, "linked");
    tables.close().await.unwrap();
    service.stop().await;
}

/// An offset that is greater than the step makes them jump, once, in the midst of a statement.
async fn automatic_ids_that_jump(server: Server) {
    let admin = sea_orm::Database::connect(&server.url).await.expect("the server answers");
    for sql in ["SET GLOBAL auto_increment_increment = 7", "SET GLOBAL auto_increment_offset = 143"] {
        execute(&admin, sql).await;
    }
    let service = Service::start_with(&server.url, &[]).await;
    let mut calls = JoinSet::new();
    for number in 0..100 {
        let caller = service.caller();
        calls.spawn(async move { caller.identify(Api::Grpc, Some(&format!("{number}@x.de")), None).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    let sql = r#"SELECT i."value" FROM "Identifier" i LEFT JOIN "Contact" c ON c."id" = i."contactId"
        WHERE c."email" IS NULL OR CAST(c."email" AS BINARY) <> i."value""#;
    assert_eq!(query(&admin, sql).await.len(), 0, "identifiers of contacts that are not there, or another's");
    let jumped = r#"SELECT "id" FROM "Contact" WHERE "id" = 143"#;
    assert_eq!(query(&admin, jumped).await.len(), 1, "they did not jump");
    admin.close().await.expect("close");
    service.stop().await;
}
