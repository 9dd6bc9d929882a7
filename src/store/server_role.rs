//! The role of a server among those that can have the database.

use sea_orm::QueryResult;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{Executor, MySqlConnection, PgConnection, Row};

use super::classify;
use super::connect_error::ConnectError;
use super::sql::{mariadb, mysql, postgres};

/// The role of a server among those that can have the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerRole {
    /// It takes no writes.
    Replica,
    /// It alone takes writes.
    Primary,
    /// It is one of several servers that take writes.
    OneOfSeveral,
}

/// The columns of [`Engine::role_question`](super::sql::Engine::role_question), in order. Others can follow.
#[derive(Clone, Copy)]
enum RoleColumn {
    IsReadOnly,
    IsOneOfSeveral,
}

impl ServerRole {
    /// The role in the answer to [`Engine::role_question`](super::sql::Engine::role_question).
    pub(super) fn from_row(row: &QueryResult) -> Self {
        let is_yes = |column: RoleColumn| row.try_get_by_index::<i64>(column as usize).is_ok_and(|number| number == 1);
        Self::from_answers(is_yes(RoleColumn::IsReadOnly), is_yes(RoleColumn::IsOneOfSeveral))
    }

    /// The role of a MySQL or MariaDB server, or why it must not be used. It asks both the same question, because
    /// the server behind an address can change.
    pub(super) async fn query_mysql(connection: &mut MySqlConnection) -> Result<Self, ConnectError> {
        let role = Self::usable(query_yes_or_no(connection, mysql::ROLE).await?)?;
        let [is_outside_group] = query_yes_or_no(connection, mysql::IS_OUTSIDE_GROUP).await?;
        if is_outside_group {
            return Err(ConnectError::OutsideGroup);
        }
        if role == Self::OneOfSeveral {
            let [is_not_ready] = query_yes_or_no(connection, mariadb::IS_NOT_READY).await?;
            if is_not_ready {
                return Err(ConnectError::NotReady);
            }
        }
        Ok(role)
    }

    /// The role by the answers to [`mysql::ROLE`], or why the server must not be used.
    fn usable([is_read_only, is_one_of_several, is_mysql_in_galera]: [bool; 3]) -> Result<Self, ConnectError> {
        if is_mysql_in_galera {
            return Err(ConnectError::Refused(mysql::GALERA));
        }
        match Self::from_answers(is_read_only, is_one_of_several) {
            Self::Replica => Err(ConnectError::ReadOnly),
            role @ (Self::Primary | Self::OneOfSeveral) => Ok(role),
        }
    }

    /// The role of a PostgreSQL server.
    pub(super) async fn query_postgres(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let is_read_only: i64 = connection.fetch_one(postgres::ROLE).await?.try_get(RoleColumn::IsReadOnly as usize)?;
        Ok(Self::from_answers(is_read_only == 1, false))
    }

    fn from_answers(is_read_only: bool, is_one_of_several: bool) -> Self {
        match (is_read_only, is_one_of_several) {
            (true, _) => Self::Replica,
            (false, true) => Self::OneOfSeveral,
            (false, false) => Self::Primary,
        }
    }
}

/// Asks `COUNT` yes-or-no questions in one statement. A server that does not know what is meant, or does not let this
/// user know, answers no.
pub(super) async fn query_yes_or_no<const COUNT: usize>(
    connection: &mut MySqlConnection,
    questions: &'static str,
) -> Result<[bool; COUNT], ConnectError> {
    match connection.fetch_one(questions).await {
        Ok(row) => {
            Ok(std::array::from_fn(|column| row.try_get(column).is_ok_and(|answer: Option<i64>| answer == Some(1))))
        }
        Err(sqlx::Error::Database(error))
            if error
                .try_downcast_ref::<MySqlDatabaseError>()
                .is_some_and(|error| mysql::is_answer_no(error.number())) =>
        {
            Ok([false; COUNT])
        }
        Err(error) => Err(classify::connect_error(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_in_a_galera_cluster_is_refused_whatever_else_it_is() {
        for (is_read_only, is_one_of_several) in [(false, false), (true, false), (false, true)] {
            let refused = ServerRole::usable([is_read_only, is_one_of_several, true]).expect_err("refused");
            assert!(refused.is_lasting() && refused.to_string().contains("Percona XtraDB Cluster"), "{refused}");
        }
        assert_eq!(ServerRole::usable([false, false, false]), Ok(ServerRole::Primary));
        assert_eq!(ServerRole::usable([false, true, false]), Ok(ServerRole::OneOfSeveral));
        assert_eq!(ServerRole::usable([true, true, false]), Err(ConnectError::ReadOnly));
    }
}
