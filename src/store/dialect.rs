//! What the databases do differently, all of it but the connection's settings (`connect`).

use chrono::Utc;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};

use super::StoreError;
use super::convert::moment;
use super::error::Cause;
use crate::domain::{Identifier, IdentifierKind, Timestamp};

/// The identifiers as a statement's parameters, and the join that finds their rows by key.
///
/// Lists are filled up to a power of two with their last entry, so that a connection prepares few
/// statements; PostgreSQL takes two arrays of any length instead.
pub(super) fn owned_rows(backend: DbBackend, identifiers: &[Identifier]) -> (String, Vec<Value>) {
    let kind = |identifier: &Identifier| identifier.kind().name().to_owned();
    if backend == DbBackend::Postgres {
        let kinds: Vec<String> = identifiers.iter().map(kind).collect();
        let values: Vec<Vec<u8>> = identifiers.iter().map(bytes).collect();
        // OFFSET keeps the planner from turning look-ups into a join of another order.
        let from = r#"unnest($1::varchar[], $2::bytea[]) AS k("kind", "value"),
            LATERAL (SELECT * FROM "Identifier" WHERE "kind" = k."kind" AND "value" = k."value" OFFSET 0) i
            LEFT JOIN LATERAL (SELECT * FROM "Contact" WHERE "id" = i."contactId" OFFSET 0) o ON TRUE WHERE TRUE"#;
        return (from.to_owned(), vec![kinds.into(), values.into()]);
    }
    if backend == DbBackend::MySql {
        let (is_wanted, params) = by_kind(identifiers);
        let from = format!(
            "`Identifier` i FORCE INDEX (PRIMARY)
            LEFT JOIN `Contact` o FORCE INDEX (PRIMARY) ON o.`id` = i.`contactId`
            WHERE ({is_wanted})"
        );
        return (from, params);
    }
    let size = identifiers.len().next_power_of_two();
    let row = |identifier: &Identifier| [Value::from(kind(identifier)), Value::from(bytes(identifier))];
    // After ANALYZE the planner would rather read all identifiers of a kind, of which there are two. The one
    // that fills the list up comes more than once.
    let from = format!(
        r#"(VALUES {}) k CROSS JOIN "Identifier" i INDEXED BY "sqlite_autoindex_Identifier_1"
        ON i."kind" = k.column1 AND i."value" = k.column2
        LEFT JOIN "Contact" o ON o."id" = i."contactId" WHERE TRUE"#,
        vec!["(?, ?)"; size].join(", ")
    );
    (from, padded(identifiers.iter(), size).flat_map(row).collect())
}

/// The condition for MySQL: a list of values for each kind, all lists of one length. It takes a fifth more
/// of MySQL's time to look up rows of kind and value.
fn by_kind(identifiers: &[Identifier]) -> (String, Vec<Value>) {
    let of_kind = |kind| identifiers.iter().filter(move |identifier| identifier.kind() == kind);
    let longest = IdentifierKind::ALL.into_iter().map(|kind| of_kind(kind).count()).max();
    let size = longest.unwrap_or_default().next_power_of_two();
    let marks = vec!["?"; size].join(", ");
    let (mut conditions, mut params) = (Vec::new(), Vec::new());
    for kind in IdentifierKind::ALL {
        let before = params.len();
        params.extend(padded(of_kind(kind), size).map(|identifier| Value::from(bytes(identifier))));
        if params.len() > before {
            conditions.push(format!("i.`kind` = '{}' AND i.`value` IN ({marks})", kind.name()));
        }
    }
    (conditions.join(" OR "), params)
}

fn bytes(identifier: &Identifier) -> Vec<u8> {
    identifier.value().as_bytes().to_vec()
}

/// The same, filled up to a size with the last; nothing stays nothing.
fn padded<'a>(
    identifiers: impl Iterator<Item = &'a Identifier> + Clone,
    size: usize,
) -> impl Iterator<Item = &'a Identifier> {
    let last = identifiers.clone().last().into_iter().cycle();
    identifiers.chain(last).take(size)
}

