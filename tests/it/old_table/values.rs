//! Values that are not plain text, and numbers of other sizes.

use identity::store::old_table::{OldPrecedence, OldTable};

use super::{options, read, refused};
use crate::harness::{Backend, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on_all(): phone_numbers_as_numbers, marks_of_deletion_are_no_dates);
    register!(suite.on(&[Backend::Mysql, Backend::Mariadb]): text_of_mysql_in_other_sets, ids_of_mysql_beyond_64_bits);
    register!(suite.on(&[Backend::Postgres]): text_of_postgresql);
    register!(suite.on(&[Backend::Sqlite]):
        values_of_sqlite_have_types_of_their_own,
        text_of_sqlite_in_utf_16_is_refused,
    );
}

async fn run(database: &TestDatabase, statements: &[&str]) {
    let tables = database.raw().await;
    for sql in statements {
        execute(&tables, sql).await;
    }
    tables.close().await.unwrap();
}

async fn phone_numbers_as_numbers(database: TestDatabase) {
    run(
        &database,
        &[
            r#"CREATE TABLE "contacts" ("id" INTEGER PRIMARY KEY, "phone" BIGINT, "linked_id" SMALLINT)"#,
            r#"INSERT INTO "contacts" VALUES (1, 4915123456781, NULL), (2, NULL, 1), (3, 0, -5)"#,
        ],
    )
    .await;
    let rows = read(&database, &options("", &["createdAt="], "")).await;
    let phones: Vec<_> = rows.values().map(|row| row.phone_number.as_deref()).collect();
    assert_eq!(phones, [Some("4915123456781"), None, Some("0")]);
    let links: Vec<_> = rows.values().map(|row| row.linked_id).collect();
    assert_eq!(links, [None, Some(1), Some(-5)]);
    assert!(rows.values().all(|row| row.email.is_none() && !row.unreadable.any()));
}

async fn text_of_mysql_in_other_sets(database: TestDatabase) {
    run(
        &database,
        &[
            "CREATE TABLE contacts (id INT PRIMARY KEY, linked_id INT, email VARCHAR(99) CHARACTER SET latin1, \
             phone VARBINARY(99), precedence ENUM('PRIMARY', 'Secondary', 'other'))",
            "INSERT INTO contacts VALUES (1, NULL, 'josé@x.de', '123', 'PRIMARY'), (2, 1, '', x'FF', 'Secondary'), \
             (3, 1, NULL, NULL, 'other'), (4, 1, 'a', '', NULL)",
        ],
    )
    .await;
    let rows = read(&database, &options("", &["createdAt="], "")).await;
    let emails: Vec<_> = rows.values().map(|row| row.email.as_deref()).collect();
    assert_eq!(emails, [Some("josé@x.de"), Some(""), None, Some("a")]);
    let phones: Vec<_> = rows.values().map(|row| row.phone_number.as_deref()).collect();
    assert_eq!(phones, [Some("123"), None, None, Some("")]);
    let unreadable: Vec<_> = rows.values().map(|row| row.unreadable.phone_number).collect();
    assert_eq!(unreadable, [false, true, false, false], "no two bytes that are no text become one text");
    let precedence: Vec<_> = rows.values().map(|row| row.precedence.is_secondary()).collect();
    assert_eq!(precedence, [Some(false), Some(true), None, None]);
    assert_eq!(rows[&3].precedence, OldPrecedence::Other("other".into()));
}

async fn ids_of_mysql_beyond_64_bits(database: TestDatabase) {
    run(
        &database,
        &[
            "CREATE TABLE contacts (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(9), linked_id BIGINT UNSIGNED)",
            "INSERT INTO contacts VALUES (9223372036854775807, 'a', 18446744073709551615), \
             (7, 'b', 9223372036854775807)",
        ],
    )
    .await;
    let rows = read(&database, &options("", &["createdAt="], "")).await;
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), [7, i64::MAX]);
    let links: Vec<_> = rows.values().map(|row| (row.linked_id, row.unreadable.linked_id)).collect();
    assert_eq!(links, [(Some(i64::MAX), false), (None, true)], "a link does not become negative");
    run(&database, &["INSERT INTO contacts VALUES (9223372036854775808, 'b', NULL)"]).await;
    let error = refused(&database.url, &options("", &["createdAt="], "")).await;
    assert!(
        error.contains("the id 9223372036854775808: ids must be whole numbers from 1 to 9223372036854775807"),
        "{error}"
    );
}

