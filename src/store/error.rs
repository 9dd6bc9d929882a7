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
pub struct Cause {
    text: String,
    connections: Connections,
}

/// What an error says about the connections to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connections {
    /// Nothing: it was about the statement.
    Sound,
    /// This one is gone or stuck, and others may be.
    Doubtful,
    /// What they have prepared is of no use any more.
    Stale,
    /// They lead to a server that takes no writes, or is another than they are made for: what they read may be out of date.
    Unfit,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Cause {
    /// A cause of this name, which must quote nothing of what is stored.
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(Connections::Sound, text)
    }

    fn of(connections: Connections, text: impl Into<String>) -> Self {
        Self { text: text.into(), connections }
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

    /// The server takes no writes: it is a replica, or is becoming one.
    pub(super) fn read_only() -> Self {
        Self::Unavailable(Cause::of(Connections::Unfit, "read-only"))
    }

    /// The server has become one of several that take writes, or the only one: its connections are not made for that.
    pub(super) fn another_role() -> Self {
        Self::Unavailable(Cause::of(Connections::Unfit, "another role"))
    }

    /// There is no connection, or no longer.
    pub(super) fn no_connection(why: &str) -> Self {
        Self::Unavailable(Cause::of(Connections::Doubtful, why))
    }

    /// What is to be thought of the connections after this.
    pub(super) fn connections(&self) -> Connections {
        match self {
            Self::TimedOut(_) => Connections::Doubtful,
            Self::LostRace(cause)
            | Self::DuplicateKey(cause)
            | Self::IdTaken(cause)
            | Self::Unavailable(cause)
            | Self::Rejected(cause) => cause.connections,
        }
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
            DbErr::ConnectionAcquire(_) => Self::no_connection("no connection"),
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
                match (error.code(), error.routine()) {
                    // What the code stands for in general; the exception is below.
                    ("0A000", routine) if routine != Some("RevalidateCachedQuery") => {
                        StoreError::Rejected(Cause::new("SQLSTATE 0A000"))
                    }
                    (code, _) => from_postgres(code),
                }
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                from_sqlite(error.code().and_then(|code| code.parse().ok()).unwrap_or(0))
            } else {
                StoreError::Rejected(Cause::new("unknown database"))
            }
        }
        sqlx::Error::Io(error) => StoreError::no_connection(&error.kind().to_string()),
        sqlx::Error::Tls(_) => StoreError::no_connection("TLS"),
        sqlx::Error::Protocol(_) => StoreError::no_connection("protocol"),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::no_connection("no connection")
        }
        // The server took BEGIN, and says that there is no transaction.
        sqlx::Error::BeginFailed => StoreError::no_connection("BEGIN"),
        sqlx::Error::ColumnDecode { index, .. } => StoreError::Rejected(Cause::new(format!("column {index}"))),
        _ => StoreError::Rejected(Cause::new("sqlx")),
    }
}

