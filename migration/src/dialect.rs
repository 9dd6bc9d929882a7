//! What the four databases spell differently. MariaDB takes what MySQL takes.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// The SQL that a database understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// MySQL and MariaDB.
    Mysql,
    Postgres,
    Sqlite,
}

impl Dialect {
    /// Returns the dialect of the connection.
    ///
    /// # Errors
    /// If SeaORM speaks to a kind of database that has no tables here.
    pub(crate) fn of(manager: &SchemaManager<'_>) -> Result<Self, DbErr> {
        match manager.get_database_backend() {
            DbBackend::MySql => Ok(Self::Mysql),
            DbBackend::Postgres => Ok(Self::Postgres),
            DbBackend::Sqlite => Ok(Self::Sqlite),
            other => Err(DbErr::Migration(format!("there are no tables for {other:?}"))),
        }
    }

    /// A table that exists already is left alone: see the crate's documentation.
    pub(crate) fn create_table(self, name: impl IntoTableRef) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(name).if_not_exists();
        match self {
            Self::Mysql => {
                // Of text columns equality is that of code points; the default collations fold case and accents.
                table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
            }
            Self::Postgres | Self::Sqlite => {}
        }
        table
    }

    /// A moment in UTC with microseconds.
    pub(crate) fn moment(self, name: impl IntoIden) -> ColumnDef {
        let mut column = ColumnDef::new(name);
        column.custom(match self {
            Self::Mysql => "datetime(6)",
            Self::Postgres => "timestamp(6)",
            Self::Sqlite => "datetime_text",
        });
        column
    }
}
