//! A statement that is slow because of its data fails alone: the database is not lost.

use std::time::Duration;

use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Api, Backend, Service, Suite, TestDatabase, register};
use crate::systemic_faults::add_trigger;

pub fn register(suite: &mut Suite) {
    register!(suite.on(&Backend::SERVERS): a_read_that_is_slow_because_of_its_data_is_no_lost_database);
    register!(suite.on_all(): a_write_that_is_slow_because_of_its_data_is_no_lost_database);
}

/// Every row with this e-mail takes longer to read than a statement may take.
const SLOW: &str = "slow@x.de";

/// Statements that make the rows of [`SLOW`] take some seconds to read, and no others.
///
/// On PostgreSQL it is a view. On the others, statements name indexes, so it is a column that is computed: by a search
/// that compares a long text again and again. Their functions that sleep are not taken there.
fn slow_rows(backend: Backend) -> Vec<String> {
    let computed = |needle: u32, text: u32| {
        let found = format!("LOCATE(CONCAT(REPEAT('s', {needle}), 'b'), REPEAT(LEFT(email, 1), {text}))");
        let value = format!("CASE WHEN email = '{SLOW}' AND {found} > 0 THEN 1 ELSE 0 END");
        vec![format!("ALTER TABLE Contact DROP COLUMN flags, ADD COLUMN flags smallint AS ({value}) VIRTUAL")]
    };
    match backend {
        Backend::Postgres => vec![
            r#"ALTER TABLE "Contact" RENAME TO "Rows""#.to_owned(),
            format!(
                r#"CREATE VIEW "Contact" AS SELECT * FROM "Rows"
                    WHERE CASE WHEN "email" = '{SLOW}' THEN pg_sleep(4) IS NOT NULL ELSE TRUE END"#
            ),
        ],
        // Their searches are of very different speed.
        Backend::Mariadb => computed(30_000, 600_000),
        Backend::Mysql => computed(100_000, 3_000_000),
        Backend::Sqlite => panic!("the service writes each of its columns"),
    }
}

/// What a trigger does so that a row of [`SLOW`] takes some seconds to write.
fn slow_write(backend: Backend) -> String {
    match backend {
        Backend::Postgres => format!("IF NEW.email = '{SLOW}' THEN PERFORM pg_sleep(4); END IF"),
        Backend::Mariadb | Backend::Mysql => format!("IF NEW.email = '{SLOW}' THEN DO SLEEP(4); END IF"),
        Backend::Sqlite => {
            let repeated = |half: u32| format!("replace(hex(zeroblob({half})), '0', substr(NEW.email, 1, 1))");
            let found = format!("instr({}, {} || 'b')", repeated(1_000_000), repeated(50_000));
            format!("SELECT CASE WHEN NEW.email = '{SLOW}' THEN {found} END")
        }
    }
}

async fn a_read_that_is_slow_because_of_its_data_is_no_lost_database(database: TestDatabase) {
    // A copy in memory is compared without the column of `slow_rows`.
    let cache = if database.backend == Backend::Postgres { "67108864" } else { "0" };
    let service = start(&database, cache).await;
    make_known(&service, (0..16).map(|n| format!("{n}@x.de")).chain([SLOW.to_owned()])).await;
    let tables = database.raw().await;
    for statement in slow_rows(database.backend) {
        tables.execute_unprepared(&statement).await.expect(&statement);
    }
    only_the_slow_one_fails(&service).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn a_write_that_is_slow_because_of_its_data_is_no_lost_database(database: TestDatabase) {
    let service = start(&database, "67108864").await;
    make_known(&service, (0..16).map(|n| format!("{n}@x.de"))).await;
    let tables = database.raw().await;
    add_trigger(&database, &tables, &slow_write(database.backend)).await;
    only_the_slow_one_fails(&service).await;
    tables.close().await.unwrap();
    service.stop().await;
}

async fn start(database: &TestDatabase, cache: &str) -> Service {
    let flags = ["--database-timeout", "1s", "--request-timeout", "8s", "--cache-size", cache];
    Service::start_with(&database.url, &flags).await
}

async fn make_known(service: &Service, emails: impl Iterator<Item = String>) {
    let mut known = JoinSet::new();
    for email in emails {
        let caller = service.caller();
        known.spawn(async move { caller.identify(Api::Grpc, Some(&email), None).await });
    }
    assert!(known.join_all().await.iter().all(Result::is_ok));
}

/// Calls about known customers all the time, and now and then about [`SLOW`].
async fn only_the_slow_one_fails(service: &Service) {
    let mut others = JoinSet::new();
    for number in 0..16 {
        let caller = service.caller();
        others.spawn(async move {
            let email = format!("{number}@x.de");
            for _ in 0..50 {
                let answer = caller.identify_within(Duration::from_secs(7), Api::BOTH[number % 2], Some(&email), None);
                assert_eq!(answer.await.expect("nothing is wrong with this customer").outcome, "matched");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    for _ in 0..3 {
        let mut slow = JoinSet::new();
        for _ in 0..2 {
            let caller = service.caller();
            slow.spawn(async move { caller.identify(Api::Grpc, Some(SLOW), None).await });
        }
        for answer in slow.join_all().await {
            assert_eq!(answer.unwrap_err().code, Code::DeadlineExceeded);
        }
        let ready = reqwest::get(format!("http://{}/readyz", service.http)).await.unwrap().text().await.unwrap();
        assert_eq!(service.caller().get("/readyz").await, 200, "{ready}");
    }
    others.join_all().await;
}