/// <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>; MariaDB and TiDB number alike,
/// each with some of its own.
fn from_mysql(number: u16) -> StoreError {
    let connections = match number {
        // Unknown prepared statement, or one that has to be prepared again; a table was altered.
        1243 | 1412 | 1615 => Connections::Stale,
        // --read-only, a read-only mode (an Aurora reader, a full disk), a read-only transaction; outside its group, or
        // leaving it.
        1290 | 1792 | 1836 | 3783 | 3796 | 3799 => Connections::Unfit,
        // No thread for a connection, a connection or a host refused, user or password refused, shutdown.
        1040 | 1045 | 1053 | 1129 | 1135 | 1203 | 1226 => Connections::Doubtful,
        _ => Connections::Sound,
    };
    let cause = Cause::of(connections, format!("MySQL error {number}"));
    match number {
        // Duplicate key.
        1062 | 1586 => StoreError::DuplicateKey(cause),
        // Lock wait timeout, deadlock; certification failed (Group Replication); TiDB's write conflicts; a row or
        // a table that changed in between; a statement to be prepared again.
        1020 | 1205 | 1213 | 1243 | 1412 | 1615 | 3101 | 3572 | 8002 | 8022 | 8028 | 9007 => {
            StoreError::LostRace(cause)
        }
        // Too many connections or prepared statements, out of memory, shutdown, read-only, killed, locked for a
        // backup, group without a majority, server outside its group or behind it, disk full; user or password refused, to a connection made while
        // they are changed; TiDB's storage not reached or busy.
        1021
        | 1030
        | 1037
        | 1040
        | 1041
        | 1045
        | 1047
        | 1053
        | 1077
        | 1079
        | 1080
        | 1114
        | 1129
        | 1135
        | 1152
        | 1158..=1161
        | 1180
        | 1203
        | 1206
        | 1223
        | 1226
        | 1290
        | 1317
        | 1461
        | 1792
        | 1836
        | 1927
        | 3024
        | 3098
        | 3100
        | 3168
        | 3169
        | 3170
        | 3781..=3783
        | 3796..=3799
        | 4031
        | 9001..=9005 => StoreError::Unavailable(cause),
        _ => StoreError::Rejected(cause),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(code: &str) -> StoreError {
    let connections = match code {
        // "Cached plan must not change result type", after ALTER TABLE; a prepared statement that is gone (a
        // connection pooler, DISCARD).
        "0A000" | "26000" => Connections::Stale,
        "25006" => Connections::Unfit,
        // Refused, terminated, or not to be known.
        "28000" | "28P01" | "25P03" | "25P04" | "40003" => Connections::Doubtful,
        _ if code.starts_with("08") || code.starts_with("57P") => Connections::Doubtful,
        _ => Connections::Sound,
    };
    let cause = Cause::of(connections, format!("SQLSTATE {code}"));
    match code {
        "23505" => StoreError::DuplicateKey(cause),
        // Serialization failure, deadlock, lock timeout; a transaction that has failed already; see above.
        "40001" | "40P01" | "55P03" | "25P02" | "0A000" | "26000" => StoreError::LostRace(cause),
        // A read-only transaction (a standby), one that was idle or open for too long, a cancelled statement, a
        // commit of unknown outcome; user or password refused, to a connection made while they are changed.
        "25006" | "25P03" | "25P04" | "57014" | "40003" | "28000" | "28P01" => StoreError::Unavailable(cause),
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
            from_mysql(1020),
            from_postgres("40001"),
            from_postgres("40P01"),
            from_postgres("25P02"),
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
            from_mysql(1461),
            from_mysql(1045),
            from_mysql(9002),
            from_mysql(3781),
            from_mysql(3797),
            from_mysql(3798),
            from_postgres("57P01"),
            from_postgres("25P03"),
            from_postgres("28P01"),
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

    #[test]
    fn what_was_prepared_before_an_alter_starts_over_on_a_new_connection() {
        for error in
            [from_mysql(1243), from_mysql(1412), from_mysql(1615), from_postgres("0A000"), from_postgres("26000")]
        {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
            assert_eq!(error.connections(), Connections::Stale, "{error}");
        }
    }

    #[test]
    fn connections_to_a_read_only_server_are_known() {
        let mysql = [1290, 1792, 1836, 3783, 3796, 3799].map(from_mysql);
        for error in mysql.into_iter().chain([from_postgres("25006")]) {
            assert!(error.is_unavailable(), "{error}");
            assert_eq!(error.connections(), Connections::Unfit, "{error}");
        }
    }

    #[test]
    fn an_error_of_a_statement_says_nothing_of_the_connections() {
        for error in
            [from_mysql(1062), from_mysql(1205), from_postgres("40001"), from_postgres("57014"), from_sqlite(8)]
        {
            assert_eq!(error.connections(), Connections::Sound, "{error}");
        }
    }
}
