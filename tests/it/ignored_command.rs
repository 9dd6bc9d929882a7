//! `identity ignore`: files, lists, mistakes, and its migration.

use identity::store::Database;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::harness::{Service, Suite, TestDatabase, register};
use crate::ignored::{TILL, identify, ignore, run};
use crate::verify::clean;

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): files_lists_and_mistakes, the_migration_is_not_undone_without_a_word);
}

async fn files_lists_and_mistakes(database: TestDatabase) {
    database.store().await;
    let file = std::env::temp_dir().join(format!("ignored_{}_{}", std::process::id(), database.backend.name()));
    let lines = "# tills\n\nphone 000 000-0000\nphone (0000) 000000\r\nemail Till@Shop.Example\n";
    std::fs::write(&file, lines).unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        ignore(&database, &["add", "--file", path]),
        "ignored from now on: 2 (of customers: 0); ignored before: 0\n"
    );
    let text = ignore(&database, &["list"]);
    assert!(
        text.contains("***00") && text.contains("t***") && !text.contains(TILL) && !text.contains("till"),
        "{text}"
    );
    let list = |flags: &[&str]| -> Value { serde_json::from_str(&ignore(&database, flags)).unwrap() };
    let shown = list(&["list", "--show-values", "--format", "json"]);
    let mut values: Vec<&str> =
        shown["ignored"].as_array().unwrap().iter().map(|one| one["value"].as_str().unwrap()).collect();
    values.sort_unstable();
    assert_eq!((values, &shown["count"]), (vec![TILL, "till@shop.example"], &json!(2)));
    assert!(shown["ignored"].as_array().unwrap().iter().all(|one| one["in_force"] == true));

    std::fs::write(&file, "phone 1\nphone secret\n").unwrap();
    for arguments in [
        &["add", "--file", path][..],
        &["add", "--file", "/no/such/file"],
        &["add", "fax", "secret"],
        &["add", "phone"],
        &["add"],
        &["add", "phone", "secret"],
        &["remove", "phone", "1", "--file", path],
    ] {
        let done = run(&database, arguments);
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(!said.contains("secret"), "{said}");
    }
    assert_eq!(list(&["list", "--format", "json"])["count"], 2, "nothing of a wrong file is done");
    std::fs::write(&file, lines).unwrap();
    ignore(&database, &["remove", "--file", path]);
    assert_eq!(list(&["list", "--format", "json"])["count"], 0);
    std::fs::remove_file(&file).unwrap();
    clean(&database);
}

/// How many migrations are undone if that of the flags is: those after it too.
pub async fn steps_to_undo_flags(store: &Database) -> Option<u32> {
    let steps = store.migration_status().await.unwrap();
    let later = steps.iter().rev().position(|step| step.name.ends_with("contact_flags")).expect("the migration");
    Some(u32::try_from(later).unwrap() + 1)
}

async fn the_migration_is_not_undone_without_a_word(database: TestDatabase) {
    let store = database.store().await;
    let steps = steps_to_undo_flags(&store).await;
    ignore(&database, &["add", "phone", TILL]);
    let refused = store.migrate_down_without_loss(steps).await.unwrap_err().to_string();
    assert!(refused.contains("ignored"), "{refused}");
    store.migrate_down(steps).await.unwrap();
    let done = run(&database, &["list"]);
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("run `identity migrate up`"));
    store.migrate_up().await.unwrap();
    // A run that ended before it was recorded.
    store.connection().execute_unprepared("DELETE FROM seaql_migrations WHERE version LIKE '%flags'").await.unwrap();
    store.migrate_up().await.unwrap();
    let service = Service::start(&database).await;
    let counts = identify(&service, Some("a@x.de"), Some(TILL)).await.unwrap();
    assert_eq!(counts.phones, [TILL], "with the column it is forgotten what was ignored");
    service.stop().await;
    clean(&database);
}
