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
        a_deletion_with_a_later_version_is_seen_at_once,
        a_deletion_is_seen_at_once_if_the_clock_is_behind,
        a_deletion_without_one_is_seen_within_the_age_of_the_cache,
        a_deleted_primary_is_seen_at_once,
        a_linked_primary_is_seen_at_once,
        what_is_freed_gives_its_root_a_later_version,
    );
    register!(suite.on(&Backend::SERVERS): what_is_freed_gets_one_owner, what_is_freed_while_somebody_waits);
}

/// The statements of docs/operations.md that delete contact 7, whose primary is 3, as those for another contact.
fn deletion(backend: Backend, id: i64, primary: i64) -> Vec<String> {
    let name = match backend {
        Backend::Mysql | Backend::Mariadb => "-- MySQL, MariaDB",
        Backend::Postgres => "-- PostgreSQL",
        Backend::Sqlite => "-- SQLite",
    };
    let document = include_str!("../../docs/operations.md");
    let (_, section) = document.split_once("**To delete a contact by SQL**").unwrap();
    let (_, behind) = section.split_once(&format!("{name}\n")).unwrap();
    let text = behind.lines().take_while(|line| !line.is_empty() && *line != "```").collect::<Vec<_>>().join("\n");
    let statements = text.split_terminator(';');
    statements.map(|one| one.replace(" = 7", &format!(" = {id}")).replace(" = 3", &format!(" = {primary}"))).collect()
}

