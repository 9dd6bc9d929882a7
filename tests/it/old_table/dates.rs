//! Dates with their traps.

use chrono::DateTime;
use identity::store::old_table::{OldRow, OldTable};
use sea_orm::ConnectionTrait;

use super::{options, read, refused};
use crate::harness::{Backend, Suite, TestDatabase, execute, register};

pub fn register(suite: &mut Suite) {
    register!(suite.on(&[Backend::Postgres]): dates_of_postgresql, a_clock_that_is_changed, dates_as_text_need_a_zone);
    register!(suite.on(&[Backend::Mysql, Backend::Mariadb]): dates_of_mysql, timestamps_do_not_depend_on_the_session);
    register!(suite.on(&[Backend::Sqlite]): each_row_of_sqlite_has_a_date_of_its_own);
}

/// A date as text, `-` if there is none, `!` if it cannot be read.
fn created(row: &OldRow) -> String {
    match (row.created_at, row.unreadable.created_at) {
        (Some(at), false) => DateTime::from_timestamp_micros(at.0).expect("a date").format("%F %T%.f").to_string(),
        (None, true) => "!".to_owned(),
        (None, false) => "-".to_owned(),
        (Some(_), true) => panic!("both"),
    }
}

/// On SQLite the zone of dates in a column in snake case is asked for.
fn created_column(backend: Backend) -> &'static str {
    if backend == Backend::Sqlite { "createdAt" } else { "created_at" }
}

/// Creates a table whose rows have these dates, as literals.
async fn create(database: &TestDatabase, sql_type: &str, dates: &[&str]) {
    let tables = database.raw().await;
    execute(
        &tables,
        &format!(
            r#"CREATE TABLE "contacts" ("id" INTEGER PRIMARY KEY, "email" VARCHAR(9), "linked_id" INTEGER,
            "{created}" {sql_type})"#,
            created = created_column(database.backend)
        ),
    )
    .await;
    for (date, id) in dates.iter().zip(1..) {
        let mode = if database.backend.is_mysql() { "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'; " } else { "" };
        let created = created_column(database.backend);
        let sql = format!("{mode}INSERT INTO contacts (id, {created}) VALUES ({id}, {date})");
        tables.execute_unprepared(&sql).await.unwrap();
    }
    tables.close().await.unwrap();
}

