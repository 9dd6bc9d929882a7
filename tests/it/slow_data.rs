//! A statement that is slow because of its data fails alone: the database is not lost.

use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{Api, Backend, Service, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Postgres]): a_read_that_is_slow_because_of_its_data_is_no_lost_database);
}

/// Every row with this e-mail takes longer to read than a statement may take.
const SLOW: &str = "slow@x.de";

async fn a_read_that_is_slow_because_of_its_data_is_no_lost_database(database: TestDatabase) {
    let flags = ["--database-timeout", "1s", "--request-timeout", "8s"];
    let service = Service::start_with(&database.url, &flags).await;
    let mut known = JoinSet::new();
    for email in (0..16).map(|n| format!("{n}@x.de")).chain([SLOW.to_owned()]) {
        let caller = service.caller();
        known.spawn(async move { caller.identify(Api::Grpc, Some(&email), None).await });
    }
    assert!(known.join_all().await.iter().all(Result::is_ok));
    let tables = database.raw().await;
    execute(&tables, r#"ALTER TABLE "Contact" RENAME TO "Rows""#).await;
    let view = format!(
        r#"CREATE VIEW "Contact" AS SELECT * FROM "Rows"
            WHERE CASE WHEN "email" = '{SLOW}' THEN pg_sleep(4) IS NOT NULL ELSE TRUE END"#
    );
    execute(&tables, &view).await;

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
        assert_eq!(service.caller().get("/readyz").await, 200);
    }
    others.join_all().await;
    tables.close().await.unwrap();
    service.stop().await;
}
