//! Ignored identifiers after damage: somebody freed one, changed a row by SQL, or took the migration back half.

use tonic::Code;

use crate::harness::{Service, Suite, TestDatabase, execute, query, register};
use crate::ignored::{TILL, assert_refused, identify, ignore, run};
use crate::ignored_command::steps_to_undo_flags;
use crate::verify::{clean, findings, repairs, verify};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all():
        what_counts_again_is_not_ignored_by_a_repair,
        what_was_freed_joins_nobody_in_a_repair,
        another_phone_region_moves_what_is_ignored,
        a_holder_that_was_changed_by_sql_holds_what_it_says,
        marks_alone_keep_the_migration,
        a_migration_that_was_undone_half_is_undone,
        a_large_identity_is_ignored_and_counts_again,
        both_malformed_and_ignored_is_malformed,
        an_empty_file_is_a_mistake,
    );
}

async fn free(database: &TestDatabase) {
    let tables = database.raw().await;
    execute(&tables, r#"DELETE FROM "Identifier" WHERE "kind" = 'phone'"#).await;
    tables.close().await.unwrap();
}

async fn what_counts_again_is_not_ignored_by_a_repair(database: TestDatabase) {
    database.store().await;
    // Freed, and then it counts again.
    ignore(&database, &["add", "phone", TILL]);
    free(&database).await;
    let said = ignore(&database, &["remove", "phone", TILL]);
    assert_eq!(said, "count again: 1 (given to customers: 0); were not ignored: 0\n");
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, repairs(&report).len()), (0, 0), "{report}");
    assert!(ignore(&database, &["list"]).is_empty());
    // Freed, ignored again by another holder, and then it counts again.
    ignore(&database, &["add", "phone", TILL]);
    free(&database).await;
    let service = Service::start(&database).await;
    identify(&service, Some("z@x.de"), Some(TILL)).await.unwrap();
    ignore(&database, &["add", "phone", TILL]);
    let said = ignore(&database, &["remove", "phone", TILL]);
    assert_eq!(said, "count again: 1 (given to customers: 1); were not ignored: 0\n");
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, repairs(&report).len()), (0, 0), "{report}");
    assert_eq!(identify(&service, None, Some(TILL)).await.unwrap().emails, ["z@x.de"]);
    // Freed, and a customer who gave it since keeps it.
    ignore(&database, &["add", "phone", TILL]);
    free(&database).await;
    let other = identify(&service, Some("y@x.de"), Some(TILL)).await.unwrap();
    assert_eq!(other.outcome, "created");
    let said = ignore(&database, &["remove", "phone", TILL]);
    assert_eq!(said, "count again: 1 (given to customers: 1); were not ignored: 0\n");
    assert_eq!(identify(&service, None, Some(TILL)).await.unwrap().primary, other.primary);
    service.stop().await;
    clean(&database);
}

