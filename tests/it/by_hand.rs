//! Rows that somebody changed with SQL, as the systems that this one replaces allowed.

use std::time::Duration;

use sea_orm::TransactionTrait;
use tokio::task::JoinSet;

use crate::harness::{Api, Backend, Service, Suite, TestDatabase, execute, lock_row, query, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        a_deleted_contact_matches_nothing,
        a_deleted_secondary_leaves_the_answers,
        the_oldest_left_replaces_a_deleted_primary,
        what_a_deleted_primary_shared_is_found,
        what_a_deleted_secondary_shared_is_found,
    );
    register!(suite.on(&Backend::SERVERS): what_is_freed_gets_one_owner, what_is_freed_while_somebody_waits);
}

async fn delete(database: &TestDatabase, id: i64) {
    let deleted = update(database, &format!(r#"SET "deletedAt" = "createdAt" WHERE "id" = {id}"#)).await;
    assert_eq!(deleted, 1);
}

/// Changes contacts by SQL; how many.
async fn update(database: &TestDatabase, change: &str) -> u64 {
    let tables = database.raw().await;
    let changed = execute(&tables, &format!(r#"UPDATE "Contact" {change}"#)).await;
    tables.close().await.unwrap();
    changed
}

async fn a_deleted_contact_matches_nothing(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let old = caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    delete(&database, old.primary).await;
    let new = caller.identify(Api::Http, Some("a@x.de"), Some("1")).await.unwrap();
    assert_eq!(new.outcome, "created");
    assert_ne!(new.primary, old.primary);
    assert!(new.secondaries.is_empty());
    let again = caller.identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", new.primary));
    service.stop().await;
}

async fn a_deleted_secondary_leaves_the_answers(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let second = caller.identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap().secondaries[0];
    delete(&database, second).await;
    let left = caller.identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((&left.emails[..], &left.secondaries[..]), (&["a@x.de".to_owned()][..], &[][..]));
    // Its phone number is still the primary's; its e-mail is nobody's, and can be anybody's.
    let linked = caller.identify(Api::Http, Some("b@x.de"), Some("2")).await.unwrap();
    assert_eq!((linked.outcome, linked.emails.len()), ("created", 1));
    service.stop().await;
}

async fn the_oldest_left_replaces_a_deleted_primary(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let first = caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap().primary;
    caller.identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
    caller.identify(Api::Grpc, Some("c@x.de"), Some("1")).await.unwrap();
    delete(&database, first).await;
    let left = caller.identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((left.outcome, left.emails.join(" ")), ("matched", "b@x.de c@x.de".to_owned()));
    let linked = caller.identify(Api::Http, Some("c@x.de"), Some("2")).await.unwrap();
    assert_eq!((linked.outcome, linked.primary, linked.secondaries.len()), ("linked", left.primary, 2));
    let created = caller.identify(Api::Grpc, Some("a@x.de"), None).await.unwrap();
    assert_eq!(created.outcome, "created");
    let tables = database.raw().await;
    let sql = r#"SELECT "id" FROM "Contact" WHERE "linkPrecedence" = 'primary' AND "deletedAt" IS NULL ORDER BY "id""#;
    assert_eq!(query(&tables, sql).await.len(), 2);
    tables.close().await.unwrap();
    service.stop().await;
}

/// The deleted contact was the first to bring the number, so the number's row points at it still.
async fn what_a_deleted_primary_shared_is_found(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let first = caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap().primary;
    caller.identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
    delete(&database, first).await;
    let linked = caller.identify(Api::Grpc, Some("b@x.de"), Some("2")).await.unwrap();
    assert_eq!(linked.phones, ["1", "2"]);
    let again = caller.identify(Api::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", linked.primary));
    service.stop().await;
}

async fn what_a_deleted_secondary_shared_is_found(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    caller.identify(Api::Grpc, Some("p@x.de"), Some("2")).await.unwrap();
    let brought = caller.identify(Api::Grpc, Some("s@x.de"), Some("2")).await.unwrap().secondaries[0];
    caller.identify(Api::Grpc, Some("s@x.de"), Some("3")).await.unwrap();
    delete(&database, brought).await;
    let merged = caller.identify(Api::Grpc, Some("a@x.de"), Some("2")).await.unwrap();
    assert!(merged.emails.contains(&"s@x.de".to_owned()));
    let again = caller.identify(Api::Grpc, Some("s@x.de"), None).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", merged.primary));
    service.stop().await;
}

/// A request has read the identity and waits for its turn; then a contact is deleted, and another replica gives its
/// e-mail to a new customer.
async fn what_is_freed_while_somebody_waits(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    for email in ["p@x.de", "q@x.de"] {
        one.caller().identify(Api::Grpc, Some(email), None).await.unwrap();
    }
    one.caller().identify(Api::Grpc, Some("r@x.de"), Some("2")).await.unwrap();
    let brought = one.caller().identify(Api::Grpc, Some("b@x.de"), Some("2")).await.unwrap().secondaries[0];

    // Both write lanes wait for rows that somebody has locked, and the third request behind them.
    let tables = database.raw().await;
    let lock = tables.begin().await.unwrap();
    for id in [1, 2] {
        lock_row(&lock, id).await;
    }
    let mut waiting = JoinSet::new();
    for (email, phone) in [("p@x.de", "3"), ("q@x.de", "4"), ("b@x.de", "9")] {
        let caller = one.caller();
        waiting.spawn(async move { caller.identify(Api::Grpc, Some(email), Some(phone)).await.unwrap() });
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    delete(&database, brought).await;
    let new = other.caller().identify(Api::Grpc, Some("b@x.de"), Some("5")).await.unwrap();
    assert_eq!((new.outcome, new.emails.len()), ("created", 1));
    lock.rollback().await.unwrap();

    waiting.join_all().await;
    let found = one.caller().identify(Api::Grpc, Some("b@x.de"), None).await.unwrap();
    assert_eq!((found.primary, &found.phones[..]), (new.primary, &["5".to_owned(), "9".to_owned()][..]));
    let rest = other.caller().identify(Api::Grpc, Some("r@x.de"), None).await.unwrap();
    assert_eq!((&rest.emails[..], &rest.phones[..]), (&["r@x.de".to_owned()][..], &["2".to_owned()][..]));
    tables.close().await.unwrap();
    one.stop().await;
    other.stop().await;
}

/// Pairs of calls on two replicas claim the same e-mails, which deleted contacts have left behind.
async fn what_is_freed_gets_one_owner(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    let callers = [one.caller(), other.caller()];
    for n in 0..80 {
        callers[0].identify(Api::Grpc, Some(&format!("e{n}@x.de")), None).await.unwrap();
    }
    assert_eq!(update(&database, r#"SET "deletedAt" = "createdAt""#).await, 80);
    for wave in 0..20 {
        let mut calls = JoinSet::new();
        for call in 0..8 {
            let caller = callers[call % 2].clone();
            let (email, phone) = (format!("e{}@x.de", wave * 4 + call / 2), format!("1{wave:03}{call}"));
            calls.spawn(async move { caller.identify(Api::Grpc, Some(&email), Some(&phone)).await.unwrap() });
        }
        calls.join_all().await;
    }
    let tables = database.raw().await;
    let owned_twice = r#"SELECT "email" FROM "Contact" WHERE "deletedAt" IS NULL
        GROUP BY "email" HAVING COUNT(DISTINCT COALESCE("linkedId", "id")) > 1"#;
    assert!(query(&tables, owned_twice).await.is_empty());
    tables.close().await.unwrap();
    one.stop().await;
    other.stop().await;
}