async fn drop_table(database: &TestDatabase) {
    let tables = database.raw().await;
    execute(&tables, r#"DROP TABLE "contacts""#).await;
    tables.close().await.unwrap();
}

async fn dates_in(database: &TestDatabase, sql_type: &str, dates: &[&str], zone: &str) -> Vec<String> {
    create(database, sql_type, dates).await;
    let rows = read(database, &options("", &[], zone)).await;
    drop_table(database).await;
    rows.values().map(created).collect()
}

async fn dates_of_postgresql(database: TestDatabase) {
    let traps =
        ["NULL", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'20000-01-01'", "'2024-01-31 10:11:12.345678'"];
    for (sql_type, zone) in [("timestamptz", ""), ("timestamp", "UTC")] {
        let expected = ["-", "!", "!", "!", "!", "2024-01-31 10:11:12.345678"];
        assert_eq!(dates_in(&database, sql_type, &traps, zone).await, expected, "{sql_type}");
    }
    assert_eq!(dates_in(&database, "timestamptz", &["'2024-01-31 10:00+05:30'"], "").await, ["2024-01-31 04:30:00"]);
    assert_eq!(dates_in(&database, "date", &["'2024-01-31'"], "Europe/Berlin").await, ["2024-01-30 23:00:00"]);
    let numbers = ["1706695872", "1706695872345", "NULL"];
    let expected = ["2024-01-31 10:11:12", "2024-01-31 10:11:12.345", "-"];
    assert_eq!(dates_in(&database, "bigint", &numbers, "").await, expected);
    create(&database, "boolean", &["true"]).await;
    let refusal = refused(&database.url, &options("", &[], "")).await;
    assert!(refusal.contains("created_at of the table contacts is boolean, which cannot be createdAt"), "{refusal}");
}

async fn a_clock_that_is_changed(database: TestDatabase) {
    let dates = [
        "'2024-03-31 01:59:59'", // before the clocks go forward
        "'2024-03-31 02:30:00'", // does not exist
        "'2024-03-31 03:00:00'",
        "'2024-10-27 02:30:00'", // comes twice: the first is meant
        "'2024-10-27 03:00:00'",
        "'1970-06-01 00:00:00'", // no summer time then
    ];
    let expected = [
        "2024-03-31 00:59:59",
        "2024-03-31 01:30:00",
        "2024-03-31 01:00:00",
        "2024-10-27 00:30:00",
        "2024-10-27 02:00:00",
        "1970-05-31 23:00:00",
    ];
    assert_eq!(dates_in(&database, "timestamp", &dates, "Europe/Berlin").await, expected);
}

async fn dates_as_text_need_a_zone(database: TestDatabase) {
    let dates = ["'2024-07-01 10:00:00'", "'2024-07-01T10:00:00Z'", "'yesterday'", "''"];
    create(&database, "text", &dates).await;
    let refusal = refused(&database.url, &options("", &[], "")).await;
    assert!(refusal.contains("created_at text") && refusal.contains("--time-zone"), "{refusal}");
    let rows = read(&database, &options("", &[], "Europe/Berlin")).await;
    let read: Vec<String> = rows.values().map(created).collect();
    assert_eq!(read, ["2024-07-01 08:00:00", "2024-07-01 10:00:00", "!", "-"]);
}

async fn dates_of_mysql(database: TestDatabase) {
    let traps = [
        "NULL",
        "'0000-00-00 00:00:00'",
        "'2024-02-31 00:00:00'",
        "'0001-01-01'",
        "'9999-12-31 23:59:59'",
        "'2024-01-31 10:11:12.345678'",
    ];
    let expected = ["-", "-", "!", "!", "9999-12-31 23:59:59", "2024-01-31 10:11:12.345678"];
    assert_eq!(dates_in(&database, "DATETIME(6)", &traps, "UTC").await, expected);
    let dates = ["'2024-01-31'", "'0000-00-00'", "'2024-00-10'"];
    assert_eq!(dates_in(&database, "DATE", &dates, "Asia/Kolkata").await, ["2024-01-30 18:30:00", "-", "!"]);
    let dates = ["'2024-01-31 10:11:12'", "'0000-00-00 00:00:00'", "NULL"];
    let expected = ["2024-01-31 10:11:12", "-", "-"];
    assert_eq!(dates_in(&database, "TIMESTAMP NULL", &dates, "").await, expected);
    assert_eq!(dates_in(&database, "BIGINT UNSIGNED", &["1706695872345"], "").await, ["2024-01-31 10:11:12.345"]);
    create(&database, "DATETIME", &["NULL"]).await;
    let refusal = refused(&database.url, &options("", &[], "")).await;
    assert!(refusal.contains("created_at datetime") && refusal.contains("--time-zone"), "{refusal}");
}

async fn timestamps_do_not_depend_on_the_session(database: TestDatabase) {
    create(&database, "TIMESTAMP NULL", &[]).await;
    let tables = database.raw().await;
    let sql =
        "SET SESSION time_zone = '+05:00'; INSERT INTO contacts (id, created_at) VALUES (1, '2024-01-31 10:00:00')";
    tables.execute_unprepared(sql).await.unwrap();
    let rows = read(&database, &options("", &[], "America/New_York")).await;
    assert_eq!(created(&rows[&1]), "2024-01-31 05:00:00", "whatever zone is given: each date says its own");
    tables.close().await.unwrap();
}

async fn each_row_of_sqlite_has_a_date_of_its_own(database: TestDatabase) {
    // Prisma's CURRENT_TIMESTAMP is a text, and what its client writes is a number.
    let dates = [
        "'2024-07-01 10:00:00'",
        "1719828000000",
        "1719828000",
        "1719828000.25",
        "'2024-07-01T10:00:00.5Z'",
        "'2024-07-01 12:00:00.000 +02:00'",
        "julianday('2024-07-01 10:00:00')",
        "NULL",
        "''",
        "'soon'",
        "x'ff'",
    ];
    let mut expected = [
        "2024-07-01 10:00:00",
        "2024-07-01 10:00:00",
        "2024-07-01 10:00:00",
        "2024-07-01 10:00:00.250",
        "2024-07-01 10:00:00.500",
        "2024-07-01 10:00:00",
        "2024-07-01 10:00:00",
        "-",
        "-",
        "!",
        "!",
    ];
    create(&database, "DATETIME", &dates).await;
    for (zone, first) in [("", "2024-07-01 10:00:00"), ("Europe/Berlin", "2024-07-01 08:00:00")] {
        let rows = read(&database, &options("", &[], zone)).await;
        let read: Vec<String> = rows.values().map(created).collect();
        expected[0] = first;
        assert_eq!(read[..6], expected[..6], "{zone}");
        assert!(read[6].starts_with("2024-07-01 09:59:59.99") || read[6].starts_with(expected[6]), "{}", read[6]);
        assert_eq!(read[7..], expected[7..], "{zone}");
    }
    let old = OldTable::open(&database.url, &options("", &[], "")).await.unwrap();
    assert!(old.mapping().to_string().contains("UTC (systems in JavaScript"), "{}", old.mapping());
    old.close().await;
}
