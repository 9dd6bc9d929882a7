//! SQLite, embedded in this process. It has one writer at a time, and the clock of this process.

use chrono::NaiveDate;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use super::list::{KeyLookup, bytes, kind, padded, padded_ids};
use super::refusal::{is_of_one_request_on_sqlite, refusal};
use crate::domain::{Identifier, Timestamp};
use crate::store::connect_error::ConnectError;
use crate::store::error::{Cause, Outage, StoreError};

/// See [`Engine::owned_rows`](super::Engine). An entry that fills the list up comes more than once, and so do its rows.
pub(super) fn owned_rows(identifiers: &[Identifier]) -> KeyLookup {
    let size = identifiers.len().next_power_of_two();
    let row = |identifier: &Identifier| [Value::from(kind(identifier)), Value::from(bytes(identifier))];
    // After ANALYZE the planner would rather read all identifiers of a kind: there are only two kinds.
    let from = format!(
        r#"(VALUES {}) k CROSS JOIN "Identifier" i INDEXED BY "sqlite_autoindex_Identifier_1"
        ON i."kind" = k.column1 AND i."value" = k.column2
        {}"#,
        vec!["(?, ?)"; size].join(", "),
        contact_join("o", "id", r#"i."contactId""#, None)
    );
    let params = padded(identifiers.iter(), size).flat_map(row).collect();
    KeyLookup { from, filter: "TRUE".to_owned(), params }
}

/// See [`Engine::contact_join`](super::Engine).
pub(super) fn contact_join(name: &str, column: &str, value: &str, index: Option<&str>) -> String {
    let index = index.map(|index| format!(r#" INDEXED BY "{index}""#)).unwrap_or_default();
    format!(r#"LEFT JOIN "Contact" {name}{index} ON {name}."{column}" = {value}"#)
}

/// The contacts `c` of these ids. With a list instead, SQLite would rather read all of a table that was short when it
/// was analyzed.
pub(super) fn contacts_by_id(ids: &[i64]) -> KeyLookup {
    let (params, rows) = rows(ids);
    let from = format!(r#"(VALUES {rows}) k CROSS JOIN "Contact" c ON c."id" = k.column1"#);
    KeyLookup { from, filter: "TRUE".to_owned(), params }
}

/// What this selects of `roots`, of these roots.
pub(super) fn contacts_of(select: &str, roots: &[i64]) -> (String, Vec<Value>) {
    let (params, rows) = rows(roots);
    (format!("WITH roots AS (SELECT DISTINCT column1 AS root FROM (VALUES {rows})) {select}"), params)
}

/// Ids as parameters, filled up, and their marks as rows.
fn rows(ids: &[i64]) -> (Vec<Value>, String) {
    let ids: Vec<Value> = padded_ids(ids).into_iter().map(Value::from).collect();
    let marks = vec!["(?)"; ids.len()].join(", ");
    (ids, marks)
}

/// The contacts of `roots` by this column, through an index (the row id without one).
pub(super) fn contacts_by(columns: &str, column: &str, index: Option<&str>) -> String {
    let index = index.map(|index| format!(r#" INDEXED BY "{index}""#)).unwrap_or_default();
    format!(r#"SELECT {columns} FROM roots CROSS JOIN "Contact" c{index} WHERE c."{column}" = roots.root"#)
}

/// See [`Engine::tables_sql`](super::Engine::tables_sql).
pub(super) const TABLES: &str = "SELECT name, 1, 1 FROM sqlite_master WHERE type = 'table' ORDER BY name";

/// See [`Engine::columns_sql`](super::Engine::columns_sql).
pub(super) const COLUMNS: &str = r#"SELECT name, type, NOT ("notnull" OR pk), dflt_value IS NOT NULL, pk AND EXISTS (
    SELECT * FROM sqlite_master m WHERE m.type = 'table' AND m.name = ? AND m.sql LIKE '%AUTOINCREMENT%')
    FROM pragma_table_info(?) ORDER BY cid"#;

/// See [`Engine::indexes_sql`](super::Engine::indexes_sql). A primary key that is the row id has no index.
pub(super) const INDEXES: &str = r#"SELECT 'PRIMARY', 1, 1, name, 0 FROM (
        SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk)
    UNION ALL SELECT * FROM (SELECT l.name, l."unique", 0, c.name, l.partial
        FROM pragma_index_list(?) l, pragma_index_info(l.name) c WHERE l.origin <> 'pk' ORDER BY l.name, c.seqno)"#;

/// The moment in a text as this service writes it: `2026-11-27 08:30:00.123456`, with up to six digits of a second.
/// `None` for another form.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?.iter();
        digits
            .copied()
            .try_fold(0, |number: u32, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
    };
    let is_spelled = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if is_spelled.iter().any(|&(at, byte)| text.get(at) != Some(&byte)) {
        return None;
    }
    let fraction = match text.len() {
        19 => 0,
        length @ 21..=26 if text[19] == b'.' => number(20, length)? * [100_000, 10_000, 1_000, 100, 10, 1][length - 21],
        _ => return None,
    };
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, number(5, 7)?, number(8, 10)?)?;
    let moment = date.and_hms_micro_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, fraction)?;
    Some(Timestamp(moment.and_utc().timestamp_micros()))
}

/// Writes everything that the WAL file has into the database file, and empties the WAL file.
pub(crate) async fn write_back(connection: &impl ConnectionTrait) -> Result<(), StoreError> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)".to_owned();
    let done = connection.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await?;
    let is_busy = done.map(|row| row.try_get_by_index::<i32>(0)).transpose()? == Some(1);
    if is_busy { Err(StoreError::Unavailable(Cause::new("another process uses it"))) } else { Ok(()) }
}

/// Why there is no connection, by result code.
pub(crate) fn connect_error(code: &str) -> ConnectError {
    match code {
        "14" => ConnectError::Refused("the SQLite file cannot be opened or made"),
        "26" => ConnectError::Refused("the file is no SQLite database"),
        _ => ConnectError::Unreachable,
    }
}

/// Whether the result code of a duplicate key is about the primary key, or the row id.
pub(crate) fn is_of_primary_key(code: &str) -> bool {
    matches!(code, "1555" | "2579")
}

/// What an error means, by extended result code. The message is compared, not quoted: unknown tables and columns have
/// no code of their own. <https://www.sqlite.org/rescode.html>
pub(crate) fn store_error(code: u32, message: &str) -> StoreError {
    let cause = Cause::new(format!("SQLite error {code}"));
    match (code, code & 0xff) {
        (1, _) if ["no such table", "no such column", "no such index"].iter().any(|text| message.starts_with(text)) => {
            StoreError::Unavailable(cause.because_of(Outage::Schema))
        }
        (_, 8) => StoreError::Unavailable(cause.because_of(Outage::ReadOnly)),
        // Primary key, row id, unique.
        (1555 | 2579 | 2067, _) => StoreError::DuplicateKey(cause),
        // Busy, locked, a race of two that opened the write-ahead log.
        (_, 5 | 6 | 15) => StoreError::LostRace(cause),
        // Out of memory, I/O, full, cannot open.
        (_, 7 | 10 | 13 | 14) => StoreError::Unavailable(cause),
        // A connection prepares a statement by the schema as it read it last. Only when the statement runs does it
        // compare. So a trigger that another connection has dropped fails the preparation.
        (1, _) => refusal(is_of_one_request_on_sqlite(code, message), cause.perhaps_outdated()),
        _ => refusal(is_of_one_request_on_sqlite(code, message), cause),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDateTime};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_moment_is_what_the_driver_writes(micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000) {
            // As sqlx 0.9.0 writes it, for any number of digits of the second.
            for micros in [micros, micros / 1_000 * 1_000, micros / 1_000_000 * 1_000_000] {
                let written = DateTime::from_timestamp_micros(micros).unwrap().naive_utc();
                prop_assert_eq!(moment(&written.format("%F %T%.f").to_string()), Some(Timestamp(micros)));
            }
        }

        #[test]
        fn what_is_read_is_the_moment_that_chrono_reads(
            text in "[0-9]{4}-[0-1][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,6})?",
        ) {
            let read = NaiveDateTime::parse_from_str(&text, "%F %T%.f").ok();
            // chrono also reads a leap second.
            let read = read.filter(|_| text.get(17..19) != Some("60"));
            prop_assert_eq!(moment(&text), read.map(|read| Timestamp(read.and_utc().timestamp_micros())));
        }
    }

    #[test]
    fn other_forms_are_left_to_the_driver() {
        for text in [
            "",
            "2026-11-27",
            "2026-11-27T08:30:00",
            "2026-11-27 08:30",
            "2026-11-27 08:30:00.",
            "2026-11-27 08:30:00Z",
            "2026-11-27 08:30:00.1234567",
            "2026-13-27 08:30:00",
            "2026-11-27 08:30:0x",
            "+026-11-27 08:30:00",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
