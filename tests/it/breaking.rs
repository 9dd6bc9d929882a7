//! Faults found by trying to break the service. Each fails at fad25c3.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::harness::{Backend, Door, Service, Suite, TestDatabase, execute, query};

pub fn register(suite: &mut Suite) {
    suite.on_all("breaking::what_a_deleted_primary_shared_stays_findable", what_a_deleted_primary_shared_stays_findable);
    suite.on_all("breaking::what_a_deleted_contact_shared_survives_a_merge", what_a_deleted_contact_shared_survives_a_merge);
    suite.on(&Backend::SERVERS, "breaking::an_orphan_gets_one_owner", an_orphan_gets_one_owner);
    suite.on(&[Backend::Postgres], "breaking::a_bad_row_does_not_end_the_lanes", a_bad_row_does_not_end_the_lanes);
    suite.on(&[Backend::Postgres], "breaking::a_column_changed_under_it", a_column_changed_under_it);
    suite.on(&[Backend::Postgres], "breaking::a_locked_table_is_no_internal_error", a_locked_table_is_no_internal_error);
    suite.on(&Backend::SERVERS, "breaking::one_connection_is_enough_to_migrate", one_connection_is_enough_to_migrate);
}

async fn sql(database: &TestDatabase, sql: &str) -> u64 {
    let tables = database.raw().await;
    let rows = execute(&tables, sql).await;
    tables.close().await.unwrap();
    rows
}

async fn delete(database: &TestDatabase, id: i64) {
    sql(database, &format!(r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = {id}"#)).await;
}

async fn what_a_deleted_primary_shared_stays_findable(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let first = caller.identify(Door::Grpc, Some("a@x.de"), Some("1")).await.unwrap().primary;
    caller.identify(Door::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
    delete(&database, first).await;
    let linked = caller.identify(Door::Grpc, Some("b@x.de"), Some("2")).await.unwrap();
    assert_eq!(linked.phones, ["1", "2"]);
    let again = caller.identify(Door::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", linked.primary));
    service.stop().await;
}

async fn what_a_deleted_contact_shared_survives_a_merge(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Door::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    caller.identify(Door::Grpc, Some("p@x.de"), Some("2")).await.unwrap();
    let brought = caller.identify(Door::Grpc, Some("s@x.de"), Some("2")).await.unwrap().secondaries[0];
    caller.identify(Door::Grpc, Some("s@x.de"), Some("3")).await.unwrap();
    delete(&database, brought).await;
    let merged = caller.identify(Door::Grpc, Some("a@x.de"), Some("2")).await.unwrap();
    assert!(merged.emails.contains(&"s@x.de".to_owned()));
    let again = caller.identify(Door::Grpc, Some("s@x.de"), None).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", merged.primary));
    service.stop().await;
}

async fn an_orphan_gets_one_owner(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    let callers = [one.caller(), other.caller()];
    for n in 0..80 {
        callers[0].identify(Door::Grpc, Some(&format!("e{n}@x.de")), None).await.unwrap();
    }
    sql(&database, r#"UPDATE "Contact" SET "deletedAt" = "createdAt""#).await;
    for wave in 0..20 {
        let mut calls = JoinSet::new();
        for call in 0..8 {
            let caller = callers[call % 2].clone();
            let (email, phone) = (format!("e{}@x.de", wave * 4 + call / 2), format!("1{wave:03}{call}"));
            calls.spawn(async move { caller.identify(Door::Grpc, Some(&email), Some(&phone)).await.unwrap() });
        }
        calls.join_all().await;
    }
    let tables = database.raw().await;
    let shared = r#"SELECT "email" FROM "Contact" WHERE "deletedAt" IS NULL
        GROUP BY "email" HAVING COUNT(DISTINCT COALESCE("linkedId", "id")) > 1"#;
    let shared = query(&tables, shared).await.len();
    tables.close().await.unwrap();
    one.stop().await;
    other.stop().await;
    assert_eq!(shared, 0, "e-mails that two live identities carry");
}

async fn a_bad_row_does_not_end_the_lanes(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    caller.identify(Door::Grpc, Some("b@x.de"), None).await.unwrap();
    sql(&database, r#"UPDATE "Contact" SET "createdAt" = '-infinity' WHERE "email" = 'a@x.de'"#).await;
    for _ in 0..6 {
        let _ = caller.identify(Door::Grpc, Some("a@x.de"), None).await;
    }
    caller.identify(Door::Grpc, Some("b@x.de"), None).await.expect("others are served");
    service.stop().await;
}

async fn a_column_changed_under_it(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    caller.identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    sql(&database, r#"ALTER TABLE "Contact" ALTER COLUMN "email" TYPE text"#).await;
    caller.identify(Door::Grpc, Some("a@x.de"), None).await.expect("prepared again");
    service.stop().await;
}

async fn a_locked_table_is_no_internal_error(database: TestDatabase) {
    use sea_orm::{ConnectionTrait, TransactionTrait};
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    let tables = database.raw().await;
    let lock = tables.begin().await.unwrap();
    lock.execute_unprepared(r#"LOCK TABLE "Contact" IN ACCESS EXCLUSIVE MODE"#).await.unwrap();
    let answer = caller.identify_within(Duration::from_secs(9), Door::Grpc, Some("a@x.de"), None).await;
    lock.rollback().await.unwrap();
    tables.close().await.unwrap();
    service.stop().await;
    assert_ne!(answer.unwrap_err().code, tonic::Code::Internal);
}

async fn one_connection_is_enough_to_migrate(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--database-connections", "1"]).await;
    service.caller().identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    service.stop().await;
}
