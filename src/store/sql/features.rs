//! What a kind of database can do, beyond its SQL.

use super::Engine;

impl Engine {
    /// Whether one transaction at a time writes, so that no row needs a lock.
    pub(in crate::store) fn has_one_writer(self) -> bool {
        match self {
            Self::Sqlite => true,
            Self::Mysql | Self::Mariadb | Self::Postgres => false,
        }
    }

    /// Whether a database is a file. It has no schemas but `main`, and the files beside it go with its last connection.
    pub(in crate::store) fn is_one_file(self) -> bool {
        match self {
            Self::Mysql | Self::Mariadb | Self::Postgres => false,
            Self::Sqlite => true,
        }
    }

    /// Whether two names of tables that differ by case alone are one name, in a database that has no table yet.
    pub(in crate::store) fn folds_table_names(self) -> bool {
        match self {
            Self::Mysql | Self::Mariadb | Self::Postgres => false,
            Self::Sqlite => true,
        }
    }

    /// Whether the catalogue leaves out a column that the user may not read, as if the table had none.
    pub(in crate::store) fn hides_unreadable_columns(self) -> bool {
        match self {
            Self::Mysql | Self::Mariadb => true,
            Self::Postgres | Self::Sqlite => false,
        }
    }
}