/// Whether a MySQL or MariaDB server takes no writes (any more), as a column of what is read from it. Who makes it a replica
/// leaves its connections open, and by the time anybody asks, another server may have been written to.
const READ_ONLY_COLUMN: &str = "@@global.read_only";

/// Refuses a row in which this column says so: the rest may be out of date. PostgreSQL needs none, as a server in use
/// becomes a standby by a restart alone, which ends its connections.
pub(super) fn check_is_primary(backend: DbBackend, row: &QueryResult, index: usize) -> Result<(), StoreError> {
    if backend != DbBackend::MySql {
        return Ok(());
    }
    let is_read_only = match row.try_get_by_index::<i64>(index) {
        Ok(number) => number != 0,
        Err(_) => row.try_get_by_index::<String>(index)? != "OFF", // MariaDB 12 has words for it.
    };
    if is_read_only { Err(StoreError::read_only()) } else { Ok(()) }
}

/// The identities that own these identifiers: a row for each of their contacts, deleted ones included.
///
/// One statement, so one consistent read. The two halves are key look-ups by `id` and by `linkedId`; with
/// an `OR` instead no database uses both indexes. None is left a choice: `linkedId` is null on most rows, which
/// statistics take for one value that has nearly the whole table, and PostgreSQL keeps the plan that it made
/// when the tables were small.
pub(super) fn find(backend: DbBackend, identifiers: &[Identifier]) -> Statement {
    let (owned, params) = owned_rows(backend, identifiers);
    let mut columns =
        r#"c."id", c."email", c."phoneNumber", c."linkedId", c."createdAt", c."updatedAt", c."deletedAt""#.to_owned();
    if backend == DbBackend::MySql {
        columns = format!("{columns}, {READ_ONLY_COLUMN}");
    }
    let by = |column: &str, index: &str| {
        let linked = format!(r#"c."{column}" = roots.root"#);
        if backend == DbBackend::MySql {
            format!(r#"SELECT {columns} FROM roots STRAIGHT_JOIN "Contact" c FORCE INDEX ("{index}") ON {linked}"#)
        } else if backend == DbBackend::Postgres {
            format!(r#"SELECT c.* FROM roots, LATERAL (SELECT {columns} FROM "Contact" c WHERE {linked} OFFSET 0) c"#)
        } else {
            let index = if index == "PRIMARY" { String::new() } else { format!(r#" INDEXED BY "{index}""#) };
            format!(r#"SELECT {columns} FROM roots CROSS JOIN "Contact" c{index} WHERE {linked}"#)
        }
    };
    let sql = format!(
        r#"WITH roots AS (SELECT DISTINCT COALESCE(o."linkedId", o."id") AS root FROM {owned} AND o."id" IS NOT NULL)
        {} UNION ALL {}"#,
        by("id", "PRIMARY"),
        by("linkedId", "Contact_linkedId"),
    );
    Statement::from_sql_and_values(backend, quoted(backend, sql), params)
}

/// The rows of these identifiers with what the contact they point at carries, and its root.
pub(super) fn owners(backend: DbBackend, identifiers: &[Identifier]) -> Statement {
    let (owned, params) = owned_rows(backend, identifiers);
    let root = r#"COALESCE(o."linkedId", o."id")"#;
    let sql = format!(
        r#"SELECT i."kind", i."value", o."email", o."phoneNumber", o."deletedAt", i."contactId", {root} FROM {owned}"#
    );
    Statement::from_sql_and_values(backend, quoted(backend, sql), params)
}

/// A statement written with `"names"` and `?` alone, as this database wants it.
pub(super) fn statement(backend: DbBackend, sql: String, params: Vec<Value>) -> Statement {
    let sql = if backend == DbBackend::Postgres {
        let pieces = sql.split('?').enumerate();
        pieces.map(|(number, piece)| if number == 0 { piece.to_owned() } else { format!("${number}{piece}") }).collect()
    } else {
        quoted(backend, sql)
    };
    Statement::from_sql_and_values(backend, sql, params)
}

/// A text column's UTF-8 bytes.
pub(super) fn bytes_of(backend: DbBackend, column: &str) -> String {
    if backend == DbBackend::Postgres {
        format!("convert_to({column}, 'UTF8')")
    } else {
        let bytes = if backend == DbBackend::MySql { "BINARY" } else { "BLOB" };
        format!("CAST({column} AS {bytes})")
    }
}

/// An enum column as text.
pub(super) fn text_of(backend: DbBackend, column: &str) -> String {
    let name = if backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
    format!("CAST({column} AS {name})")
}

/// MySQL quotes names with back quotes.
pub(super) fn quoted(backend: DbBackend, sql: String) -> String {
    if backend == DbBackend::MySql { sql.replace('"', "`") } else { sql }
}

/// The database's clock, and the step from one automatic id of a statement to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) now: Timestamp,
    /// 0 where there is no such step.
    pub(super) id_step: i64,
}

/// An offset that is greater than the step counts from itself on only: there, the ids of one statement jump. (A server of a
/// Group Replication with several primaries has its `server_id` for an offset.)
const ID_STEP_COLUMN: &str =
    "CAST(IF(@@auto_increment_offset > @@auto_increment_increment, 0, @@auto_increment_increment) AS UNSIGNED)";

impl Clock {
    /// The columns that tell it, in any statement. On SQLite there are none: the database is in this process, and
    /// so is its clock (its own one counts milliseconds).
    pub(super) fn columns(backend: DbBackend) -> &'static [&'static str] {
        if backend == DbBackend::MySql {
            &["UTC_TIMESTAMP(6)", ID_STEP_COLUMN, READ_ONLY_COLUMN]
        } else if backend == DbBackend::Postgres {
            &["clock_timestamp() AT TIME ZONE 'UTC'"]
        } else {
            &[]
        }
    }

    /// The clock of a statement, as told by one of its rows, where the columns begin there. On MySQL by a primary alone.
    pub(super) fn told(backend: DbBackend, row: &QueryResult, index: usize) -> Result<Self, StoreError> {
        if backend == DbBackend::Sqlite {
            return Ok(Self::of_this_process());
        }
        check_is_primary(backend, row, index + 2)?;
        let now = moment(row, index)?.ok_or_else(|| StoreError::Rejected(Cause::new("no clock")))?;
        let id_step =
            if backend == DbBackend::MySql { row.try_get_by_index::<u64>(index + 1)?.cast_signed() } else { 1 };
        Ok(Self { now, id_step })
    }

    /// The clock, by a statement of its own.
    pub(super) async fn ask(connection: &impl ConnectionTrait) -> Result<Self, StoreError> {
        let backend = connection.get_database_backend();
        if backend == DbBackend::Sqlite {
            return Ok(Self::of_this_process());
        }
        let sql = format!("SELECT {}", Self::columns(backend).join(", "));
        let row = connection.query_one_raw(Statement::from_string(backend, sql)).await?;
        Self::told(backend, &row.ok_or_else(|| StoreError::Rejected(Cause::new("no clock")))?, 0)
    }

    fn of_this_process() -> Self {
        Self { now: Timestamp(Utc::now().timestamp_micros()), id_step: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replica_is_known_by_number_and_by_word() {
        let database = sea_orm::Database::connect("sqlite::memory:").await.unwrap();
        for (said, is_primary) in
            [("0", true), ("'OFF'", true), ("1", false), ("'ON'", false), ("'NO_LOCK_NO_ADMIN'", false)]
        {
            let select = Statement::from_string(DbBackend::Sqlite, format!("SELECT 7, {said}"));
            let row = database.query_one_raw(select).await.unwrap().unwrap();
            assert_eq!(check_is_primary(DbBackend::MySql, &row, 1).is_ok(), is_primary, "{said}");
            assert!(check_is_primary(DbBackend::Sqlite, &row, 1).is_ok());
        }
    }
}
