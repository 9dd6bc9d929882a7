//! Rows that somebody changed with SQL, as the systems that this one replaces allowed.

use crate::harness::{Door, Service, Suite, TestDatabase, execute};

pub fn register(suite: &mut Suite) {
    suite.on_all("by_hand::a_deleted_contact_matches_nothing", a_deleted_contact_matches_nothing);
    suite.on_all("by_hand::a_deleted_secondary_leaves_the_answers", a_deleted_secondary_leaves_the_answers);
    suite.on_all("by_hand::the_oldest_left_replaces_a_deleted_primary", the_oldest_left_replaces_a_deleted_primary);
}

async fn delete(database: &TestDatabase, id: i64) {
    let tables = database.raw().await;
    let sql = format!(r#"UPDATE "Contact" SET "deletedAt" = "createdAt" WHERE "id" = {id}"#);
    assert_eq!(execute(&tables, &sql).await, 1);
    tables.close().await.unwrap();
}

async fn a_deleted_contact_matches_nothing(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let old = caller.identify(Door::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    delete(&database, old.primary).await;
    let new = caller.identify(Door::Http, Some("a@x.de"), Some("1")).await.unwrap();
    assert_eq!(new.outcome, "created");
    assert_ne!(new.primary, old.primary);
    assert!(new.secondaries.is_empty());
    let again = caller.identify(Door::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", new.primary));
    service.stop().await;
}

async fn a_deleted_secondary_leaves_the_answers(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Door::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let second = caller.identify(Door::Grpc, Some("b@x.de"), Some("1")).await.unwrap().secondaries[0];
    delete(&database, second).await;
    let left = caller.identify(Door::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((&left.emails[..], &left.secondaries[..]), (&["a@x.de".to_owned()][..], &[][..]));
    // Its phone number is still the primary's; its e-mail is nobody's, and can be anybody's.
    let linked = caller.identify(Door::Http, Some("b@x.de"), Some("2")).await.unwrap();
    assert_eq!((linked.outcome, linked.emails.len()), ("created", 1));
    service.stop().await;
}

async fn the_oldest_left_replaces_a_deleted_primary(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    let first = caller.identify(Door::Grpc, Some("a@x.de"), Some("1")).await.unwrap().primary;
    caller.identify(Door::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
    caller.identify(Door::Grpc, Some("c@x.de"), Some("1")).await.unwrap();
    delete(&database, first).await;
    let left = caller.identify(Door::Grpc, None, Some("1")).await.unwrap();
    assert_eq!((left.outcome, left.emails.join(" ")), ("matched", "b@x.de c@x.de".to_owned()));
    let linked = caller.identify(Door::Http, Some("c@x.de"), Some("2")).await.unwrap();
    assert_eq!((linked.outcome, linked.primary, linked.secondaries.len()), ("linked", left.primary, 2));
    let created = caller.identify(Door::Grpc, Some("a@x.de"), None).await.unwrap();
    assert_eq!(created.outcome, "created");
    let tables = database.raw().await;
    let sql = r#"SELECT "id" FROM "Contact" WHERE "linkPrecedence" = 'primary' AND "deletedAt" IS NULL ORDER BY "id""#;
    assert_eq!(crate::harness::query(&tables, sql).await.len(), 2);
    tables.close().await.unwrap();
    service.stop().await;
}
