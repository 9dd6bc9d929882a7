//! What the four databases spell differently.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// A table that exists already is left alone: see the crate's documentation.
pub(crate) fn create_table(backend: DbBackend, name: impl IntoTableRef) -> TableCreateStatement {
    let mut table = Table::create();
    table.table(name).if_not_exists();
    if backend == DbBackend::MySql {
        // Of text columns equality is that of code points; the default collations fold case and accents.
        table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
    }
    table
}

/// A moment in UTC with microseconds.
pub(crate) fn moment(backend: DbBackend, name: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(name);
    let sql_type = if backend == DbBackend::MySql {
        "datetime(6)"
    } else if backend == DbBackend::Postgres {
        "timestamp(6)"
    } else {
        "datetime_text"
    };
    column.custom(sql_type);
    column
}
