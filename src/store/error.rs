use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

/// Why a statement or a transaction failed, by what can be done about it. For logs: callers of the
/// service are told the consequence alone.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction won: a deadlock, a serialization failure, a lock not had in time. Start over.
    #[error("lost a race: {0}")]
    LostRace(Cause),
    /// Another transaction inserted the same key, or an orphan holds it. Start over.
    #[error("duplicate key: {0}")]
    DuplicateKey(Cause),
    /// The database gave a new row an automatic id that another row has: its counter is behind the table.
    #[error("the automatic id of a new row is taken: {0}")]
    IdTaken(Cause),
    /// The database cannot be reached, or cannot write now. Whether a commit under way took place is unknown.
    #[error("unavailable: {0}")]
    Unavailable(Cause),
    /// No answer within the time that one statement may take.
    #[error("unavailable: no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The database refuses the statement, and would again.
    #[error("rejected: {0}")]
    Rejected(Cause),
}

/// A database's error code. Never its text: that can quote a key's value, which is personal data.
#[derive(Debug, PartialEq, Eq)]
pub struct Cause(String);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Cause {
    /// A cause of this name, which must quote nothing of what is stored.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl StoreError {
    /// Whether the database is out of reach, rather than in reach and of another opinion.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }

    /// The same error, of a statement that inserts rows which have no key but their automatic id.
    pub(super) fn of_automatic_id(self) -> Self {
        if let Self::DuplicateKey(cause) = self { Self::IdTaken(cause) } else { self }
    }
}

impl From<DbErr> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "SeaORM adds errors as it likes")]
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => match runtime {
                RuntimeErr::SqlxError(error) => from_sqlx(error),
                RuntimeErr::Internal(_) => Self::Rejected(Cause::new("SeaORM")),
            },
            DbErr::ConnectionAcquire(_) => Self::Unavailable(Cause::new("no connection")),
            // Their texts can quote a value.
            _ => Self::Rejected(Cause::new("SeaORM")),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn from_sqlx(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                from_mysql(error.number())
            } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                from_postgres(error.code())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                from_sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or(0))
            } else {
                StoreError::Rejected(Cause::new("unknown database"))
            }
        }
        sqlx::Error::Io(error) => StoreError::Unavailable(Cause::new(error.kind().to_string())),
        sqlx::Error::Tls(_) => StoreError::Unavailable(Cause::new("TLS")),
        sqlx::Error::Protocol(_) => StoreError::Unavailable(Cause::new("protocol")),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(Cause::new("no connection"))
        }
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Rejected(Cause::new(format!("column {index}"))),
        _ => StoreError::Rejected(Cause::new("sqlx")),
    }
}

/// <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>; MariaDB and TiDB number alike,
/// each with some of its own.
fn from_mysql(number: u16) -> StoreError {
    let cause = Cause::new(format!("MySQL error {number}"));
    match number {
        // Duplicate key.
        1062 | 1586 => StoreError::DuplicateKey(cause),
        // Lock wait timeout, deadlock; certification failed (Group Replication); TiDB's write conflicts.
        1205 | 1213 | 3101 | 3572 | 8002 | 8022 | 8028 | 9007 => StoreError::LostRace(cause),
        // Too many connections, shutdown, read-only, killed, group without a majority, disk full.
        1021
        | 1040
        | 1041
        | 1047
        | 1053
        | 1077
        | 1079
        | 1080
        | 1114
        | 1152
        | 1158..=1161
        | 1180
        | 1203
        | 1206
        | 1226
        | 1290
        | 1317
        | 1836
        | 1927
        | 3024
        | 3098
        | 3100
        | 3168
        | 3169
        | 3170
        | 4031 => StoreError::Unavailable(cause),
        _ => StoreError::Rejected(cause),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(code: &str) -> StoreError {
    let cause = Cause::new(format!("SQLSTATE {code}"));
    match code {
        "23505" => StoreError::DuplicateKey(cause),
        // Serialization failure, deadlock, lock timeout.
        "40001" | "40P01" | "55P03" => StoreError::LostRace(cause),
        // A read-only transaction (a standby), a cancelled statement.
        "25006" | "57014" => StoreError::Unavailable(cause),
        // Connection exceptions, insufficient resources, operator intervention, I/O.
        _ if ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) => StoreError::Unavailable(cause),
        _ => StoreError::Rejected(cause),
    }
}

/// Extended result codes, <https://www.sqlite.org/rescode.html>.
fn from_sqlite(code: u32) -> StoreError {
    let cause = Cause::new(format!("SQLite error {code}"));
    match (code, code & 0xff) {
        // Primary key, row id, unique.
        (1555 | 2579 | 2067, _) => StoreError::DuplicateKey(cause),
        // Busy, locked.
        (_, 5 | 6) => StoreError::LostRace(cause),
        // Out of memory, read-only, I/O, full, cannot open.
        (_, 7 | 8 | 10 | 13 | 14) => StoreError::Unavailable(cause),
        _ => StoreError::Rejected(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_races_start_over() {
        for error in [
            from_mysql(1213),
            from_mysql(1205),
            from_mysql(3101),
            from_postgres("40001"),
            from_postgres("40P01"),
            from_postgres("55P03"),
            from_sqlite(5),
            from_sqlite(517),
        ] {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
        }
    }

    #[test]
    fn duplicate_keys_are_told_apart() {
        for error in [from_mysql(1062), from_postgres("23505"), from_sqlite(1555), from_sqlite(2067)] {
            assert!(matches!(error, StoreError::DuplicateKey(_)), "{error}");
        }
    }

    #[test]
    fn a_database_that_cannot_write_is_unavailable() {
        for error in [
            from_mysql(1053),
            from_mysql(1290),
            from_mysql(1836),
            from_postgres("57P01"),
            from_postgres("08006"),
            from_postgres("25006"),
            from_postgres("53300"),
            from_sqlite(13),
            from_sqlite(8),
        ] {
            assert!(error.is_unavailable(), "{error}");
        }
    }

    #[test]
    fn anything_else_is_rejected() {
        for error in [from_mysql(1406), from_postgres("22001"), from_sqlite(19), from_sqlite(1)] {
            assert!(matches!(error, StoreError::Rejected(_)), "{error}");
        }
    }
}
