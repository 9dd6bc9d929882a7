//! The table of another system is found and read as it is, on each database that the system is used with.

mod dates;
mod detection;
mod kinds;
mod read_only;
mod values;

use std::collections::BTreeMap;

use identity::store::old_table::{OldRow, OldTable, OldTableOptions, Unreadable};
use sea_orm::DatabaseConnection;

use crate::harness::{Suite, TestDatabase, query};
use crate::old_tables::MadeRow;

pub fn register(suite: &mut Suite) {
    kinds::register(suite);
    detection::register(suite);
    dates::register(suite);
    values::register(suite);
    read_only::register(suite);
}

/// Options as flags: the table, what is mapped, the zone.
fn options(table: &str, map: &[&str], time_zone: &str) -> OldTableOptions {
    OldTableOptions {
        table: Some(table.to_owned()).filter(|table| !table.is_empty()),
        map: map.iter().map(|text| text.parse().expect("an override")).collect(),
        time_zone: Some(time_zone).filter(|zone| !zone.is_empty()).map(|zone| zone.parse().expect("a zone")),
    }
}

async fn open(database: &TestDatabase) -> OldTable {
    OldTable::open(&database.url, &OldTableOptions::default()).await.expect("an old table")
}

/// Why the table is refused: one line.
async fn refused(url: &str, options: &OldTableOptions) -> String {
    let error = OldTable::open(url, options).await.expect_err("a refusal").to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// All rows, in pages of this size.
async fn all_rows(old: &OldTable, page: u64) -> Vec<OldRow> {
    let (mut rows, mut after) = (Vec::new(), 0);
    loop {
        let next = old.rows_after(after, page).await.expect("rows");
        let is_last = (next.len() as u64) < page;
        after = next.last().map_or(after, |row| row.id);
        rows.extend(next);
        if is_last {
            return rows;
        }
    }
}

/// The rows of a table by id, with nothing that could not be read.
async fn read(database: &TestDatabase, options: &OldTableOptions) -> BTreeMap<i64, OldRow> {
    let old = OldTable::open(&database.url, options).await.expect("an old table");
    let rows = all_rows(&old, 1_000).await;
    old.close().await;
    rows.into_iter().map(|row| (row.id, row)).collect()
}

/// The row that was made, as it must be read.
fn is_same(row: &OldRow, made: &MadeRow) -> bool {
    let dates = [row.created_at, row.updated_at, row.deleted_at].map(|date| date.map(|date| date.0));
    row.id == made.id
        && row.email == made.email
        && row.phone_number == made.phone_number
        && row.linked_id == made.linked_id
        && row.precedence.is_secondary() == Some(made.is_secondary)
        && dates == [made.created_at, made.updated_at, made.deleted_at]
        && row.unreadable == Unreadable::default()
}

/// All that a table holds, as the database prints it.
async fn dump(tables: &DatabaseConnection, table: &str) -> String {
    let rows = query(tables, &format!(r#"SELECT * FROM "{table}" ORDER BY 1"#)).await;
    rows.iter().map(|row| format!("{row:?}\n")).collect()
}