/// An older process freed it, and customers were written by SQL, or by that process.
async fn what_was_freed_joins_nobody_in_a_repair(database: TestDatabase) {
    let service = Service::start(&database).await;
    let mut customers = Vec::new();
    for email in ["p@x.de", "q@x.de"] {
        customers.push(identify(&service, Some(email), None).await.unwrap().primary);
    }
    ignore(&database, &["add", "phone", TILL]);
    free(&database).await;
    customers.push(identify(&service, Some("z@x.de"), Some(TILL)).await.unwrap().primary);
    let tables = database.raw().await;
    for id in &customers[..2] {
        let given = format!(r#"UPDATE "Contact" SET "phoneNumber" = '{TILL}' WHERE "id" = {id}"#);
        assert_eq!(execute(&tables, &given).await, 1);
    }
    let (_, planned) = verify(&database, &["--plan"]);
    assert!(repairs(&planned).iter().all(|repair| repair["repair"] != "merged"), "{planned}");
    let (status, report) = verify(&database, &["--repair"]);
    assert!(status == 0 && repairs(&report).iter().all(|repair| repair["repair"] != "merged"), "{report}");
    assert!(query(&tables, r#"SELECT 1 FROM "ContactMerge""#).await.is_empty());
    tables.close().await.unwrap();
    for (email, id) in ["p@x.de", "q@x.de", "z@x.de"].iter().zip(customers) {
        assert_eq!(identify(&service, Some(email), None).await.unwrap().primary, id);
    }
    assert_refused(identify(&service, None, Some(TILL)).await);
    service.stop().await;
    clean(&database);
}

async fn another_phone_region_moves_what_is_ignored(database: TestDatabase) {
    let service = Service::start(&database).await;
    let customer = identify(&service, Some("a@x.de"), Some("030123456")).await.unwrap();
    ignore(&database, &["add", "phone", "030123456"]);
    service.stop().await;
    let german = ["--phone-region", "DE"];
    let (status, report) = verify(&database, &german);
    let found = findings(&report);
    assert_eq!((status, found.len()), (1, 2), "the holder, and the customer: {report}");
    assert!(found.iter().all(|finding| finding.contains("not_canonical")), "{found:?}");
    let (_, planned) = verify(&database, &["--phone-region", "DE", "--plan"]);
    assert_eq!(repairs(&planned).len(), 2, "{planned}");
    let (status, report) = verify(&database, &["--phone-region", "DE", "--repair"]);
    assert_eq!((status, repairs(&report).len()), (0, 2), "{report}");
    let service = Service::start_with(&database.url, &german).await;
    assert_refused(identify(&service, None, Some("030 123456")).await);
    let known = identify(&service, Some("a@x.de"), None).await.unwrap();
    assert_eq!((known.primary, known.phones), (customer.primary, vec!["+4930123456".to_owned()]));
    service.stop().await;
    let (status, report) = verify(&database, &german);
    assert_eq!((status, findings(&report).len()), (0, 0), "{report}");
}

/// A request with what it held is answered: it is not taken for ignored by one look-up, and for owned by the next.
async fn a_holder_that_was_changed_by_sql_holds_what_it_says(database: TestDatabase) {
    let service = Service::start(&database).await;
    ignore(&database, &["add", "phone", TILL]);
    let tables = database.raw().await;
    let changed = r#"UPDATE "Contact" SET "phoneNumber" = '0000000001' WHERE "flags" = 4"#;
    assert_eq!(execute(&tables, changed).await, 1);
    let created = identify(&service, Some("z@x.de"), Some(TILL)).await.unwrap();
    assert_eq!((created.outcome, created.phones), ("created", vec![TILL.to_owned()]));
    let (status, report) = verify(&database, &["--repair"]);
    assert_eq!((status, repairs(&report).len()), (0, 1), "{report}");
    assert_refused(identify(&service, None, Some("0000000001")).await);
    tables.close().await.unwrap();
    service.stop().await;
    clean(&database);
}

async fn marks_alone_keep_the_migration(database: TestDatabase) {
    let store = database.store().await;
    let steps = steps_to_undo_flags(&store).await;
    let service = Service::start(&database).await;
    identify(&service, Some("a@x.de"), Some(TILL)).await.unwrap();
    ignore(&database, &["add", "phone", TILL]);
    let tables = database.raw().await;
    execute(&tables, r#"UPDATE "Contact" SET "flags" = 0, "phoneNumber" = NULL WHERE "flags" = 4"#).await;
    let refused = store.migrate_down_without_loss(steps).await.unwrap_err().to_string();
    assert!(refused.contains("ignored"), "{refused}");
    execute(&tables, r#"UPDATE "Contact" SET "flags" = 0"#).await;
    store.migrate_down_without_loss(steps).await.unwrap();
    tables.close().await.unwrap();
    service.stop().await;
}

/// MySQL undoes no migration that was ended before it was recorded.
async fn a_migration_that_was_undone_half_is_undone(database: TestDatabase) {
    let store = database.store().await;
    let steps = steps_to_undo_flags(&store).await;
    let tables = database.raw().await;
    execute(&tables, r#"ALTER TABLE "Contact" DROP COLUMN "flags""#).await;
    tables.close().await.unwrap();
    store.migrate_down_without_loss(steps).await.unwrap();
    store.migrate_up().await.unwrap();
    ignore(&database, &["add", "phone", TILL]);
}

/// More contacts than an identity may have today: it is from before.
async fn a_large_identity_is_ignored_and_counts_again(database: TestDatabase) {
    let service = Service::start(&database).await;
    let first = identify(&service, Some("a@x.de"), Some(TILL)).await.unwrap();
    let tables = database.raw().await;
    let linked = format!(
        r#"INSERT INTO "Contact" ("phoneNumber", "linkedId", "linkPrecedence", "createdAt", "updatedAt")
        SELECT "phoneNumber", {0}, 'secondary', "createdAt", "updatedAt" FROM "Contact" WHERE "id" >= {0}"#,
        first.primary
    );
    for _ in 0..11 {
        execute(&tables, &linked).await;
    }
    let said = ignore(&database, &["add", "phone", TILL]);
    assert_eq!(said, "ignored from now on: 1 (of customers: 1); ignored before: 0\n");
    let marked = async |count: usize| {
        let rows = query(&tables, r#"SELECT "id" FROM "Contact" WHERE "flags" = 32"#).await;
        assert_eq!(rows.len(), count);
    };
    marked(2_048).await;
    assert_refused(identify(&service, None, Some(TILL)).await);
    assert_eq!(identify(&service, Some("a@x.de"), None).await.unwrap().primary, first.primary);
    ignore(&database, &["remove", "phone", TILL]);
    marked(0).await;
    assert_eq!(identify(&service, None, Some(TILL)).await.unwrap().primary, first.primary);
    tables.close().await.unwrap();
    service.stop().await;
    clean(&database);
}

async fn both_malformed_and_ignored_is_malformed(database: TestDatabase) {
    let service = Service::start_with(&database.url, &["--invalid-identifiers", "ignore"]).await;
    ignore(&database, &["add", "phone", TILL]);
    let refusal = identify(&service, Some("not an e-mail"), Some(TILL)).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "IDENTIFIER_INVALID"));
    assert!(refusal.message.contains("email"), "{refusal:?}");
    service.stop().await;
}

async fn an_empty_file_is_a_mistake(database: TestDatabase) {
    database.store().await;
    let file = std::env::temp_dir().join(format!("ignored_none_{}_{}", std::process::id(), database.backend.name()));
    std::fs::write(&file, "# tills\n\n").unwrap();
    let done = run(&database, &["add", "--file", file.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("has no identifier"));
    std::fs::remove_file(&file).unwrap();
}
