//! From the driver's errors to ours. The files of `sql/` know what each database's codes mean.

use std::io::ErrorKind;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use super::connect_error::ConnectError;
use super::error::{Cause, ConnectionState, StoreError};
use super::sql::{mysql, postgres, sqlite};

impl From<DbErr> for StoreError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "SeaORM adds errors as it likes")]
    fn from(error: DbErr) -> Self {
        match &error {
            // SeaORM has this variant for the error of a new connection.
            DbErr::Conn(RuntimeErr::SqlxError(error)) => refused_connection(error),
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
                store_error(error)
            }
            DbErr::ConnectionAcquire(_) => Self::no_connection("no connection"),
            // Their texts can quote a value.
            _ => Self::Rejected(Cause::new("SeaORM")),
        }
    }
}

/// What an error of a new connection means for the statement that needed one: whatever it is, another server may do.
fn refused_connection(error: &sqlx::Error) -> StoreError {
    let refusal = connect_error(error);
    let database_error = error.as_database_error();
    let is_of_a_server = match database_error {
        Some(error) => error.try_downcast_ref::<SqliteError>().is_none(),
        None => refusal != ConnectError::Unreachable,
    };
    if !is_of_a_server {
        return store_error(error);
    }
    let connections = if refusal == ConnectError::Full { ConnectionState::Full } else { ConnectionState::Refused };
    let code = database_error.and_then(|error| error.code()).unwrap_or_default();
    let cause = Cause::with_state(connections, format!("the connection was refused ({code})"));
    StoreError::Unavailable(cause.because_of(refusal.outage()))
}

/// Whether an error of MySQL or MariaDB means that the answer to a question is no.
pub(super) fn is_answer_no(error: &DbErr) -> bool {
    let (DbErr::Query(RuntimeErr::SqlxError(error)) | DbErr::Exec(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let error = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
    error.is_some_and(|error| mysql::is_answer_no(error.number()))
}

/// Whether an error of an insert says that the primary key of a row is taken, and not another unique key.
pub(super) fn is_of_primary_key(error: &DbErr) -> bool {
    let (DbErr::Query(RuntimeErr::SqlxError(error)) | DbErr::Exec(RuntimeErr::SqlxError(error))) = error else {
        return false;
    };
    let Some(error) = error.as_database_error() else { return false };
    if error.try_downcast_ref::<MySqlDatabaseError>().is_some() {
        mysql::is_of_primary_key(error.message())
    } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        error.constraint().is_some_and(|name| name.ends_with("_pkey"))
    } else if error.try_downcast_ref::<SqliteError>().is_some() {
        error.code().is_some_and(|code| sqlite::is_of_primary_key(&code))
    } else {
        false // An unknown database: the insert is rejected.
    }
}

/// What an error of a statement means.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn store_error(error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                // MariaDB's too.
                mysql::store_error(error.number(), error.code().unwrap_or_default())
            } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                postgres::store_error(error.code(), error.routine(), error.column())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                sqlite::store_error(error.code().and_then(|code| code.parse().ok()).unwrap_or(0), error.message())
            } else {
                StoreError::Faulty(Cause::new("unknown database"))
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
        // A type that the tables have no more.
        sqlx::Error::TypeNotFound { .. } => StoreError::Faulty(Cause::new("an unknown type")),
        _ => StoreError::Rejected(Cause::new("sqlx")),
    }
}

/// Why there is no connection, by the error of the attempt.
#[expect(clippy::wildcard_enum_match_arm, reason = "sqlx adds errors as it likes")]
pub(super) fn connect_error(error: &sqlx::Error) -> ConnectError {
    match error {
        sqlx::Error::Configuration(_) => ConnectError::Refused("the database URL cannot be understood"),
        sqlx::Error::Tls(error) => ConnectError::Refused(tls_refusal(&error.to_string())),
        // So sqlx 0.9.0 reports what rustls says of the server's certificate.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
            ConnectError::Refused(tls_refusal(&error.to_string()))
        }
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql::connect_error(error.number())
            } else if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                postgres::connect_error(&code, error.message())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                sqlite::connect_error(&code)
            } else {
                ConnectError::Refused("unknown database")
            }
        }
        _ => ConnectError::Unreachable,
    }
}

