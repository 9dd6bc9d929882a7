//! What a server is among those that have the database.

use sea_orm::{DbBackend, QueryResult};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{Executor, MySqlConnection, PgConnection, Row};

use super::connect::{ConnectError, why};

/// Two questions. Whether it takes no writes: `read_only` as text, because MariaDB 12 has words for it; `innodb_read_only`
/// is an Aurora reader's; the variable in the comments, of which each server heeds its own, is what
/// `transaction_read_only` in a configuration sets. And whether every server of its group (Group Replication) takes writes:
/// from a table, as not every server has that variable.
const MYSQL_ROLE: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') OR @@global.innodb_read_only \
     /*!80000 OR @@session.transaction_read_only */ /*M!100000 OR @@session.tx_read_only */, \
     0 /*!80000 + (SELECT COUNT(*) FROM performance_schema.global_variables \
     WHERE VARIABLE_NAME = 'group_replication_single_primary_mode' AND VARIABLE_VALUE = 'OFF') */";

const POSTGRES_READ_ONLY: &str =
    "SELECT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)::int::bigint";

/// Whether a server is meant for a group (Group Replication) that it is not in, or not yet again: it may take writes, but
/// they are no writes of the group's, and what it reads is old. Needs the right to `SELECT` from that table, and
/// fails where there is no group.
const MYSQL_OUTSIDE_GROUP: &str = "SELECT @@global.group_replication_group_name <> '' AND NOT EXISTS (\
     SELECT * FROM performance_schema.replication_group_members \
     WHERE MEMBER_ID = @@global.server_uuid AND MEMBER_STATE = 'ONLINE')";

/// What a server is among those that have the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It takes no writes.
    Replica,
    /// The one that takes writes.
    Primary,
    /// One of several that take writes.
    OneOfSeveral,
}

impl Role {
    /// What to ask a server to learn it, if it can be another than [`Role::Primary`].
    pub(super) fn question(backend: DbBackend) -> Option<&'static str> {
        if backend == DbBackend::MySql {
            Some(MYSQL_ROLE)
        } else if backend == DbBackend::Postgres {
            Some(POSTGRES_READ_ONLY)
        } else {
            None
        }
    }

    /// What it answered to that.
    pub(super) fn told(answer: &QueryResult) -> Self {
        let is = |index| answer.try_get_by_index::<i64>(index).is_ok_and(|number| number == 1);
        Self::of(is(0), is(1))
    }

    /// What a MySQL or MariaDB server is, or why it is not to be used.
    pub(super) async fn of_mysql(connection: &mut MySqlConnection) -> Result<Self, ConnectError> {
        let [is_read_only, is_one_of_several] = ask_mysql(connection, MYSQL_ROLE).await?;
        let role = Self::of(is_read_only, is_one_of_several);
        if role == Self::Replica {
            return Err(ConnectError::ReadOnly);
        }
        let [is_outside_group] = ask_mysql(connection, MYSQL_OUTSIDE_GROUP).await?;
        if is_outside_group { Err(ConnectError::OutsideGroup) } else { Ok(role) }
    }

    pub(super) async fn of_postgres(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let is_read_only: i64 = connection.fetch_one(POSTGRES_READ_ONLY).await?.try_get(0)?;
        Ok(Self::of(is_read_only == 1, false))
    }

    fn of(is_read_only: bool, is_one_of_several: bool) -> Self {
        match (is_read_only, is_one_of_several) {
            (true, _) => Self::Replica,
            (false, true) => Self::OneOfSeveral,
            (false, false) => Self::Primary,
        }
    }
}

/// Asks so many yes-or-no questions in one statement. A server that does not know what is asked, or does not tell this user,
/// says no.
pub(super) async fn ask_mysql<const COUNT: usize>(
    connection: &mut MySqlConnection,
    questions: &'static str,
) -> Result<[bool; COUNT], ConnectError> {
    match connection.fetch_one(questions).await {
        Ok(row) => {
            Ok(std::array::from_fn(|column| row.try_get(column).is_ok_and(|answer: Option<i64>| answer == Some(1))))
        }
        Err(sqlx::Error::Database(error))
            if error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| is_no(error.number())) =>
        {
            Ok([false; COUNT])
        }
        Err(error) => Err(why(&error)),
    }
}

/// A right that is lacking, and what there is not: a database, column, table, variable, or that syntax.
fn is_no(error: u16) -> bool {
    matches!(error, 1044 | 1049 | 1054 | 1064 | 1109 | 1142 | 1143 | 1146 | 1193 | 1227 | 1238)
}