async fn text_of_postgresql(database: TestDatabase) {
    run(
        &database,
        &[
            "CREATE DOMAIN email_address AS varchar(99) CHECK (VALUE <> 'x')",
            "CREATE TYPE precedence AS ENUM ('primary', 'secondary')",
            "CREATE TABLE contacts (id smallint PRIMARY KEY, email email_address, phone numeric(20,0), linked_id int, \
             link_precedence precedence)",
            "INSERT INTO contacts VALUES (1, 'é@x.de', 4915123456781, 1, 'secondary'), (2, '', NULL, NULL, NULL)",
        ],
    )
    .await;
    let rows = read(&database, &options("", &["createdAt="], "")).await;
    assert_eq!(rows[&1].email.as_deref(), Some("é@x.de"));
    assert_eq!(rows[&1].phone_number.as_deref(), Some("4915123456781"));
    assert_eq!((&rows[&1].precedence, rows[&1].linked_id), (&OldPrecedence::Secondary, Some(1)));
    assert_eq!((rows[&2].email.as_deref(), &rows[&2].precedence), (Some(""), &OldPrecedence::Missing));
    run(&database, &["ALTER TABLE contacts DROP COLUMN email, ADD COLUMN email bytea"]).await;
    let refusal = refused(&database.url, &options("", &["createdAt="], "")).await;
    assert!(refusal.contains("email of the table contacts is bytea, which cannot be email"), "{refusal}");
}

async fn values_of_sqlite_have_types_of_their_own(database: TestDatabase) {
    run(
        &database,
        &[
            "CREATE TABLE contacts (id INT PRIMARY KEY, email, phone, linked_id)",
            "INSERT INTO contacts VALUES (1, 'a', 123, '2'), (2, x'FF', 4915123456781.0, 'x'), (3, NULL, '', ''), \
             (4, x'61', 1.5, 2.5), (5, NULL, NULL, 2.0)",
        ],
    )
    .await;
    let rows = read(&database, &options("", &["createdAt="], "")).await;
    let emails: Vec<_> = rows.values().map(|row| (row.email.as_deref(), row.unreadable.email)).collect();
    assert_eq!(emails, [(Some("a"), false), (None, true), (None, false), (Some("a"), false), (None, false)]);
    let phones: Vec<_> = rows.values().map(|row| row.phone_number.as_deref()).collect();
    assert_eq!(phones, [Some("123"), Some("4915123456781.0"), Some(""), Some("1.5"), None]);
    let links: Vec<_> = rows.values().map(|row| (row.linked_id, row.unreadable.linked_id)).collect();
    assert_eq!(links, [(Some(2), false), (None, true), (None, false), (None, true), (Some(2), false)]);
    let old = OldTable::open(&database.url, &options("", &["createdAt="], "")).await.unwrap();
    for id in ["'7x'", "'new'", "NULL", "1.5"] {
        run(&database, &[&format!("UPDATE contacts SET id = {id} WHERE phone = 1.5")]).await;
        let refusal = refused(&database.url, &options("", &["createdAt="], "")).await;
        assert!(refusal.contains("the table contacts has a row with the id that is no number"), "{id}: {refusal}");
    }
    run(&database, &["UPDATE contacts SET id = 'new' WHERE phone = 1.5"]).await;
    let error = old.rows_after(5, 9).await.unwrap_err();
    assert!(
        error.to_string().contains("the id that is no number"),
        "a row that comes while the table is read: {error}"
    );
    old.close().await;
}

/// As `sqlite3` makes a file after `PRAGMA encoding`.
async fn text_of_sqlite_in_utf_16_is_refused(database: TestDatabase) {
    run(
        &database,
        &[
            "PRAGMA encoding = 'UTF-16le'",
            "CREATE TABLE contacts (id INTEGER PRIMARY KEY, email TEXT, linked_id INTEGER)",
            "INSERT INTO contacts VALUES (1, 'a@', NULL)",
        ],
    )
    .await;
    let refusal = refused(&database.url, &options("", &["createdAt="], "")).await;
    assert!(refusal.contains("UTF-16"), "{refusal}");
}

/// A number in the place of a date: 0 is on live rows, and what is no date must not bring a customer back to life.
async fn marks_of_deletion_are_no_dates(database: TestDatabase) {
    let create = r#"CREATE TABLE "contacts" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9), "linked_id" INTEGER,
        "deleted_at" BIGINT DEFAULT 0)"#;
    let insert = r#"INSERT INTO "contacts" ("id", "deleted_at") VALUES (1, 0), (2, 1706695872), (3, NULL)"#;
    run(&database, &[create, insert]).await;
    let live = options("", &["createdAt="], "UTC");
    let rows = read(&database, &live).await;
    let deleted: Vec<_> = rows.values().map(|row| row.deleted_at.map(|at| at.0 / 1_000_000)).collect();
    assert_eq!(deleted, [None, Some(1_706_695_872), None]);
    run(&database, &[r#"UPDATE "contacts" SET "deleted_at" = 1 WHERE "id" = 3"#]).await;
    let old = OldTable::open(&database.url, &live).await.unwrap();
    let error = old.rows_after(0, 9).await.unwrap_err().to_string();
    assert!(error.contains("the row with the id 3") && error.contains("--map deletedAt="), "{error}");
    old.close().await;
    let boolean = if database.backend.is_mysql() { "TINYINT" } else { "BOOLEAN" };
    run(
        &database,
        &[
            r#"DROP TABLE "contacts""#,
            &format!(
                r#"CREATE TABLE "contacts" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9), "linked_id" INTEGER,
                "deleted_at" {boolean})"#
            ),
        ],
    )
    .await;
    let refusal = refused(&database.url, &live).await;
    assert!(refusal.contains("which cannot be deletedAt"), "{refusal}");
}