/// What an error of TLS means. Its text can name hosts, so it is not quoted.
fn tls_refusal(text: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["does not support TLS"]) {
        "the database server offers no TLS, which ssl-mode (MySQL) or sslmode (PostgreSQL) in its URL demands"
    } else if has(&["UnknownIssuer", "BadSignature"]) {
        "the certificate of the database server is of another authority than that of ssl-ca (MySQL) or sslrootcert \
         (PostgreSQL) in its URL"
    } else if has(&["not valid for name", "NotValidForName"]) {
        "the certificate of the database server is for another host name than that in its URL"
    } else if has(&["expired", "Expired", "not valid yet", "NotValidYet"]) {
        "the certificate of the database server is expired or not valid yet"
    } else {
        "TLS with the database server failed; see ssl-mode (MySQL) or sslmode (PostgreSQL) in its URL"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::error::Outage;

    /// An error with this SQLSTATE, raised where "cached plan must not change result type" is.
    fn postgres(code: &str) -> StoreError {
        postgres::store_error(code, Some("RevalidateCachedQuery"), None)
    }

    fn mysql(number: u16) -> StoreError {
        mysql::store_error(number, "HY000")
    }

    fn sqlite(code: u32) -> StoreError {
        sqlite::store_error(code, "")
    }

    #[test]
    fn lost_races_start_over() {
        for error in [
            mysql(1213),
            mysql(1205),
            mysql(3101),
            mysql(1020),
            postgres("40001"),
            postgres("40P01"),
            postgres("25P02"),
            postgres("55P03"),
            sqlite(5),
            sqlite(517),
        ] {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
        }
    }

    #[test]
    fn duplicate_keys_have_a_variant_of_their_own() {
        for error in [mysql(1062), postgres("23505"), sqlite(1555), sqlite(2067)] {
            assert!(matches!(error, StoreError::DuplicateKey(_)), "{error}");
        }
    }

    #[test]
    fn mysql_names_the_key_that_is_taken_at_the_end() {
        for (message, is_primary) in [
            ("Duplicate entry '7' for key 'Evidence.PRIMARY'", true),
            ("Duplicate entry '7' for key 'PRIMARY'", true),
            ("Duplicate entry 'x' for key 'Evidence.Evidence_setKey'", false),
            ("Duplicate entry ''PRIMARY'' for key 'Evidence_setKey'", false),
        ] {
            assert_eq!(mysql::is_of_primary_key(message), is_primary, "{message}");
        }
    }

    #[test]
    fn a_database_that_cannot_write_is_unavailable() {
        for error in [
            mysql(1053),
            mysql(1305),
            mysql(1290),
            mysql(1836),
            mysql(1461),
            mysql(1045),
            mysql(9002),
            mysql(3781),
            mysql(3797),
            mysql(3798),
            postgres("57P01"),
            postgres("25P01"),
            postgres("25P03"),
            postgres("28P01"),
            postgres("08006"),
            postgres("25006"),
            postgres("53300"),
            sqlite(13),
            sqlite(8),
        ] {
            assert!(error.is_unavailable(), "{error}");
        }
    }

    #[test]
    fn a_feature_that_postgresql_does_not_support_is_a_fault() {
        assert!(matches!(postgres::store_error("0A000", Some("other"), None), StoreError::Faulty(_)));
        assert!(matches!(postgres::store_error("0A000", None, None), StoreError::Faulty(_)));
    }

    #[test]
    fn anything_else_is_rejected_or_a_fault_by_whether_one_request_can_be_the_cause() {
        for error in [mysql(1366), mysql::store_error(9, "23000"), postgres("22001"), sqlite(19)] {
            assert!(matches!(error, StoreError::Rejected(_)), "{error}");
        }
        for error in [mysql(1442), postgres("42883"), sqlite(11), sqlite(1)] {
            assert!(matches!(error, StoreError::Faulty(_)), "{error}");
        }
    }

    #[test]
    fn what_fails_for_every_caller_is_no_fault_of_a_request() {
        let missing = |message| sqlite::store_error(1, message);
        let schema = [mysql(1146), mysql(1054), postgres("42P01"), postgres("42703")];
        let schema = schema.into_iter().chain(["no such table: Contact", "no such column: email"].map(missing));
        for error in schema {
            assert_eq!((error.is_unavailable(), error.outage()), (true, Outage::Schema), "{error}");
        }
        for error in [mysql(1142), mysql(1143), mysql(1044), postgres("42501")] {
            assert_eq!((error.is_unavailable(), error.outage()), (true, Outage::Rights), "{error}");
        }
        assert_eq!(mysql(1142).connections(), ConnectionState::Outdated, "a session keeps its rights");
        assert_eq!(sqlite(8).outage(), Outage::ReadOnly);
        assert_eq!(sqlite(1032).outage(), Outage::ReadOnly, "the file was moved");
    }

    #[test]
    fn a_server_that_is_not_ready_makes_the_next_one_be_asked() {
        let error = mysql(1047);
        assert!(error.is_unavailable());
        assert_eq!(error.connections(), ConnectionState::Refused);
        assert_eq!(error.outage(), mysql::connect_error(1047).outage());
        assert!(!mysql::connect_error(1047).is_lasting());
    }

    #[test]
    fn a_time_out_of_the_server_is_about_the_statement() {
        for error in [mysql(1969), mysql(3024), postgres("57014")] {
            assert!(matches!(error, StoreError::CutShort(_)), "{error}");
            assert_eq!(error.connections(), ConnectionState::Healthy);
        }
        assert!(postgres("25P04").is_unavailable(), "it closes the connection");
    }

    #[test]
    fn each_refusal_of_a_connection_has_words_of_its_own() {
        let mysql = [1040, 1045, 1049, 1129, 1130, 1820, 3032, 3118, 3159].map(mysql::connect_error);
        let postgres = ["28P01", "28000", "3D000", "42501", "53300", "55000", "57P03"];
        let postgres = postgres.map(|code| postgres::connect_error(code, ""));
        for errors in [mysql.to_vec(), postgres.to_vec()] {
            let words: std::collections::BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
            assert!(!words.contains(&ConnectError::Unreachable.to_string()), "{words:?}");
            assert!(words.len() >= errors.len() - 1, "{words:?}"); // PostgreSQL has two codes for users.
        }
        assert!(!mysql::connect_error(3032).is_lasting(), "offline mode ends");
        assert!(mysql::connect_error(3118).is_lasting());
    }

    #[test]
    fn an_error_of_tls_says_what_is_wrong_without_names() {
        for (text, word) in [
            ("invalid peer certificate: UnknownIssuer", "authority"),
            ("invalid peer certificate: certificate not valid for name \"db.local\"", "host name"),
            ("invalid peer certificate: certificate expired: verification time 1", "expired"),
            ("server does not support TLS", "offers no TLS"),
            ("received fatal alert: HandshakeFailure", "TLS"),
        ] {
            let error = connect_error(&sqlx::Error::Io(std::io::Error::new(ErrorKind::InvalidData, text)));
            assert!(error.is_lasting() && error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains("db.local"));
        }
    }

    #[test]
    fn a_statement_prepared_before_an_alter_starts_over_on_a_new_connection() {
        for error in [mysql(1243), mysql(1412), mysql(1615), postgres("0A000"), postgres("26000")] {
            assert!(matches!(error, StoreError::LostRace(_)), "{error}");
            assert_eq!(error.connections(), ConnectionState::Outdated, "{error}");
        }
    }

    #[test]
    fn connections_to_a_read_only_server_are_known() {
        let mysql = [1290, 1792, 1836, 3783, 3796, 3799].map(mysql);
        for error in mysql.into_iter().chain([postgres("25006")]) {
            assert!(error.is_unavailable(), "{error}");
            assert_eq!(error.connections(), ConnectionState::Unusable, "{error}");
        }
    }

    #[test]
    fn an_error_of_a_statement_says_nothing_of_the_connections() {
        for error in [mysql(1062), mysql(1205), postgres("40001"), postgres("57014"), sqlite(8)] {
            assert_eq!(error.connections(), ConnectionState::Healthy, "{error}");
        }
    }
}
