//! From the driver's errors to ours. The files of `sql/` know what each database's codes mean.

use sea_orm::{DbErr, RuntimeErr};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use super::connect_error::ConnectError;
use super::error::{Cause, StoreError};
use super::sql::{mysql, postgres, sqlite};

impl From<DbErr> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "SeaORM adds errors as it likes")]
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Conn(runtime) | DbErr::Exec(runtime) | DbErr::Query(runtime) => match runtime {
                RuntimeErr::SqlxError(error) => store_error(error),
                RuntimeErr::Internal(_) => Self::Rejected(Cause::new("SeaORM")),
            },
            DbErr::ConnectionAcquire(_) => Self::no_connection("no connection"),
            // Their texts can quote a value.
            _ => Self::Rejected(Cause::new("SeaORM")),
        }
    }
}

/// What an error of a statement means.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn store_error(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql::store_error(error.number()) // MariaDB's too.
            } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                postgres::store_error(error.code(), error.routine())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                sqlite::store_error(error.code().and_then(|code| code.parse().ok()).unwrap_or(0))
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

/// Why there is no connection, by the error of the attempt.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn connect_error(error: &sqlx::Error) -> ConnectError {
    match error {
        sqlx::Error::Configuration(_) => ConnectError::Refused("the database URL cannot be understood"),
        sqlx::Error::Tls(_) => ConnectError::Refused(
            "the TLS connection to the database failed; see ssl-mode (MySQL) or sslmode (PostgreSQL) in its URL",
        ),
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql::connect_error(error.number())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                sqlite::connect_error(&code)
            } else {
                postgres::connect_error(&code)
            }
        }
        _ => ConnectError::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::ConnectionState;

    /// An error with this SQLSTATE, raised where "cached plan must not change result type" is.
    fn postgres(code: &str) -> StoreError {
        postgres::store_error(code, Some("RevalidateCachedQuery"))
    }

    #[test]
    fn lost_races_start_over() {
        for error in [
            mysql::store_error(1213),
            mysql::store_error(1205),
            mysql::store_error(3101),
            mysql::store_error(1020),
            postgres("40001"),
            postgres("40P01"),
            postgres("25P02"),
            postgres("55P03"),
            sqlite::store_error(5),
            sqlite::store_error(517),
        ] {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
        }
    }

    #[test]
    fn duplicate_keys_have_a_variant_of_their_own() {
        for error in [mysql::store_error(1062), postgres("23505"), sqlite::store_error(1555), sqlite::store_error(2067)]
        {
            assert!(matches!(error, StoreError::DuplicateKey(_)), "{error}");
        }
    }

    #[test]
    fn a_database_that_cannot_write_is_unavailable() {
        for error in [
            mysql::store_error(1053),
            mysql::store_error(1290),
            mysql::store_error(1836),
            mysql::store_error(1461),
            mysql::store_error(1045),
            mysql::store_error(9002),
            mysql::store_error(3781),
            mysql::store_error(3797),
            mysql::store_error(3798),
            postgres("57P01"),
            postgres("25P03"),
            postgres("28P01"),
            postgres("08006"),
            postgres("25006"),
            postgres("53300"),
            sqlite::store_error(13),
            sqlite::store_error(8),
        ] {
            assert!(error.is_unavailable(), "{error}");
        }
    }

    #[test]
    fn a_feature_that_postgresql_does_not_support_is_rejected() {
        assert!(matches!(postgres::store_error("0A000", Some("other")), StoreError::Rejected(_)));
        assert!(matches!(postgres::store_error("0A000", None), StoreError::Rejected(_)));
    }

    #[test]
    fn anything_else_is_rejected() {
        for error in [mysql::store_error(1406), postgres("22001"), sqlite::store_error(19), sqlite::store_error(1)] {
            assert!(matches!(error, StoreError::Rejected(_)), "{error}");
        }
    }

    #[test]
    fn a_statement_prepared_before_an_alter_starts_over_on_a_new_connection() {
        for error in [
            mysql::store_error(1243),
            mysql::store_error(1412),
            mysql::store_error(1615),
            postgres("0A000"),
            postgres("26000"),
        ] {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
            assert_eq!(error.connections(), ConnectionState::Outdated, "{error}");
        }
    }

    #[test]
    fn connections_to_a_read_only_server_are_known() {
        let mysql = [1290, 1792, 1836, 3783, 3796, 3799].map(mysql::store_error);
        for error in mysql.into_iter().chain([postgres("25006")]) {
            assert!(error.is_unavailable(), "{error}");
            assert_eq!(error.connections(), ConnectionState::Unusable, "{error}");
        }
    }

    #[test]
    fn an_error_of_a_statement_says_nothing_of_the_connections() {
        for error in [
            mysql::store_error(1062),
            mysql::store_error(1205),
            postgres("40001"),
            postgres("57014"),
            sqlite::store_error(8),
        ] {
            assert_eq!(error.connections(), ConnectionState::Healthy, "{error}");
        }
    }
}