/// Deletes a contact as docs/operations.md says: with a later `updatedAt` of its primary.
async fn delete(database: &TestDatabase, id: i64) {
    let tables = database.raw().await;
    let transaction = tables.begin().await.unwrap();
    let contact = query(&transaction, &format!(r#"SELECT "linkedId" FROM "Contact" WHERE "id" = {id}"#)).await;
    let primary = contact[0].try_get_by_index::<Option<i64>>(0).unwrap().unwrap_or(id);
    let statements = deletion(database.backend, id, primary);
    assert_eq!(statements.len(), 2, "{statements:?}");
    for statement in statements {
        assert_eq!(execute(&transaction, &statement).await, 1, "{statement}");
    }
    transaction.commit().await.unwrap();
    tables.close().await.unwrap();
}

/// Deletes a contact, and leaves its primary as it is.
async fn delete_alone(database: &TestDatabase, id: i64) {
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
    delete_alone(&database, brought).await;
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

/// A customer of two contacts, whom two replicas have in memory; the second contact.
async fn known_to_both(one: &Service, other: &Service) -> i64 {
    one.caller().identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let second = one.caller().identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap().secondaries[0];
    for service in [one, other] {
        for _ in 0..2 {
            let known = service.caller().identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
            assert_eq!((known.outcome, &known.secondaries[..]), ("matched", &[second][..]));
        }
    }
    second
}

async fn a_deletion_with_a_later_version_is_seen_at_once(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    let second = known_to_both(&one, &other).await;
    delete(&database, second).await;
    for service in [&one, &other] {
        let left = service.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
        assert_eq!((left.outcome, &left.secondaries[..]), ("matched", &[][..]));
    }
    let freed = one.caller().identify(Api::Grpc, Some("b@x.de"), None).await.unwrap();
    assert_eq!(freed.outcome, "created");
    let again = other.caller().identify(Api::Grpc, Some("b@x.de"), None).await.unwrap();
    assert_eq!((again.outcome, again.primary), ("matched", freed.primary));
    one.stop().await;
    other.stop().await;
}

/// The version that everybody knows is ahead of the clock: the deletion makes it later all the same.
async fn a_deletion_is_seen_at_once_if_the_clock_is_behind(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    one.caller().identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let ahead = r#"SET "updatedAt" = '2100-01-01 00:00:00.123987' WHERE "linkedId" IS NULL"#;
    assert_eq!(update(&database, ahead).await, 1);
    let second = known_to_both(&one, &other).await;
    delete(&database, second).await;
    for service in [&one, &other] {
        let left = service.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
        assert_eq!((left.outcome, &left.secondaries[..]), ("matched", &[][..]));
    }
    one.stop().await;
    other.stop().await;
}

async fn a_deletion_without_one_is_seen_within_the_age_of_the_cache(database: TestDatabase) {
    const AGE: Duration = Duration::from_secs(2);
    let start = || Service::start_with(&database.url, &["--cache-max-age", "2s"]);
    let (one, other) = (start().await, start().await);
    let second = known_to_both(&one, &other).await;
    delete_alone(&database, second).await;
    let deleted = tokio::time::Instant::now();
    // Asked all the time, and changed by requests: a copy does not get younger by that.
    let mut number = 0;
    while deleted.elapsed() < AGE {
        one.caller().identify(Api::Grpc, Some(&format!("{number}@x.de")), Some("1")).await.unwrap();
        other.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for service in [&one, &other] {
        let left = service.caller().identify(Api::Grpc, None, Some("1")).await.unwrap();
        assert!(left.outcome == "matched" && !left.secondaries.contains(&second));
        assert!(!left.emails.contains(&"b@x.de".to_owned()));
        assert_eq!(left.secondaries.len(), number);
    }
    one.stop().await;
    other.stop().await;
}

/// Its own row is the one that is compared.
async fn a_deleted_primary_is_seen_at_once(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    let second = known_to_both(&one, &other).await;
    assert_eq!(update(&database, r#"SET "deletedAt" = "createdAt" WHERE "linkedId" IS NULL"#).await, 1);
    for service in [&one, &other] {
        let left = service.caller().identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
        assert_eq!((left.outcome, left.primary, &left.secondaries[..]), ("matched", second, &[][..]));
    }
    one.stop().await;
    other.stop().await;
}

/// As another system merged: it only linked the rows.
async fn a_linked_primary_is_seen_at_once(database: TestDatabase) {
    let (one, other) = (Service::start(&database).await, Service::start(&database).await);
    let older = one.caller().identify(Api::Grpc, Some("old@x.de"), Some("2")).await.unwrap().primary;
    let second = known_to_both(&one, &other).await;
    let link = format!(
        r#"SET "linkedId" = {older}, "linkPrecedence" = 'secondary' WHERE "id" = {second} OR "email" = 'a@x.de'"#
    );
    assert_eq!(update(&database, &link).await, 2);
    for service in [&one, &other] {
        let merged = service.caller().identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap();
        assert_eq!((merged.outcome, merged.primary, merged.secondaries.len()), ("matched", older, 2));
    }
    one.stop().await;
    other.stop().await;
}

/// The root had a version ahead of the clock: it rises all the same.
async fn what_is_freed_gives_its_root_a_later_version(database: TestDatabase) {
    let service = Service::start(&database).await;
    let caller = service.caller();
    caller.identify(Api::Grpc, Some("a@x.de"), Some("1")).await.unwrap();
    let second = caller.identify(Api::Grpc, Some("b@x.de"), Some("1")).await.unwrap().secondaries[0];
    let ahead = "2100-01-01 00:00:00.123456";
    assert_eq!(update(&database, &format!(r#"SET "updatedAt" = '{ahead}' WHERE "linkedId" IS NULL"#)).await, 1);
    delete_alone(&database, second).await;
    let other = Service::start(&database).await;
    let freed = other.caller().identify(Api::Grpc, Some("b@x.de"), Some("2")).await.unwrap();
    assert_eq!(freed.outcome, "created");
    let tables = database.raw().await;
    let sql = format!(r#"SELECT "id" FROM "Contact" WHERE "email" = 'a@x.de' AND "updatedAt" > '{ahead}'"#);
    assert_eq!(query(&tables, &sql).await.len(), 1);
    tables.close().await.unwrap();
    service.stop().await;
    other.stop().await;
}
