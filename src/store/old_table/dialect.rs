//! What the statements about tables of other systems need: their names can have any character.

use crate::store::sql::{Engine, mysql, postgres};

impl Engine {
    /// A name in a statement.
    pub(in crate::store) fn quoted(self, name: &str) -> String {
        match self {
            Self::Mysql | Self::Mariadb => format!("`{}`", name.replace('`', "``")),
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// The parameter with this number, from 1 on. Parameters stand in a statement in the order of their numbers.
    pub(in crate::store) fn parameter(self, number: usize) -> String {
        match self {
            Self::Mysql | Self::Mariadb | Self::Sqlite => "?".to_owned(),
            Self::Postgres => format!("${number}"),
        }
    }

    /// Schema and name of all tables that the user can see, where there are schemas.
    pub(in crate::store) fn tables_of_all_schemas_sql(self) -> Option<&'static str> {
        match self {
            Self::Mysql | Self::Mariadb => Some(mysql::TABLES_OF_ALL_SCHEMAS),
            Self::Postgres => Some(postgres::TABLES_OF_ALL_SCHEMAS),
            Self::Sqlite => None,
        }
    }
}
